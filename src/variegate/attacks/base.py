"""What an attack is: frozen hyper-parameters with `init` and `step`; what it works on: a problem, a state, an oracle.

An attack file defines one final frozen dataclass with the members of `Attack`. It never loops to the end itself: the
driver calls `step` until every input is done, and saves the state between steps.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, final

import torch
from torch import Tensor

from variegate.attacks.noise import NoiseSource
from variegate.oracles.criteria import Criterion
from variegate.oracles.distances import distance
from variegate.oracles.hard_label import Oracle
from variegate.types import Norm, Status

STATUS_CODES: Mapping[Status, int] = {status: code for code, status in enumerate(Status)}


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AttackProblem:
    """The inputs under attack and everything that decides the outcome but the oracle.

    Attributes:
        inputs: float32 (N, *input_shape).
        criterion: when a label counts as adversarial.
        noise: the attack's randomness, per input.
        starting_points: float32 (N, *input_shape) believed adversarial, or None.
    """

    inputs: Tensor
    criterion: Criterion
    noise: NoiseSource
    starting_points: Tensor | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AttackState:
    """Where an attack stands between two steps; tensors only, so it can be saved and resumed.

    Attributes:
        iteration: steps done.
        points: float32 (N, *input_shape), the current iterate of each input.
        best: float32 (N, *input_shape), the adversarial to return so far.
        best_distance: float32 (N,), its norm; infinite while there is none.
        status: int64 (N,), codes of `Status`; inputs that are not RUNNING are left alone.
        extra: what the attack keeps besides, by name.
    """

    iteration: int
    points: Tensor
    best: Tensor
    best_distance: Tensor
    status: Tensor
    extra: Mapping[str, Tensor]

    @property
    def running(self) -> Tensor:
        """Return int64: positions of the inputs that are still under attack."""
        return (self.status == STATUS_CODES[Status.RUNNING]).nonzero().flatten()


class Attack(Protocol):
    """An iterative hard-label attack: a frozen dataclass, whose repr shows every parameter that decides the outcome.

    Attributes:
        revision: the version of its algorithm, counted up with every change that can change a result, so that a
            checkpoint of the old code is not continued by the new.
        deterministic: optional, bool, a class attribute or a property: whether the seed and the identities are without
            effect, which the contract then demands. An attack without this attribute is random.
    """

    revision: ClassVar[int]

    @property
    def name(self) -> str:
        """Its name in the catalog."""
        ...

    @property
    def norm(self) -> Norm:
        """The norm that it makes small."""
        ...

    def init(self, oracle: Oracle, problem: AttackProblem, status: Tensor) -> AttackState:
        """Find a first adversarial for each RUNNING input of `status` (int64 (N,) codes)."""
        ...

    def step(self, oracle: Oracle, problem: AttackProblem, state: AttackState) -> AttackState:
        """Do one iteration for each RUNNING input; set the status of one that is done."""
        ...


@final
@dataclass(frozen=True, slots=True, eq=False)
class Asker:
    """Asks an oracle whether points are adversarial, and knows what each input can still afford."""

    oracle: Oracle
    criterion: Criterion

    def __call__(self, points: Tensor, rows: Tensor) -> Tensor:
        """Return bool (M,): whether each point is adversarial for the input at `rows` (int64 (M,))."""
        labels = self.oracle.label(points, rows.cpu())
        return self.criterion.is_adversarial(labels.to(rows.device), rows)

    def remaining(self, rows: Tensor) -> Tensor:
        """Return int64 (M,): queries left for the inputs at `rows`."""
        return self.oracle.remaining()[rows.cpu()].to(rows.device)


def replace_rows(target: Tensor, rows: Tensor, values: Tensor) -> Tensor:
    """Return a copy of `target` with `values` at positions `rows`."""
    result = target.clone()
    result[rows] = values.to(target.dtype)
    return result


def fill_status(status: Tensor, rows: Tensor, value: Status) -> Tensor:
    """Return a copy of the status codes with `value` at positions `rows`."""
    return replace_rows(status, rows, torch.full_like(rows, STATUS_CODES[value]))


def fresh_state(problem: AttackProblem, status: Tensor, *, extra: Mapping[str, Tensor] | None = None) -> AttackState:
    """Return the state of an attack that has asked for nothing yet."""
    return AttackState(
        iteration=0,
        points=problem.inputs.clone(),
        best=problem.inputs.clone(),
        best_distance=torch.full((problem.inputs.shape[0],), math.inf, device=problem.inputs.device),
        status=status,
        extra=extra if extra is not None else {},
    )


def keep_closest(
    problem: AttackProblem, state: AttackState, rows: Tensor, points: Tensor, norm: Norm, *, always: bool = False
) -> AttackState:
    """Take `points` (float32 (M, *input_shape), seen adversarial) as the best of `rows` where they are closer.

    With `always`, take them in any case: for an attack whose result is where it ends.
    """
    size = distance(problem.inputs[rows], points, norm)
    better = torch.ones_like(size, dtype=torch.bool) if always else size < state.best_distance[rows]
    return replace(
        state,
        best=replace_rows(state.best, rows[better], points[better]),
        best_distance=replace_rows(state.best_distance, rows[better], size[better]),
    )
