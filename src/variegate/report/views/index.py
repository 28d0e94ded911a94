"""Several replication audits joined: a row for each model and group, figures over all, links to the single pages."""

from collections.abc import Mapping, Sequence

from variegate.records.base import Rate
from variegate.records.calibration import CalibrationRecord
from variegate.records.replication import Group, ReplicationRecord
from variegate.report.blocks import Block, Figures, Heading, Rows, Table, Text
from variegate.report.formatting import NOTHING, group_title, norm, percent, points, short_interval
from variegate.report.measures import accuracy_change, cautions, mean_accuracy, norm_kept, rate_at, stops_protecting
from variegate.report.views.calibration import calibration_title, calibration_verdict
from variegate.report.views.replication import setting

STEPS = (1.0, 1.5, 2.0)


def index_view(
    audits: Sequence[ReplicationRecord], calibrations: Sequence[CalibrationRecord], links: Mapping[str, str]
) -> list[Block]:
    """The index of several audits.

    Args:
        audits: one row a group each.
        calibrations: a sentence each.
        links: the page of a model or of a calibration, by the model's name or the calibration's title.
    """
    from variegate.report.figures.replication import comparison

    rows = tuple(row for record in audits for group in record.groups for row in _row(record, group))
    table = Table(
        title="Victims fooled (%), norms, accuracy (%)",
        columns=(
            "model",
            "group",
            *(f"s = {s:g}" for s in STEPS),
            "stops protecting at norm",
            "norm kept",
            "accuracy",
            "change (points)",
        ),
        rows=rows,
        labels=2,
        grouped=True,
        paired=True,
    )
    found = tuple((calibration_title(record), calibration_verdict(record)) for record in calibrations)
    return [
        Figures(lambda: [comparison(audits, s=s) for s in (1.0, 2.0)] if audits else []),
        *([Heading("Models and groups")] if audits else []),
        Rows(table, links=links),
        Text([setting(record) for record in audits], "note"),
        Text([f"{record.model.name}: {line}" for record in audits for line in cautions(record)], "care"),
        *([Heading("Calibrations")] if found else []),
        Rows(Table(title="What was chosen", columns=("calibration", "verdict"), rows=found), words=1, links=links),
    ]


def _row(record: ReplicationRecord, group: Group) -> tuple[tuple[str, ...], tuple[str, ...]]:
    mean, sd = mean_accuracy(group)
    cells = [_rate(rate_at(group, s)) for s in STEPS]
    cells += [
        (NOTHING if group.name == "noise" else stops_protecting(group).words, ""),
        (norm(norm_kept(record, group)), ""),
        (percent(mean), "" if sd is None else f"sd {points(sd)}"),
        (points(accuracy_change(group), signed=True), ""),
    ]
    above, below = zip(*cells, strict=True)
    return (record.model.name, group_title(group.name), *above), (record.model.name, "", *below)


def _rate(rate: Rate | None) -> tuple[str, str]:
    if rate is None:
        return NOTHING, ""
    below = "" if rate.low is None or rate.high is None else f"{short_interval(rate.low, rate.high)}; "
    return percent(rate.rate), f"{below}{rate.k}/{rate.n}"
