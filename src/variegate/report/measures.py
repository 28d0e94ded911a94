"""Numbers that several reports derive from a record: where protection ends, the norm kept, what happens to accuracy."""

from collections.abc import Callable
from dataclasses import dataclass

from variegate.records.base import Rate
from variegate.records.replication import Group, ReplicationRecord
from variegate.report.formatting import mean_and_sd, number

HALF = 0.5
"""Protection has ended where this share of the victims is fooled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """The norm at which a group stops protecting.

    Attributes:
        epsilon: smallest measured norm at which half of the victims are fooled; None where no norm reaches that.
        first: the same by the upper end of the interval: protection may end as early as this.
        last: the same by the lower end: protection has surely ended by then.
        largest: the largest norm that was measured; None where none was.
    """

    epsilon: float | None
    first: float | None
    last: float | None
    largest: float | None

    @property
    def words(self) -> str:
        """In a table: the norm with the norms by the interval's ends, or "not measured"."""
        if self.largest is None:
            return "not measured"
        beyond = f">{number(self.largest)}"
        ends = [beyond if norm is None else number(norm) for norm in (self.epsilon, self.first, self.last)]
        return f"{ends[0]} [{ends[1]}, {ends[2]}]"


def stops_protecting(group: Group) -> Threshold:
    """The smallest norm within which half of the victims are fooled, and the same by both ends of the interval."""
    measured = [point for point in group.replication_within if point.rate.rate is not None]

    def reached(value_of: Callable[[Rate], float | None]) -> float | None:
        return next((point.at for point in measured if (value_of(point.rate) or 0.0) >= HALF), None)

    return Threshold(
        epsilon=reached(lambda rate: rate.rate),
        first=reached(lambda rate: rate.high),
        last=reached(lambda rate: rate.low),
        largest=measured[-1].at if measured else None,
    )


def rate_at(group: Group, s: float) -> Rate | None:
    """The replication rate at the given s, None where it was not measured."""
    point = next((point for point in group.replication_at if abs(point.at - s) < 1e-9), None)
    return None if point is None or point.rate.rate is None else point.rate


def norm_kept(record: ReplicationRecord, group: Group) -> float | None:
    """The group's median norm divided by that of identical copies; None where either was not measured."""
    identical = record.group("identical")
    original = identical.median_distance if identical else None
    own = group.median_distance
    return None if own is None or not original or group.name == "noise" else own / original


def mean_accuracy(group: Group) -> tuple[float | None, float | None]:
    """Mean and sample standard deviation of the copies' accuracies, as fractions."""
    return mean_and_sd([value for a in group.copy_accuracies if (value := a.fraction) is not None])


def accuracy_change(group: Group) -> float | None:
    """Mean accuracy of the copies minus the original's, as a fraction."""
    mean, _ = mean_accuracy(group)
    original = group.original_accuracy.fraction if group.original_accuracy else None
    return None if mean is None or original is None else mean - original


def labels_changed(group: Group) -> tuple[int, int] | None:
    """Labels that differ from the original's and images counted, over all copies; None where not counted."""
    counted = [(a.labels_changed, a.n) for a in group.copy_accuracies if a.labels_changed is not None]
    return (sum(k for k, _ in counted), sum(n for _, n in counted)) if counted else None
