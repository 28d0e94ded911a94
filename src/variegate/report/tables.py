"""The tables of a replication record as plain rows: one source for the terminal and for the page."""

from variegate.records.base import Accuracy, Rate
from variegate.records.replication import RATE_NAMES, Group, ReplicationRecord
from variegate.report.measures import (
    accuracy_change,
    labels_changed,
    mean_accuracy,
    norm_kept,
    rate_at,
    stops_protecting,
)
from variegate.report.table import Table
from variegate.report.words import (
    NOTHING,
    count,
    group_title,
    interval,
    norm,
    norm_title,
    number,
    percent,
    points,
    rate_title,
    short_interval,
)


def glance_table(record: ReplicationRecord) -> Table:
    """One row per group: replication at s = 1 and 2, where protection ends, what it costs."""
    rows = []
    for group in record.groups:
        mean, _ = mean_accuracy(group)
        rows.append(
            (
                group_title(group.name),
                _rate(rate_at(group, 1.0)),
                _rate(rate_at(group, 2.0)),
                NOTHING if group.name == "noise" else stops_protecting(group).words,
                norm(norm_kept(record, group)),
                percent(mean),
            )
        )
    unit = norm_title(record.attack.norm)
    return Table(
        title="At a glance",
        columns=("group", "s = 1 (%)", "s = 2 (%)", f"stops protecting at {unit}", "norm kept", "accuracy (%)"),
        rows=tuple(rows),
    )


def accuracy_table(record: ReplicationRecord) -> Table:
    """Accuracy of the original and of m copies, as in the paper's Table 1, with counts and labels changed."""
    rows = []
    for group in record.groups:
        mean, sd = mean_accuracy(group)
        changed = labels_changed(group)
        rows.append(
            (
                group_title(group.name),
                _accuracy(group.original_accuracy),
                str(len(group.copy_accuracies)),
                percent(mean),
                points(sd),
                points(accuracy_change(group), signed=True),
                f"{percent(changed[0] / changed[1])} ({count(changed[0])}/{count(changed[1])})"
                if changed and changed[1]
                else NOTHING,
            )
        )
    return Table(
        title="Accuracy of the original and of m copies (%; sd and change in points)",
        columns=("group", "original", "m", "mean", "sd", "change", "labels changed"),
        rows=tuple(rows),
    )


def rates_table(record: ReplicationRecord) -> Table:
    """Every rate of every group with counts and interval."""
    rows = []
    for group in record.groups:
        for name in RATE_NAMES[1:] if group.name == "noise" else RATE_NAMES:
            rate = group.rates[name]
            rows.append(
                (
                    group_title(group.name),
                    rate_title(name),
                    percent(rate.rate),
                    f"{count(rate.k)}/{count(rate.n)}" if rate.n else NOTHING,
                    interval(rate),
                    rate.interval if rate.rate is not None and rate.interval else NOTHING,
                )
            )
    return Table(
        title="Rates (%)",
        columns=("group", "rate", "%", "k/n", "95 % interval", "method"),
        rows=tuple(rows),
        labels=2,
        grouped=True,
    )


def overshoot_table(record: ReplicationRecord, *, conditioned: bool = False) -> Table:
    """Victims fooled at x + s (x' - x): one column per s, the interval below each rate; no rows if not measured."""
    steps = sorted({point.at for group in record.groups for point in group.replication_at})
    rows: list[tuple[str, ...]] = []
    for group in record.groups:
        found = {point.at: (point.conditioned if conditioned else point.rate) for point in group.replication_at}
        if not conditioned or any(found.values()):
            rows.extend(_rate_rows(group, [found.get(step) for step in steps]))
    title = "Victims fooled at x + s (x' - x)" + (", of those that are right on x" if conditioned else "")
    return Table(
        title=f"{title} (%; 95 % interval below)",
        columns=("group", "n", *(f"s={number(step)}" for step in steps)),
        rows=tuple(rows),
        paired=True,
    )


def noise_table(record: ReplicationRecord) -> Table:
    """Copies fooled by random noise as large as the adversarials: the floor of each group."""
    steps = sorted({point.at for group in record.groups for point in group.noise_at})
    rows: list[tuple[str, ...]] = []
    for group in record.groups:
        if group.noise_at:
            found = {point.at: point.rate for point in group.noise_at}
            rows.extend(_rate_rows(group, [found.get(step) for step in steps]))
    return Table(
        title="Copies fooled by random noise as large as s (x' - x) (%; 95 % interval below)",
        columns=("group", "n", *(f"s={number(step)}" for step in steps)),
        rows=tuple(rows),
        paired=True,
    )


def within_table(record: ReplicationRecord, *, most: int = 8) -> Table:
    """Victims fooled within a norm: at most `most` columns, spread over the norms, and where protection ends."""
    norms = sorted({point.at for group in record.groups for point in group.replication_within})
    if len(norms) > most:
        norms = [norms[round(index * (len(norms) - 1) / (most - 1))] for index in range(most)]
    rows: list[tuple[str, ...]] = []
    for group in record.groups:
        found = {point.at: point.rate for point in group.replication_within}
        rows.extend(_rate_rows(group, [found.get(value) for value in norms]))
    return Table(
        title=f"Victims fooled within {norm_title(record.attack.norm)} (%; 95 % interval below)",
        columns=("group", "n", *(number(value) for value in norms)),
        rows=tuple(rows),
        paired=True,
    )


def _rate(rate: Rate | None) -> str:
    return NOTHING if rate is None else percent(rate.rate)


def _rate_rows(group: Group, rates: list[Rate | None]) -> list[tuple[str, ...]]:
    sizes = sorted({rate.n for rate in rates if rate is not None and rate.n})
    n = NOTHING if not sizes else (count(sizes[0]) if len(sizes) == 1 else f"{count(sizes[0])}-{count(sizes[-1])}")
    return [
        (group_title(group.name), n, *map(_rate, rates)),
        ("", "", *("" if rate is None or rate.rate is None else _short_interval(rate) for rate in rates)),
    ]


def _short_interval(rate: Rate) -> str:
    return "" if rate.low is None or rate.high is None else short_interval(rate.low, rate.high)


def _accuracy(accuracy: Accuracy | None) -> str:
    if accuracy is None or accuracy.fraction is None:
        return NOTHING
    return f"{percent(accuracy.fraction)} ({count(accuracy.correct)}/{count(accuracy.n)})"
