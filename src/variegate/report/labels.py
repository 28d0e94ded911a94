"""What tables and figures alike call things: attacks told apart, settings of colluders, cells of Table 2."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from variegate.experiments.paper.paper import TABLE2, TABLE2_ROWS, Row
from variegate.records.attack import AttackRecord
from variegate.records.base import Rate
from variegate.records.collusion import Setting
from variegate.records.reproduction import INDEPENDENT, AttackResults, ClassifierMeans, PairsRate, SuccessRate
from variegate.report.formatting import count, flat, group_title, norm, norm_title, number, span

Means = ClassifierMeans | SuccessRate | PairsRate

VARIANT_TITLES = {
    "mean": "mean of scores",
    "log": "log of the mean",
    "vote": "majority vote",
    "stripped": "rewriter stripped",
    "stripped_log": "stripped, log",
}


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
    for name, kind in zip(found, apart, strict=True):
        seen[name, kind] += 1
        numbered.append(name if seen[name, kind] == 1 else f"{name} ({seen[name, kind]})")
    return tuple(numbered)


def estimate(mean: float | None, low: float | None, high: float | None) -> str:
    """A mean with its interval, such as "0.0683 (0.0169 to 0.127)"."""
    ends = span(norm(low), norm(high))
    return f"{norm(mean)} ({ends})" if ends else norm(mean)


def replication_cells(
    study: str, attack: AttackResults
) -> Iterator[tuple[Row, Rate | None, Means | None, tuple[float, float] | None]]:
    """Rows (a) to (k): the row, our pooled rate and our means where measured, and the paper's cell."""
    paper = TABLE2.get(study, {}).get(attack.name, {})
    for row in TABLE2_ROWS:
        group = attack.groups.get(row.rewriter or INDEPENDENT)
        rate: Rate | None = None
        means: Means | None = None
        if group is not None and row.kind == "success":
            rate = means = group.success
        elif group is not None and row.kind in group.kinds:
            rate = means = group.kinds[row.kind]
        yield row, rate, means, paper.get(row.letter)


def setting_title(setting: Setting) -> str:
    """Who colludes, in words."""
    if setting.setting == 1:
        return "setting 1: originals of independent trainings"
    title = group_title(setting.rewriter or "none")
    if setting.setting == 2:
        return f"setting 2: a copy by {title} of each training"
    return f"setting 3: copies of one original by {title}"
