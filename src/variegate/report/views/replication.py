"""A replication audit: sentences, tables, parameters."""

from typing import TYPE_CHECKING

from variegate.records.base import Accuracy, Rate, Spread
from variegate.records.replication import RATE_NAMES, Group, ReplicationRecord
from variegate.report.blocks import Block, Figures, Heading, Pairs, Rows, Table, Text
from variegate.report.formatting import (
    CONTROLS,
    NOTHING,
    copy_name,
    count,
    duration,
    flat,
    group_title,
    interval,
    middle,
    norm,
    norm_title,
    number,
    percent,
    points,
    rate_title,
    rate_words,
    short_interval,
)
from variegate.report.measures import (
    accuracy_change,
    cautions,
    labels_changed,
    mean_accuracy,
    norm_kept,
    rate_at,
    stops_protecting,
    subject,
)
from variegate.report.views.shown import Shown

if TYPE_CHECKING:
    from variegate.report.drawing import Drawing

_NOT_ADAPTIVE = (
    "The attackers here do not adapt to the rewriter. Averaging over jittered queries, colluding buyers or larger "
    "steps can undo a protection that looks good in this report."
)
_BELOW_PICTURES = (
    "Below each: the class of the clean input, what the original says to the adversarial, and the size of the "
    "difference. Grey in the difference: no change."
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


def queries_table(record: ReplicationRecord, *, most: int = 10) -> Table:
    """Queries an input and norms of the adversarials: a row per attacked copy, or one a group above `most` copies."""
    rows = [row for group in record.groups for row in _query_rows(group, most)]
    return Table(
        title=f"Queries an input and {norm_title(record.attack.norm)} of the adversarials",
        columns=("group", "copy", "success", "queries", "p10 to p90", "in total", "norm", "p25 to p75"),
        rows=tuple(rows),
        note="Queries and norms are medians with percentiles, one row per attacked copy.",
        labels=2,
        grouped=True,
    )


def status_table(record: ReplicationRecord) -> Table:
    """What became of the attacked inputs, by group."""
    names = sorted({name for group in record.groups for attacker in group.attacked for name in attacker.status})
    rows = tuple(
        (group_title(group.name), *(count(sum(a.status.get(name, 0) for a in group.attacked)) for name in names))
        for group in record.groups
        if group.attacked
    )
    return Table(
        title="Outcomes of the attacked inputs",
        columns=("group", *(name.replace("_", " ") for name in names)),
        rows=rows,
    )


def _query_rows(group: Group, most: int) -> list[tuple[str, ...]]:
    attackers = group.attacked
    if len(attackers) > most:
        return [
            (
                group_title(group.name),
                f"all {len(attackers)}",
                f"{count(sum(a.succeeded for a in attackers))}/{count(sum(a.attempted for a in attackers))}",
                count(middle([a.queries.median for a in attackers])),
                NOTHING,
                count(sum(a.queries.total for a in attackers)),
                norm(group.median_distance),
                NOTHING,
            )
        ]
    return [
        (
            group_title(group.name),
            str(index + 1),
            f"{count(attacker.succeeded)}/{count(attacker.attempted)}",
            count(attacker.queries.median),
            _ends(attacker.queries),
            count(attacker.queries.total),
            norm(attacker.distance.median),
            _quartiles(attacker.distance),
        )
        for index, attacker in enumerate(attackers)
    ]


def _ends(spread: Spread) -> str:
    return NOTHING if spread.p10 is None or spread.p90 is None else f"{count(spread.p10)} to {count(spread.p90)}"


def _quartiles(spread: Spread) -> str:
    return NOTHING if spread.p25 is None or spread.p75 is None else f"{norm(spread.p25)} to {norm(spread.p75)}"


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


def parameter_tables(record: ReplicationRecord) -> tuple[Table, ...]:
    """What is needed to repeat the run: one table for it, one for the attack, one for each group."""
    shape = " x ".join(map(str, record.model.input_shape))
    indices = record.data.indices or ()
    run = [
        ("command", record.command),
        ("created", record.created),
        ("duration", duration(record.seconds)),
        ("variegate", record.variegate),
        ("torch", record.torch),
        *((name, value) for name, value in (("python", record.python), ("device", record.device)) if value),
        ("model", record.model.name),
        ("model digest", record.model.digest),
        ("classes", str(record.model.num_classes)),
        ("input", f"{shape}, values in [{number(record.model.bounds[0])}, {number(record.model.bounds[1])}]"),
        ("data", f"{record.data.name}, {record.data.split}, {count(record.data.images)} images"),
        ("indices", ", ".join(map(str, indices[:20])) + (", …" if len(indices) > 20 else "") or NOTHING),
        ("seed", str(record.attack.seed)),
    ]
    if record.efficiency is not None:
        cost = record.efficiency
        run += [
            ("queries in all", f"{count(cost.queries)} in {duration(cost.seconds)}"),
            ("queries a second", count(cost.queries_per_second)),
            ("model alone, a second", count(cost.raw_queries_per_second)),
        ]
    attack = [
        ("attack", record.attack.name),
        ("budget", f"{count(record.attack.budget)} queries an input"),
        ("norm", record.attack.norm),
    ]
    tables = [_pairs("Run", tuple(run)), _pairs("Attack", (*attack, *flat(record.attack.parameters)))]
    for group in record.groups:
        rows = (
            ("rewriter", "none" if group.rewriter is None else "see below"),
            ("copies", _copies(group)),
            *(flat(group.rewriter) if group.rewriter else ()),
        )
        tables.append(_pairs(f"Group: {group_title(group.name)}", rows if group.rewriter is None else rows[1:]))
    return tuple(tables)


def _pairs(title: str, rows: tuple[tuple[str, str], ...]) -> Table:
    return Table(title=title, columns=("name", "value"), rows=rows, labels=2)


def _copies(group: Group) -> str:
    shown = ", ".join(copy_name(label, 28) for label in group.copies[:4])
    return f"{len(group.copies)} ({shown}{', …' if len(group.copies) > 4 else ''})" if group.copies else "0"


def replication_view(record: ReplicationRecord, shown: Shown) -> list[Block]:
    """A replication audit: what was found, how far it holds, pair by pair, what it cost, how to repeat it."""
    from variegate.report.figures.replication import norm_histogram, overshoot_curve, security_curve, trajectory_curve

    at = shown.anchor

    def costs() -> list["Drawing"]:
        found = [norm_histogram(record)] if any(g.attacked and g.distances for g in record.groups) else []
        kept = any(attacked.trajectory for group in record.groups for attacked in group.attacked)
        return [*found, trajectory_curve(record)] if kept else found

    return [
        Heading(record.title, 1, at),
        Text([setting(record)]),
        Heading("Summary", 2, f"{at}-summary", "page"),
        Text(sentences(record), "bullets"),
        Text(cautions(record), "care"),
        Rows(glance_table(record)),
        Text([_NOT_ADAPTIVE], "note", where="page"),
        Heading("How far protection goes", 2, f"{at}-curves", "page"),
        Figures(lambda: [overshoot_curve(record), security_curve(record)], "Bands: 95 % intervals. Dashed: controls."),
        Heading("Rates and accuracy", 2, f"{at}-rates", "page"),
        Rows(rates_table(record)),
        Rows(accuracy_table(record)),
        Rows(overshoot_table(record)),
        Rows(overshoot_table(record, conditioned=True)),
        Rows(within_table(record)),
        Rows(noise_table(record)),
        *_pair_by_pair(record, at),
        Heading("What the attack cost", 2, f"{at}-attack", "page"),
        Figures(costs),
        Rows(queries_table(record)),
        Rows(status_table(record)),
        Heading("Pictures", 2, f"{at}-pictures", "page"),
        Figures(lambda: _grid(record, shown), _BELOW_PICTURES, "No pictures were kept with this record."),
        Heading("Parameters", 2, f"{at}-parameters", "page"),
        Pairs(parameter_tables(record), "page"),
        Text(_origin(record), where="text"),
    ]


def _pair_by_pair(record: ReplicationRecord, at: str) -> list[Block]:
    from variegate.report.figures.matrices import heat_map

    measured = [group for group in record.groups if _measured_pairs(group) > 1]  # a single pair needs no heat map
    if not measured:
        return []
    return [
        Heading("Pair by pair", 2, f"{at}-pairs", "page"),
        Figures(lambda: [drawing for group in measured if (drawing := heat_map(group)) is not None]),
    ]


def _measured_pairs(group: Group) -> int:
    return 0 if group.matrix is None else sum(count is not None for row in group.matrix.replicated for count in row)


def _grid(record: ReplicationRecord, shown: Shown) -> list["Drawing"]:
    from variegate.report.figures.gallery import picture_grid

    if not shown.pictures or shown.pictures[0] is None:
        return []
    order = [group.name for group in record.groups]
    drawn = picture_grid(shown.pictures[0], bounds=record.model.bounds, order=order, class_names=shown.class_names)
    return [] if drawn is None else [drawn]


def _origin(record: ReplicationRecord) -> tuple[str, ...]:
    return (
        (
            f"variegate {record.variegate}, torch {record.torch}, {record.created}, {duration(record.seconds)}, "
            f"seed {record.attack.seed}."
        ),
        f"Model {record.model.digest}",
        f"Command: {record.command}",
    )
