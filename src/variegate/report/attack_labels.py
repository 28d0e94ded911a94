"""What several attack records are called side by side: the attack's name, and what tells it from the others."""

from collections import Counter
from collections.abc import Mapping, Sequence

from variegate.records.attack import AttackRecord
from variegate.report.words import count, flat, norm_title, number


def labels(records: Sequence[AttackRecord]) -> tuple[str, ...]:
    """A name for each record, such as "hopskipjump, semantics=art"; no two records of one norm share it."""
    found = [
        ", ".join(part for part in (record.attack.name, what) if part)
        for record, what in zip(records, differences(records), strict=True)
    ]
    return _numbered(found, [record.attack.norm for record in records])


def full_labels(records: Sequence[AttackRecord]) -> tuple[str, ...]:
    """As `labels`, with the norm where there are several, so that no two records share it."""
    found = labels(records)
    if len({record.attack.norm for record in records}) < 2:
        return found
    return tuple(f"{label}, {norm_title(record.attack.norm)}" for label, record in zip(found, records, strict=True))


def differences(records: Sequence[AttackRecord]) -> tuple[str, ...]:
    """What sets each record apart, empty where nothing does: settings of all, parameters among records of one attack.

    Norm and images are left out: every table has a column for them.
    """
    settings = [_settings(record, records) for record in records]
    parameters = [_parameters(record) for record in records]
    shown = []
    for record, own, chosen in zip(records, settings, parameters, strict=True):
        alike = [
            other for each, other in zip(records, parameters, strict=True) if each.attack.name == record.attack.name
        ]
        shown.append(", ".join([*_apart(chosen, alike), *_apart(own, settings)]))
    return tuple(shown)


def short_digest(digest: str) -> str:
    """The first eight digits of a digest, which tell two apart."""
    return digest.removeprefix("sha256:")[:8]


def short_norm(name: str) -> str:
    """A norm's name for a narrow column: "L2" or "Linf"."""
    return name.replace("l", "L", 1)


def _apart(own: Mapping[str, str], others: Sequence[Mapping[str, str]]) -> list[str]:
    """What of its own is not the same in all others that can have it; what is off goes without saying."""
    return [
        f"{name}={value}"
        for name, value in own.items()
        if value and len({other[name] for other in others if name in other}) > 1
    ]


def _parameters(record: AttackRecord) -> dict[str, str]:
    return {name: value for name, value in flat(record.attack.parameters) if name != "norm"}


def _settings(record: AttackRecord, records: Sequence[AttackRecord]) -> dict[str, str]:
    """What a record was run with, empty where it is off; a setting that the attack cannot have is left out."""
    oracle = record.attack.oracle
    low, high = record.target.bounds
    settings = {
        "target": record.target.name,
        "data": record.data.name,
        "inputs": f"{number(low)}..{number(high)}",
        "targeted": "yes" if record.attack.targeted else "",
        "seed": str(record.attack.seed),
    }
    if len({other.target.digest for other in records if other.target.name == record.target.name}) > 1:
        settings["digest"] = short_digest(record.target.digest)
    if not record.white_box:
        settings["budget"] = "none" if record.attack.budget is None else count(record.attack.budget)
        settings["jitter"] = "" if oracle is None or oracle.jitter is None else oracle.jitter
        settings["votes"] = "" if oracle is None or oracle.votes == 1 else str(oracle.votes)
        settings["levels"] = "" if oracle is None or oracle.levels is None else str(oracle.levels)
    return settings


def _numbered(found: Sequence[str], apart: Sequence[str]) -> tuple[str, ...]:
    """The names, with " (2)" and so on behind those that came before with the same norm."""
    seen: Counter[tuple[str, str]] = Counter()
    numbered = []
    for name, norm in zip(found, apart, strict=True):
        seen[name, norm] += 1
        numbered.append(name if seen[name, norm] == 1 else f"{name} ({seen[name, norm]})")
    return tuple(numbered)
