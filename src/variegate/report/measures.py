"""Numbers that several reports derive from a record: where protection ends, the norm kept, what happens to accuracy."""

from dataclasses import dataclass

from variegate.report.parts import Rate
from variegate.report.record import Group, ReplicationRecord
from variegate.report.words import mean_and_sd, number

__all__ = [
    "Threshold",
    "accuracy_change",
    "labels_changed",
    "mean_accuracy",
    "norm_kept",
    "rate_at",
    "stops_protecting",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """The norm at which a group stops protecting.

    Attributes:
        epsilon: smallest norm at which the lower end of the interval exceeds 50 %; None where no norm reaches that.
        largest: the largest norm that was measured; None where none was.
    """

    epsilon: float | None
    largest: float | None

    @property
    def words(self) -> str:
        """In a table: the norm, "not reached up to ..." or "not measured"."""
        if self.largest is None:
            return "not measured"
        return f"not reached up to {number(self.largest)}" if self.epsilon is None else number(self.epsilon)


def stops_protecting(group: Group) -> Threshold:
    """The smallest norm within which at least half of the victims are fooled, by the interval's lower end."""
    measured = [point for point in group.replication_within if point.rate.low is not None]
    reached = (point.at for point in measured if point.rate.low is not None and point.rate.low > 0.5)
    return Threshold(epsilon=next(reached, None), largest=measured[-1].at if measured else None)


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
