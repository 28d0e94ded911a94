"""A record of a reproduction as plain text for the terminal."""

from collections.abc import Mapping, Sequence

from variegate.errors import FormatError
from variegate.records.load import parse_record
from variegate.records.reproduction import (
    AccuracyResults,
    BindingResults,
    CollusionResults,
    CosineResults,
    CostResults,
    ReproductionRecord,
    Study,
)
from variegate.report.attack_labels import short_digest
from variegate.report.blocks import WIDTH, bullets, heading, prose, render_table
from variegate.report.reproduction.cells import EXPERIMENT_TITLES
from variegate.report.reproduction.claims import counts, judge_all, sentences
from variegate.report.reproduction.reasons import differences, setting
from variegate.report.reproduction.summaries import binding_table, coalition_table, collusion_table, cosine_table
from variegate.report.reproduction.tables import (
    accuracy_table,
    companion_table,
    cost_table,
    effort_table,
    replication_table,
)
from variegate.report.table import Table
from variegate.report.words import count, duration


def render_record(record: ReproductionRecord | Mapping[str, object], *, width: int = WIDTH) -> str:
    """One table or figure in numbers: for each study what it was measured on, the tables, what differs from the paper.

    Args:
        record: as JSON gives it, or parsed.
        width: characters a line of prose may take; tables take what they need.

    Raises:
        FormatError: a field of the record is missing or wrong; the sentence names it.
    """
    parsed = parse_record(record)
    if not isinstance(parsed, ReproductionRecord):
        raise FormatError(f"expected a record of a reproduction; got one of kind {parsed.kind}")
    blocks = [heading(f"{EXPERIMENT_TITLES[parsed.experiment]}: {parsed.title}")]
    for study in parsed.studies:
        blocks.append(prose([setting(study)], width))
        blocks += [render_table(table) for table in study_tables(study)]
        blocks.append("What differs from the paper\n" + bullets(differences(parsed, study), width))
    if claims := judge_all([parsed]):
        blocks.append(f"Claims of the paper ({counts(claims)})\n" + bullets(sentences(claims), width))
    blocks.append(prose(_origin(parsed), width))
    return "\n\n".join(blocks) + "\n"


def study_tables(study: Study) -> Sequence[Table]:
    """Every table of a study, in the order in which reports show them."""
    results = study.results
    if isinstance(results, AccuracyResults):
        return [accuracy_table(study.name, results)]
    if isinstance(results, CostResults):
        return [cost_table(study.name, results)]
    if isinstance(results, CosineResults):
        return [cosine_table(study.name, results)]
    if isinstance(results, BindingResults):
        return [binding_table(study.name, results)]
    if isinstance(results, CollusionResults):
        by_setting = [collusion_table(study.name, setting) for setting in results.settings]
        return [*by_setting, coalition_table(study.name, results)]
    found = [replication_table(study.name, attack) for attack in results.attacks.ordered]
    found += [companion_table(study.name, attack) for attack in results.attacks.ordered]
    return [*found, effort_table(study.name, results)]


def _origin(record: ReproductionRecord) -> list[str]:
    run = (
        f"Preset {record.preset}; variegate {record.variegate} (source {short_digest(record.source)}), torch "
        f"{record.torch}, python {record.python}, {record.created}, {duration(record.seconds)}, "
        f"{count(record.shards_computed_in_this_run)} new shards."
    )
    return [run, f"Command: {record.command}"]
