"""Boundary attack (Brendel, Rauber, Bethge, 2018): walk along the boundary by rejection, nearer in small steps.

From an adversarial point, draw a direction, take a step of `spherical_step` times the distance along the sphere around
the clean input, and one of `source_step` times the distance towards it; what is still adversarial is the next point.
Success rates adapt both steps.

`semantics`:

- "paper": one candidate after another, each from the last point taken (paper, section 2), with the constants that its
  authors published in Foolbox 3: steps of 0.01, adapted by 1.5; every tenth candidate is also asked for before its step
  to the source. Of the last 100 answers to these, more than 50 % adversarial enlarge both steps, fewer than 20 % shrink
  them; of the last 30 whole candidates, 25 % and 10 % do so for the source step. An input is done when its source step
  falls below 1e-7. Starts are bisected first.
- "art": as ART 1.20 runs it: 20 candidates from the same point, without the step to the source, up to 25 times until
  one is adversarial; then all that are step to the source, up to 25 times until one is adversarial, and the closest is
  taken. Both steps are multiplied or divided by 0.667 after each question. Starts are not bisected. The point where the
  walk ends is returned, about a millionth past the boundary once the steps have become small.

Differences: inputs are walked in lock-step and share questions, each with directions of its own (Foolbox draws one for
its whole batch); inputs that are done are not asked for any more; an input whose budget does not pay for another
iteration ends; the spherical step is at most a million. In "paper", every start is bisected, given ones too, where
Foolbox blends random ones in 50 steps. Cost of an iteration: 11 queries in "paper", about 25 to 40 in "art".
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
from variegate.attacks.toolbox import Starts, bisect, require_starts, start_all
from variegate.errors import ConfigurationError
from variegate.models.geometry import distance, row_dots
from variegate.oracles.hard_label import Oracle
from variegate.types import Norm, Status, require_at_least, require_one_of, require_positive

Semantics = Literal["paper", "art"]

_CANDIDATES = {"paper": 10, "art": 20}
_ITERATIONS = {"paper": 2500, "art": 5000}  # where neither iterations nor a budget is given
_SHRINK = {"paper": 1.0 / 1.5, "art": 0.667}
_CONVERGENCE = {"paper": 1e-7, "art": 0.0}
_START_TOLERANCE = 1e-3
_SPHERICAL_WINDOW, _SOURCE_WINDOW = 100, 30
_LARGEST_STEP = 1e6  # times the distance: a quarter of the great circle; without a limit float32 would overflow
_TINY = torch.finfo(torch.float32).tiny


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Boundary:
    """Hyper-parameters of the boundary attack.

    Args:
        semantics: "paper" (the authors' constants) or "art" (ART's); see the module.
        iterations: iterations at most; None runs until the oracle's budget is spent, or 5,000 in "art" and 2,500 in
            "paper" (25,000 candidates) where it has none.
        trials: questions at most for each of the two parts of an iteration ("art" only).
        candidates: candidates of an iteration; None takes 20 (together, "art") or 10 (one after another, "paper").
        spherical_step: the first step along the sphere, over the distance to the clean input.
        source_step: the first step towards the clean input, over the same distance.
        shrink: the factor, below 1, by which a step that fails too often is multiplied and one that succeeds too often
            divided; None takes 0.667 ("art") or 1 / 1.5 ("paper").
        convergence: an input is done when its source step falls below this; None takes 0 ("art") or 1e-7 ("paper").
        start_trials: random starts tried for each input.
        starts: "varied" or "uniform"; see `variegate.attacks.toolbox`.
    """

    revision: ClassVar[int] = 1

    semantics: Semantics = "paper"
    iterations: int | None = None
    trials: int = 25
    candidates: int | None = None
    spherical_step: float = 0.01
    source_step: float = 0.01
    shrink: float | None = None
    convergence: float | None = None
    start_trials: int = 100
    starts: Starts = "varied"

    def __post_init__(self) -> None:
        require_one_of("semantics", self.semantics, ("paper", "art"))
        require_at_least("iterations", self.iterations, 1)
        require_at_least("trials", self.trials, 1)
        require_at_least("candidates", self.candidates, 1)
        require_positive("spherical_step", self.spherical_step, at_most=_LARGEST_STEP)
        require_positive("source_step", self.source_step, at_most=1.0)
        if self.shrink is not None and not 0.0 < self.shrink < 1.0:
            raise ConfigurationError(f"shrink must be above 0 and below 1; got {self.shrink}")
        if self.convergence is not None and not 0.0 <= self.convergence < math.inf:
            raise ConfigurationError(f"convergence must be a number from 0 up; got {self.convergence}")
        require_starts(self.start_trials, self.starts)

    @property
    def name(self) -> str:
        """The name in the catalog."""
        return "boundary"

    @property
    def norm(self) -> Norm:
        """The norm that it makes small."""
        return Norm.L2

    def init(self, oracle: Oracle, problem: AttackProblem, status: Tensor) -> AttackState:
        """Find starts, and bring them close to the boundary ("paper")."""
        ask = Asker(oracle, problem.criterion)
        first = torch.ones(problem.inputs.shape[0], device=problem.inputs.device)
        extra = {"spherical_step": self.spherical_step * first, "source_step": self.source_step * first}
        if self.semantics == "paper":
            for name, size in (("spherical_hits", _SPHERICAL_WINDOW), ("source_hits", _SOURCE_WINDOW)):
                extra[name] = torch.full((first.shape[0], size), -1, dtype=torch.int8, device=first.device)
        state = fresh_state(problem, status, extra=extra)
        state, rows = start_all(ask, problem, state, trials=self.start_trials, starts=self.starts)
        points = state.points[rows]
        if self.semantics == "paper":
            one = torch.ones(rows.shape[0], device=points.device)
            tolerance = _START_TOLERANCE * one
            points = bisect(ask, problem.inputs[rows], points, rows, norm=Norm.L2, upper=one, tolerance=tolerance)
        return self._moved(problem, state, rows, points)

    def step(self, oracle: Oracle, problem: AttackProblem, state: AttackState) -> AttackState:
        """Do one iteration for every running input, for as many at once as the oracle wants rows."""
        ask = Asker(oracle, problem.criterion)
        rows = state.running
        enough = ask.remaining(rows) > self._count  # one more: for the step to the source, or before it
        limit = self.iterations
        if limit is None and oracle.budget is None:
            limit = _ITERATIONS[self.semantics]
        if limit is not None and state.iteration >= limit:
            enough = torch.zeros_like(enough)
        state = replace(state, status=fill_status(state.status, rows[~enough], Status.SUCCESS))
        rows, iteration = rows[enough], state.iteration
        if rows.numel() == 0:
            return state
        iterate = self._walk_on if self.semantics == "paper" else self._try_together
        for part in rows.split(max(1, oracle.preferred_rows // self._count)):
            clean, points = problem.inputs[part].flatten(1), state.points[part].flatten(1)
            group = _Group(ask=ask, problem=problem, rows=part, clean=clean, points=points, iteration=iteration)
            state = iterate(group, state)
        return replace(state, iteration=iteration + 1)

    @property
    def _count(self) -> int:
        return self.candidates if self.candidates is not None else _CANDIDATES[self.semantics]

    def _moved(
        self, problem: AttackProblem, state: AttackState, rows: Tensor, points: Tensor, **extra: Tensor
    ) -> AttackState:
        """Take the new points and what else is known of the rows; those whose source step has converged are done."""
        points = points.view(-1, *problem.inputs.shape[1:])
        kept = {**state.extra, **{name: replace_rows(state.extra[name], rows, value) for name, value in extra.items()}}
        convergence = self.convergence if self.convergence is not None else _CONVERGENCE[self.semantics]
        done = rows[kept["source_step"][rows] < convergence]
        state = replace(
            state,
            points=replace_rows(state.points, rows, points),
            status=fill_status(state.status, done, Status.SUCCESS),
            extra=kept,
        )
        return keep_closest(problem, state, rows, points, self.norm, always=self.semantics == "art")

    def _draw(self, group: "_Group", positions: Tensor, trial: int) -> Tensor:
        """Return float32 (M, count, d): standard normal, drawn for each input by itself."""
        shape = (self._count, group.clean.shape[1])
        first, noise = trial * self._count, group.problem.noise
        drawn = [
            noise.probes(row, group.iteration, first, shape, gaussian=True) for row in group.rows[positions].tolist()
        ]
        return torch.stack(drawn).to(group.clean.device)

    def _adapted(self, step: Tensor, small: Tensor, large: Tensor) -> Tensor:
        """Return the steps, shrunk where `small` and enlarged where `large`."""
        shrink = self.shrink if self.shrink is not None else _SHRINK[self.semantics]
        step = torch.where(small, step * shrink, torch.where(large, step / shrink, step))
        return step.clamp_max(_LARGEST_STEP)

    def _walk_on(self, group: "_Group", state: AttackState) -> AttackState:
        """An iteration of "paper": candidates one after another, then the statistics."""
        rows, clean, points = group.rows, group.clean, group.points
        spherical, source = state.extra["spherical_step"][rows], state.extra["source_step"][rows]
        everyone = torch.arange(rows.shape[0], device=rows.device)
        noise = self._draw(group, everyone, 0)
        size = distance(clean, points, Norm.L2)
        hit = on_sphere = torch.zeros_like(rows, dtype=torch.bool)
        for turn in range(self._count):
            drawn = noise[:, turn : turn + 1]
            sphere = group.clamp_(_around(drawn, clean, points, size, spherical, rescale=True)[:, 0])
            back = clean - sphere
            reached = back.norm(dim=1)  # less than `size` where the bounds cut it
            share = (source * size + reached - size).clamp_min(0.0) / reached.clamp_min(_TINY)
            nearer = group.clamp_(torch.addcmul(sphere, share[:, None], back))
            if turn < self._count - 1:
                hit = group.hit(nearer, everyone)
            else:
                both = group.hit(torch.cat((nearer, sphere)), torch.cat((everyone, everyone)))
                hit, on_sphere = both.chunk(2)
            new_size = distance(clean, nearer, Norm.L2)
            take = hit & (new_size < size)
            points = torch.where(take[:, None], nearer, points)
            size = torch.where(take, new_size, size)
        sphere_hits, small, large = _recorded(state.extra["spherical_hits"][rows], on_sphere, group.iteration, 0.2, 0.5)
        spherical, source = self._adapted(spherical, small, large), self._adapted(source, small, large)
        source_hits, small, large = _recorded(state.extra["source_hits"][rows], hit, group.iteration, 0.1, 0.25)
        known = {"spherical_step": spherical, "source_step": self._adapted(source, small, large)}
        known |= {"spherical_hits": sphere_hits, "source_hits": source_hits}
        return self._moved(group.problem, state, rows, points, **known)

    def _try_together(self, group: "_Group", state: AttackState) -> AttackState:
        """An iteration of "art": candidates on the sphere until some are adversarial, then these to the source."""
        spherical, source = state.extra["spherical_step"][group.rows], state.extra["source_step"][group.rows]
        held, owners, spherical = self._along_the_sphere(group, spherical)
        points, going, source = self._to_the_source(group, held, owners, source)
        state = replace(state, status=fill_status(state.status, group.rows[~going], Status.SUCCESS))
        return self._moved(group.problem, state, group.rows, points, spherical_step=spherical, source_step=source)

    def _along_the_sphere(self, group: "_Group", spherical: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return adversarial points float32 (H, d), int64 (H,) whose each is, and the steps (M,)."""
        clean, points, count = group.clean, group.points, self._count
        size = distance(clean, points, Norm.L2)
        left = torch.arange(clean.shape[0], device=clean.device)
        held, owners = [clean[:0]], [left[:0]]
        for trial in range(self.trials):
            left = left[group.remaining()[left] > count]
            if left.numel() == 0:
                break
            noise = self._draw(group, left, trial)
            sphere = group.clamp_(_around(noise, clean[left], points[left], size[left], spherical[left], rescale=False))
            hit = group.hit(sphere.flatten(0, 1), left.repeat_interleave(count)).view(-1, count)
            hits = hit.sum(1)
            adapted = self._adapted(spherical[left], 5 * hits < count, 2 * hits > count)
            spherical = replace_rows(spherical, left, adapted)
            held.append(sphere[hit])
            owners.append(left.repeat_interleave(hits))
            left = left[hits == 0]
        return torch.cat(held), torch.cat(owners), spherical

    def _to_the_source(
        self, group: "_Group", held: Tensor, owners: Tensor, source: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the next points float32 (M, d), which rows go on bool (M,), and the steps (M,)."""
        clean, points = group.clean, group.points.clone()
        going = torch.zeros_like(group.rows, dtype=torch.bool)
        for _ in range(self.trials):
            counts = torch.bincount(owners, minlength=clean.shape[0])
            payable = (counts > 0) & (counts <= group.remaining())
            chosen = payable[owners]
            owner = owners[chosen]
            if owner.numel() == 0:
                break
            nearer = group.clamp_(torch.lerp(held[chosen], clean[owner], source[owner, None]))
            hit = group.hit(nearer, owner)
            hits = torch.zeros_like(counts).index_add_(0, owner, hit.long())
            source = self._adapted(source, payable & (5 * hits < counts), payable & (2 * hits > counts))
            nearer, owner = nearer[hit], owner[hit]
            index, position = _closest(clean, nearer, owner)
            points[position] = nearer[index]
            going[position] = True
            open_ = ~going[owners]
            held, owners = held[open_], owners[open_]
        index, position = _closest(clean, held, owners)  # without one, the closest on the sphere, as in ART
        points[position] = held[index]
        return points, going, source


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Group:
    """Inputs whose candidates go into one question: M rows, their clean inputs and points as float32 (M, d)."""

    ask: Asker
    problem: AttackProblem
    rows: Tensor
    clean: Tensor
    points: Tensor
    iteration: int

    def hit(self, points: Tensor, positions: Tensor) -> Tensor:
        """Return bool (K,): whether float32 (K, d) points are adversarial for the rows at `positions`."""
        return self.ask(points.view(-1, *self.problem.inputs.shape[1:]), self.rows[positions])

    def remaining(self) -> Tensor:
        """Return int64 (M,): queries left."""
        return self.ask.remaining(self.rows)

    def clamp_(self, points: Tensor) -> Tensor:
        """Clip to the bounds, in place."""
        return points.clamp_(self.ask.oracle.bounds.lower, self.ask.oracle.bounds.upper)


def _around(noise: Tensor, clean: Tensor, points: Tensor, size: Tensor, step: Tensor, *, rescale: bool) -> Tensor:
    """Turn noise into points of the spheres around the clean inputs through the present points.

    Args:
        noise: float32 (M, k, d); overwritten.
        clean, points: float32 (M, d).
        size: float32 (M,), their distance.
        step: float32 (M,), the step over that distance.
        rescale: whether the step has its length after what is not tangential has been taken off, or before (ART).

    Returns:
        float32 (M, k, d): clean + (points - clean + tangent) / sqrt(1 + step^2).
    """
    outward = (points - clean)[:, None]
    length = torch.linalg.vector_norm(noise, dim=2)
    along = row_dots(noise, outward) / size.clamp_min(_TINY)[:, None]
    if rescale:
        length = (length.square() - along.square()).clamp_min_(1e-6 * length.square()).sqrt_()
    step = step[:, None]
    shorten = (1.0 + step.square()).rsqrt()
    factor = step * shorten / length.clamp_min(_TINY)
    noise = noise.mul_((factor * size[:, None])[:, :, None])
    return noise.addcmul_(outward, (shorten - factor * along)[:, :, None]).add_(clean[:, None])


def _recorded(window: Tensor, hit: Tensor, iteration: int, low: float, high: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the window (int8 (M, w), -1 where nothing is known) with a new answer, and who is below and above.

    A row is judged when its window is full; one that is below or above starts a new window.
    """
    window = window.clone()
    window[:, iteration % window.shape[1]] = hit.to(window.dtype)
    full, rate = (window >= 0).all(1), window.float().mean(1)
    small, large = full & (rate < low), full & (rate > high)
    window[small | large] = -1
    return window, small, large


def _closest(clean: Tensor, points: Tensor, owners: Tensor) -> tuple[Tensor, Tensor]:
    """Return (indices of points, owners): of each owner's points, float32 (H, d), the first that is closest."""
    size = distance(clean[owners], points, Norm.L2)
    count = clean.shape[0]
    least = torch.full((count,), math.inf, device=size.device).scatter_reduce_(0, owners, size, "amin")
    nearest = (size == least[owners]).nonzero().flatten()
    first = torch.full((count,), owners.shape[0], device=owners.device)
    first = first.scatter_reduce_(0, owners[nearest], nearest, "amin")
    position = (first < owners.shape[0]).nonzero().flatten()
    return first[position], position
