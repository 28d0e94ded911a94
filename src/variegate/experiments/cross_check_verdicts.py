"""Whether two engines of a cross-check agree.

"agrees" says that 95 % intervals overlap (for the distance: that the interval of the paired ratio holds 1), so it means
that no difference was shown, which with few images is little; "differs" that one was; "open" that there is no interval
to go by: nothing was measured, or fewer than 6 images were paired, of which no bootstrap gives 95 %.
"""

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Verdict = Literal["agrees", "differs", "open"]

_FEWEST = 6  # paired images: the range of fewer covers the median in less than 95 % of cases
_RESAMPLES = 10_000
_NO_OVERSHOOT = 0.01  # both engines end on the boundary, whatever the digits


def compare(ours: dict[str, Any], theirs: dict[str, Any], *, seed: int) -> dict[str, Any]:
    """Return the paired ratio of distances, ours over theirs, and the verdicts."""
    pairs = [
        a / b
        for a, b in zip(ours["distances"], theirs["distances"], strict=True)
        if a is not None and b is not None and b > 0
    ]
    ratio = median(np.array(pairs, dtype=np.float64), seed)
    return {
        "ours": ours["name"],
        "theirs": theirs["name"],
        "distance_ratio": ratio,
        "verdicts": {
            "success": overlap(ours["rates"]["attack_success_rate"], theirs["rates"]["attack_success_rate"]),
            "distance": overlap(ratio, {"low": 1.0, "high": 1.0}),
            "replication": overlap(ours["rates"]["replication_rate"], theirs["rates"]["replication_rate"]),
            "overshoot": _overshoot_verdict(ours["median_overshoot"], theirs["median_overshoot"]),
        },
    }


def _overshoot_verdict(ours: dict[str, Any], theirs: dict[str, Any]) -> Verdict:
    ends = [one["high"] for one in (ours, theirs)]
    if all(end is not None and end <= _NO_OVERSHOOT for end in ends):
        return "agrees"
    return overlap(ours, theirs)


def overlap(one: dict[str, Any], other: dict[str, Any]) -> Verdict:
    """Compare two intervals, as a `Rate` or `median` writes them."""
    if None in (one["low"], one["high"], other["low"], other["high"]):
        return "open"
    return "agrees" if one["low"] <= other["high"] and other["low"] <= one["high"] else "differs"


def median(values: npt.NDArray[np.float64], seed: int) -> dict[str, float | int | None]:
    """Return the median of what is not NaN, with a 95 % bootstrap interval over images where there are enough."""
    known = values[~np.isnan(values)]
    if known.size == 0:
        return {"value": None, "low": None, "high": None, "n": 0}
    low, high = None, None
    if known.size >= _FEWEST:
        drawn = np.random.default_rng(seed).integers(0, known.size, (_RESAMPLES, known.size))
        low, high = (float(end) for end in np.quantile(np.median(known[drawn], axis=1), (0.025, 0.975)))
    return {"value": float(np.median(known)), "low": low, "high": high, "n": int(known.size)}
