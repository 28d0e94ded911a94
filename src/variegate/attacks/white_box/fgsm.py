"""The fast gradient method (Goodfellow, Shlens, Szegedy, 2015): one step of size epsilon along the loss's gradient.

L-infinity: the published sign step (section 4). L2: the unit gradient, as ART and Foolbox have it. The point returned
is epsilon away from the clean input wherever the bounds allow it; it is not brought back to the boundary.

Differences from ART: one epsilon, no search for the smallest; gradients of any size count (ART adds 1e-7 to their norm,
which shortens the steps of gradients that small); a step that fails has a status and returns the clean input.
Cost: 3 forward rows (the clean input's label, the pass, the label of the point) and 1 backward row an input.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, final

from torch import Tensor

from variegate.attacks.base import Asker, AttackProblem, AttackState, fill_status, fresh_state, keep_closest
from variegate.attacks.white_box.base import Aim, SteppedAttack, aim, stop_failed
from variegate.attacks.white_box.gradients import GradientOracle
from variegate.attacks.white_box.toolbox import Loss, objective, project, steepest
from variegate.models.geometry import all_finite
from variegate.types import Norm, Status, require_norm, require_one_of, require_positive


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FastGradient(SteppedAttack):
    """Hyper-parameters of the fast gradient method.

    Args:
        epsilon: the size of the perturbation in `norm`, in the units of the input.
        norm: L-infinity (the sign method) or L2.
        loss: "cross_entropy" or "margin", of the log scores.
    """

    revision: ClassVar[int] = 1
    deterministic: ClassVar[bool] = True

    epsilon: float
    norm: Norm = Norm.LINF
    loss: Loss = "cross_entropy"

    def __post_init__(self) -> None:
        require_positive("epsilon", self.epsilon)
        require_norm(self.norm)
        require_one_of("loss", self.loss, ("cross_entropy", "margin"))

    @property
    def name(self) -> str:
        """The name in the catalog."""
        return "fgsm"

    def start(self, oracle: GradientOracle, problem: AttackProblem, status: Tensor) -> AttackState:
        """Return the clean inputs."""
        return fresh_state(problem, status)

    def step(self, oracle: GradientOracle, problem: AttackProblem, state: AttackState) -> AttackState:
        """Take the step, and end."""
        rows, goal = state.running, aim(problem)
        clean = problem.inputs[rows]
        scores, gradient = oracle.pull(clean, rows, objective(self.loss, Aim(goal.labels[rows], goal.targeted)))
        usable = all_finite(scores) & all_finite(gradient)
        status = stop_failed(state.status, rows[~usable], self.name)
        status = fill_status(status, rows[usable], Status.NOT_FOUND)
        slope = usable & (gradient != 0).flatten(1).any(1)
        rows, clean = rows[slope], clean[slope]
        points = clean + self.epsilon * steepest(gradient[slope], self.norm)
        points = project(points, clean, self.epsilon, self.norm, oracle.bounds)
        hit = Asker(oracle.labels, problem.criterion)(points, rows)
        state = keep_closest(problem, state, rows[hit], points[hit], self.norm)
        return replace(state, iteration=1, status=fill_status(status, rows[hit], Status.SUCCESS))
