"""What a replication record says, in plain sentences computed from its numbers."""

from variegate.records.calibration import CalibrationRecord
from variegate.records.replication import Group, ReplicationRecord
from variegate.report.measures import accuracy_change, labels_changed, norm_kept, rate_at, stops_protecting
from variegate.report.words import CONTROLS, count, group_title, norm, norm_title, number, percent, points, rate_words


def setting(record: ReplicationRecord) -> str:
    """One sentence: what was attacked, with what."""
    return (
        f"{count(record.data.images)} images of {record.data.name} ({record.data.split}) were attacked on copies of "
        f"{record.model.name} ({record.model.num_classes} classes) with {record.attack.name}, at most "
        f"{count(record.attack.budget)} queries an image, sizes in the {norm_title(record.attack.norm)}, "
        f"seed {record.attack.seed}."
    )


def sentences(record: ReplicationRecord) -> tuple[str, ...]:
    """One line per group: replication at s = 1, the norm at which protection ends and, for a rewriter, its price."""
    return tuple(_sentence(record, group) for group in record.groups)


def calibration_title(record: CalibrationRecord) -> str:
    """A heading: "Calibration of QIM on cifar10-s0", as far as the record says it."""
    of = f" of {group_title(record.rewriter)}" if record.rewriter else ""
    return f"Calibration{of}{f' on {record.model}' if record.model else ''}"


def calibration_verdict(record: CalibrationRecord) -> str:
    """One or two sentences: how many settings were tried, which was chosen, what it costs and gains."""
    tried = len(record.candidates)
    start = f"{count(tried)} setting{'' if tried == 1 else 's'} {'was' if tried == 1 else 'were'} tried."
    chosen = record.choice
    if chosen is None:
        return f"{start} None met the limits."
    named = (
        ("strength", chosen.strength),
        ("messages per class", chosen.messages_per_class),
        ("quantization step", chosen.quantization_step),
    )
    setting_words = ", ".join(f"{name} {number(value)}" for name, value in named if value is not None)
    parts = []
    if chosen.measured_change is not None:
        parts.append(f"it changes {percent(chosen.measured_change)} % of the labels")
    rates = [f"{percent(rate)} % at s = {number(s)}" for s, rate in chosen.replication_at.items() if rate is not None]
    if rates:
        parts.append(f"adversarials replicate {', '.join(rates)}")
    if chosen.norm_ratio is not None:
        parts.append(f"own adversarials have {norm(chosen.norm_ratio)} times the norm of the original's")
    found = f": {'; '.join(parts)}" if parts else ""
    return f"{start} Chosen: {setting_words or 'the marked one'}{found}."


def _sentence(record: ReplicationRecord, group: Group) -> str:
    parts = [f"{subject(group)}: {_equal_step(group)}"]
    if group.name != "noise":
        parts.append(_protection(record, group))
    if group.name not in CONTROLS and (price := _price(record, group)):
        parts.append(price)
    return " ".join(parts)


def _equal_step(group: Group) -> str:
    rate = rate_at(group, 1.0)
    if rate is None:
        return "replication at equal step (s = 1) was not measured."
    verb = "fooled" if group.name == "noise" else "replicated"
    return f"at equal step (s = 1) {verb} {rate_words(rate)}."


def _protection(record: ReplicationRecord, group: Group) -> str:
    threshold, unit = stops_protecting(group), norm_title(record.attack.norm)
    if threshold.largest is None:
        return "The norm at which protection ends was not measured."
    beyond = f"beyond {number(threshold.largest)}"
    ends = [beyond if end is None else number(end) for end in (threshold.epsilon, threshold.first, threshold.last)]
    return f"Protection ends at {unit} {ends[0]} (by the interval's ends: {ends[1]} and {ends[2]})."


def _price(record: ReplicationRecord, group: Group) -> str:
    parts = []
    if (kept := norm_kept(record, group)) is not None:
        parts.append(f"own adversarials have {norm(kept)} times the norm of the original's")
    if (change := accuracy_change(group)) is not None:
        parts.append(f"accuracy changes by {points(change, signed=True)} points")
    changed = labels_changed(group)
    if changed is not None and changed[1]:
        parts.append(f"{percent(changed[0] / changed[1])} % of the labels differ from the original's")
    return f"The price: {', '.join(parts)}." if parts else ""


def subject(group: Group) -> str:
    """The group's title as the start of a sentence."""
    title = group_title(group.name)
    return title[:1].upper() + title[1:]
