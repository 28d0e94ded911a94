"""A cross-check as tables and a sentence: one source for the terminal and for the page."""

from variegate.records.cross_check import COMPARED, CrossCheckRecord, Median
from variegate.report.blocks import Block, Heading, Pairs, Rows, Table, Text
from variegate.report.formatting import (
    NOTHING,
    count,
    counted,
    norm,
    norm_title,
    number,
    origin_rows,
    percent,
    share,
    span,
)
from variegate.report.views.shown import Shown

_TITLES = {"distance": "norms"}


def check_setting(record: CrossCheckRecord) -> str:
    """One sentence: what was attacked, with what."""
    low, high = record.target.bounds
    victims = f"{count(len(record.victims))} victim{'' if len(record.victims) == 1 else 's'}"
    return (
        f"{count(record.data.images)} images of {record.data.name} ({record.data.split}) that the target gets right, "
        f"target {record.target.name} (inputs in [{number(low)}, {number(high)}]), {victims}, at most "
        f"{count(record.budget)} queries an image, the closest adversarial among them by the "
        f"{norm_title(record.norm)}, seed {record.seed}."
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
                    percent(engine.rates.attack_success_rate.rate),
                    norm(engine.median_distance.value),
                    count(engine.attack.queries.median),
                    share(engine.median_overshoot.value),
                    percent(engine.rates.replication_rate.rate),
                )
            )
            overshoot = engine.median_overshoot
            rows.append(
                (
                    "",
                    "",
                    counted(engine.rates.attack_success_rate),
                    span(norm(engine.median_distance.low), norm(engine.median_distance.high)),
                    "",
                    span(share(overshoot.low), share(overshoot.high)),
                    counted(engine.rates.replication_rate),
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
            verdicts = (one.verdicts[name] for name in COMPARED)
            version = record.libraries.get(one.theirs)
            theirs = one.theirs if version is None else f"{one.theirs} {version}"
            rows.append((attack.name, one.ours, theirs, *verdicts, norm(one.distance_ratio.value)))
            rows.append(("", "", "", *("" for _ in COMPARED), _ratio(one.distance_ratio)))
    return Table(
        title="Verdicts, and norms of ours over theirs image by image: the median, below it images and 95 % interval",
        columns=("attack", "ours", "theirs", *(_TITLES.get(name, name) for name in COMPARED), "ratio"),
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
        ("target", record.target.digest),
        ("victims", ", ".join(record.victims) or NOTHING),
    )
    return Table(title="Run", columns=("name", "value"), rows=rows, labels=2)


def _ratio(one: Median) -> str:
    ends = span(norm(one.low), norm(one.high))
    return f"{count(one.n)}{f'; {ends}' if ends else ''}" if one.n else ""


def cross_check_view(record: CrossCheckRecord, shown: Shown) -> list[Block]:
    """What was done, the tables, and how to repeat it."""
    return [
        Heading(record.title, 1, shown.anchor),
        Text([check_setting(record)]),
        Rows(engines_table(record)),
        Rows(verdicts_table(record)),
        Pairs([check_origin(record)]),
    ]
