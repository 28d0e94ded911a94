"""What limits the conclusions of a record: few images, failed or missing controls, masking, the price of strength."""

from variegate.records.replication import Group, ReplicationRecord
from variegate.report.formatting import CONTROLS, count, group_title, norm, number, points, rate_words
from variegate.report.measures import accuracy_change, norm_kept, rate_at

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
