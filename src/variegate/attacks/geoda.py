"""GeoDA (Rahmati, Moosavi-Dezfooli, Frossard, Dai, CVPR 2020): the boundary is nearly flat, so its normal is the way.

Bring a start to the boundary. Then, iteration by iteration: ask probes around the boundary point, all of them among the
low frequencies, add up their directions signed by the answers (the boundary's normal), go from the clean input along
the normal (for L-infinity: along its signs) until the label changes, and bisect back to the boundary. Later iterations
get more probes, growing by mu^(-2/3), which is optimal by the paper's equation 19; the means of all iterations add up.

`semantics`:

- "paper": the authors' published code: bisection to 1e-4 (L2). Different from it: the normal is first followed as far
  as the boundary point lies, then up to 8 times as far, where the code goes in multiples of 5 times the sum of means,
  whose length depends on the number of probes; L-infinity is bisected along the signs, clipped at every radius, where
  the code bisects the segment to a point that is clipped once (with few frequencies, a corner of the cube); a normal
  that meets no adversarial (curved boundaries, targeted attacks) is followed from the boundary point, in steps that
  halve, and then bisected back, where the code gives up; the closest adversarial seen is returned, not the last; after
  the growing noise, the shared starts are tried. The code measures in standardised pixels, of about .226 of the range
  each; here as in ART in the range of the bounds. Its 75 frequencies are for 224 x 224 inputs, a third of the side.
- "art": as ART 1.20.1 runs it on inputs in [0, 1]: bisection to 0.1 (L2) between segment ends, steps of 5 sums of
  means, up to 100 of them, and the last point is returned. At that tolerance the point lies some hundred times farther
  from the boundary than probes reach, nearly all answers are the same, and the direction is close to random; that is
  what ART measures, and why it is kept.
  Different from it: lengths scale with the range of the bounds (ART scales only some); ART asks again what it knows
  (the clean input in each iteration, two points for its log), here that is not asked; where 100 steps find nothing, ART
  goes on from a point that is not adversarial, here the boundary point stays; ART has neither targets nor given starts.

Different from both: any input shape (they want square images); probes are asked clipped to the bounds, but enter the
sum unclipped; the search for a start is capped; a plan is made for any number of queries (both recurse without end or
fail for some below about 460); inputs are attacked in lock-step and their probes share forward passes. Cost: the plan's
probes and about 20 queries an iteration.
"""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
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
from variegate.attacks.subspaces import LowFrequencies
from variegate.attacks.toolbox import bisect, find_starts, probe, settle_starts
from variegate.models.geometry import as_rows, distance
from variegate.oracles.hard_label import Oracle
from variegate.types import Norm, Status, require_at_least, require_norm, require_one_of, require_positive

_SEARCH_QUERIES = 25  # set aside for an iteration's search and bisection, by the authors' code and by ART
_MIN_PROBES = 10
_FIRST_PROBES = (50, 80)  # a plan's first iteration has no fewer and no more
_TOLERANCE = {"paper": 1e-4, "art": 0.1}  # L2, of the range
_NOISE_STEP = 0.02  # of the range, by which the noise of starts grows
_ART_STEP, _ART_STEPS = 5.0, 100
_DOUBLINGS, _HALVINGS = 4, 8
_LARGEST_LOGARITHM = 600.0  # of a float64 that a sum may still grow beyond
_START = -1  # the iteration under which starts draw their noise


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class GeoDA:
    """Hyper-parameters of GeoDA.

    Args:
        norm: the norm that is made small.
        semantics: "paper" (the authors' code) or "art" (ART's); see the module.
        max_queries: what the plan of iterations shares out, or the oracle's budget where that is smaller (ART's
            `max_iter`); None takes the oracle's budget, 4,000 where it has none.
        sub_dim: frequencies along each of the last two axes.
        sigma: standard deviation of a probe's coefficients, as a part of the range of the bounds.
        tolerance: where bisection stops (L2, as a part of the range); None is 1e-4 ("paper") or 0.1 ("art").
        mu: how the plan grows: by mu^(-2/3) an iteration (ART's `lambda_param`).
        start_trials: random starts tried for each input; "paper" then tries as many of the shared "varied" ones.
    """

    revision: ClassVar[int] = 1

    norm: Norm = Norm.L2
    semantics: Literal["paper", "art"] = "paper"
    max_queries: int | None = 4000
    sub_dim: int = 10
    sigma: float = 2e-4
    tolerance: float | None = None
    mu: float = 0.6
    start_trials: int = 100

    def __post_init__(self) -> None:
        require_norm(self.norm)
        require_one_of("semantics", self.semantics, ("paper", "art"))
        require_at_least("max_queries", self.max_queries, 1)
        require_at_least("sub_dim", self.sub_dim, 1)
        require_positive("sigma", self.sigma)
        if self.tolerance is not None:
            require_positive("tolerance", self.tolerance)
        require_positive("mu", self.mu, at_most=1.0)
        require_at_least("start_trials", self.start_trials, 1)

    @property
    def name(self) -> str:
        """The name in the catalog."""
        return "geoda"

    def init(self, oracle: Oracle, problem: AttackProblem, status: Tensor) -> AttackState:
        """Find starts in noise that grows, and bisect them to the boundary."""
        ask = Asker(oracle, problem.criterion)
        state = fresh_state(problem, status, extra={"normal": torch.zeros_like(problem.inputs)})
        state, rows = settle_starts(ask, state, *self._starts(ask, problem, state.running))
        points = self._bisect(ask, problem.inputs[rows], state.points[rows], rows)
        state = replace(state, points=replace_rows(state.points, rows, points))
        return self._keep(problem, state, rows, points)

    def step(self, oracle: Oracle, problem: AttackProblem, state: AttackState) -> AttackState:
        """Estimate the normal, follow it from the clean input and bisect, for every running input."""
        ask = Asker(oracle, problem.criterion)
        plan = self._plan(oracle)
        rows = state.running
        enough = ask.remaining(rows) >= _SEARCH_QUERIES + _MIN_PROBES
        if state.iteration >= len(plan):
            enough = torch.zeros_like(enough)
        status = fill_status(state.status, rows[~enough], Status.SUCCESS)
        rows = rows[enough]
        if rows.numel() == 0:
            return replace(state, status=status)
        points = state.points[rows]
        counts = (ask.remaining(rows) - _SEARCH_QUERIES).clamp_max(plan[state.iteration])
        normal = state.extra["normal"][rows] + self._mean(oracle, problem, points, rows, counts, state.iteration)
        if self.semantics == "art":
            points = self._art_search(ask, problem.inputs[rows], points, normal, rows)
        else:
            points = self._search(ask, problem.inputs[rows], points, normal, rows)
        state = replace(
            state,
            iteration=state.iteration + 1,
            points=replace_rows(state.points, rows, points),
            status=status,
            extra={"normal": replace_rows(state.extra["normal"], rows, normal)},
        )
        return self._keep(problem, state, rows, points)

    def _plan(self, oracle: Oracle) -> tuple[int, ...]:
        limits = [limit for limit in (self.max_queries, oracle.budget) if limit is not None]
        return plan_probes(min(limits, default=4000), self.mu)

    def _keep(self, problem: AttackProblem, state: AttackState, rows: Tensor, points: Tensor) -> AttackState:
        """Take the iterate as the result: always ("art"), or where it is closer than what is kept ("paper")."""
        return keep_closest(problem, state, rows, points, self.norm, always=self.semantics == "art")

    def _starts(self, ask: Asker, problem: AttackProblem, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return points (M, *input_shape) and whether each is adversarial (bool (M,)): given, or noise that grows."""
        bounds = ask.oracle.bounds
        points, found = find_starts(ask, problem, rows, bounds=bounds, trials=0, starts="uniform")
        clean = problem.inputs[rows]
        size = clean[:1].numel()
        for trial in range(self.start_trials):
            chosen = (~found & (ask.remaining(rows) > 0)).nonzero().flatten()
            if chosen.numel() == 0:
                break
            noise = [
                problem.noise.probes(row, _START, trial, (1, size), gaussian=True) for row in rows[chosen].tolist()
            ]
            reach = (trial + 1) * _NOISE_STEP * bounds.range
            drawn = clean[chosen] + reach * torch.cat(noise).to(clean.device).view_as(clean[chosen])
            drawn = drawn.clamp(bounds.lower, bounds.upper)
            hit = ask(drawn, rows[chosen])
            points[chosen[hit]] = drawn[hit]
            found[chosen[hit]] = True
        left = (~found).nonzero().flatten()
        if self.semantics == "paper" and left.numel():
            drawn, hit = find_starts(
                ask,
                replace(problem, starting_points=None),
                rows[left],
                bounds=bounds,
                trials=self.start_trials,
                starts="varied",
            )
            points[left[hit]] = drawn[hit]
            found[left[hit]] = True
        return points, found

    def _bisect(self, ask: Asker, clean: Tensor, points: Tensor, rows: Tensor, *, along: Norm = Norm.L2) -> Tensor:
        """Bring adversarial points to the boundary, to an L2 tolerance: on the segment, or in boxes (L-infinity)."""
        tolerance = (self.tolerance or _TOLERANCE[self.semantics]) * ask.oracle.bounds.range
        length = distance(clean, points, along)
        if along is Norm.L2:
            upper = torch.ones_like(length)
            within = (tolerance / length.clamp_min(torch.finfo(length.dtype).tiny)).clamp_max(1.0)
        else:
            upper = length
            within = torch.full_like(length, tolerance / math.sqrt(math.prod(clean.shape[1:])))
        return bisect(ask, clean, points, rows, norm=along, upper=upper, tolerance=within)

    def _mean(
        self, oracle: Oracle, problem: AttackProblem, points: Tensor, rows: Tensor, counts: Tensor, iteration: int
    ) -> Tensor:
        """Return float32 (M, *input_shape): the mean probe, signed by its answer, for sigma 1 (ART's `grad_oi`)."""
        space = LowFrequencies(self.sub_dim)
        size = space.dimension(oracle.input_shape)
        names, spread = rows.tolist(), self.sigma * oracle.bounds.range

        def offsets(position: int, first: int, count: int) -> Tensor:
            drawn = problem.noise.probes(names[position], iteration, first, (count, size), gaussian=True)
            return space.lift(drawn.to(points.device).mul_(spread), oracle.input_shape)

        sums = probe(Asker(oracle, problem.criterion), points, rows, counts, offsets, bounds=oracle.bounds)
        return (sums.signed / (self.sigma * sums.counts[:, None])).view_as(points)

    def _art_search(self, ask: Asker, clean: Tensor, points: Tensor, normal: Tensor, rows: Tensor) -> Tensor:
        """Go from the clean inputs in equal steps until adversarial, then bisect the segment; else stay."""
        bounds = ask.oracle.bounds
        if self.norm is Norm.LINF:
            length = normal.flatten(1).norm(dim=1) / (bounds.range * bounds.range)
            normal = normal.sign() / as_rows(length.clamp_min(torch.finfo(length.dtype).tiny), normal)
        reached, found = points.clone(), torch.zeros_like(rows, dtype=torch.bool)
        for step in range(1, _ART_STEPS + 1):
            chosen = (~found & (ask.remaining(rows) > 0)).nonzero().flatten()
            if chosen.numel() == 0:
                break
            moved = (clean[chosen] + step * _ART_STEP * normal[chosen]).clamp(bounds.lower, bounds.upper)
            hit = ask(moved, rows[chosen])
            reached[chosen[hit]] = moved[hit]
            found[chosen[hit]] = True
        hits = found.nonzero().flatten()
        return replace_rows(reached, hits, self._bisect(ask, clean[hits], reached[hits], rows[hits]))

    def _search(self, ask: Asker, clean: Tensor, points: Tensor, normal: Tensor, rows: Tensor) -> Tensor:
        """Follow the normal from the clean inputs, or else from the boundary points, then bisect; else stay."""
        bounds = ask.oracle.bounds
        if self.norm is Norm.L2:
            length = normal.flatten(1).norm(dim=1).clamp_min(torch.finfo(normal.dtype).tiny)
            normal = normal / as_rows(length, normal)
        else:
            normal = normal.sign()
        radius = distance(clean, points, self.norm)
        ways = [(clean, 2.0**power) for power in range(_DOUBLINGS)]
        ways += [(points, 0.5**power) for power in range(_HALVINGS)]
        reached, found = points.clone(), torch.zeros_like(rows, dtype=torch.bool)
        for origin, share in ways:
            chosen = (~found & (ask.remaining(rows) > 0)).nonzero().flatten()
            if chosen.numel() == 0:
                break
            moved = origin[chosen] + as_rows(share * radius[chosen], normal) * normal[chosen]
            moved = moved.clamp(bounds.lower, bounds.upper)
            hit = ask(moved, rows[chosen])
            reached[chosen[hit]] = moved[hit]
            found[chosen[hit]] = True
        hits = found.nonzero().flatten()
        closer = self._bisect(ask, clean[hits], reached[hits], rows[hits], along=self.norm)
        return replace_rows(reached, hits, closer)


@lru_cache(maxsize=64)
def plan_probes(queries: int, mu: float) -> tuple[int, ...]:
    """Return how many probes each iteration has: they grow by mu^(-2/3), from 50 to 80 in the first iteration.

    25 queries an iteration are set aside for its search, in two passes, as the authors' code and ART do it; where that
    recurses without end, because one iteration more or less leaves both limits, it is the fewer iterations. At least
    one iteration, and at least one probe in each.

    Args:
        queries: to share out.
        mu: above 0 and at most 1, where all iterations get the same.
    """
    first = max(1, round(queries / 500))
    plan = _share(max(1, queries - first * _SEARCH_QUERIES), first, mu)
    return _share(max(1, queries - len(plan) * _SEARCH_QUERIES), first, mu)


def _share(probes: int, iterations: int, mu: float) -> tuple[int, ...]:
    """Share `probes` out, over `iterations` or as many more or fewer as bring the first share within the limits."""
    fewest, most = _FIRST_PROBES
    growth = mu ** (-2.0 / 3.0)
    sums = [0.0]

    def weight(place: int) -> float:
        return growth**place if place * math.log(growth) < _LARGEST_LOGARITHM else math.inf

    def first(count: int) -> int:
        while len(sums) <= count:
            sums.append(sums[-1] + weight(len(sums) - 1))
        return round(probes / sums[count])

    while first(iterations) > most and first(iterations + 1) >= fewest:
        iterations += 1
    while iterations > 1 and first(iterations) < fewest:
        iterations -= 1
    return tuple(max(1, round(probes * weight(t) / sums[iterations])) for t in range(iterations))
