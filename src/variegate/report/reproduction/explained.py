"""The tables of a study with columns of words for the page: what the paper says, and why ours differs."""

from collections.abc import Sequence

from variegate.records.reproduction import (
    AccuracyResults,
    BindingResults,
    CollusionResults,
    CosineResults,
    CostResults,
    ReplicationResults,
    Study,
)
from variegate.report.reproduction import reasons
from variegate.report.reproduction.cells import explained
from variegate.report.reproduction.paper_words import BINDING, COSINES
from variegate.report.reproduction.summaries import (
    binding_curves,
    binding_table,
    coalition_table,
    collusion_table,
    cosine_curves,
    cosine_table,
)
from variegate.report.reproduction.tables import (
    accuracy_rows,
    accuracy_table,
    companion_table,
    cost_cells,
    cost_table,
    effort_table,
    replication_cells,
    replication_table,
)
from variegate.report.table import Table

_WHY = ("why",)
_PAPER_AND_WHY = ("the paper, and why",)


def study_tables_explained(study: Study) -> Sequence[tuple[Table, int]]:
    """Every table of a study, each with how many of its last columns are words."""
    results = study.results
    if isinstance(results, AccuracyResults):
        return [(_accuracy(study, results), 1)]
    if isinstance(results, CostResults):
        return [(_cost(study, results), 1)]
    if isinstance(results, CosineResults):
        return [(_cosines(study, results), 1)]
    if isinstance(results, BindingResults):
        return [(_binding(study, results), 1)]
    if isinstance(results, CollusionResults):
        return [*((table, 1) for table in _collusion(study, results)), (coalition_table(study.name, results), 0)]
    found = [(table, 1) for table in _replication(study, results)]
    found += [(companion_table(study.name, attack), 0) for attack in results.attacks.ordered]
    return [*found, (effort_table(study.name, results), 0)]


def _accuracy(study: Study, results: AccuracyResults) -> Table:
    words = [reasons.accuracy_reason(study, results, row) for row in accuracy_rows(results)]
    return explained(accuracy_table(study.name, results), _WHY, _paired(words))


def _replication(study: Study, results: ReplicationResults) -> list[Table]:
    tables = []
    for attack in results.attacks.ordered:
        words = [
            reasons.replication_reason(attack, row.rewriter, row.kind, rate, paper)
            for row, rate, _, paper in replication_cells(study.name, attack)
        ]
        tables.append(explained(replication_table(study.name, attack), _WHY, _paired(words)))
    return tables


def _cost(study: Study, results: CostResults) -> Table:
    rows = results.rows
    words = [(reasons.cost_reason(results, rows[name], cells[0]),) for name, cells in cost_cells(results)]
    return explained(cost_table(study.name, results), _WHY, words)


def _cosines(study: Study, results: CosineResults) -> Table:
    places = {place.title: place for place in results.places}
    words = []
    for title, name, rewriter, curve in cosine_curves(results):
        where = places[title]
        said = COSINES.get((name, rewriter), "") if where.place == "clean" else ""
        words.append((_joined(said, reasons.cosine_reason(where, rewriter, curve)),))
    return explained(cosine_table(study.name, results), _PAPER_AND_WHY, words)


def _binding(study: Study, results: BindingResults) -> Table:
    words = []
    for measure, reading, name, _ in binding_curves(results):
        nearest = measure == results.nearest_to_the_paper.measure and reading in (
            "",
            results.nearest_to_the_paper.reading,
        )
        said = BINDING.get(name, "") if nearest else ""
        words.append((_joined(said, reasons.binding_reason(results, measure, reading)),))
    return explained(binding_table(study.name, results), _PAPER_AND_WHY, words)


def _collusion(study: Study, results: CollusionResults) -> list[Table]:
    tables = []
    for setting in results.settings:
        words = [
            reasons.collusion_reason(setting, variant, letter)
            for letter in setting.letters
            for variant in setting.variants
        ]
        tables.append(explained(collusion_table(study.name, setting), _WHY, _paired(words)))
    return tables


def _joined(paper: str, why: str) -> str:
    """What the paper says, if it says something, and why ours may differ."""
    return "; ".join(filter(None, [f"paper: {paper}" if paper else "", why]))


def _paired(words: Sequence[str]) -> list[tuple[str, ...]]:
    """One column of words for a table whose every second row holds intervals."""
    return [row for one in words for row in ((one,), ("",))]
