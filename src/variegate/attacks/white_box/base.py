"""What a white-box attack is, what it attacks, and how it runs: in the driver that runs the hard-label attacks.

So inputs are checked by the same rules and get the same statuses. In white-box words:

- ALREADY_MISCLASSIFIED: the clean input is wrong (or is the target already) and was not attacked;
- SUCCESS: the adversarial that is returned was labelled by `predict`, by itself, and is adversarial;
- NOT_FOUND: the iterations ran out, or the gradient vanished, before an adversarial was found;
- ORACLE_FAILED: the scores or gradients at some iterate were NaN or infinite (the log says at how many inputs), or the
  model raised an error (`AttackResult.error`); an adversarial that was found before is kept;
- NON_FINITE: the clean input holds NaN or infinity.

`AttackResult.queries` counts forward rows: how often an input was passed forward through the model, with or without
gradients. `AttackResult.backward_rows` counts beside them how often one was differentiated.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, final

from torch import Tensor

from variegate.attacks.base import AttackProblem, AttackResult, AttackState, fill_status
from variegate.attacks.driver import run_attack
from variegate.attacks.white_box.gradients import Differentiable, GradientOracle
from variegate.errors import ConfigurationError
from variegate.oracles.hard_label import Misclassified, MisclassifiedAs, Oracle
from variegate.types import Norm, Status

__all__ = ["Aim", "Differentiable", "SteppedAttack", "WhiteBoxAttack", "aim", "stop_failed"]

_LOG = logging.getLogger(__name__)


class WhiteBoxAttack(ABC):
    """An attack with gradients: a frozen dataclass, whose repr shows every parameter that decides the outcome.

    Whatever is none of its subclasses counts as a hard-label attack, whatever methods it has.

    Attributes:
        revision: the version of its algorithm, counted up with every change that can change a result.
    """

    __slots__ = ()

    revision: ClassVar[int]

    @property
    @abstractmethod
    def name(self) -> str:
        """Its name."""

    @property
    @abstractmethod
    def norm(self) -> Norm:
        """How its perturbations are measured."""

    @abstractmethod
    def run(
        self,
        target: Differentiable,
        inputs: Tensor,
        labels: Tensor,
        *,
        seed: int,
        targets: Tensor | None = None,
        identities: Sequence[int] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> AttackResult:
        """Attack every input; arguments as for `variegate.attacks.driver.run_attack`."""


class SteppedAttack(WhiteBoxAttack):
    """A white-box attack that works in steps over all inputs; subclasses are final frozen dataclasses."""

    __slots__ = ()

    @abstractmethod
    def start(self, oracle: GradientOracle, problem: AttackProblem, status: Tensor) -> AttackState:
        """Return the state before the first step; `status` holds int64 (N,) codes."""

    @abstractmethod
    def step(self, oracle: GradientOracle, problem: AttackProblem, state: AttackState) -> AttackState:
        """Do one iteration for each RUNNING input; set the status of one that is done."""

    @final
    def run(
        self,
        target: Differentiable,
        inputs: Tensor,
        labels: Tensor,
        *,
        seed: int,
        targets: Tensor | None = None,
        identities: Sequence[int] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> AttackResult:
        """Attack every input.

        Args:
            target: what is attacked: a `Classifier`, a rewritten copy, or a mean of copies.
            inputs: float32 (N, *input_shape), within the target's bounds; rows with NaN get the status NON_FINITE.
            labels: int64 (N,), the correct labels.
            seed: decides the attack's randomness, if it has any, together with the identities.
            targets: int64 (N,), labels that the adversarials shall get; None for any wrong one.
            identities: an integer an input that names it in its random stream; by default its position.
            progress: called with (forward rows so far, 0).

        Raises:
            InputError: shapes, labels or bounds do not fit, or the target has no gradients to give.
            ConfigurationError: the attack cannot be targeted and `targets` are given.
        """
        oracle = GradientOracle(target, samples=inputs.shape[0] if inputs.ndim else 0)
        result = run_attack(
            _InDriver(attack=self, oracle=oracle),
            oracle.labels,
            inputs,
            labels,
            seed=seed,
            targets=targets,
            identities=identities,
            progress=progress,
        )
        forward, backward = int(result.queries.sum()), int(oracle.backward_rows.sum())
        _LOG.debug("%s: %d forward rows, %d backward rows, %d inputs", self.name, forward, backward, len(result.status))
        return replace(result, backward_rows=oracle.backward_rows.clone())


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _InDriver:
    """A `SteppedAttack` on one target, as the driver takes it."""

    revision: ClassVar[int] = 1

    attack: SteppedAttack
    oracle: GradientOracle

    @property
    def name(self) -> str:
        return self.attack.name

    @property
    def norm(self) -> Norm:
        return self.attack.norm

    def init(self, oracle: Oracle, problem: AttackProblem, status: Tensor) -> AttackState:
        return self.attack.start(self.oracle, problem, status)

    def step(self, oracle: Oracle, problem: AttackProblem, state: AttackState) -> AttackState:
        return self.attack.step(self.oracle, problem, state)


@final
@dataclass(frozen=True, slots=True, eq=False)
class Aim:
    """Where an attack shall go.

    Attributes:
        labels: int64 (N,): the labels to be left, or, if `targeted`, to be reached.
        targeted: which of both.
    """

    labels: Tensor
    targeted: bool


def aim(problem: AttackProblem) -> Aim:
    """Return which labels the problem's criterion is about.

    Raises:
        ConfigurationError: the criterion is neither `Misclassified` nor `MisclassifiedAs`.
    """
    match problem.criterion:
        case Misclassified(labels=labels):
            return Aim(labels, targeted=False)
        case MisclassifiedAs(targets=targets):
            return Aim(targets, targeted=True)
        case other:
            raise ConfigurationError(
                f"a gradient leads away from a label or towards one; got the criterion {type(other).__name__}"
            )


def stop_failed(status: Tensor, rows: Tensor, name: str) -> Tensor:
    """Return the status codes with ORACLE_FAILED at `rows` (int64 (M,)), where the model gave NaN or infinity."""
    if rows.numel():
        _LOG.warning("%s: scores or gradients of %d inputs are NaN or infinite; they are given up", name, rows.numel())
    return fill_status(status, rows, Status.ORACLE_FAILED)
