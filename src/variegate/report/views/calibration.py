"""The table of the settings that a calibration tried."""

from typing import TYPE_CHECKING

from variegate.records.calibration import CalibrationRecord
from variegate.report.blocks import Block, Figures, Heading, Rows, Table, Text
from variegate.report.formatting import count, group_title, norm, number, percent
from variegate.report.views.shown import Shown

if TYPE_CHECKING:
    from variegate.report.drawing import Drawing


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


def calibration_title(record: CalibrationRecord) -> str:
    """A heading: "Calibration of QIM on cifar10-s0", as far as the record says it."""
    of = f" of {group_title(record.rewriter)}" if record.rewriter else ""
    return f"Calibration{of}{f' on {record.model}' if record.model else ''}"


def calibration_verdict(record: CalibrationRecord) -> str:
    """One or two sentences: how many settings were tried, which was chosen, what it costs and gains."""
    tried = len(record.candidates)
    start = f"{count(tried)} setting{'' if tried == 1 else 's'} {'was' if tried == 1 else 'were'} tried."
    chosen = record.choice
    if chosen is None:
        return f"{start} None met the limits."
    named = (
        ("strength", chosen.strength),
        ("messages per class", chosen.messages_per_class),
        ("quantization step", chosen.quantization_step),
    )
    setting_words = ", ".join(f"{name} {number(value)}" for name, value in named if value is not None)
    parts = []
    if chosen.measured_change is not None:
        parts.append(f"it changes {percent(chosen.measured_change)} % of the labels")
    rates = [f"{percent(rate)} % at s = {number(s)}" for s, rate in chosen.replication_at.items() if rate is not None]
    if rates:
        parts.append(f"adversarials replicate {', '.join(rates)}")
    if chosen.norm_ratio is not None:
        parts.append(f"own adversarials have {norm(chosen.norm_ratio)} times the norm of the original's")
    found = f": {'; '.join(parts)}" if parts else ""
    return f"{start} Chosen: {setting_words or 'the marked one'}{found}."


def calibration_view(record: CalibrationRecord, shown: Shown) -> list[Block]:
    """A calibration: the verdict, what each setting costs and gains, all settings."""

    def draw() -> list["Drawing"]:
        from variegate.report.figures.calibration import trade_off

        return [trade_off(record)] if record.candidates else []

    return [
        Heading(calibration_title(record), 1, shown.anchor),
        Text([calibration_verdict(record)]),
        Figures(draw),
        Rows(calibration_table(record)),
    ]
