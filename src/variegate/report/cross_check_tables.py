"""A cross-check as tables and a sentence: one source for the terminal and for the page."""

from variegate.report.cross_check import VERDICTS, CrossCheckRecord, Median
from variegate.report.origin import origin_rows
from variegate.report.table import Table
from variegate.report.words import (
    NOTHING,
    count,
    counted,
    norm,
    norm_title,
    number,
    percent,
    share,
    span,
)

_TITLES = {"distance": "norms"}


def check_setting(record: CrossCheckRecord) -> str:
    """One sentence: what was attacked, with what."""
    low, high = record.bounds
    victims = f"{count(len(record.victims))} victim{'' if len(record.victims) == 1 else 's'}"
    return (
        f"{count(record.images)} images of {record.data_name} ({record.split}) that the target gets right, target "
        f"{record.target_name} (inputs in [{number(low)}, {number(high)}]), {victims}, at most {count(record.budget)} "
        f"queries an image, the closest adversarial among them by the {norm_title(record.norm)}, seed {record.seed}."
    )


def engines_table(record: CrossCheckRecord) -> Table:
    """Two rows an engine: rates and medians; below them counts and 95 % intervals."""
    rows: list[tuple[str, ...]] = []
    for attack in record.attacks:
        for engine in attack.engines:
            rows.append(
                (
                    attack.name,
                    engine.name,
                    percent(engine.success.rate),
                    norm(engine.distance.value),
                    count(engine.queries.median),
                    share(engine.overshoot.value),
                    percent(engine.replication.rate),
                )
            )
            overshoot = engine.overshoot
            rows.append(
                (
                    "",
                    "",
                    counted(engine.success),
                    span(norm(engine.distance.low), norm(engine.distance.high)),
                    "",
                    span(share(overshoot.low), share(overshoot.high)),
                    counted(engine.replication),
                )
            )
    return Table(
        title="Engines: rates in %, below them k/n and the 95 % interval; medians, below them the 95 % interval",
        columns=("attack", "engine", "success", "median norm", "queries", "overshoot (%)", "replication"),
        rows=tuple(rows),
        labels=2,
        paired=True,
    )


def verdicts_table(record: CrossCheckRecord) -> Table:
    """Two rows a comparison: verdicts and the ratio of norms, below it its interval."""
    rows: list[tuple[str, ...]] = []
    for attack in record.attacks:
        for one in attack.comparisons:
            verdicts = (one.verdicts[name] for name in VERDICTS)
            version = record.libraries.get(one.theirs)
            theirs = one.theirs if version is None else f"{one.theirs} {version}"
            rows.append((attack.name, one.ours, theirs, *verdicts, norm(one.ratio.value)))
            rows.append(("", "", "", *("" for _ in VERDICTS), _ratio(one.ratio)))
    return Table(
        title="Verdicts, and norms of ours over theirs image by image: the median, below it images and 95 % interval",
        columns=("attack", "ours", "theirs", *(_TITLES.get(name, name) for name in VERDICTS), "ratio"),
        rows=tuple(rows),
        note="agrees: no difference was shown (little, below 50 images); differs: one was; open: nothing to go by.",
        labels=3,
        paired=True,
    )


def check_origin(record: CrossCheckRecord) -> Table:
    """What is needed to repeat the cross-check, as (name, value)."""
    rows = (
        *origin_rows(record),
        *((name, version or NOTHING) for name, version in record.libraries.items()),
        ("source", record.source),
        ("target", record.target_digest),
        ("victims", ", ".join(record.victims) or NOTHING),
    )
    return Table(title="Run", columns=("name", "value"), rows=rows, labels=2)


def _ratio(one: Median) -> str:
    ends = span(norm(one.low), norm(one.high))
    return f"{count(one.n)}{f'; {ends}' if ends else ''}" if one.n else ""
