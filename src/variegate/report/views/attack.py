"""Attacks side by side: one table of all, what to try where inputs failed, how each was run."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from variegate.errors import ConfigurationError
from variegate.records.attack import AttackRecord
from variegate.records.base import Efficiency, Rate
from variegate.report.blocks import Block, Figures, Heading, Pairs, Rows, Table, Text
from variegate.report.formatting import (
    NOTHING,
    count,
    counted,
    duration,
    flat,
    norm,
    norm_title,
    number,
    origin_rows,
    percent,
    rate_words,
    share,
    span,
)
from variegate.report.measures import FEW_IMAGES, LOW_SUCCESS
from variegate.report.views.shown import Shown

if TYPE_CHECKING:
    from variegate.report.drawing import Drawing
from variegate.report.labels import differences, full_labels, short_digest, short_norm
from variegate.types import Status

PICTURE_ROWS = 3
"""Rows of pictures for one attack."""
_CURVES = "Medians of the best adversarials so far over all attempted images. Dashed: white box, over all queries."
_BELOW_PICTURES = (
    "Below each: the class of the clean input, what the target says to the adversarial, and the size of the "
    "difference. Grey in the difference: no change."
)


LABEL_WIDTH = 44


def overview_table(records: Sequence[AttackRecord]) -> Table:
    """Two rows a record: success, norm, queries and overshoot; below each its interval or its percentiles."""
    titles, labels = _row_titles(records)
    rows: list[tuple[str, ...]] = []
    for record, label in zip(records, labels, strict=True):
        outcome, rate = record.outcome, record.outcome.attack_success_rate
        rows.append(
            (
                *label,
                short_norm(record.attack.norm),
                count(record.data.images),
                percent(rate.rate),
                norm(outcome.distance.median),
                count(outcome.queries.median),
                share(None if record.outcome.overshoot is None else record.outcome.overshoot.median),
            )
        )
        rows.append(
            (
                *("" for _ in label),
                "",
                "",
                counted(rate),
                span(norm(outcome.distance.p10), norm(outcome.distance.p90)),
                span(count(outcome.queries.p10), count(outcome.queries.p90)),
                ""
                if record.outcome.overshoot is None
                else span(share(record.outcome.overshoot.p10), share(record.outcome.overshoot.p90)),
            )
        )
    return Table(
        title="Attacks: success in %, below it k/n and the 95 % interval; medians, below them p10 to p90",
        columns=(*titles, "norm", "images", "success", "median norm", "queries", "overshoot (%)"),
        rows=tuple(rows),
        labels=len(titles),
        paired=True,
        label_width=LABEL_WIDTH,
    )


def outcome_table(records: Sequence[AttackRecord]) -> Table:
    """A row a record: how many of its inputs ended with each status, and how many adversarials were confirmed."""
    titles, labels = _row_titles(records)
    asked = [
        "" if one.outcome.confirmed is None or not one.outcome.confirmed.n else _confirmed(one.outcome.confirmed)
        for one in records
    ]
    found = [status for status in Status if any(status in record.statuses for record in records)]
    return Table(
        title="Outcomes of the images",
        columns=(*titles, "norm", *map(_title, found), *(["confirmed"] if any(asked) else [])),
        rows=tuple(
            (
                *label,
                short_norm(record.attack.norm),
                *(count(record.statuses.get(status, 0)) for status in found),
                *([again or NOTHING] if any(asked) else []),
            )
            for record, label, again in zip(records, labels, asked, strict=True)
        ),
        labels=len(titles),
        label_width=LABEL_WIDTH,
    )


def advice(records: Sequence[AttackRecord]) -> tuple[tuple[str, str], ...]:
    """Each outcome but success that an input had, and what to try, as (outcome, sentence)."""
    found = {status for record in records for status in record.statuses} - {Status.SUCCESS}
    return tuple((_title(status), status.advice) for status in Status if status in found)


def attack_settings(records: Sequence[AttackRecord]) -> tuple[str, ...]:
    """One sentence a record: what was attacked, with what."""
    sentences = []
    for label, record in zip(full_labels(records), records, strict=True):
        low, high = record.target.bounds
        kind = "white box" if record.white_box else "hard labels alone"
        run = record.attack
        limit = "" if run.budget is None else f", at most {count(run.budget)} queries an image"
        sentences.append(
            f"{label} ({kind}, {'targeted' if run.targeted else 'untargeted'}): {count(record.data.images)} images of "
            f"{record.data.name}, target {record.target.name} ({record.target.num_classes} classes, inputs in "
            f"[{number(low)}, {number(high)}]){limit}{_asking(record)}, sizes in the {norm_title(run.norm)}, "
            f"seed {run.seed}."
        )
    return tuple(sentences)


def attack_cautions(records: Sequence[AttackRecord]) -> tuple[str, ...]:
    """Sentences that a reader must see before comparing the records; none where nothing is amiss."""
    lines = []
    apart = [
        name
        for name, values in (
            ("target", {record.target.digest for record in records}),
            ("data or number of images", {(record.data.name, record.data.images) for record in records}),
            ("interval of input values", {record.target.bounds for record in records}),
            ("aim (targeted or not)", {record.attack.targeted for record in records}),
        )
        if len(values) > 1
    ]
    if apart:
        lines.append(f"The records differ in {', '.join(apart)}: their norms and queries do not compare directly.")
    for name, record in zip(full_labels(records), records, strict=True):
        if record.error is not None:
            lines.append(f"{name}: the run ended early ({record.error}); its numbers are those of what was done.")
        if record.data.images < FEW_IMAGES:
            lines.append(
                f"{name}: only {count(record.data.images)} images were attacked: the intervals are wide; attack "
                f"{FEW_IMAGES} or more before comparing attacks."
            )
        success, confirmed = record.outcome.attack_success_rate, record.outcome.confirmed
        if success.rate is not None and success.rate < LOW_SUCCESS:
            lines.append(
                f"{name}: success on {rate_words(success)}. Its norms are of these alone, so they look small "
                "beside those of an attack that succeeds on the hard inputs, too."
            )
        if confirmed is not None and confirmed.k < confirmed.n:
            lines.append(
                f"{name}: asked once more, without votes, the target gets only {_confirmed(confirmed)} of the "
                "adversarials wrong; read success and norms as those of what was voted, or of the limit of precision."
            )
    return tuple(lines)


def origin(record: AttackRecord) -> tuple[tuple[str, str], ...]:
    """What is needed to repeat a run, beside its parameters, as (name, value)."""
    return (
        *origin_rows(record),
        ("source", record.source),
        ("target", record.target.digest),
        ("queries in all", f"{count(record.efficiency.queries)} in {duration(record.efficiency.seconds)}"),
        ("queries a second", count(record.efficiency.queries_per_second)),
        ("target alone, a second", count(record.efficiency.raw_queries_per_second)),
        ("share of that (%)", percent(record.efficiency.share)),
    )


def _asking(record: AttackRecord) -> str:
    oracle = record.attack.oracle
    if oracle is None:
        return ""
    parts = []
    if oracle.jitter is not None or oracle.votes > 1:
        parts.append(f"each answer the majority of {count(oracle.votes)} ({oracle.jitter or 'no'} jitter)")
    if oracle.levels is not None:
        parts.append(f"inputs rounded to {count(oracle.levels)} levels")
    return "".join(f", {part}" for part in parts)


def _confirmed(rate: Rate) -> str:
    return f"{count(rate.k)}/{count(rate.n)}"


def _row_titles(records: Sequence[AttackRecord]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The headings of the columns that name a row, and their texts for each record."""
    apart = differences(records)
    if not any(apart):
        return ("attack",), [(record.attack.name,) for record in records]
    return ("attack", "differs in"), [(record.attack.name, what) for record, what in zip(records, apart, strict=True)]


def _title(status: Status) -> str:
    return status.value.replace("_", " ")


def attack_parameter_table(record: AttackRecord, label: str) -> Table:
    """What is needed to repeat one attack."""
    return Table(
        title=label, columns=("name", "value"), rows=(*origin(record), *flat(record.attack.parameters)), labels=2
    )


def attack_view(records: Sequence[AttackRecord], shown: Shown) -> list[Block]:
    """Attacks side by side.

    Raises:
        ConfigurationError: there are pictures, but not an entry for each record.
    """
    if shown.pictures and len(shown.pictures) != len(records):
        raise ConfigurationError(
            f"expected one entry of pictures for each record, {len(records)} in all; got {len(shown.pictures)}"
        )

    def curves() -> list["Drawing"]:
        from variegate.report.figures.attack import norm_against_queries

        drawn = norm_against_queries(records)
        return [] if drawn is None else [drawn]

    names = full_labels(records)
    advised = [text for term in advice(records) for text in term]
    parameters = [attack_parameter_table(record, name) for name, record in zip(names, records, strict=True)]
    digests = dict.fromkeys((record.target.name, record.target.digest) for record in records)
    return [
        Heading(attack_title(records), 1, shown.anchor),
        Heading("Summary", 2, "summary", "page"),
        Text(attack_cautions(records), "care"),
        Rows(overview_table(records)),
        Text(attack_settings(records), "bullets", where="page"),
        Heading("Norm against queries", 2, "curves", "page"),
        Figures(curves, _CURVES, "No attack found an adversarial."),
        Heading("Outcomes", 2, "outcomes", "page"),
        Rows(outcome_table(records)),
        Text(advised, "terms"),
        Heading("Pictures", 2, "pictures", "page"),
        Figures(lambda: _grids(records, names, shown), missing="No pictures were kept."),
        Text([_BELOW_PICTURES] if any(each is not None for each in shown.pictures) else [], "note", where="page"),
        Heading("Parameters", 2, "parameters", "page"),
        Pairs(parameters, "page"),
        *(Text(lines, where="text") for lines in _runs(records)),
        Text([f"Target {name}: {digest}" for name, digest in digests], where="text"),
    ]


def attack_title(records: Sequence[AttackRecord]) -> str:
    """A heading."""
    targets = ", ".join(dict.fromkeys(record.target.name for record in records))
    return f"{'Attack' if len(records) == 1 else 'Attacks'} on {targets}"


def _grids(records: Sequence[AttackRecord], names: Sequence[str], shown: Shown) -> list["Drawing"]:
    """A grid for each record that has pictures: called "pictures", or "pictures-1" and so on for several records."""
    from variegate.report.figures.gallery import picture_grid

    drawn = [
        picture_grid(
            kept,
            bounds=record.target.bounds,
            rows=PICTURE_ROWS,
            size=record.attack.norm,
            judge="target",
            name="pictures" if len(records) == 1 else f"pictures-{number}",
            heading=label,
        )
        for number, (label, record, kept) in enumerate(zip(names, records, shown.pictures, strict=False), start=1)
        if kept is not None
    ]
    return [drawing for drawing in drawn if drawing is not None]


def _runs(records: Sequence[AttackRecord]) -> list[list[str]]:
    """How each was run: its settings, code and cost, and command."""
    found = []
    for sentence, record in zip(attack_settings(records), records, strict=True):
        run = (
            f"variegate {record.variegate} (source {short_digest(record.source)}), torch {record.torch}, "
            f"{record.created}, {duration(record.seconds)}, {_cost(record.efficiency)}."
        )
        found.append([sentence, run, f"Command: {record.command}"])
    return found


def _cost(efficiency: Efficiency) -> str:
    """How many queries, and how fast next to the target alone where both are known."""
    queries, share_of_raw = f"{count(efficiency.queries)} queries", efficiency.share
    if share_of_raw is None:
        return queries
    return f"{queries}, {count(efficiency.queries_per_second)} a second ({percent(share_of_raw)} % of the target alone)"
