"""SurFree (Maho, Furon, Le Merrer, 2021): shrink the perturbation along circles, with no estimate of any gradient.

From the boundary point x_b at distance d of the clean input x, with u = (x_b - x) / d, and a random direction v that is
orthogonal to u, an angle theta names the point

    z(theta) = x + d cos(theta) (cos(theta) u + sin(theta) v)

of the circle through x and x_b that has their distance as its diameter: z(0) is x_b, and |z(theta) - x| is
d cos(theta). Where the boundary is flat, the adversarial points of the circle are one arc that begins at x_b, so the
largest adversarial angle is the closest point. For each direction the attack asks for z(theta_max) and z(-theta_max)
(with T `levels` also for smaller angles, T - 1, ..., 1 parts of T); the first that is adversarial is refined by
bisection, up to the next larger angle of that side, which for theta_max itself is theta_max (1 + 1 / T). Afterwards
theta_max is divided by `rho` where the direction was of use, and multiplied by it elsewhere.

Directions are random low frequencies, orthogonal to the last `n_ortho` (Gram-Schmidt), so that none is tried again
in vain.

Made from the paper's description, not from its authors' code. What differs, or is filled in where that is silent:
every input has its own phase, and a step asks up to 8 questions for each running input; coefficients of directions are
standard normal, whatever the frequency and the input; theta_max stays between 0.001 radians, where a success is worth
less than float32 shows, and 45 degrees; the bisection ends after `refinements` questions or at `tolerance` times its
angle; at most as many directions are kept orthogonal as half the dimension of the subspace; a point moves only where
its distance shrinks. Questions are not rounded to 8 bits here: that is for an oracle in front of the model.

Cost: about 10 queries of bisection after the start, then 2 T for a direction without use and up to 2 T + 7 for another;
about half the directions are of use once theta_max has settled.

Memory: the directions of N inputs are N x (n_ortho + 1) x d float32, 1.2 MB an input of 3 x 32 x 32 and 61 MB one of
3 x 224 x 224 with n_ortho = 100; a step holds them twice. They are part of the state, so of every checkpoint too: lower
`n_ortho`, or attack fewer inputs at once, where that is too much (a checkpoint holds 8 GiB at most).
"""

import math
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
from variegate.attacks.subspaces import FullSpace, LowFrequencies, Subspace
from variegate.attacks.toolbox import Starts, bisect, require_starts, start_all
from variegate.errors import ConfigurationError
from variegate.models.geometry import distance
from variegate.oracles.hard_label import Oracle
from variegate.types import Norm, Status, require_at_least, require_positive

_START_TOLERANCE = 1e-3
_MIN_ANGLE = 1e-3  # radians: 1 - cos of it is 5e-7
_MAX_DEGREES = 45.0  # so that the bisection's upper end is at most 90 degrees, the clean input itself
_WITHOUT_BUDGET = 100  # directions
_QUESTIONS = 8  # of an input in one step; the state is copied once a step
_NOTHING_LEFT = 1e-3  # of a direction's length after Gram-Schmidt


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SurFree:
    """Hyper-parameters of SurFree; the defaults are the published ones where nothing else is said.

    Args:
        subspace: where directions are drawn; None for the lower half of the frequencies along each of the last two
            axes (of the longer one, if they differ), or the full space for inputs of one axis.
        theta_max: the largest angle tried at first, in degrees, at most 45.
        levels: T, how many angles up to theta_max are tried on each side.
        rho: by which theta_max shrinks after a direction without use, and grows after one of use; below 1.
        n_ortho: how many past directions a new one is orthogonal to; it decides the memory, see the module.
        refinements: bisections at most after a success.
        tolerance: of the bisection, as a share of the angle.
        directions: directions tried for each input; None tries until the oracle's budget is spent, or 100 where it has
            none.
        start_trials: random starts tried for each input.
        starts: "varied" or "uniform"; see `variegate.attacks.toolbox`.
    """

    revision: ClassVar[int] = 1

    subspace: Subspace | None = None
    theta_max: float = 30.0
    levels: int = 1
    rho: float = 0.95
    n_ortho: int = 100
    refinements: int = 7
    tolerance: float = 0.01
    directions: int | None = None
    start_trials: int = 100
    starts: Starts = "varied"

    def __post_init__(self) -> None:
        if self.subspace is not None and not callable(getattr(self.subspace, "lift", None)):
            raise ConfigurationError(
                f"subspace must be None, FullSpace(), LowFrequencies(side) or ResizedNoise(factor); "
                f"got {self.subspace!r}"
            )
        require_positive("theta_max (degrees)", self.theta_max, at_most=_MAX_DEGREES)
        require_at_least("levels", self.levels, 1)
        if not 0.0 < self.rho < 1.0:
            raise ConfigurationError(f"rho must be above 0 and below 1; got {self.rho}")
        require_at_least("n_ortho", self.n_ortho, 0)
        require_at_least("refinements", self.refinements, 0)
        require_positive("tolerance", self.tolerance, at_most=1.0)
        require_at_least("directions", self.directions, 1)
        require_starts(self.start_trials, self.starts)

    @property
    def name(self) -> str:
        """The name in the catalog."""
        return "surfree"

    @property
    def norm(self) -> Norm:
        """The norm that is made small."""
        return Norm.L2

    def init(self, oracle: Oracle, problem: AttackProblem, status: Tensor) -> AttackState:
        """Find starts and bring them to the boundary."""
        ask = Asker(oracle, problem.criterion)
        state = fresh_state(problem, status, extra=self._extra(problem))
        state, rows = start_all(ask, problem, state, trials=self.start_trials, starts=self.starts)
        one = torch.ones(rows.shape[0], device=rows.device)
        points = bisect(
            ask,
            problem.inputs[rows],
            state.points[rows],
            rows,
            norm=Norm.L2,
            upper=one,
            tolerance=one * _START_TOLERANCE,
        )
        state = replace(state, points=replace_rows(state.points, rows, points))
        return keep_closest(problem, state, rows, points, Norm.L2)

    def step(self, oracle: Oracle, problem: AttackProblem, state: AttackState) -> AttackState:
        """Ask a few questions for every running input, one after the other, and go by the answers."""
        ask = Asker(oracle, problem.criterion)
        history = state.extra["history"].clone()  # this step writes into it
        state = replace(state, iteration=state.iteration + 1, extra={**state.extra, "history": history})
        for _ in range(_QUESTIONS):
            state = self._question(ask, problem, state)
            if state.running.numel() == 0:
                break
        return state

    def _question(self, ask: Asker, problem: AttackProblem, state: AttackState) -> AttackState:
        """Ask one question for every running input."""
        extra, rows, bounds = state.extra, state.running, ask.oracle.bounds
        over = ask.remaining(rows) == 0
        limit = self.directions
        if limit is None and ask.oracle.budget is None:
            limit = _WITHOUT_BUDGET
        if limit is not None:
            over |= extra["counts"][rows, 0] >= limit
        if problem.inputs[0].numel() == 1:
            over = torch.ones_like(over)  # nothing is orthogonal to u: bisection was all
        state = replace(state, status=fill_status(state.status, rows[over], Status.SUCCESS))
        rows = rows[~over]
        if rows.numel() == 0:
            return state
        clean, corner = problem.inputs[rows], state.points[rows]
        size = distance(clean, corner, Norm.L2)
        u = (corner - clean).flatten(1) / size.clamp_min(torch.finfo(size.dtype).tiny)[:, None]
        tried, turn = extra["counts"][rows].unbind(1)
        self._draw(problem, extra["history"], rows, tried, u, turn == 0)
        v = extra["history"][rows, tried % extra["history"].shape[1]]
        theta = self._angle(turn, extra["angles"][rows])
        angles = (
            theta.tolist()
        )  # in float64 by the math library: a tensor's cosine may round otherwise in other batches
        cos = torch.tensor([math.cos(angle) for angle in angles], device=size.device)[:, None]
        sin = torch.tensor([math.sin(angle) for angle in angles], device=size.device)[:, None]
        offset = (size[:, None] * cos) * (cos * u + sin * v)
        points = (clean + offset.view_as(clean)).clamp(bounds.lower, bounds.upper)
        hit = ask(points, rows)
        state = keep_closest(problem, state, rows[hit], points[hit], Norm.L2)
        return self._answered(state, rows, theta, hit)

    def _extra(self, problem: AttackProblem) -> dict[str, Tensor]:
        """Return what the attack keeps of each input.

        history: float32 (N, slots, d), directions; the one in use, number `tried`, is at `tried` modulo slots, and the
        others are the past ones that a new direction is made orthogonal to, or zeros.
        counts: int64 (N, 2): `tried`, the directions done with, and `turn`, which question of the direction comes
        next: up to 2 T the angles tried, from there on bisections. angles: float32 (N, 3), radians: the bisection's
        ends, of one sign, and theta_max.
        """
        count, shape = problem.inputs.shape[0], tuple(problem.inputs.shape[1:])
        device = problem.inputs.device
        slots = 1 + min(self.n_ortho, self._subspace(shape).dimension(shape) // 2)
        return {
            "history": torch.zeros((count, slots, math.prod(shape)), device=device),
            "counts": torch.zeros((count, 2), dtype=torch.int64, device=device),
            "angles": torch.tensor([0.0, 0.0, math.radians(self.theta_max)], device=device).repeat(count, 1),
        }

    def _subspace(self, input_shape: tuple[int, ...]) -> Subspace:
        if self.subspace is not None:
            return self.subspace
        return FullSpace() if len(input_shape) == 1 else LowFrequencies(math.ceil(max(input_shape[-2:]) / 2))

    def _draw(
        self, problem: AttackProblem, history: Tensor, rows: Tensor, tried: Tensor, u: Tensor, wanted: Tensor
    ) -> None:
        """Write a new direction into the history of each row that is `wanted`."""
        shape = tuple(problem.inputs.shape[1:])
        subspace = self._subspace(shape)
        size = (1, subspace.dimension(shape))
        places = wanted.nonzero().flatten().tolist()
        names, numbers = rows.tolist(), tried.tolist()
        for place in places:  # one input at a time: a product over several would round otherwise in other batches
            row, number = names[place], numbers[place]
            drawn = problem.noise.probes(row, number, 0, size, gaussian=True).to(history.device)
            slot = number % history.shape[1]
            past = history[row].clone()
            past[slot] = 0.0
            direction, length = _orthogonal(subspace.lift(drawn, shape)[0], u[place], past)
            if not length > _NOTHING_LEFT:  # the subspace is all spanned: leave it
                drawn = problem.noise.probes(row, number, 1, (1, math.prod(shape)), gaussian=True).to(history.device)
                direction, _ = _orthogonal(drawn[0], u[place], past[:0])
            history[row, slot] = direction

    def _angle(self, turn: Tensor, angles: Tensor) -> Tensor:
        """Return float32 (M,): the angle to ask for, in radians."""
        level = self.levels - torch.div(turn, 2, rounding_mode="floor")
        sign = 1 - 2 * (turn % 2)
        tried = angles[:, 2] * (sign * level) / self.levels
        return torch.where(turn < 2 * self.levels, tried, 0.5 * (angles[:, 0] + angles[:, 1]))

    def _answered(self, state: AttackState, rows: Tensor, theta: Tensor, hit: Tensor) -> AttackState:
        """Move on to the next question of each row, or to its next direction."""
        last = 2 * self.levels
        tried, turn = state.extra["counts"][rows].unbind(1)
        low, high, widest = state.extra["angles"][rows].unbind(1)
        trying = turn < last
        found = trying & hit
        low = torch.where(hit, theta, low)
        high = torch.where(found, theta + theta.sign() * widest / self.levels, torch.where(hit, high, theta))
        turn = torch.where(found, last, turn + 1)
        useless = trying & ~hit & (turn == last)
        narrow = (turn - last >= self.refinements) | ((high - low).abs() <= self.tolerance * low.abs())
        refined = (turn >= last) & ~useless & narrow
        widest = torch.where(useless, widest * self.rho, torch.where(refined, widest / self.rho, widest))
        widest = widest.clamp(min(_MIN_ANGLE, math.radians(self.theta_max)), math.radians(_MAX_DEGREES))
        done = useless | refined
        counts = torch.stack((tried + done, turn.masked_fill(done, 0)), 1)
        angles = torch.stack((low, high, widest), 1)
        near = rows[refined]
        return replace(
            state,
            points=replace_rows(state.points, near, state.best[near]),
            extra={
                "history": state.extra["history"],
                "counts": replace_rows(state.extra["counts"], rows, counts),
                "angles": replace_rows(state.extra["angles"], rows, angles),
            },
        )


def _orthogonal(drawn: Tensor, u: Tensor, past: Tensor) -> tuple[Tensor, float]:
    """Return (float32 (d,) of unit length, what share of `drawn` it is made of).

    Args:
        drawn: float32 (d,).
        u: float32 (d,), of unit length.
        past: float32 (slots, d): orthonormal rows, or rows of zeros.
    """
    both = torch.stack((drawn, u))
    both = both - (both @ past.T) @ past
    rest = both[1] / torch.linalg.vector_norm(both[1]).clamp_min(_NOTHING_LEFT)  # of u, which turns after a success
    direction = both[0] - (both[0] * rest).sum() * rest
    direction = direction - (direction * u).sum() * u  # exactly, for the circle's sake
    length = torch.linalg.vector_norm(direction)
    tiny = torch.finfo(length.dtype).tiny
    share = length / torch.linalg.vector_norm(drawn).clamp_min(tiny)
    return direction / length.clamp_min(tiny), float(share)
