"""What follows from the numbers of a replication record: thresholds, prices, and what to be careful about."""

from collections.abc import Callable
from dataclasses import dataclass

from variegate.records.base import Rate
from variegate.records.replication import Group, ReplicationRecord
from variegate.report.formatting import CONTROLS, count, group_title, mean_and_sd, norm, number, points, rate_words

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


FEW_IMAGES = 100
LOW_SUCCESS = 0.9
MASKING_NORM = 1.5
COSTLY_NORM = 0.8
COSTLY_ACCURACY = 0.02
NOISE_FLOOR = 0.1
CLEAN_ERRORS = 0.05
WIDE_INTERVAL = 0.2
STABLE = 0.98


def cautions(record: ReplicationRecord) -> tuple[str, ...]:
    """Sentences that a reader must see before believing the rates; none where nothing is amiss."""
    lines = []
    if record.data.images < FEW_IMAGES:
        lines.append(
            f"Only {count(record.data.images)} images were attacked: the intervals are wide; attack {FEW_IMAGES} or "
            "more before comparing groups."
        )
    missing = [group_title(name) for name in CONTROLS if record.group(name) is None]
    if missing:
        lines.append(f"Controls are missing: {', '.join(missing)}. Without them the rates cannot be judged.")
    for group in record.groups:
        found = [_identical(group), _noise(group)]
        if group.name != "noise":
            found += [_masking(record, group), _strength(record, group), _accuracy(group)]
            found += [_clean_errors(group), _width(group), _precision(group), _single(group)]
        lines += [f"{subject(group)}: {line}" for line in found if line]
    return tuple(lines)


def _identical(group: Group) -> str:
    s = 1.05 if rate_at(group, 1.05) else 1.0
    rate = rate_at(group, s)
    if group.name != "identical" or rate is None or rate.rate is None or rate.rate >= 1.0:
        return ""
    return (
        f"only {rate_words(rate)} replicate at s = {number(s)}. This control must be 100 %, so the measurement itself "
        "is not reproducible; check precision, batching and determinism."
    )


def _noise(group: Group) -> str:
    """The noise control as a group, or beside a group."""
    if group.name == "noise":
        rate = rate_at(group, 1.0)
    else:
        rate = next((point.rate for point in group.noise_at if point.at == 1.0), None)
    if rate is None or rate.rate is None or rate.rate <= NOISE_FLOOR:
        return ""
    if group.name == "noise":
        return f"noise alone fools {rate_words(rate)}. The other rates have this floor; read the conditioned ones."
    return (
        f"random noise as large as the adversarials already fools {rate_words(rate)}. Such copies are fragile, not "
        "protected."
    )


def _masking(record: ReplicationRecord, group: Group) -> str:
    success, kept = group.rates["attack_success_rate"], norm_kept(record, group)
    if success.rate is not None and success.rate < LOW_SUCCESS:
        return (
            f"the attack succeeds on only {rate_words(success)} of the inputs. That is masking, not protection: more "
            "queries or another attack may succeed."
        )
    if kept is not None and kept > MASKING_NORM and group.name not in CONTROLS:
        return (
            f"adversarials are {norm(kept)} times as large as on the original, so the attack did not converge. That is "
            "masking, not protection; give it more queries."
        )
    return ""


def _strength(record: ReplicationRecord, group: Group) -> str:
    kept = norm_kept(record, group)
    if group.name in CONTROLS or kept is None or kept >= COSTLY_NORM:
        return ""
    return (
        f"the strength has its price: the median adversarial on the own copy has {norm(kept)} times the norm of the "
        "original's, so each copy is easier to fool. Compare groups at equal norm, not only at equal s."
    )


def _accuracy(group: Group) -> str:
    change = accuracy_change(group)
    if group.name in CONTROLS or change is None or change >= -COSTLY_ACCURACY:
        return ""
    return f"accuracy falls by {points(-change)} points."


def _clean_errors(group: Group) -> str:
    plain, conditioned = group.rates["replication_rate"].rate, group.rates["replication_rate_conditioned"].rate
    if plain is None or conditioned is None or plain - conditioned <= CLEAN_ERRORS:
        return ""
    return (
        f"{points(plain - conditioned)} points of the replication rate come from inputs that the victim gets wrong "
        "anyway; the conditioned rate leaves them out."
    )


def _width(group: Group) -> str:
    rate = group.rates["replication_rate"]
    if rate.low is None or rate.high is None or rate.high - rate.low <= WIDE_INTERVAL:
        return ""
    return f"the interval of the replication rate is {points(rate.high - rate.low)} points wide."


def _precision(group: Group) -> str:
    succeeded = sum(attacker.succeeded for attacker in group.attacked)
    if group.reverified is None or group.reverified >= STABLE * succeeded:
        return ""
    return (
        f"asked again, the own copy misclassifies only {count(group.reverified)} of {count(succeeded)} adversarials; "
        "the others lie at the limit of the arithmetic's precision."
    )


def _single(group: Group) -> str:
    return "there is a single copy, so no victim to replicate on." if len(group.copies) == 1 else ""


def subject(group: Group) -> str:
    """The group's title as the start of a sentence."""
    title = group_title(group.name)
    return title[:1].upper() + title[1:]
