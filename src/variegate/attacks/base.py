"""What an attack is: frozen hyper-parameters with `init` and `step`; what it works on, and what it returns.

An attack file defines one final frozen dataclass with the members of `Attack`. It never loops to the end itself: the
driver calls `step` until every input is done, and saves the state between steps.

Randomness comes from one stream per input: every draw names the input, its purpose and its place, and is made by a
generator seeded from these alone. So the attack on an input gives the same result alone, in any batch and after a
resume, as long as the model's labels do.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, final

import torch
from torch import Tensor

from variegate.models.geometry import distance
from variegate.oracles.hard_label import Criterion, Oracle
from variegate.types import Norm, Status


class NoiseSource(Protocol):
    """Draws for the input at position `row`; tests and benchmarks replay another library's draws through this."""

    def start(self, row: int, trial: int, shape: tuple[int, ...]) -> Tensor:
        """Return float32 `shape`, uniform on [0, 1): the noise of one starting trial."""
        ...

    def probes(self, row: int, iteration: int, first: int, shape: tuple[int, int], *, gaussian: bool) -> Tensor:
        """Return float32 (count, d), standard normal or uniform on [-1, 1): probes `first`, `first` + 1, ..."""
        ...


@final
class SeededNoise:
    """Noise decided by a seed and by an identity for each input (its index in the data set, say)."""

    def __init__(self, seed: int, identities: Sequence[int], *, device: torch.device | str = "cpu") -> None:
        self._seed = int(seed)
        self._identities = tuple(int(identity) for identity in identities)
        self._generator = torch.Generator(device=device)

    def start(self, row: int, trial: int, shape: tuple[int, ...]) -> Tensor:
        """Return float32 `shape`, uniform on [0, 1)."""
        return torch.rand(shape, generator=self._at("start", row, trial, 0), device=self._generator.device)

    def probes(self, row: int, iteration: int, first: int, shape: tuple[int, int], *, gaussian: bool) -> Tensor:
        """Return float32 (count, d), standard normal or uniform on [-1, 1)."""
        generator = self._at("probes", row, iteration, first)
        if gaussian:
            return torch.randn(shape, generator=generator, device=generator.device)
        return torch.rand(shape, generator=generator, device=generator.device).mul_(2.0).sub_(1.0)

    def _at(self, purpose: str, row: int, place: int, offset: int) -> torch.Generator:
        text = f"{purpose}/{self._seed}/{self._identities[row]}/{place}/{offset}".encode()
        self._generator.manual_seed(int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1)
        return self._generator


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


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trajectory:
    """The attack's progress: after iteration i, input j had asked `queries[i, j]` and stood at `distances[i, j]`.

    Attributes:
        queries: int64 (T, N).
        distances: float32 (T, N), infinite while there is no adversarial.
    """

    queries: Tensor
    distances: Tensor

    def median_at(self, queries: int) -> float:
        """Return the median over inputs of the smallest norm within `queries` queries; infinite where there is none."""
        reached = torch.where(self.queries <= queries, self.distances, torch.full_like(self.distances, float("inf")))
        return float(reached.amin(0).median()) if reached.numel() else float("nan")


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AttackResult:
    """The outcome of `run_attack`.

    Attributes:
        adversarials: float32 (N, *input_shape); where `success` is false, the clean input (mid-range values for one
            that is not finite).
        status: one `Status` an input.
        queries: int64 (N,), queries asked for each input.
        distances: float32 (N,), norms of the perturbations; NaN where `success` is false.
        trajectory: norms against queries.
        norm: how distances are measured.
        iterations: iterations done.
        seconds: wall-clock seconds, those before a resume included.
        error: what ended the run early, if something did.
        overshoot: float32 (N,), how far past the boundary each ended (`variegate.attacks.overshoot`), NaN without
            success; None where nobody has measured it.
        backward_rows: int64 (N,), how often each input was differentiated; None for attacks that see labels alone.
    """

    adversarials: Tensor
    status: tuple[Status, ...]
    queries: Tensor
    distances: Tensor
    trajectory: Trajectory
    norm: Norm
    iterations: int
    seconds: float
    error: str | None = None
    overshoot: Tensor | None = None
    backward_rows: Tensor | None = None

    @property
    def success(self) -> Tensor:
        """Return bool (N,): inputs with an adversarial, also where the run ended before the attack was done."""
        return torch.isfinite(self.distances)

    @property
    def attempted(self) -> Tensor:
        """Return bool (N,): inputs that were attacked: finite, and right when clean."""
        skipped = (Status.ALREADY_MISCLASSIFIED, Status.NON_FINITE)
        return torch.tensor([status not in skipped for status in self.status], dtype=torch.bool)

    @property
    def status_counts(self) -> dict[str, int]:
        """How many inputs ended with each status."""
        return {status.value: count for status, count in Counter(self.status).items()}
