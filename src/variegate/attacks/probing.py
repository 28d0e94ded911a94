"""Estimating the boundary's normal from labels: probes around a point, and the sum of their offsets, signed by answer.

HopSkipJump, GeoDA and CGBA share this. Probes stream: of each probe only two sums stay, so memory does not grow with
their number. Probes of all inputs share questions; the sums of one input are the same in any batch.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from variegate.attacks.base import Asker
from variegate.types import Bounds

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
