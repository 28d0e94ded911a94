"""A record as plain text for the terminal: fixed width, no colour, no markup."""

from collections.abc import Sequence

from variegate.records.attack import AttackRecord
from variegate.records.base import Efficiency
from variegate.records.calibration import CalibrationRecord
from variegate.records.collusion import CollusionRecord
from variegate.records.cross_check import CrossCheckRecord
from variegate.records.load import parse_record
from variegate.records.replication import ReplicationRecord
from variegate.records.reproduction import ReproductionRecord
from variegate.report import tables
from variegate.report.attack_labels import short_digest
from variegate.report.attack_overview import advice, attack_cautions, attack_settings, outcome_table, overview_table
from variegate.report.attack_tables import queries_table, status_table
from variegate.report.blocks import WIDTH, bullets, heading, prose, render_table
from variegate.report.calibration_table import calibration_table
from variegate.report.cautions import cautions
from variegate.report.collusion_tables import collusion_origin, collusion_setting, collusion_table
from variegate.report.cross_check_tables import check_origin, check_setting, engines_table, verdicts_table
from variegate.report.reproduction.text import render_record
from variegate.report.summary import calibration_title, calibration_verdict, sentences, setting
from variegate.report.table import Table
from variegate.report.words import count, duration, percent

__all__ = ["render_attacks_text", "render_table", "render_text"]


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
    if isinstance(parsed, CollusionRecord):
        return _collusion(parsed, width)
    if isinstance(parsed, AttackRecord):
        return render_attacks_text([parsed], width=width)
    if isinstance(parsed, ReproductionRecord):
        return render_record(parsed, width=width)
    blocks = [
        heading(f"Replication on {parsed.model.name}"),
        prose([setting(parsed)], width),
        bullets(sentences(parsed), width),
    ]
    if warned := cautions(parsed):
        blocks.append("Take care\n" + bullets(warned, width))
    blocks += [render_table(table) for table in replication_tables(parsed) if table.rows]
    blocks.append(prose(_origin(parsed), width))
    return "\n\n".join(blocks) + "\n"


def render_attacks_text(records: Sequence[AttackRecord], *, width: int = WIDTH) -> str:
    """Attacks side by side: warnings, one table of all, what to try where inputs failed, how each was run.

    Args:
        records: of attacks, at least one.
        width: characters a line of prose may take; tables take what they need.
    """
    targets = ", ".join(dict.fromkeys(record.target.name for record in records))
    blocks = [heading(f"{'Attack' if len(records) == 1 else 'Attacks'} on {targets}")]
    if warned := attack_cautions(records):
        blocks.append("Take care\n" + bullets(warned, width))
    blocks += [render_table(overview_table(records)), render_table(outcome_table(records))]
    if tips := advice(records):
        blocks.append(bullets([f"{name}: {text}" for name, text in tips], width))
    for sentence, record in zip(attack_settings(records), records, strict=True):
        run = (
            f"variegate {record.variegate} (source {short_digest(record.source)}), torch {record.torch}, "
            f"{record.created}, {duration(record.seconds)}, {_cost(record.efficiency)}."
        )
        blocks.append(prose([sentence, run, f"Command: {record.command}"], width))
    digests = dict.fromkeys((record.target.name, record.target.digest) for record in records)
    blocks.append(prose([f"Target {name}: {digest}" for name, digest in digests], width))
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


def _calibration(record: CalibrationRecord, width: int) -> str:
    blocks = [
        heading(calibration_title(record)),
        prose([calibration_verdict(record)], width),
        render_table(calibration_table(record)),
    ]
    return "\n\n".join(blocks) + "\n"


def _origin(record: ReplicationRecord) -> tuple[str, ...]:
    return (
        (
            f"variegate {record.variegate}, torch {record.torch}, {record.created}, {duration(record.seconds)}, "
            f"seed {record.attack.seed}."
        ),
        f"Model {record.model.digest}",
        f"Command: {record.command}",
    )


def _cost(efficiency: Efficiency) -> str:
    """How many queries, and how fast beside the target alone where both are known."""
    queries, share = f"{count(efficiency.queries)} queries", efficiency.share
    if share is None:
        return queries
    return f"{queries}, {count(efficiency.queries_per_second)} a second ({percent(share)} % of the target alone)"


def _collusion(record: CollusionRecord, width: int) -> str:
    blocks = [
        heading(record.title),
        prose([collusion_setting(record)], width),
        render_table(collusion_table(record)),
        prose([f"{name}: {value}" for name, value in collusion_origin(record).rows], width),
    ]
    return "\n\n".join(blocks) + "\n"


def _check(record: CrossCheckRecord, width: int) -> str:
    blocks = [
        heading(record.title),
        prose([check_setting(record)], width),
        render_table(engines_table(record)),
        render_table(verdicts_table(record)),
        prose([f"{name}: {value}" for name, value in check_origin(record).rows], width),
    ]
    return "\n\n".join(blocks) + "\n"
