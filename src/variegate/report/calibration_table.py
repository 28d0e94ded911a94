"""The table of the settings that a calibration tried."""

from variegate.records.calibration import CalibrationRecord
from variegate.report.table import Table
from variegate.report.words import count, norm, number, percent


def calibration_table(record: CalibrationRecord) -> Table:
    """Every candidate that a calibration tried."""
    steps = sorted({s for candidate in record.candidates for s in candidate.replication_at})
    rows = tuple(
        (
            "chosen" if candidate.chosen else ("feasible" if candidate.feasible else "refused"),
            number(candidate.strength),
            count(candidate.messages_per_class),
            number(candidate.quantization_step),
            percent(candidate.predicted_change),
            percent(candidate.measured_change),
            *(percent(candidate.replication_at.get(step)) for step in steps),
            norm(candidate.median_distance),
            norm(candidate.norm_ratio),
        )
        for candidate in record.candidates
    )
    return Table(
        title="Settings tried (labels changed and replication in %)",
        columns=(
            "verdict",
            "strength",
            "messages",
            "step",
            "predicted",
            "changed",
            *(f"s={number(step)}" for step in steps),
            "norm",
            "norm kept",
        ),
        rows=rows,
    )
