"""Whether two engines of a cross-check agree.

"agrees" says that 95 % intervals overlap (for the distance: that the interval of the paired ratio holds 1), so it means
that no difference was shown, which with few images is little; "differs" that one was; "open" that there is no interval
to go by: nothing was measured, or fewer than 6 images were paired, of which no bootstrap gives 95 %.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from variegate.records.cross_check import Comparison, Engine, Median, Verdict, Verdicts

_FEWEST = 6  # paired images: the range of fewer covers the median in less than 95 % of cases
_RESAMPLES = 10_000
_NO_OVERSHOOT = 0.01  # both engines end on the boundary, whatever the digits


class Interval(Protocol):
    """A `Rate` or a `Median`: an estimate with the ends of its 95 % interval."""

    @property
    def low(self) -> float | None:
        """The lower end, None where there is none."""
        ...

    @property
    def high(self) -> float | None:
        """The upper end, None where there is none."""
        ...


def compare(ours: Engine, theirs: Engine, *, seed: int) -> Comparison:
    """Return the paired ratio of distances, ours over theirs, and the verdicts."""
    pairs = [
        a / b
        for a, b in zip(ours.distances, theirs.distances, strict=True)
        if a is not None and b is not None and b > 0
    ]
    ratio = median(np.array(pairs, dtype=np.float64), seed)
    return Comparison(
        ours=ours.name,
        theirs=theirs.name,
        distance_ratio=ratio,
        verdicts=Verdicts(
            success=overlap(ours.rates.attack_success_rate, theirs.rates.attack_success_rate),
            distance=overlap(ratio, Median(value=1.0, low=1.0, high=1.0, n=0)),
            replication=overlap(ours.rates.replication_rate, theirs.rates.replication_rate),
            overshoot=_overshoot_verdict(ours.median_overshoot, theirs.median_overshoot),
        ),
    )


def _overshoot_verdict(ours: Median, theirs: Median) -> Verdict:
    ends = [one.high for one in (ours, theirs)]
    if all(end is not None and end <= _NO_OVERSHOOT for end in ends):
        return "agrees"
    return overlap(ours, theirs)


def overlap(one: Interval, other: Interval) -> Verdict:
    """Compare two intervals."""
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return "open"
    return "agrees" if one.low <= other.high and other.low <= one.high else "differs"


def median(values: npt.NDArray[np.float64], seed: int) -> Median:
    """Return the median of what is not NaN, with a 95 % bootstrap interval over images where there are enough."""
    known = values[~np.isnan(values)]
    if known.size == 0:
        return Median(value=None, low=None, high=None, n=0)
    low, high = None, None
    if known.size >= _FEWEST:
        drawn = np.random.default_rng(seed).integers(0, known.size, (_RESAMPLES, known.size))
        low, high = (float(end) for end in np.quantile(np.median(known[drawn], axis=1), (0.025, 0.975)))
    return Median(value=float(np.median(known)), low=low, high=high, n=int(known.size))
