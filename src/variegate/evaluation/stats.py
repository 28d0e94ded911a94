"""Rates with counts and 95 % intervals.

A rate over (attacker, victim, image) triples is not a mean of independent trials: triples share images and copies. Its
interval comes from a two-way bootstrap that draws images and copies with replacement (the pigeonhole bootstrap of Owen,
2007); where only one pair of copies was measured, images alone vary and Wilson's interval is used.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt

from variegate.errors import InputError

__all__ = ["Rate", "rate_of_triples", "wilson_rate"]

_Z = 1.959963984540054
_REPLICATES = 2000
_FEWEST_REPLICATES = 100
_BLOCK = 1 << 20  # pairs of copies times replicates that are weighed at once


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """k of n, with a 95 % interval; `rate`, `low` and `high` are None where n is 0."""

    k: int
    n: int
    low: float | None
    high: float | None
    interval: Literal["wilson", "bootstrap"]

    @property
    def rate(self) -> float | None:
        """K / n."""
        return self.k / self.n if self.n else None

    def to_dict(self) -> dict[str, Any]:
        """Return the rate as a record holds it."""
        return {
            "rate": self.rate,
            "k": self.k,
            "n": self.n,
            "low": self.low,
            "high": self.high,
            "interval": self.interval,
        }


def wilson_rate(k: int, n: int) -> Rate:
    """Return k of n with Wilson's score interval (Wilson, 1927)."""
    if not 0 <= k <= n:
        raise InputError(f"k must be from 0 to n; got k={k}, n={n}")
    if n == 0:
        return Rate(k=0, n=0, low=None, high=None, interval="wilson")
    p = k / n
    centre = (p + _Z * _Z / (2 * n)) / (1 + _Z * _Z / n)
    half = _Z / (1 + _Z * _Z / n) * math.sqrt(p * (1 - p) / n + _Z * _Z / (4 * n * n))
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return Rate(k=k, n=n, low=0.0 if k == 0 else low, high=1.0 if k == n else high, interval="wilson")


def rate_of_triples(
    hit: npt.NDArray[np.bool_], counted: npt.NDArray[np.bool_], attackers: npt.NDArray[np.int64], *, seed: int = 0
) -> Rate:
    """Return the rate of `hit` among `counted` triples.

    Args:
        hit, counted: bool (attackers, victims, images); hits outside `counted` do not count.
        attackers: int64 (attackers,), which copy (position among the victims) each attacker is; copies are drawn once
            for both roles.
        seed: of the bootstrap.
    """
    hit = hit & counted
    k, n = int(hit.sum()), int(counted.sum())
    pairs = int(counted.any(2).sum())
    copies = max(hit.shape[1], int(attackers.max(initial=-1)) + 1)
    if n == 0 or pairs < 2 or k in (0, n):
        # With one pair only images vary; with all or none hit a bootstrap has no spread, so Wilson over the images that
        # were used (not over triples, which are not independent) gives the honest width.
        images = int(counted.any((0, 1)).sum())
        if n and pairs >= 2:
            width = wilson_rate(0 if k == 0 else images, images)
            return Rate(k=k, n=n, low=width.low, high=width.high, interval="wilson")
        return wilson_rate(k, n)
    generator = np.random.default_rng(seed)
    images = hit.shape[2]
    image_weights = generator.multinomial(images, np.full(images, 1 / images), _REPLICATES).astype(np.float64)
    copy_weights = generator.multinomial(copies, np.full(copies, 1 / copies), _REPLICATES).astype(np.float64)
    attacker_weights = (
        copy_weights[:, attackers] if len(set(attackers.tolist())) > 1 else np.ones((_REPLICATES, len(attackers)))
    )
    victim_weights = copy_weights[:, : hit.shape[1]] if hit.shape[1] > 1 else np.ones((_REPLICATES, 1))
    hits, counts = (table.reshape(-1, images).astype(np.float64).T for table in (hit, counted))  # (images, pairs)
    block = max(1, _BLOCK // hits.shape[1])
    totals, found = np.empty(_REPLICATES), np.empty(_REPLICATES)
    for start in range(0, _REPLICATES, block):
        chosen = slice(start, start + block)
        pair_weights = attacker_weights[chosen, :, None] * victim_weights[chosen, None, :]
        pair_weights = pair_weights.reshape(-1, hits.shape[1])
        found[chosen] = (image_weights[chosen] @ hits * pair_weights).sum(1)  # whole numbers: exact in any order
        totals[chosen] = (image_weights[chosen] @ counts * pair_weights).sum(1)
    rates = found[totals > 0] / totals[totals > 0]
    if rates.size < _FEWEST_REPLICATES:
        return wilson_rate(k, n)
    low, high = np.quantile(rates, [0.025, 0.975])
    return Rate(k=k, n=n, low=float(low), high=float(high), interval="bootstrap")
