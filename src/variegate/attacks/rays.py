"""RayS (Chen and Gu, KDD 2020): an L-infinity attack as a discrete search over the signs of the perturbation.

The adversarial is clip(x + r s) for a vector of signs s and a radius r. Starting from one s, blocks of contiguous
values (of the flattened input) are flipped in turn: first all values, then halves, quarters, ... down to single values,
which then go round and round. A flip is asked once at the present radius. Where it is adversarial, the radius is
bisected down to `tolerance`, and the flip is kept if the radius became smaller. There are no gradients, and with
`first_direction="ones"` no randomness.

From the published description: the hierarchy of blocks, the test before the bisection, the bisection from zero, the
first direction of ones, and the tolerance of 1e-3, which is the L2 length of the whole move: 1e-3 / sqrt(d) in radius.
Ours: distances are of the clipped points; the tolerance is a share of the bounds' range; where the first direction is
not adversarial even at the full range, its opposite, and then random signs (of single values, and of 4, 16 and 64
contiguous blocks, in turn) are tried up to `start_trials`; a round of single values that changes nothing makes the
tolerance 16 times finer, where the publication would ask the same questions for ever, and an input is done when the
tolerance is at the resolution of float32.

Starting points, also ours: a given adversarial start is moved to the clean input by clipping it to a shrinking box
around that. Then the signs of (start - x) are asked at the radius reached, and are the first direction where they lead
closer; else the clipped start itself is, and each block that is flipped turns into signs. So a targeted attack
works from any start, which a vector of signs seldom does: without a start it finds one only by luck.

Cost: one query a flip, and log2(r sqrt(d) / tolerance) more for one that is adversarial, r as a share of the range:
11 for r = 0.03 and d = 3072. A round of all blocks is about 2 d flips.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from variegate.attacks.base import Asker, AttackProblem, AttackState, fill_status, fresh_state
from variegate.attacks.toolbox import bisect, blend
from variegate.models.geometry import distance
from variegate.oracles.hard_label import Oracle
from variegate.types import Bounds, Norm, Status, require_at_least, require_one_of, require_positive

FirstDirection = Literal["ones", "random"]

_FLIPS = 10_000
_FLIPS_A_STEP = 32  # so that the driver's bookkeeping costs little beside a small network
_REFINEMENT = 0.0625
_FINEST = 2.0**-24  # of the range: what float32 resolves
_START_BLOCKS = (0, 64, 16, 4)  # of random signs, by trial; 0: single values


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RayS:
    """Hyper-parameters of RayS; the norm is always L-infinity.

    Args:
        first_direction: "ones" (as published, and deterministic) or "random" signs.
        flips: blocks flipped at most for each input; None for as many as the oracle's budget allows,
            or 10,000 where it has none.
        tolerance: how close to the boundary a bisection ends, as the L2 length of the move and a share of the bounds'
            range; it gets finer when nothing else helps.
        start_trials: first directions tried for each input.

    Raises:
        ConfigurationError: a value is outside of its range.
    """

    revision: ClassVar[int] = 1

    first_direction: FirstDirection = "ones"
    flips: int | None = None
    tolerance: float = 1e-3
    start_trials: int = 100

    def __post_init__(self) -> None:
        require_one_of("first_direction", self.first_direction, ("ones", "random"))
        require_at_least("flips", self.flips, 1)
        require_positive("tolerance", self.tolerance, at_most=1.0)
        require_at_least("start_trials", self.start_trials, 1)

    @property
    def name(self) -> str:
        """The name in the catalog."""
        return "rays"

    @property
    def norm(self) -> Norm:
        """The norm that is made small: L-infinity."""
        return Norm.LINF

    @property
    def deterministic(self) -> bool:
        """Whether the seed is without effect: so with "ones", unless that and its opposite are not adversarial."""
        return self.first_direction == "ones"

    def init(self, oracle: Oracle, problem: AttackProblem, status: Tensor) -> AttackState:
        """Take the given starts, or find a first direction for each input, and bisect the radius."""
        count, device = problem.inputs.shape[0], problem.inputs.device
        tolerance = self.tolerance * oracle.bounds.range / math.sqrt(math.prod(oracle.input_shape))
        extra = {
            "aims": problem.inputs.clone(),
            "tolerance": torch.full((count,), tolerance, device=device),
            "idle": torch.zeros(count, dtype=torch.int64, device=device),
        }
        state = fresh_state(problem, status, extra=extra)
        rows, search = state.running, _Search(Asker(oracle, problem.criterion), problem.inputs, state)
        if problem.starting_points is not None:
            search.start_at(problem.starting_points, search.affordable(rows))
        for trial in range(self.start_trials):
            missing = search.affordable(rows[~search.found(rows)])
            if missing.numel() == 0:
                break
            search.attempt(missing, self._first_aims(problem, missing, trial, oracle.bounds))
        missing = rows[~search.found(rows)]
        spent = search.ask.remaining(missing) == 0
        status = fill_status(status, missing[spent], Status.BUDGET_EXHAUSTED)
        return search.state(0, fill_status(status, missing[~spent], Status.NO_STARTING_POINT))

    def step(self, oracle: Oracle, problem: AttackProblem, state: AttackState) -> AttackState:
        """Flip the next blocks of every running input, one after the other."""
        rows, search = state.running, _Search(Asker(oracle, problem.criterion), problem.inputs, state)
        limit = self.flips if self.flips is not None else (_FLIPS if oracle.budget is None else None)
        first = state.iteration * _FLIPS_A_STEP
        last = first + _FLIPS_A_STEP if limit is None else min(first + _FLIPS_A_STEP, limit)
        for number in range(first, last):
            rows = search.affordable(rows[~search.exhausted(rows)])
            if rows.numel() == 0:
                break
            search.flip(rows, *_block(number, math.prod(oracle.input_shape)))
        over = state.running
        if last != limit:
            over = over[search.exhausted(over) | (search.ask.remaining(over) == 0)]
        return search.state(state.iteration + 1, fill_status(state.status, over, Status.SUCCESS))

    def _first_aims(self, problem: AttackProblem, rows: Tensor, trial: int, bounds: Bounds) -> Tensor:
        """Return float32 (M, *input_shape): the corners of the bounds that the first directions point to."""
        shape = tuple(problem.inputs.shape[1:])
        if self.first_direction == "ones" and trial < 2:
            return torch.full((rows.shape[0], *shape), (bounds.upper, bounds.lower)[trial], device=rows.device)
        size = math.prod(shape)
        blocks = min(_START_BLOCKS[trial % len(_START_BLOCKS)] or size, size)
        drawn = torch.stack([problem.noise.start(row, trial, (blocks,)) for row in rows.tolist()]).to(rows.device)
        signs = drawn[:, torch.arange(size, device=rows.device) * blocks // size] >= 0.5
        return _corner(signs, bounds, problem.inputs.dtype).view(-1, *shape)


@final
class _Search:
    """A state's tensors while they are worked on: copied once, then changed in place.

    `aims` (N, *input_shape) are the points that clipping to a box around the clean input turns into the adversarials: a
    corner of the bounds for a vector of signs, a given start until blocks of it are flipped.
    """

    def __init__(self, ask: Asker, clean: Tensor, state: AttackState) -> None:
        self.ask, self._clean = ask, clean
        self._best, self._radius = state.best.clone(), state.best_distance.clone()
        self._aims, self._tolerance, self._idle = (state.extra[name].clone() for name in ("aims", "tolerance", "idle"))

    def state(self, iteration: int, status: Tensor) -> AttackState:
        """Return the tensors as a state."""
        return AttackState(
            iteration=iteration,
            points=self._best.clone(),
            best=self._best,
            best_distance=self._radius,
            status=status,
            extra={"aims": self._aims, "tolerance": self._tolerance, "idle": self._idle},
        )

    def affordable(self, rows: Tensor) -> Tensor:
        """Return the rows that have a query left."""
        return rows[self.ask.remaining(rows) > 0]

    def found(self, rows: Tensor) -> Tensor:
        """Return bool (M,): which have an adversarial."""
        return torch.isfinite(self._radius[rows])

    def exhausted(self, rows: Tensor) -> Tensor:
        """Return bool (M,): which can get no closer in float32."""
        return self._tolerance[rows] < _FINEST * self.ask.oracle.bounds.range

    def start_at(self, starts: Tensor, rows: Tensor) -> None:
        """Take the starts (float32 (N, *input_shape)) that are adversarial, then the signs towards them."""
        hit = self.ask(starts[rows], rows)
        rows = rows[hit]
        self._shrink(rows, starts[rows], starts[rows])
        rows, bounds = self.affordable(rows), self.ask.oracle.bounds
        self.attempt(rows, _corner(starts[rows] >= self._clean[rows], bounds, starts.dtype))

    def attempt(self, rows: Tensor, aims: Tensor) -> Tensor:
        """Ask for other aims at the present radius and take those that make it smaller: bool (M,)."""
        points = blend(self._clean[rows], aims, self._radius[rows], Norm.LINF)
        hit = self.ask(points, rows)
        closer = torch.zeros_like(hit)
        closer[hit] = self._shrink(rows[hit], aims[hit], points[hit])
        return closer

    def flip(self, rows: Tensor, start: int, end: int) -> None:
        """Try the other signs for the values from `start` to `end` of the flattened inputs."""
        bounds, aims = self.ask.oracle.bounds, self._aims[rows]
        part, clean = aims.flatten(1)[:, start:end], self._clean[rows].flatten(1)[:, start:end]
        down = (part == bounds.upper) | ((part != bounds.lower) & (part >= clean))
        aims.view(aims.shape[0], -1)[:, start:end] = _corner(~down, bounds, aims.dtype)
        closer = self.attempt(rows, aims)
        self._idle[rows] = torch.where(closer, 0, self._idle[rows] + 1) if end - start == 1 else 0
        stale = rows[self._idle[rows] >= self._clean[0].numel()]
        if stale.numel():
            self._idle[stale] = 0
            self._tolerance[stale] *= _REFINEMENT
            self._shrink(stale, self._aims[stale], self._best[stale])

    def _shrink(self, rows: Tensor, aims: Tensor, points: Tensor) -> Tensor:
        """Bisect the radius of adversarial points; take what is closer than the best: bool (M,)."""
        clean = self._clean[rows]
        radius = distance(clean, points, Norm.LINF)
        points = bisect(self.ask, clean, points, rows, norm=Norm.LINF, upper=radius, tolerance=self._tolerance[rows])
        radius = distance(clean, points, Norm.LINF)
        closer = radius < self._radius[rows]
        taken = rows[closer]
        self._aims[taken], self._best[taken], self._radius[taken] = aims[closer], points[closer], radius[closer]
        return closer


def _corner(up: Tensor, bounds: Bounds, dtype: torch.dtype) -> Tensor:
    """Return the upper bound where `up` (bool), the lower elsewhere."""
    return torch.where(up, bounds.upper, bounds.lower).to(dtype)


def _block(number: int, size: int) -> tuple[int, int]:
    """Return where the block of that number starts and ends, of 1, 2, 4, ... blocks of a vector of that size."""
    parts = 1
    while True:
        length = -(-size // parts)
        blocks = -(-size // length)
        if number < blocks or length == 1:
            start = number % blocks * length
            return start, min(size, start + length)
        number, parts = number - blocks, 2 * parts
