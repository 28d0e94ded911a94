"""All figures of a reproduction, in the order in which its page shows them."""

from collections.abc import Sequence

from variegate.records.reproduction import (
    BindingResults,
    CollusionResults,
    CosineResults,
    ReplicationResults,
    ReproductionRecord,
    Study,
)
from variegate.report.drawing import Drawing
from variegate.report.reproduction.collusion_figures import collusion_figures
from variegate.report.reproduction.densities import binding_figure, clean_cosines, other_cosines
from variegate.report.reproduction.replication_figures import against_the_paper, lengthened


def draw_reproduction(records: Sequence[ReproductionRecord]) -> tuple[Drawing, ...]:
    """Every figure of every record and study; Tables 1 and 3 have none."""
    studies = [study for record in records for study in record.studies]
    return tuple(drawing for position, study in enumerate(studies) for drawing in draw_study(study, position))


def draw_study(study: Study, position: int = 0) -> list[Drawing]:
    """The figures of one study; its position names them where its name cannot."""
    results = study.results
    if isinstance(results, ReplicationResults):
        return [against_the_paper(study.name, results, position), lengthened(study.name, results, position)]
    if isinstance(results, CosineResults):
        found = (clean_cosines(study.name, results, position), other_cosines(study.name, results, position))
        return [drawing for drawing in found if drawing is not None]
    if isinstance(results, BindingResults):
        return [binding_figure(study.name, results, position)]
    return collusion_figures(study.name, results, position) if isinstance(results, CollusionResults) else []
