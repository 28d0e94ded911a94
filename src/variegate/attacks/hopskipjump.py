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

Three options of later work, each off by default:

- `subspace`: probes are drawn as coefficients in a subspace and lifted to the input space, then scaled to the radius
  (QEBA, Li et al., 2020). Radii and tolerances keep the full dimension. For L-infinity the coefficients are uniform.
- `probe_radius`: probes go out by this share of the distance, in every iteration: an attacker who knows that the copy
  adds something rugged to a smooth original looks past it.
- `flip_rate`: for an oracle whose answers are wrong that often, as many more probes as keep the expected cosine of the
  estimated normal (PopSkipJump, Simon-Gabriel et al., 2021; `variegate.attacks.toolbox`). Bisection and line
  search still believe every answer: pair it with `variegate.oracles.voting.MajorityVote`.
"""

import math
from dataclasses import dataclass, field, replace
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
from variegate.attacks.subspaces import FullSpace, Subspace
from variegate.attacks.toolbox import Starts, bisect, probe, probes_for, require_flip_rate, require_starts, start_all
from variegate.errors import ConfigurationError
from variegate.models.geometry import as_rows, distance
from variegate.oracles.hard_label import Oracle
from variegate.types import Norm, Status, require_at_least, require_norm, require_one_of, require_positive

Semantics = Literal["paper", "art"]

_MIN_PROBES = 10
_MAX_HALVINGS = 32
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
        starts: "varied" or "uniform"; see `variegate.attacks.toolbox`.
        subspace: where probes are drawn.
        probe_radius: how far probes go, in place of delta_t, as a share of the distance from which the iteration
            starts: of their length (L2), or of the root mean square of their values (L-infinity). None keeps delta_t.
        flip_rate: the probability, from 0 to below 0.5, that an answer is wrong; it multiplies the counts of probes,
            `most_probes` included, by 1 / (1 - 2 flip_rate)^2.
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
    subspace: Subspace = field(default_factory=FullSpace)
    probe_radius: float | None = None
    flip_rate: float = 0.0

    def __post_init__(self) -> None:
        require_norm(self.norm)
        require_one_of("semantics", self.semantics, ("paper", "art"))
        require_at_least("iterations", self.iterations, 1)
        if not 1 <= self.first_probes <= self.most_probes:
            raise ConfigurationError(
                f"first_probes must be from 1 to most_probes; got {self.first_probes} and {self.most_probes}"
            )
        require_positive("gamma", self.gamma)
        require_starts(self.start_trials, self.starts)
        if not callable(getattr(self.subspace, "lift", None)):
            raise ConfigurationError(f"subspace must be a Subspace, such as LowFrequencies(8); got {self.subspace!r}")
        if self.probe_radius is not None:
            require_positive("probe_radius", self.probe_radius)
        require_flip_rate(self.flip_rate)

    @property
    def name(self) -> str:
        """The name in the catalog."""
        return "hopskipjump"

    def init(self, oracle: Oracle, problem: AttackProblem, status: Tensor) -> AttackState:
        """Find starts and bring them close to the boundary."""
        ask = Asker(oracle, problem.criterion)
        state = fresh_state(
            problem, status, extra={"radius_base": torch.zeros(problem.inputs.shape[0], device=problem.inputs.device)}
        )
        state, rows = start_all(ask, problem, state, trials=self.start_trials, starts=self.starts)
        points = state.points[rows]
        clean = problem.inputs[rows]
        points = self._approach(ask, problem, points, rows)
        base = distance(clean, points, self.norm)
        if self.semantics == "paper":
            points, base = self._project(ask, clean, points, rows)
        state = replace(
            state,
            points=replace_rows(state.points, rows, points),
            extra={"radius_base": replace_rows(state.extra["radius_base"], rows, base)},
        )
        return self._keep(problem, state, rows, points)

    def step(self, oracle: Oracle, problem: AttackProblem, state: AttackState) -> AttackState:
        """Probe, step and project (in ART's order: project, probe and step) every running input."""
        ask = Asker(oracle, problem.criterion)
        rows = state.running
        enough = ask.remaining(rows) >= self._reserve(oracle) + _MIN_PROBES
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
        state = replace(
            state,
            iteration=state.iteration + 1,
            points=replace_rows(state.points, rows, points),
            status=status,
            extra={"radius_base": replace_rows(state.extra["radius_base"], rows, base)},
        )
        return self._keep(problem, state, rows, points)

    def _keep(self, problem: AttackProblem, state: AttackState, rows: Tensor, points: Tensor) -> AttackState:
        """Take the iterate as the result: always ("art"), or where it is closer than what is kept ("paper")."""
        return keep_closest(problem, state, rows, points, self.norm, always=self.semantics == "art")

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

    def _reserve(self, oracle: Oracle) -> int:
        """Queries that an iteration needs besides its probes."""
        finest = min(self._theta(math.prod(oracle.input_shape)), 0.5)
        if self.semantics == "art" and self.norm is Norm.LINF:
            finest /= max(1.0, oracle.bounds.range)  # its tolerance is in units of the input
        return math.ceil(math.log2(1.0 / finest)) + 1 + _LINE_SEARCH_RESERVE

    def _radius(self, base: Tensor, oracle: Oracle, iteration: int) -> Tensor:
        """Return float32 (M,): how far probes go (delta_t)."""
        size = math.prod(oracle.input_shape)
        least = _FINEST * math.sqrt(size) * oracle.bounds.range
        if self.probe_radius is not None:
            across = 1.0 if self.norm is Norm.L2 else math.sqrt(size)
            return (self.probe_radius * across * base).clamp_min(least)
        if iteration == 0:
            return torch.full_like(base, 0.1 * oracle.bounds.range)
        factor = math.sqrt(size) if self.norm is Norm.L2 else float(size)
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
        oracle: Oracle,
        problem: AttackProblem,
        points: Tensor,
        rows: Tensor,
        radius: Tensor,
        iteration: int,
    ) -> Tensor:
        """Return float32 (M, *input_shape): the estimated way into the adversarial region, of unit length or signs."""
        flat = points.flatten(1)
        coefficients = self.subspace.dimension(oracle.input_shape)
        wanted = min(int(self.first_probes * math.sqrt(iteration + 1)), self.most_probes)
        wanted = probes_for(self.flip_rate, wanted)
        later = self._reserve(oracle) if self.semantics == "paper" else _LINE_SEARCH_RESERVE  # "art" projected before
        counts = (ask.remaining(rows) - later).clamp_max(wanted)
        names, reach = rows.tolist(), radius.tolist()
        below, above = oracle.bounds.lower - flat, oracle.bounds.upper - flat  # how far each value may move

        def offsets(position: int, first: int, count: int) -> Tensor:
            drawn = problem.noise.probes(
                names[position], iteration, first, (count, coefficients), gaussian=self.norm is Norm.L2
            )
            offset = self.subspace.lift(drawn.to(flat.device), oracle.input_shape)
            length = torch.linalg.vector_norm(offset, dim=1, keepdim=True).clamp_min_(1e-30)
            # Clipped as an offset: the difference of two points would be rounded to the grid of the points.
            return offset.mul_(reach[position] / length).clamp_(below[position], above[position])

        normal = probe(ask, points, rows, counts, offsets).normal()
        if self.norm is Norm.L2:
            normal = normal / normal.norm(dim=1, keepdim=True).clamp_min(torch.finfo(normal.dtype).tiny)
        else:
            normal = normal.sign()
        return normal.view_as(points)

    def _line_search(
        self,
        ask: Asker,
        oracle: Oracle,
        clean: Tensor,
        points: Tensor,
        direction: Tensor,
        rows: Tensor,
        iteration: int,
    ) -> Tensor:
        """Step along `direction`, halving each row's step until it is adversarial; else stay."""
        step = distance(clean, points, self.norm) / math.sqrt(iteration + 1)
        result, open_rows = points.clone(), torch.arange(rows.shape[0], device=rows.device)
        for _ in range(_MAX_HALVINGS):
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
