"""HopSkipJump (Chen, Jordan, Wainwright, 2020): estimate the boundary's normal from labels, step along it, project.

Each iteration of an input asks n_t = first_probes * sqrt(t) probes around the boundary point, at radius delta_t, forms
the baseline-subtracted mean of their directions signed by the labels, steps dist / sqrt(t) along it, halving until the
point is adversarial, and bisects between it and the clean input.

`semantics`:

- "paper": the constants of the authors' published implementation: bisection to gamma / d^1.5 (L2) or gamma / d^2
  (L-infinity) after every step, so that the attack ends on the boundary; delta_t = sqrt(d) theta dist (L2) or
  d theta dist.
- "art": as ART 1.20 runs it: bisection to 0.01 / sqrt(d) (L2) or 0.01 / d before every step, radius 0.01 dist, and the
  last step's point is returned without projection, up to dist / sqrt(t) past the boundary.

Differences from both: inputs are attacked in lock-step, probes of all inputs share forward passes; probes stream, so
memory does not grow with their number; the line search and the start search are capped; a failed start is a status;
"paper" returns the closest adversarial seen, not the last. Cost: about 100 sqrt(t) + 25 queries in iteration t.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from variegate.attacks.base import Asker, AttackProblem, AttackState, fill_status, replace_rows
from variegate.attacks.boundary_search import bisect
from variegate.attacks.distances import as_rows, distance
from variegate.attacks.starts import Starts, find_starts
from variegate.errors import ConfigurationError
from variegate.models.oracle import HardLabelOracle
from variegate.types import Norm, Status

__all__ = ["HopSkipJump", "Semantics"]

Semantics = Literal["paper", "art"]

_PROBE_CHUNK = 64  # probes of one input that are drawn together; part of the result, so never tuned
_FEWEST_PROBES = 10
_MOST_HALVINGS = 32
_LINE_SEARCH_RESERVE = 8
_START_TOLERANCE = 1e-3
_FINEST = 2.0**-24  # of the range, for one value of a probe: less is lost when it is added to a float32 point


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class HopSkipJump:
    """Hyper-parameters of HopSkipJump.

    Args:
        norm: the norm that is made small.
        semantics: "paper" (the authors' constants) or "art" (ART's); see the module.
        iterations: iterations at most; None runs until the oracle's budget is spent, or 50 where it has none.
        first_probes, most_probes: probes of the first iteration, and of any iteration.
        gamma: the authors' factor of the bisection's tolerance and the probe radius ("paper" only).
        start_trials: random starts tried for each input.
        starts: "varied" or "uniform"; see `variegate.attacks.starts`.
    """

    revision: ClassVar[int] = 1

    norm: Norm = Norm.L2
    semantics: Semantics = "paper"
    iterations: int | None = None
    first_probes: int = 100
    most_probes: int = 10_000
    gamma: float = 1.0
    start_trials: int = 100
    starts: Starts = "varied"

    def __post_init__(self) -> None:
        if not isinstance(self.norm, Norm):
            raise ConfigurationError(f"norm must be Norm.L2 or Norm.LINF; got {self.norm!r}")
        if self.semantics not in ("paper", "art"):
            raise ConfigurationError(f"semantics must be 'paper' or 'art'; got {self.semantics!r}")
        if self.iterations is not None and self.iterations < 1:
            raise ConfigurationError(f"iterations must be at least 1; got {self.iterations}")
        if not 1 <= self.first_probes <= self.most_probes:
            raise ConfigurationError(
                f"first_probes must be from 1 to most_probes; got {self.first_probes} and {self.most_probes}"
            )
        if not 0 < self.gamma < math.inf:
            raise ConfigurationError(f"gamma must be a positive number; got {self.gamma}")
        if self.start_trials < 1:
            raise ConfigurationError(f"start_trials must be at least 1; got {self.start_trials}")
        if self.starts not in ("varied", "uniform"):
            raise ConfigurationError(f"starts must be 'varied' or 'uniform'; got {self.starts!r}")

    @property
    def name(self) -> str:
        """The name in the catalog."""
        return "hopskipjump"

    def init(self, oracle: HardLabelOracle, problem: AttackProblem, status: Tensor) -> AttackState:
        """Find starts and bring them close to the boundary."""
        ask = Asker(oracle, problem.criterion)
        state = AttackState(
            iteration=0,
            points=problem.inputs.clone(),
            best=problem.inputs.clone(),
            best_distance=torch.full((problem.inputs.shape[0],), math.inf, device=problem.inputs.device),
            status=status,
            extra={"radius_base": torch.zeros(problem.inputs.shape[0], device=problem.inputs.device)},
        )
        rows = state.running
        points, found = find_starts(
            ask, problem, rows, bounds=oracle.bounds, trials=self.start_trials, starts=self.starts
        )
        spent = ask.remaining(rows) == 0
        status = fill_status(state.status, rows[~found & ~spent], Status.NO_STARTING_POINT)
        status = fill_status(status, rows[~found & spent], Status.BUDGET_EXHAUSTED)
        rows, points = rows[found], points[found]
        clean = problem.inputs[rows]
        points = self._approach(ask, problem, points, rows)
        base = distance(clean, points, self.norm)
        if self.semantics == "paper":
            points, base = self._project(ask, clean, points, rows)
        state = AttackState(
            iteration=0,
            points=replace_rows(state.points, rows, points),
            best=state.best,
            best_distance=state.best_distance,
            status=status,
            extra={"radius_base": replace_rows(state.extra["radius_base"], rows, base)},
        )
        return self._keep(problem, state, rows)

    def step(self, oracle: HardLabelOracle, problem: AttackProblem, state: AttackState) -> AttackState:
        """Probe, step and project (in ART's order: project, probe and step) every running input."""
        ask = Asker(oracle, problem.criterion)
        rows = state.running
        enough = ask.remaining(rows) >= self._reserve(oracle) + _FEWEST_PROBES
        limit = self.iterations if self.iterations is not None else (50 if oracle.budget is None else None)
        if limit is not None and state.iteration >= limit:
            enough = torch.zeros_like(enough)
        status = fill_status(state.status, rows[~enough], Status.SUCCESS)
        rows = rows[enough]
        if rows.numel() == 0:
            return replace(state, status=status)
        clean, points = problem.inputs[rows], state.points[rows]
        base = distance(clean, points, self.norm) if self.semantics == "art" else state.extra["radius_base"][rows]
        if self.semantics == "art":
            points, _ = self._project(ask, clean, points, rows)
        direction = self._normal(
            ask, oracle, problem, points, rows, self._radius(base, oracle, state.iteration), state.iteration
        )
        points = self._line_search(ask, oracle, clean, points, direction, rows, state.iteration)
        if self.semantics == "paper":
            points, base = self._project(ask, clean, points, rows)
        state = AttackState(
            iteration=state.iteration + 1,
            points=replace_rows(state.points, rows, points),
            best=state.best,
            best_distance=state.best_distance,
            status=status,
            extra={"radius_base": replace_rows(state.extra["radius_base"], rows, base)},
        )
        return self._keep(problem, state, rows)

    def _keep(self, problem: AttackProblem, state: AttackState, rows: Tensor) -> AttackState:
        """Take the iterate as the result: always ("art"), or where it is closer than what is kept ("paper")."""
        size = distance(problem.inputs[rows], state.points[rows], self.norm)
        better = (
            torch.ones_like(size, dtype=torch.bool) if self.semantics == "art" else size < state.best_distance[rows]
        )
        rows, size = rows[better], size[better]
        return replace(
            state,
            best=replace_rows(state.best, rows, state.points[rows]),
            best_distance=replace_rows(state.best_distance, rows, size),
        )

    def _approach(self, ask: Asker, problem: AttackProblem, points: Tensor, rows: Tensor) -> Tensor:
        """Bisect random starts towards the clean inputs; given starting points stay, as both sources have it."""
        drawn = torch.ones(rows.shape[0], dtype=torch.bool, device=rows.device)
        if problem.starting_points is not None:
            drawn = (points != problem.starting_points[rows]).flatten(1).any(1)
        one = torch.ones(int(drawn.sum()), device=points.device)
        closer = bisect(
            ask,
            problem.inputs[rows[drawn]],
            points[drawn],
            rows[drawn],
            norm=Norm.L2,
            upper=one,
            tolerance=one * _START_TOLERANCE,
        )
        return replace_rows(points, drawn.nonzero().flatten(), closer)

    def _theta(self, size: int) -> float:
        if self.semantics == "art":
            return 0.01 / math.sqrt(size) if self.norm is Norm.L2 else 0.01 / size
        return self.gamma / (size * math.sqrt(size)) if self.norm is Norm.L2 else self.gamma / (size * size)

    def _reserve(self, oracle: HardLabelOracle) -> int:
        """Queries that an iteration needs besides its probes."""
        finest = min(self._theta(math.prod(oracle.input_shape)), 0.5)
        if self.semantics == "art" and self.norm is Norm.LINF:
            finest /= max(1.0, oracle.bounds.range)  # its tolerance is in units of the input
        return math.ceil(math.log2(1.0 / finest)) + 1 + _LINE_SEARCH_RESERVE

    def _radius(self, base: Tensor, oracle: HardLabelOracle, iteration: int) -> Tensor:
        """Return float32 (M,): how far probes go (delta_t)."""
        if iteration == 0:
            return torch.full_like(base, 0.1 * oracle.bounds.range)
        size = math.prod(oracle.input_shape)
        factor = math.sqrt(size) if self.norm is Norm.L2 else float(size)
        least = _FINEST * math.sqrt(size) * oracle.bounds.range
        return (factor * self._theta(size) * base).clamp_min(least)

    def _project(self, ask: Asker, clean: Tensor, points: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Bisect to the boundary; return the points and the distances before it (float32 (M,))."""
        before = distance(clean, points, self.norm)
        theta = self._theta(clean[0].numel()) if rows.numel() else 1.0
        if self.norm is Norm.L2:
            upper, tolerance = torch.ones_like(before), torch.full_like(before, theta)
        else:
            upper, tolerance = before, before * theta
            if self.semantics == "art":
                tolerance = tolerance.clamp_max(theta)  # in units of the input, whatever its range
        return bisect(ask, clean, points, rows, norm=self.norm, upper=upper, tolerance=tolerance), before

    def _normal(
        self,
        ask: Asker,
        oracle: HardLabelOracle,
        problem: AttackProblem,
        points: Tensor,
        rows: Tensor,
        radius: Tensor,
        iteration: int,
    ) -> Tensor:
        """Return float32 (M, *input_shape): the estimated way into the adversarial region, of unit length or signs."""
        flat = points.flatten(1)
        size = flat.shape[1]
        wanted = min(int(self.first_probes * math.sqrt(iteration + 1)), self.most_probes)
        later = self._reserve(oracle) if self.semantics == "paper" else _LINE_SEARCH_RESERVE  # "art" projected before
        counts = (ask.remaining(rows) - later).clamp_max(wanted)
        names, reach = rows.tolist(), radius.tolist()
        below, above = oracle.bounds.lower - flat, oracle.bounds.upper - flat  # how far each value may move
        sums = torch.zeros((len(names), 2, size), device=flat.device)  # of f u and of u
        votes = torch.zeros(len(names), device=flat.device)  # sum of f
        for batch in _batches(counts.tolist(), oracle.preferred_rows):
            total = sum(count for _, _, count in batch)
            probes = torch.empty((total, size), device=flat.device)
            owners = torch.repeat_interleave(
                torch.tensor([position for position, _, _ in batch]), torch.tensor([count for _, _, count in batch])
            ).to(rows.device)
            offsets, start = [], 0
            for position, first, count in batch:
                offset = problem.noise.probes(
                    names[position], iteration, first, (count, size), gaussian=self.norm is Norm.L2
                ).to(flat.device)
                length = torch.linalg.vector_norm(offset, dim=1, keepdim=True).clamp_min_(1e-30)
                # Clipped as an offset: the difference of two points would be rounded to the grid of the points.
                offset.mul_(reach[position] / length).clamp_(below[position], above[position])
                torch.add(flat[position], offset, out=probes[start : start + count])
                offsets.append(offset)
                start += count
            hit = ask(probes.view(-1, *points.shape[1:]), rows[owners])
            f = hit.to(flat.dtype).mul_(2.0).sub_(1.0)
            votes.index_add_(0, owners, f)  # whole numbers, so the order does not matter
            weights, start = torch.stack((f, torch.ones_like(f))), 0
            for (position, _, count), offset in zip(batch, offsets, strict=True):
                # A product with a shape and memory of its own for each chunk: the same sums in any batch.
                sums[position] += weights[:, start : start + count].clone() @ offset
                start += count
        mean = (votes / counts)[:, None]
        signed, plain = sums.unbind(1)
        normal = torch.where(mean.abs() == 1.0, mean * plain, signed - mean * plain)
        if self.norm is Norm.L2:
            normal = normal / normal.norm(dim=1, keepdim=True).clamp_min(torch.finfo(normal.dtype).tiny)
        else:
            normal = normal.sign()
        return normal.view_as(points)

    def _line_search(
        self,
        ask: Asker,
        oracle: HardLabelOracle,
        clean: Tensor,
        points: Tensor,
        direction: Tensor,
        rows: Tensor,
        iteration: int,
    ) -> Tensor:
        """Step along `direction`, halving each row's step until it is adversarial; else stay."""
        step = distance(clean, points, self.norm) / math.sqrt(iteration + 1)
        result, open_rows = points.clone(), torch.arange(rows.shape[0], device=rows.device)
        for _ in range(_MOST_HALVINGS):
            open_rows = open_rows[ask.remaining(rows[open_rows]) > 0]
            if open_rows.numel() == 0:
                break
            moved = points[open_rows] + as_rows(step[open_rows], points) * direction[open_rows]
            moved = moved.clamp(oracle.bounds.lower, oracle.bounds.upper)
            hit = ask(moved, rows[open_rows])
            result[open_rows[hit]] = moved[hit]
            open_rows = open_rows[~hit]
            step = step * 0.5
        return result


def _batches(counts: list[int], limit: int) -> Iterator[list[tuple[int, int, int]]]:
    """Cut `counts` probes per position into chunks (position, first, count) and group these up to `limit` rows."""
    batch: list[tuple[int, int, int]] = []
    size = 0
    for position, total in enumerate(counts):
        for first in range(0, total, _PROBE_CHUNK):
            count = min(_PROBE_CHUNK, total - first)
            if batch and size + count > limit:
                yield batch
                batch, size = [], 0
            batch.append((position, first, count))
            size += count
    if batch:
        yield batch
