"""A record as plain text for the terminal: fixed width, no colour, no markup."""

import textwrap
from collections.abc import Sequence

from variegate.report import tables
from variegate.report.attack import AttackRecord
from variegate.report.attack_labels import short_digest
from variegate.report.attack_overview import advice, attack_cautions, attack_settings, outcome_table, overview_table
from variegate.report.attack_tables import queries_table, status_table
from variegate.report.calibration_table import calibration_table
from variegate.report.candidates import CalibrationRecord
from variegate.report.cautions import cautions
from variegate.report.cross_check import CrossCheckRecord
from variegate.report.cross_check_tables import check_origin, check_setting, engines_table, verdicts_table
from variegate.report.parts import Efficiency
from variegate.report.record import ReplicationRecord, parse_record
from variegate.report.summary import calibration_verdict, sentences, setting
from variegate.report.table import Table
from variegate.report.words import clean, count, duration, percent

__all__ = ["render_attacks_text", "render_table", "render_text"]

WIDTH = 100


def render_text(record: object, *, width: int = WIDTH) -> str:
    """The whole record: summary, warnings, tables.

    Args:
        record: a record as JSON gives it, or a parsed one.
        width: characters a line of prose may take; tables take what they need.

    Raises:
        InputError: if a field of the record is missing or wrong; the sentence names it.
    """
    parsed = parse_record(record)
    if isinstance(parsed, CalibrationRecord):
        return _calibration(parsed, width)
    if isinstance(parsed, CrossCheckRecord):
        return _check(parsed, width)
    if isinstance(parsed, AttackRecord):
        return render_attacks_text([parsed], width=width)
    blocks = [
        _heading(f"Replication on {parsed.model_name}"),
        _prose([setting(parsed)], width),
        _bullets(sentences(parsed), width),
    ]
    if warned := cautions(parsed):
        blocks.append("Take care\n" + _bullets(warned, width))
    blocks += [render_table(table) for table in replication_tables(parsed) if table.rows]
    blocks.append(_prose(_origin(parsed), width))
    return "\n\n".join(blocks) + "\n"


def render_attacks_text(records: Sequence[AttackRecord], *, width: int = WIDTH) -> str:
    """Attacks side by side: warnings, one table of all, what to try where inputs failed, how each was run.

    Args:
        records: of attacks, at least one.
        width: characters a line of prose may take; tables take what they need.
    """
    targets = ", ".join(dict.fromkeys(record.target_name for record in records))
    blocks = [_heading(f"{'Attack' if len(records) == 1 else 'Attacks'} on {targets}")]
    if warned := attack_cautions(records):
        blocks.append("Take care\n" + _bullets(warned, width))
    blocks += [render_table(overview_table(records)), render_table(outcome_table(records))]
    if tips := advice(records):
        blocks.append(_bullets([f"{name}: {text}" for name, text in tips], width))
    for sentence, record in zip(attack_settings(records), records, strict=True):
        run = (
            f"variegate {record.variegate} (source {short_digest(record.source)}), torch {record.torch}, "
            f"{record.created}, {duration(record.seconds)}, {_cost(record.efficiency)}."
        )
        blocks.append(_prose([sentence, run, f"Command: {record.command}"], width))
    digests = dict.fromkeys((record.target_name, record.target_digest) for record in records)
    blocks.append(_prose([f"Target {name}: {digest}" for name, digest in digests], width))
    return "\n\n".join(blocks) + "\n"


def replication_tables(record: ReplicationRecord) -> tuple[Table, ...]:
    """The tables of a replication record, in the order in which reports show them."""
    return (
        tables.glance_table(record),
        tables.rates_table(record),
        tables.accuracy_table(record),
        tables.overshoot_table(record),
        tables.overshoot_table(record, conditioned=True),
        tables.within_table(record),
        tables.noise_table(record),
        queries_table(record),
        status_table(record),
    )


def render_table(table: Table) -> str:
    """One table: title, headings, a rule, rows; columns as wide as their longest text, row labels cut."""
    columns = tuple(map(_clean, table.columns))
    rows = [
        tuple(
            _cut(_clean(cell), table.label_width) if index < table.labels else _clean(cell)
            for index, cell in enumerate(row)
        )
        for row in _without_repeats(table)
    ]
    widths = [max(len(row[index]) for row in [columns, *rows]) for index in range(len(columns))]

    def line(cells: Sequence[str]) -> str:
        texts = (
            cell.ljust(width) if index < table.labels else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(texts).rstrip()

    lines = [_clean(table.title), line(columns), "  ".join("-" * width for width in widths), *map(line, rows)]
    return "\n".join([*lines, table.note] if table.note else lines)


def _without_repeats(table: Table) -> list[tuple[str, ...]]:
    """The rows, with the first cell empty where it repeats the one above."""
    if not table.grouped:
        return list(table.rows)
    above = [None, *(row[0] for row in table.rows)]
    return [("" if row[0] == before else row[0], *row[1:]) for row, before in zip(table.rows, above, strict=False)]


def _calibration(record: CalibrationRecord, width: int) -> str:
    blocks = [
        _heading(record.title),
        _prose([calibration_verdict(record)], width),
        render_table(calibration_table(record)),
    ]
    return "\n\n".join(blocks) + "\n"


def _origin(record: ReplicationRecord) -> tuple[str, ...]:
    return (
        (
            f"variegate {record.variegate}, torch {record.torch}, {record.created}, {duration(record.seconds)}, "
            f"seed {record.seed}."
        ),
        f"Model {record.model_digest}",
        f"Command: {record.command}",
    )


def _cost(efficiency: Efficiency) -> str:
    """How many queries, and how fast beside the target alone where both are known."""
    queries, share = f"{count(efficiency.queries)} queries", efficiency.share_of_raw
    if share is None:
        return queries
    return f"{queries}, {count(efficiency.queries_per_second)} a second ({percent(share)} % of the target alone)"


def _check(record: CrossCheckRecord, width: int) -> str:
    blocks = [
        _heading(record.title),
        _prose([check_setting(record)], width),
        render_table(engines_table(record)),
        render_table(verdicts_table(record)),
        _prose([f"{name}: {value}" for name, value in check_origin(record).rows], width),
    ]
    return "\n\n".join(blocks) + "\n"


def _heading(text: str) -> str:
    text = _clean(text)
    return f"{text}\n{'=' * len(text)}"


def _prose(lines: Sequence[str], width: int) -> str:
    return "\n".join(textwrap.fill(_clean(line), width) for line in lines)


def _bullets(lines: Sequence[str], width: int) -> str:
    return "\n".join(textwrap.fill(_clean(line), width, initial_indent="- ", subsequent_indent="  ") for line in lines)


def _clean(text: str) -> str:
    return clean(" ".join(text.splitlines()) if "\n" in text else text).replace("\t", " ")


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
