"""DeepFool (Moosavi-Dezfooli, Fawzi, Frossard, 2016): step to the nearest boundary of the linearised classifier.

With f_k the scores and w_k the gradient of f_k - f_y, the nearest of the linearised boundaries is at
min_k |f_k - f_y| / ||w_k||, in the direction of that w_k (paper, algorithm 2). All samples share passes: per iteration
one forward pass of the rows that are not done and one backward pass per candidate class, streamed, so that of the
gradients of all classes only the nearest's is kept.

`scores` decides what f is:

- "log": the log of the scores. Of a softmax that is as good as logits, which DeepFool was published for.
- "probabilities": the L1-normalised scores themselves, as the variegate paper ran it through ART (section 5.4). They
  saturate: at a sure input their gradients are tiny, so a linear step is far longer than the way to the boundary, and
  DeepFool ends well past it, at the bounds even, or, where the gradient is 0 in float32, finds nothing. Distances and
  success rates measured in this way flatter a defence.

`semantics`:

- "paper": the iterate is x + (1 + overshoot) r with the sum r of all steps, and its label ends the loop, as the authors
  published it (overshoot 0.02). Candidates are the `candidates` best labels of each clean input.
- "art": as ART 1.20 runs it: the label of x + r ends the loop, and (1 + overshoot) r is added at the end (overshoot
  1e-6, less than float32 resolves for most values, so some results are not adversarial; they fail here and are returned
  by ART). 1e-7 is added to norms, which shortens steps where gradients are tiny. Candidates are the union of the
  `candidates` best labels of all inputs under attack, so a result can depend on the other inputs of the call. Two
  mistakes of ART are kept: where the union is not all classes, steps are computed from the score of another class than
  the input's own (the class whose number is the label's place in the union); and steps are multiplied by the range of
  the bounds, which is right for [0, 1] only.

Differences from both: a step in "paper" is at least 1e-4 of the perturbation so far (the authors add 1e-4 in the units
of the input), so that no iterate rests on a boundary; iterates stay within the bounds (the authors do not clip); an
input whose gradients vanish or whose iterate no longer moves stops at once; each result is labelled before it counts.
Targeted ("paper" only, an extension): steps lead to the boundary between the target and the best other label.

Cost: 2 forward rows per input, then 2 per iteration ("art": and 1 at the end), and candidates - 1 backward rows per
iteration ("art": the size of the union, and 1).
"""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, final

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
from variegate.attacks.white_box.gradients import ForwardPass, GradientOracle
from variegate.attacks.white_box.toolbox import log_scores, unit_rows
from variegate.errors import ConfigurationError
from variegate.models.geometry import all_finite, as_rows, distance
from variegate.types import Norm, Status, require_at_least, require_one_of

DeepFoolScores = Literal["log", "probabilities"]
DeepFoolSemantics = Literal["paper", "art"]

_OVERSHOOTS = {"paper": 0.02, "art": 1e-6}
_MIN_STEP = 1e-4  # of the perturbation so far
_FINEST = 2.0**-24  # of the range, for one value
_ART_TOLERANCE = 1e-7  # ART's guard against a division by zero; part of its result


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class DeepFool(SteppedAttack):
    """Hyper-parameters of DeepFool.

    Args:
        scores: "log" or "probabilities"; see the module.
        semantics: "paper" or "art"; see the module.
        overshoot: by how much of itself the perturbation is lengthened; None for 0.02 ("paper") or 1e-6 ("art").
        candidates: classes of highest score that are considered, the input's own among them (ART's `nb_grads`).
        iterations: steps at most.
    """

    revision: ClassVar[int] = 1
    deterministic: ClassVar[bool] = True

    scores: DeepFoolScores = "log"
    semantics: DeepFoolSemantics = "paper"
    overshoot: float | None = None
    candidates: int = 10
    iterations: int = 100

    def __post_init__(self) -> None:
        require_one_of("scores", self.scores, ("log", "probabilities"))
        require_one_of("semantics", self.semantics, ("paper", "art"))
        if self.overshoot is not None and not 0.0 <= self.overshoot < math.inf:
            raise ConfigurationError(f"overshoot must be a number from 0 up; got {self.overshoot}")
        require_at_least("candidates", self.candidates, 2)
        require_at_least("iterations", self.iterations, 1)

    @property
    def name(self) -> str:
        """The name in the catalog."""
        return "deepfool"

    @property
    def norm(self) -> Norm:
        """Always L2."""
        return Norm.L2

    def start(self, oracle: GradientOracle, problem: AttackProblem, status: Tensor) -> AttackState:
        """Choose the candidate classes of each input.

        Raises:
            ConfigurationError: a targeted attack with `semantics="art"`.
        """
        goal = aim(problem)
        if goal.targeted and self.semantics == "art":
            raise ConfigurationError("the attack 'deepfool' cannot be targeted with semantics 'art'; use 'paper'")
        state = fresh_state(problem, status)
        rows, classes = state.running, oracle.labels.num_classes
        if goal.targeted:
            return replace(state, extra={"candidates": goal.labels[:, None]})
        kept = min(self.candidates, classes)
        if kept == classes:
            candidates = torch.arange(classes, device=rows.device).expand(len(status), classes)
            return replace(state, extra={"candidates": candidates.contiguous()})
        best = oracle.scores(problem.inputs[rows], rows).topk(kept, 1).indices
        if self.semantics == "art":
            candidates = best.unique().expand(len(status), -1).contiguous()
        else:
            candidates = replace_rows(best.new_zeros((len(status), kept)), rows, best)
        return replace(state, extra={"candidates": candidates})

    def step(self, oracle: GradientOracle, problem: AttackProblem, state: AttackState) -> AttackState:
        """Move every running input to the nearest boundary of its linearised classifier."""
        ask = Asker(oracle.labels, problem.criterion)
        rows = state.running
        clean, points = problem.inputs[rows], state.points[rows]
        length, direction, usable = self._nearest(oracle, problem, points, rows, state.extra["candidates"][rows])
        moved = self._moved(oracle, clean, points, length, direction)
        stuck = (moved == points).flatten(1).all(1) | (direction == 0).flatten(1).all(1)
        hit = torch.zeros_like(stuck)
        hit[~stuck] = ask(moved[~stuck], rows[~stuck])
        state = replace(
            state,
            iteration=state.iteration + 1,
            points=replace_rows(state.points, rows, moved),
            status=stop_failed(state.status, rows[~usable], self.name),
        )
        over = usable & (hit | stuck | (state.iteration >= self.iterations))
        if self.semantics == "art":
            moved = self._overshot(oracle, clean, moved)
            hit[over] = ask(moved[over], rows[over])
        hit &= (moved != clean).flatten(1).any(1)
        state = keep_closest(problem, state, rows[hit & over], moved[hit & over], Norm.L2)
        status = fill_status(state.status, rows[over & ~hit], Status.NOT_FOUND)
        return replace(state, status=fill_status(status, rows[over & hit], Status.SUCCESS))

    def _nearest(
        self, oracle: GradientOracle, problem: AttackProblem, points: Tensor, rows: Tensor, candidates: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the way to the nearest linearised boundary.

        Returns:
            Lengths of the step, float32 (M,); unit vectors, float32 (M, *input_shape), zero where there is no slope;
            bool (M,): whether scores and a gradient were finite.
        """
        goal = aim(problem)
        length, direction = points.new_zeros(points.shape[0]), torch.zeros_like(points)
        usable = torch.zeros(points.shape[0], dtype=torch.bool, device=points.device)
        for done in oracle.passes(points, rows):
            labels = Aim(goal.labels[rows[done.part]], goal.targeted)
            length[done.part], direction[done.part], usable[done.part] = self._nearest_of(
                done, labels, candidates[done.part]
            )
        return length, direction, usable

    def _nearest_of(self, done: ForwardPass, goal: Aim, candidates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        values = log_scores(done.scores) if self.scores == "log" else done.scores
        own = goal.labels[:, None]
        if goal.targeted:
            own = values.detach().scatter(1, own, -math.inf).argmax(1, keepdim=True)
        finite = all_finite(done.scores.detach())
        nearest = torch.full_like(values[:, 0].detach(), math.inf)
        length, usable, direction = torch.zeros_like(nearest), torch.zeros_like(finite), torch.empty(0)
        # ART reads the own score at the label's place among the candidates, which is right if they are all classes.
        against = (candidates < own).sum(1, keepdim=True) if self.semantics == "art" else own
        own_slope = done.gradient(values.gather(1, own)[:, 0], more=True) if self.semantics == "art" else direction
        for place in range(candidates.shape[1]):
            other = candidates[:, place, None]
            gap = (values.gather(1, other) - values.gather(1, against))[:, 0]
            more = place + 1 < candidates.shape[1]
            if self.semantics == "art":  # the same difference, rounded otherwise: it shows where scores saturate
                slope = done.gradient(values.gather(1, other)[:, 0], more=more) - own_slope
            else:
                slope = done.gradient(gap, more=more)
            unit, steepness = unit_rows(slope)
            away, size = self._distance(gap.detach().abs(), steepness)
            good = finite & all_finite(slope) & (other != own)[:, 0]
            closer = good & (away < nearest)
            usable |= good
            nearest, length = torch.where(closer, away, nearest), torch.where(closer, size, length)
            before = direction if place else torch.zeros_like(unit)
            direction = torch.where(as_rows(closer, unit), unit, before)
        return length, direction, usable

    def _distance(self, gap: Tensor, steepness: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the nearest boundary is chosen by, and how long the step to it is, both float32 (m,)."""
        if self.semantics == "art":
            return gap / (steepness + _ART_TOLERANCE), gap * steepness / (steepness.square() + _ART_TOLERANCE)
        away = torch.where(steepness > 0, gap / steepness, torch.full_like(gap, math.inf))
        return away, away

    def _moved(
        self, oracle: GradientOracle, clean: Tensor, points: Tensor, length: Tensor, direction: Tensor
    ) -> Tensor:
        low, high, width = oracle.bounds.lower, oracle.bounds.upper, oracle.bounds.range
        if self.semantics == "art":
            return (points + as_rows(length * width, points) * direction).clamp(low, high)
        diagonal = width * math.sqrt(math.prod(points.shape[1:]))  # a longer step ends in the same corner
        so_far = (points - clean) / (1.0 + self._overshoot)
        least = (_MIN_STEP * distance(clean, points, Norm.L2)).clamp_min(_FINEST * diagonal)
        change = so_far + as_rows(length.clamp_max(diagonal).maximum(least), points) * direction
        return (clean + (1.0 + self._overshoot) * change).clamp(low, high)

    def _overshot(self, oracle: GradientOracle, clean: Tensor, points: Tensor) -> Tensor:
        return (clean + (1.0 + self._overshoot) * (points - clean)).clamp(oracle.bounds.lower, oracle.bounds.upper)

    @property
    def _overshoot(self) -> float:
        return self.overshoot if self.overshoot is not None else _OVERSHOOTS[self.semantics]
