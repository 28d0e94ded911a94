"""The Carlini-Wagner L2 attack (2017): the smallest perturbation for which a margin is positive, by descent.

With x' = middle + half tanh(w), which stays within the bounds, Adam makes

    ||(x' - x) / range||^2 + c max(confidence - margin(x'), 0)

small (paper, section VI-A). The margin is of log scores, which for a softmax is the margin of the logits. The factor c
is each input's own: `rounds` rounds of `iterations` descents from the clean input, with c ten times as large while
nothing was found and then bisected between the largest that failed and the smallest that did not.

Differences from the authors' code and from ART: distances are in units of the range, so c and the learning rate mean
the same in any bounds; a round ends early for each input by itself, where a tenth of the iterations gained less than
1e-4 of the loss (`abort_early`); Adam's state is fresh in each round; the closest adversarial of a round is labelled by
itself before it counts; ART replaces Adam by a line search; the learning rate is .003 where the authors take .01, with
which Adam's first step alone is about .3 long in L2 on 3 x 32 x 32 values, farther than many boundaries.

Cost: up to rounds x iterations forward and backward rows an input, and a label for the clean input and for each round
that came closer.
"""

import math
from collections.abc import Mapping
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
from variegate.attacks.white_box.toolbox import margin
from variegate.errors import ConfigurationError
from variegate.models.geometry import all_finite, as_rows, distance
from variegate.types import Norm, Status, require_at_least, require_positive

_PARTS = 10  # of a round; after each, inputs that gain nothing more are left alone until the next round
_MIN_GAIN = 1e-4
_INSIDE = 0.999999  # of half the range: the clean input's w is finite at a bound
_BETA_1, _BETA_2, _ADAM_EPSILON = 0.9, 0.999, 1e-8
_GROWTH = 10.0


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CarliniWagner(SteppedAttack):
    """Hyper-parameters of the Carlini-Wagner L2 attack.

    Args:
        confidence: the least margin of log scores that counts (kappa); 0 for any adversarial.
        rounds: values of c that are tried for each input.
        iterations: descents for each value of c.
        learning_rate: of Adam, on w.
        first_constant: the first c.
        abort_early: end a round where the loss falls no more.
    """

    revision: ClassVar[int] = 2
    deterministic: ClassVar[bool] = True

    confidence: float = 0.0
    rounds: int = 9
    iterations: int = 1000
    learning_rate: float = 0.003
    first_constant: float = 1e-3
    abort_early: bool = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.confidence < math.inf:
            raise ConfigurationError(f"confidence must be a number from 0 up; got {self.confidence}")
        require_at_least("rounds", self.rounds, 1)
        require_at_least("iterations", self.iterations, 1)
        require_positive("learning_rate", self.learning_rate)
        require_positive("first_constant", self.first_constant)

    @property
    def name(self) -> str:
        """The name in the catalog."""
        return "carlini_wagner"

    @property
    def norm(self) -> Norm:
        """Always L2."""
        return Norm.L2

    def start(self, oracle: GradientOracle, problem: AttackProblem, status: Tensor) -> AttackState:
        """Return the state before the first round; nothing is asked."""
        zero = torch.zeros(len(status), device=problem.inputs.device)
        extra = {
            "constant": zero + self.first_constant,
            "lower": zero,
            "upper": zero + math.inf,
            **_round_start(oracle, problem.inputs),
        }
        return fresh_state(problem, status, extra=extra)

    def step(self, oracle: GradientOracle, problem: AttackProblem, state: AttackState) -> AttackState:
        """Do a tenth of a round; after the last tenth, choose the next constants."""
        part = state.iteration % _PARTS
        if part == 0:
            state = replace(state, extra={**state.extra, **_round_start(oracle, problem.inputs)})
        active = state.running[~state.extra["halted"][state.running]]
        first, end = part * self.iterations // _PARTS, (part + 1) * self.iterations // _PARTS
        if active.numel() and end > first:
            state = self._descend(oracle, problem, state, active, first, end)
        state = replace(state, iteration=state.iteration + 1)
        if part == _PARTS - 1:
            state = self._end_round(oracle, problem, state)
        if state.iteration >= self.rounds * _PARTS:
            rows = state.running
            found = state.best_distance[rows].isfinite()
            status = fill_status(state.status, rows[~found], Status.NOT_FOUND)
            state = replace(state, status=fill_status(status, rows[found], Status.SUCCESS))
        return state

    def _descend(
        self, oracle: GradientOracle, problem: AttackProblem, state: AttackState, rows: Tensor, first: int, end: int
    ) -> AttackState:
        """Do Adam's steps `first` to `end` of this round for the inputs at `rows`."""
        goal = aim(problem)
        goal = Aim(goal.labels[rows], goal.targeted)
        now = {name: value[rows].clone() for name, value in state.extra.items()}
        clean, failed = problem.inputs[rows], torch.zeros_like(now["halted"])
        loss = now["loss"]

        def hinge(scores: Tensor, part: slice) -> Tensor:
            short = (self.confidence - margin(scores, Aim(goal.labels[part], goal.targeted))).clamp_min(0.0)
            return now["constant"][part] * short

        for count in range(first + 1, end + 1):
            points = _inside(oracle, now["w"])
            scores, pull = oracle.pull(points, rows, hinge)
            failed |= ~(all_finite(scores) & all_finite(pull))
            hit = problem.criterion.is_adversarial(scores.argmax(1), rows) & ~failed
            gained = margin(scores, goal)
            hit &= gained >= self.confidence
            now["hit"] |= hit
            size = distance(clean, points, Norm.L2)
            closer = hit & (size < now["closest"])
            now["closest"] = torch.where(closer, size, now["closest"])
            now["candidate"] = torch.where(as_rows(closer, points), points, now["candidate"])
            loss = (size / oracle.bounds.range).square() + now["constant"] * (self.confidence - gained).clamp_min(0.0)
            slope = 2.0 * (points - clean) / oracle.bounds.range**2 + pull
            slope = slope * (0.5 * oracle.bounds.range) * (1.0 - now["w"].tanh().square())
            self._adam(now, torch.where(as_rows(failed, slope), torch.zeros_like(slope), slope), count)
        now["halted"] |= failed
        if self.abort_early:
            now["halted"] |= loss > (1.0 - _MIN_GAIN) * now["loss"]
        now["loss"] = loss
        extra = {name: replace_rows(value, rows, now[name]) for name, value in state.extra.items()}
        return replace(state, extra=extra, status=stop_failed(state.status, rows[failed], self.name))

    def _adam(self, now: dict[str, Tensor], slope: Tensor, count: int) -> None:
        now["mean"] = _BETA_1 * now["mean"] + (1.0 - _BETA_1) * slope
        now["square"] = _BETA_2 * now["square"] + (1.0 - _BETA_2) * slope.square()
        mean = now["mean"] / (1.0 - _BETA_1**count)
        root = (now["square"] / (1.0 - _BETA_2**count)).sqrt()
        now["w"] = now["w"] - self.learning_rate * mean / (root + _ADAM_EPSILON)

    def _end_round(self, oracle: GradientOracle, problem: AttackProblem, state: AttackState) -> AttackState:
        """Label what came closer, keep it, and choose each input's next constant."""
        extra, rows = state.extra, state.running
        rows = rows[extra["closest"][rows] < state.best_distance[rows]]
        points = extra["candidate"][rows]
        hit = Asker(oracle.labels, problem.criterion)(points, rows)
        state = keep_closest(problem, state, rows[hit], points[hit], Norm.L2)
        found, constant = extra["hit"], extra["constant"]
        lower = torch.where(found, extra["lower"], constant)
        upper = torch.where(found, constant, extra["upper"])
        following = torch.where(upper.isinf(), _GROWTH * constant, 0.5 * (lower + upper))
        return replace(state, extra={**extra, "lower": lower, "upper": upper, "constant": following})


def _round_start(oracle: GradientOracle, clean: Tensor) -> Mapping[str, Tensor]:
    middle, half = 0.5 * (oracle.bounds.lower + oracle.bounds.upper), 0.5 * oracle.bounds.range
    none = torch.zeros(clean.shape[0], dtype=torch.bool, device=clean.device)
    far = torch.full((clean.shape[0],), math.inf, device=clean.device)
    return {
        "w": torch.atanh(_INSIDE * (clean - middle) / half),
        "mean": torch.zeros_like(clean),
        "square": torch.zeros_like(clean),
        "candidate": clean,
        "closest": far,
        "loss": far,
        "hit": none,
        "halted": none,
    }


def _inside(oracle: GradientOracle, w: Tensor) -> Tensor:
    """Return the points that belong to `w`; the bounds once more, for the rounding."""
    low, high = oracle.bounds.lower, oracle.bounds.upper
    return (0.5 * (low + high) + 0.5 * (high - low) * w.tanh()).clamp(low, high)
