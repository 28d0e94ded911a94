"""Projected gradient descent (Madry et al., 2018): steps along the loss's gradient, each projected into the ball.

L-infinity: x <- P(x + a sign(g)). L2: x <- P(x + a g / ||g||). P is the projection onto the ball of radius epsilon
around the clean input and then onto the bounds. The start is random within the ball, from a stream of the input's own,
or the clean input.

The last iterate is the result, as published; `stop_early` ends an input at its first adversarial iterate instead,
which saves passes and gives smaller perturbations that lie less far past the boundary.

Differences from ART and Foolbox: `step_size` is by default 2.5 epsilon / steps (Madry et al.'s rule); random starts do
not depend on the batch, and L2 ones are uniform in the ball; gradients of any size count; an input whose gradient is
exactly zero stops at once. Cost: `steps` + 2 forward rows and `steps` backward rows an input; with `stop_early` up to
2 `steps` + 1 forward rows.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from torch import Tensor

from variegate.attacks.base import (
    Asker,
    AttackProblem,
    AttackState,
    fill_status,
    fresh_state,
    keep_closest,
    replace_rows,
)
from variegate.attacks.white_box.base import Aim, SteppedAttack, aim, stop_failed
from variegate.attacks.white_box.gradients import GradientOracle
from variegate.attacks.white_box.toolbox import Loss, objective, project, steepest, unit_rows
from variegate.models.geometry import all_finite, as_rows
from variegate.types import Norm, Status, require_at_least, require_norm, require_one_of, require_positive

_STEPS_ACROSS = 2.5  # all steps together, in radii: enough to reach any point of the ball from any other


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectedGradient(SteppedAttack):
    """Hyper-parameters of projected gradient descent.

    Args:
        epsilon: the radius of the ball in `norm`, in the units of the input.
        norm: L2 or L-infinity.
        steps: gradient steps.
        step_size: length of one, in the units of the input; None for 2.5 epsilon / steps.
        random_start: start at a random point of the ball, not at the clean input.
        loss: "cross_entropy" or "margin", of the log scores.
        stop_early: return the first adversarial iterate, not the last iterate.
    """

    revision: ClassVar[int] = 1

    epsilon: float
    norm: Norm = Norm.LINF
    steps: int = 40
    step_size: float | None = None
    random_start: bool = True
    loss: Loss = "cross_entropy"
    stop_early: bool = False

    def __post_init__(self) -> None:
        require_positive("epsilon", self.epsilon)
        require_norm(self.norm)
        require_at_least("steps", self.steps, 1)
        if self.step_size is not None:
            require_positive("step_size", self.step_size)
        require_one_of("loss", self.loss, ("cross_entropy", "margin"))

    @property
    def name(self) -> str:
        """The name in the catalog."""
        return "pgd"

    @property
    def deterministic(self) -> bool:
        """Whether the seed is without effect."""
        return not self.random_start

    def start(self, oracle: GradientOracle, problem: AttackProblem, status: Tensor) -> AttackState:
        """Return the clean inputs or random points near them; nothing is asked."""
        state = fresh_state(problem, status)
        rows = state.running
        if not self.random_start or rows.numel() == 0:
            return state
        clean = problem.inputs[rows]
        points = project(clean + self._offsets(problem, rows), clean, self.epsilon, self.norm, oracle.bounds)
        return replace(state, points=replace_rows(state.points, rows, points))

    def step(self, oracle: GradientOracle, problem: AttackProblem, state: AttackState) -> AttackState:
        """Step once; after the last step, ask for the label."""
        rows, goal = state.running, aim(problem)
        clean, points = problem.inputs[rows], state.points[rows]
        scores, gradient = oracle.pull(points, rows, objective(self.loss, Aim(goal.labels[rows], goal.targeted)))
        usable = all_finite(scores) & all_finite(gradient)
        status = stop_failed(state.status, rows[~usable], self.name)
        rows, clean, points, gradient = rows[usable], clean[usable], points[usable], gradient[usable]
        size = self.step_size if self.step_size is not None else _STEPS_ACROSS * self.epsilon / self.steps
        points = points + size * steepest(gradient, self.norm)
        points = project(points, clean, self.epsilon, self.norm, oracle.bounds)
        state = replace(
            state, iteration=state.iteration + 1, points=replace_rows(state.points, rows, points), status=status
        )
        last = (gradient == 0).flatten(1).all(1) | (state.iteration >= self.steps)
        moved = (points != clean).flatten(1).any(1)
        asked = moved if self.stop_early else moved & last
        hit = torch.zeros_like(last)
        hit[asked] = Asker(oracle.labels, problem.criterion)(points[asked], rows[asked])
        state = keep_closest(problem, state, rows[hit], points[hit], self.norm)
        status = fill_status(state.status, rows[last & ~hit], Status.NOT_FOUND)
        return replace(state, status=fill_status(status, rows[hit], Status.SUCCESS))

    def _offsets(self, problem: AttackProblem, rows: Tensor) -> Tensor:
        """Return float32 (M, *input_shape), uniform in the ball of radius epsilon."""
        clean = problem.inputs[rows]
        shape, names = (1, clean[0].numel()), rows.tolist()
        drawn = [problem.noise.probes(row, 0, 0, shape, gaussian=self.norm is Norm.L2) for row in names]
        offsets = torch.stack(drawn).to(clean.device).view_as(clean)
        if self.norm is Norm.LINF:
            return self.epsilon * offsets
        share = torch.stack([problem.noise.start(row, 0, (1,)) for row in names]).to(clean.device)[:, 0]
        return self.epsilon * as_rows(share ** (1.0 / shape[1]), clean) * unit_rows(offsets)[0]
