"""What hard-label attacks are built from: starts, bisection to the boundary, and estimates of its normal.

Starts are a first adversarial for each input, or the honest status that there is none. Bisection finds the closest
adversarial point on the path between a clean input and an adversarial.

HopSkipJump, GeoDA and CGBA estimate the boundary's normal from labels: the sum of the offsets of probes around a point,
signed by answer. Probes stream: of each probe only two sums stay, so memory does not grow with their number. Probes of
all inputs share queries; the sums of one input are the same in any batch.

How many probes a noisy oracle takes follows in closed form. On the boundary of a half-space in d dimensions, with n
probes u of a rotationally symmetric distribution and answers f = sign(u . normal), the estimate is the sum of f u.
Along the normal its mean is n a s, with a = E|z| = sqrt(2 / pi) for a standard normal z and s = 1; across it, it is
noise of variance n in each of the d - 1 other directions. So

    E[cos] = 1 / sqrt(1 + (d - 1) / (n a^2 s^2)).

An answer that is wrong with probability nu, independently of all else, is f g with g = -1 with probability nu and 1
elsewhere: the mean along the normal shrinks by s = E[g] = 1 - 2 nu, the variance across it stays, because (f g)^2 = 1.
The same cosine therefore takes 1 / (1 - 2 nu)^2 times as many probes, in any dimension.

Source: Simon-Gabriel, Sheikh and Krause, *PopSkipJump* (ICML 2021), who choose HopSkipJump's probe counts on noisy
oracles by this cosine. Differences: they estimate the noise and the distance from the boundary as they go, here the
rate is given; and they hold the probes' own answers to be noisier near the boundary, here the rate is one number. Off
the boundary a little more would be needed, because the answers' mean, which HopSkipJump subtracts, is diluted too.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, final

import torch
from torch import Tensor

from variegate.attacks.base import Asker, AttackProblem, AttackState, fill_status, replace_rows
from variegate.errors import ConfigurationError
from variegate.models.geometry import as_rows
from variegate.types import Bounds, Norm, Status, require_at_least, require_one_of

Starts = Literal["uniform", "varied"]


def require_starts(trials: int, starts: str) -> None:
    """Check these two hyper-parameters.

    Raises:
        ConfigurationError: there is no such kind of start, or no trial.
    """
    require_at_least("start_trials", trials, 1)
    require_one_of("starts", starts, ("varied", "uniform"))


def start_all(
    ask: Asker, problem: AttackProblem, state: AttackState, *, trials: int, starts: Starts
) -> tuple[AttackState, Tensor]:
    """Find a start for each running input; give those without one their status.

    Returns:
        (the state with starts as points, int64 (M,): the rows that have one).
    """
    points, found = find_starts(ask, problem, state.running, bounds=ask.oracle.bounds, trials=trials, starts=starts)
    return settle_starts(ask, state, points, found)


def settle_starts(ask: Asker, state: AttackState, points: Tensor, found: Tensor) -> tuple[AttackState, Tensor]:
    """Take the starts that were found for the running inputs; give those without one their status.

    Args:
        points: float32 (M, *input_shape), for the M running inputs.
        found: bool (M,): which of them are adversarial.

    Returns:
        (the state with starts as points, int64 (K,): the rows that have one).
    """
    rows = state.running
    spent = ask.remaining(rows) == 0
    status = fill_status(state.status, rows[~found & ~spent], Status.NO_STARTING_POINT)
    status = fill_status(status, rows[~found & spent], Status.BUDGET_EXHAUSTED)
    rows, points = rows[found], points[found]
    return replace(state, points=replace_rows(state.points, rows, points), status=status), rows


def find_starts(
    ask: Asker, problem: AttackProblem, rows: Tensor, *, bounds: Bounds, trials: int, starts: Starts
) -> tuple[Tensor, Tensor]:
    """Try random inputs until each row has an adversarial one; one query a trial and row.

    Args:
        rows: int64 (M,), the inputs that need a start.
        trials: trials for each row.
        starts: "uniform": uniform noise, as the published attack does; "varied": uniform noise, then coarse blocks and
            flat colours in turn, because some classes swallow all noise.

    Returns:
        (points float32 (M, *input_shape), found bool (M,)).
    """
    clean = problem.inputs[rows]
    points, found = clean.clone(), torch.zeros(rows.shape[0], dtype=torch.bool, device=rows.device)
    if problem.starting_points is not None:
        given = problem.starting_points[rows]
        affordable = (ask.remaining(rows) > 0).nonzero().flatten()
        found[affordable] = ask(given[affordable], rows[affordable])
        points = torch.where(found.view(-1, *([1] * (clean.ndim - 1))), given, points)
    for trial in range(trials):
        open_rows = (~found & (ask.remaining(rows) > 0)).nonzero().flatten()
        if open_rows.numel() == 0:
            break
        drawn = torch.stack([_draw(problem, row, trial, bounds, starts) for row in rows[open_rows].tolist()])
        hit = ask(drawn, rows[open_rows])
        points[open_rows[hit]] = drawn[hit]
        found[open_rows[hit]] = True
    return points, found


def _draw(problem: AttackProblem, row: int, trial: int, bounds: Bounds, starts: Starts) -> Tensor:
    shape = tuple(problem.inputs.shape[1:])
    noise = problem.noise.start(row, trial, shape)
    kind = 0 if starts == "uniform" else trial % 3
    if kind and len(shape) >= 2:
        side = 4 if kind == 1 else 1
        coarse = noise[tuple([slice(None)] + [slice(0, side)] * (len(shape) - 1))]
        for axis, extent in enumerate(shape[1:], start=1):
            index = torch.arange(extent, device=noise.device) * coarse.shape[axis] // extent
            coarse = coarse.index_select(axis, index)
        noise = coarse
    return bounds.lower + bounds.range * noise


_MAX_ROUNDS = 64


def blend(clean: Tensor, adversarial: Tensor, share: Tensor, norm: Norm) -> Tensor:
    """Return the point at `share` of the path: the segment for L2, the clipped box of that radius for L-infinity.

    Args:
        clean, adversarial: float32 (M, *input_shape).
        share: float32 (M,), in [0, 1] for L2, a radius for L-infinity.
    """
    share = as_rows(share, clean)
    if norm is Norm.L2:
        return (1.0 - share) * clean + share * adversarial
    return torch.minimum(torch.maximum(adversarial, clean - share), clean + share)


def bisect(
    ask: Asker, clean: Tensor, adversarial: Tensor, rows: Tensor, *, norm: Norm, upper: Tensor, tolerance: Tensor
) -> Tensor:
    """Return float32 (M, *input_shape): adversarial points whose share is within `tolerance` of a non-adversarial one.

    Args:
        ask: the oracle; rows without queries left stay where they are.
        clean, adversarial: float32 (M, *input_shape), the ends of the paths; `adversarial` has been seen adversarial.
        rows: int64 (M,), the inputs' positions.
        upper: float32 (M,), the share of `adversarial` itself: 1 for L2, its radius for L-infinity.
        tolerance: float32 (M,), the share at which a row stops.
    """
    low, high = torch.zeros_like(upper), upper.clone()
    for _ in range(_MAX_ROUNDS):
        middle = 0.5 * (low + high)
        distinct = (low < middle) & (middle < high)  # else float32 holds no share between them
        open_rows = (high - low > tolerance) & distinct & (ask.remaining(rows) > 0)
        chosen = open_rows.nonzero().flatten()
        if chosen.numel() == 0:
            break
        middle = middle[chosen]
        hit = ask(blend(clean[chosen], adversarial[chosen], middle, norm), rows[chosen])
        high[chosen] = torch.where(hit, middle, high[chosen])
        low[chosen] = torch.where(hit, low[chosen], middle)
    # Rounding must not move a point that was never asked for: a share of `upper` is the adversarial itself.
    return torch.where(as_rows(high == upper, clean), adversarial, blend(clean, adversarial, high, norm))


PROBE_CHUNK = 64  # probes of one input that are drawn together; part of the result, so never tuned


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProbeSums:
    """What is left of the probes of M inputs, where f is 1 for a probe that was adversarial and -1 elsewhere.

    Attributes:
        signed: float32 (M, d), the sum of f times the offset.
        plain: float32 (M, d), the sum of offsets.
        votes: float32 (M,), the sum of f.
        counts: int64 (M,), probes.
    """

    signed: Tensor
    plain: Tensor
    votes: Tensor
    counts: Tensor

    def normal(self) -> Tensor:
        """Return float32 (M, d): the sum with the mean answer subtracted, which points into the adversarial region.

        Where all answers are equal, the sum of the offsets, signed by that answer (HopSkipJump, section III-C).
        """
        mean = (self.votes / self.counts)[:, None]
        return torch.where(mean.abs() == 1.0, mean * self.plain, self.signed - mean * self.plain)


def probe(
    ask: Asker,
    points: Tensor,
    rows: Tensor,
    counts: Tensor,
    offsets: Callable[[int, int, int], Tensor],
    *,
    bounds: Bounds | None = None,
) -> ProbeSums:
    """Ask `counts` probes around each point.

    Args:
        ask: the oracle; every row must afford its probes.
        points: float32 (M, *input_shape).
        rows: int64 (M,), the inputs' positions.
        counts: int64 (M,), probes for each, at least 1.
        offsets: (position in `rows`, first, count) -> float32 (count, d): the offsets of probes `first`, `first` + 1,
            ..., such that point + offset lies within the bounds, unless `bounds` are given. Called with at most
            `PROBE_CHUNK` at a time and always with the same cuts for the same count.
        bounds: probes are clipped to these when they are asked; summed are the offsets as they were drawn.
    """
    flat = points.flatten(1)
    size = flat.shape[1]
    sums = torch.zeros((flat.shape[0], 2, size), device=flat.device)  # of f u and of u
    votes = torch.zeros(flat.shape[0], device=flat.device)  # of f
    wanted, done = counts.tolist(), 0
    places = torch.arange(flat.shape[0], device=flat.device)
    everyone = torch.repeat_interleave(places, counts, output_size=sum(wanted))  # whose each probe is
    for batch in _batches(wanted, ask.oracle.preferred_rows):
        total = sum(count for _, _, count in batch)
        probes = torch.empty((total, size), device=flat.device)
        owners, done = everyone[done : done + total], done + total
        drawn, start = [], 0
        for position, first, count in batch:
            offset = offsets(position, first, count)
            torch.add(flat[position], offset, out=probes[start : start + count])
            drawn.append(offset)
            start += count
        if bounds is not None:
            probes.clamp_(bounds.lower, bounds.upper)
        f = ask(probes.view(-1, *points.shape[1:]), rows[owners]).to(flat.dtype).mul_(2.0).sub_(1.0)
        votes.index_add_(0, owners, f)  # whole numbers, so the order does not matter
        weights, start = torch.stack((f, torch.ones_like(f))), 0
        for (position, _, count), offset in zip(batch, drawn, strict=True):
            # A product with a shape and memory of its own for each chunk: the same sums in any batch.
            sums[position] += weights[:, start : start + count].clone() @ offset
            start += count
    return ProbeSums(signed=sums[:, 0], plain=sums[:, 1], votes=votes, counts=counts)


def _batches(counts: list[int], limit: int) -> Iterator[list[tuple[int, int, int]]]:
    """Cut `counts` probes per position into chunks (position, first, count) and group these up to `limit` rows."""
    batch: list[tuple[int, int, int]] = []
    size = 0
    for position, total in enumerate(counts):
        for first in range(0, total, PROBE_CHUNK):
            count = min(PROBE_CHUNK, total - first)
            if batch and size + count > limit:
                yield batch
                batch, size = [], 0
            batch.append((position, first, count))
            size += count
    if batch:
        yield batch


_SIGNAL = math.sqrt(2.0 / math.pi)
_ROUNDING = 1e-9  # of a probe count: what is whole but for rounding is not rounded up


def require_flip_rate(value: float) -> None:
    """Check a probability that an answer is wrong.

    Raises:
        ConfigurationError: it is not from 0 to below 0.5, where answers say nothing.
    """
    if not 0.0 <= value < 0.5:
        raise ConfigurationError(f"flip_rate must be from 0 to below 0.5; got {value}")


def expected_cosine(probes: int, dimension: int, *, flip_rate: float = 0.0) -> float:
    """Return the expected cosine between the estimated and the true normal, for a point on a flat boundary.

    Args:
        probes: n.
        dimension: d, of the space in which probes are drawn; for a subspace, the cosine is to the normal's share in it.
        flip_rate: nu, from 0 to below 0.5.

    Raises:
        ConfigurationError: a number does not fit.
    """
    require_at_least("probes", probes, 1)
    require_at_least("dimension", dimension, 1)
    require_flip_rate(flip_rate)
    signal = _SIGNAL * (1.0 - 2.0 * flip_rate)
    return 1.0 / math.sqrt(1.0 + (dimension - 1) / (probes * signal**2))


def probes_for(flip_rate: float, probes: int) -> int:
    """Return how many noisy probes are worth as much as `probes` exact ones: probes / (1 - 2 nu)^2, rounded up.

    Raises:
        ConfigurationError: a number does not fit.
    """
    require_at_least("probes", probes, 1)
    require_flip_rate(flip_rate)
    return math.ceil(probes / (1.0 - 2.0 * flip_rate) ** 2 * (1.0 - _ROUNDING))


def voted_flip_rate(flip_rate: float, votes: int) -> float:
    """Return how often the majority of independent answers is wrong, where there are two labels.

    Of an even number of votes half may be for either label; the first of them decides, which is as often wrong as
    right then.

    Raises:
        ConfigurationError: a number does not fit.
    """
    require_at_least("votes", votes, 1)
    require_flip_rate(flip_rate)
    chances = [
        math.comb(votes, wrong) * flip_rate**wrong * (1.0 - flip_rate) ** (votes - wrong) for wrong in range(votes + 1)
    ]
    tie = 0.5 * chances[votes // 2] if votes % 2 == 0 else 0.0
    return sum(chances[votes // 2 + 1 :]) + tie
