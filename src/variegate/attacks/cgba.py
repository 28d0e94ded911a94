"""CGBA (Reza, Rahmati, Wu, Dai, ICCV 2023): estimate the normal, then search the boundary along a semicircle.

An iteration stands on a boundary point b at distance r from the clean input x. It asks floor(first_probes sqrt(t))
probes around b, drawn among low frequencies, and takes their mean, signed by the labels, as the normal n (as GeoDA
does). In the plane of b - x and n, the circle whose diameter is the segment from x to b holds, by Thales, the points
nearest to x of all straight boundaries through b; its point at the angle a from b - x towards n lies r cos(a) from x,
so that no point of it is farther away than b. `variant`:

- "cgba": bisects the quarter turn of that semicircle between b (adversarial) and x (not adversarial). On a flat
  boundary it ends at the plane's nearest point, however wrong the normal's angle is.
- "cgba-h", for strongly curved boundaries, such as targeted attacks meet: starts at half the angle of the normal and
  halves it until the point is adversarial, then bisects the straight line from there to x.

From the published description and constants (20,000 queries buy 93 iterations; first_probes 30, sigma 2e-4, tolerance
1e-4, frequencies a fourth of the image's side): the circle, the two searches, the schedule. Ours: positions on the
circle are counted by s = tan(a / 2) instead of a, so only exactly rounded operations decide them (halving s halves a
but for the third order); "cgba" bisects from x itself, which needs no search for a first point that is not adversarial;
the mean answer is subtracted from the probes' answers, as HopSkipJump does; sigma and tolerance are shares of the
bounds' range; at least 32 frequencies a side are kept, which is all of a 32 x 32 image, because the publication's
images have 224 pixels a side, and a fourth of a small side leaves the boundary's nearest points out of reach (on a
CIFAR-10 classifier it ended at .85 L2 after 20,000 queries, and HopSkipJump at .25); points are clipped to the bounds,
which only brings them closer; a point that rounding would move away from x is not taken; starts as in
`variegate.attacks.toolbox`, and a given start is bisected like any other. Inputs are attacked in lock-step.

Cost: 30 sqrt(t) queries in iteration t, and 14 or so for the search at distance 1 in bounds [0, 1], twice that at most
for "cgba-h".
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
from variegate.attacks.subspaces import LowFrequencies, Subspace
from variegate.attacks.toolbox import Starts, bisect, probe, require_starts, start_all
from variegate.models.geometry import as_rows, distance
from variegate.oracles.hard_label import Oracle
from variegate.types import Bounds, Norm, Status, require_at_least, require_one_of, require_positive

Variant = Literal["cgba", "cgba-h"]

_ITERATIONS = 93
_REDUCTION = 4
_MIN_FREQUENCIES = 32
_MIN_PROBES = 10
_MAX_ROUNDS = 64


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CGBA:
    """Hyper-parameters of CGBA and CGBA-H; the norm is always L2.

    Args:
        variant: "cgba" or "cgba-h"; see the module.
        subspace: where probes are drawn; None for the low frequencies that the publication takes, a fourth of the
            longer side of the input's last two axes (at least 32).
        iterations: iterations at most; None runs until the oracle's budget is spent, or 93 where it has none.
        first_probes: probes of the first iteration.
        sigma: standard deviation of a probe's coefficients, as a share of the bounds' range.
        tolerance: how close to the boundary a search ends (L2), as a share of the bounds' range.
        start_trials: random starts tried for each input.
        starts: "varied" or "uniform"; see `variegate.attacks.toolbox`.

    Raises:
        ConfigurationError: a value is outside of its range.
    """

    revision: ClassVar[int] = 2

    variant: Variant = "cgba"
    subspace: Subspace | None = None
    iterations: int | None = None
    first_probes: int = 30
    sigma: float = 2e-4
    tolerance: float = 1e-4
    start_trials: int = 100
    starts: Starts = "varied"

    def __post_init__(self) -> None:
        require_one_of("variant", self.variant, ("cgba", "cgba-h"))
        require_at_least("iterations", self.iterations, 1)
        require_at_least("first_probes", self.first_probes, 1)
        require_positive("sigma", self.sigma, at_most=1.0)
        require_positive("tolerance", self.tolerance, at_most=1.0)
        require_starts(self.start_trials, self.starts)

    @property
    def name(self) -> str:
        """The name in the catalog."""
        return "cgba"

    @property
    def norm(self) -> Norm:
        """The norm that is made small: L2."""
        return Norm.L2

    def init(self, oracle: Oracle, problem: AttackProblem, status: Tensor) -> AttackState:
        """Find starts and bisect them to the boundary."""
        ask = Asker(oracle, problem.criterion)
        state, rows = start_all(
            ask, problem, fresh_state(problem, status), trials=self.start_trials, starts=self.starts
        )
        points = self._straight(ask, problem.inputs[rows], state.points[rows], rows)
        state = replace(state, points=replace_rows(state.points, rows, points))
        return keep_closest(problem, state, rows, points, Norm.L2)

    def step(self, oracle: Oracle, problem: AttackProblem, state: AttackState) -> AttackState:
        """Estimate the normal and search the boundary once for every running input."""
        ask = Asker(oracle, problem.criterion)
        rows = state.running
        reserve = self._reserve(oracle, distance(problem.inputs[rows], state.points[rows], Norm.L2))
        enough = ask.remaining(rows) >= reserve + _MIN_PROBES
        limit = self.iterations if self.iterations is not None else (_ITERATIONS if oracle.budget is None else None)
        if limit is not None and state.iteration >= limit:
            enough = torch.zeros_like(enough)
        status = fill_status(state.status, rows[~enough], Status.SUCCESS)
        rows, reserve = rows[enough], reserve[enough]
        if rows.numel() == 0:
            return replace(state, status=status)
        clean, points = problem.inputs[rows], state.points[rows]
        normal = self._normal(ask, problem, points, rows, reserve, state.iteration)
        moved = self._search(ask, clean, points, normal, rows)
        closer = distance(clean, moved, Norm.L2) < distance(clean, points, Norm.L2)
        points = torch.where(as_rows(closer, points), moved, points)
        state = replace(
            state, iteration=state.iteration + 1, points=replace_rows(state.points, rows, points), status=status
        )
        return keep_closest(problem, state, rows, points, Norm.L2)

    def _reserve(self, oracle: Oracle, radius: Tensor) -> Tensor:
        """Return int64 (M,): queries that a search from this distance may take."""
        rounds = torch.frexp(2.0 * radius / self._end(oracle)).exponent.long().clamp_min(0) + 1
        return rounds if self.variant == "cgba" else 2 * rounds

    def _end(self, oracle: Oracle) -> float:
        """Return the length at which a search ends, in the input's units."""
        return self.tolerance * oracle.bounds.range

    def _normal(
        self, ask: Asker, problem: AttackProblem, points: Tensor, rows: Tensor, reserve: Tensor, iteration: int
    ) -> Tensor:
        """Return float32 (M, *input_shape): the estimated way into the adversarial region, of any length."""
        bounds, shape = ask.oracle.bounds, tuple(points.shape[1:])
        space = self.subspace if self.subspace is not None else _low_frequencies(shape)
        size, scale, flat = space.dimension(shape), self.sigma * bounds.range, points.flatten(1)
        counts = (ask.remaining(rows) - reserve).clamp_max(int(self.first_probes * math.sqrt(iteration + 1)))
        names = rows.tolist()
        below, above = bounds.lower - flat, bounds.upper - flat  # how far each value may move

        def offsets(position: int, first: int, count: int) -> Tensor:
            drawn = problem.noise.probes(names[position], iteration, first, (count, size), gaussian=True)
            return space.lift(drawn.to(flat.device) * scale, shape).clamp(below[position], above[position])

        return probe(ask, points, rows, counts, offsets).normal().view_as(points)

    def _search(self, ask: Asker, clean: Tensor, points: Tensor, normal: Tensor, rows: Tensor) -> Tensor:
        """Return float32 (M, *input_shape): what the search finds; the points themselves where it finds nothing."""
        circle, angle = _Semicircle.through(clean, points, normal, ask.oracle.bounds)
        if self.variant == "cgba":
            return self._bisect_arc(ask, circle, points, rows)
        found, hit = self._halve_arc(ask, circle, points, rows, angle)
        where = hit.nonzero().flatten()
        return replace_rows(found, where, self._straight(ask, clean[where], found[where], rows[where]))

    def _bisect_arc(self, ask: Asker, circle: "_Semicircle", points: Tensor, rows: Tensor) -> Tensor:
        found, low, high = points.clone(), torch.zeros_like(circle.radius), torch.ones_like(circle.radius)
        for _ in range(_MAX_ROUNDS):
            middle = 0.5 * (low + high)
            wide = 2.0 * circle.radius * (high - low) > self._end(ask.oracle)
            chosen = (circle.proper & wide & (low < middle) & (middle < high) & (ask.remaining(rows) > 0)).nonzero()
            if chosen.numel() == 0:
                break
            chosen = chosen.flatten()
            moved = circle.at(chosen, middle[chosen])
            hit = ask(moved, rows[chosen])
            found[chosen[hit]] = moved[hit]
            low[chosen[hit]] = middle[chosen[hit]]
            high[chosen[~hit]] = middle[chosen[~hit]]
        return found

    def _halve_arc(
        self, ask: Asker, circle: "_Semicircle", points: Tensor, rows: Tensor, angle: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return (points, bool (M,): where one on the circle was adversarial); asks at angle / 2, angle / 4, ..."""
        found, done, place = points.clone(), ~circle.proper, angle.clamp_max(1.0)
        hits = torch.zeros_like(done)
        for _ in range(_MAX_ROUNDS):
            place = 0.5 * place
            done |= (2.0 * circle.radius * place <= self._end(ask.oracle)) | (ask.remaining(rows) == 0)
            chosen = (~done).nonzero().flatten()
            if chosen.numel() == 0:
                break
            moved = circle.at(chosen, place[chosen])
            hit = ask(moved, rows[chosen])
            found[chosen[hit]] = moved[hit]
            hits[chosen[hit]] = True
            done |= hits
        return found, hits

    def _straight(self, ask: Asker, clean: Tensor, points: Tensor, rows: Tensor) -> Tensor:
        """Bisect the lines from the clean inputs to adversarial points."""
        radius = distance(clean, points, Norm.L2)
        tolerance = self._end(ask.oracle) / radius.clamp_min(torch.finfo(radius.dtype).tiny)
        return bisect(ask, clean, points, rows, norm=Norm.L2, upper=torch.ones_like(radius), tolerance=tolerance)


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Semicircle:
    """For each of M inputs, the half circle from a boundary point through the side of the normal to the clean input.

    Attributes:
        clean: float32 (M, *input_shape).
        along, across: float32 (M, *input_shape), of unit length, at right angles: to the boundary point, and towards
            the normal.
        radius: float32 (M,), the distance of the boundary point, which is the circle's diameter.
        proper: bool (M,): False where the normal is zero or not aside from `along`.
        bounds: points are clipped to these.
    """

    clean: Tensor
    along: Tensor
    across: Tensor
    radius: Tensor
    proper: Tensor
    bounds: Bounds

    @classmethod
    def through(cls, clean: Tensor, points: Tensor, normal: Tensor, bounds: Bounds) -> tuple["_Semicircle", Tensor]:
        """Return the half circles and float32 (M,): tan(a / 2) for the angle a of the normal."""
        tiny = torch.finfo(clean.dtype).tiny
        along, radius = _unit(points - clean, tiny)
        normal, length = _unit(normal, tiny)
        cosine = _cosine(along, normal)
        across, sine = _unit(normal - as_rows(cosine, along) * along, tiny)
        proper = (length > 0.0) & (radius > 0.0) & (sine > 1e-6)
        circle = cls(clean=clean, along=along, across=across, radius=radius, proper=proper, bounds=bounds)
        return circle, sine / (1.0 + cosine).clamp_min(tiny)

    def at(self, chosen: Tensor, place: Tensor) -> Tensor:
        """Return float32 (K, *input_shape): the points of inputs `chosen` (int64 (K,)) at tan(a / 2) = `place`."""
        square = place * place
        cosine, sine = (1.0 - square) / (1.0 + square), 2.0 * place / (1.0 + square)
        reach, clean = self.radius[chosen] * cosine, self.clean[chosen]
        moved = as_rows(reach * cosine, clean) * self.along[chosen] + as_rows(reach * sine, clean) * self.across[chosen]
        return (clean + moved).clamp(self.bounds.lower, self.bounds.upper)


def _unit(value: Tensor, tiny: float) -> tuple[Tensor, Tensor]:
    """Return the rows at unit length (zero stays zero) and float32 (M,): their lengths."""
    length = value.flatten(1).norm(dim=1)
    return value / as_rows(length.clamp_min(tiny), value), length


def _cosine(one: Tensor, other: Tensor) -> Tensor:
    """Return float32 (M,): the products of rows of unit length, from norms: a sum's rounding depends on the batch."""
    plus, minus = (torch.linalg.vector_norm((one + sign * other).flatten(1), dim=1) for sign in (1.0, -1.0))
    cosine: Tensor = 0.25 * (plus + minus) * (plus - minus)
    return cosine


def _low_frequencies(input_shape: tuple[int, ...]) -> LowFrequencies:
    return LowFrequencies(max(_MIN_FREQUENCIES, math.ceil(max(input_shape[-2:]) / _REDUCTION)))
