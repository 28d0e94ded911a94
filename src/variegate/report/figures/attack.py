"""The figure of a set of attacks: how the median norm falls with the queries that are spent."""

from collections.abc import Sequence

from matplotlib.ticker import NullLocator

from variegate.records.attack import AttackRecord
from variegate.report.drawing import (
    Axes,
    Drawing,
    canvas,
    draw_line,
    finish,
    legend_text,
    logarithmic,
    plain,
    positive,
    style,
)
from variegate.report.formatting import count, norm, norm_title
from variegate.report.labels import labels
from variegate.report.palette import GroupStyle, series_styles

NAME = "norm-against-queries"
NARROWEST = 4.0
"""An axis spans at least this factor, so that it has labels and small differences look small."""


def norm_against_queries(records: Sequence[AttackRecord]) -> Drawing | None:
    """Median norm against queries, both logarithmic: a line a record, a panel a norm.

    A white-box attack asks for no labels: its final median norm is a dashed line over all queries. An attack of which
    no progress was kept is a mark at its medians.

    Returns:
        None where no record has a norm to show.
    """
    titles = dict(zip(map(id, records), _titles(records), strict=True))
    shown = [record for record in records if _curve(record)[1]]
    if not shown:
        return None
    dashed = [titles[id(record)] for record in shown if record.white_box]
    styles = series_styles(dict.fromkeys(titles[id(record)] for record in shown), dashed=dashed)
    norms = sorted({record.attack.norm for record in shown})
    parts = []
    with style():
        figure, panels = canvas(1.2 + 3.1 * len(norms) + 0.1 * len(styles), rows=len(norms), sharex=True)
        for axes, name in zip(panels, norms, strict=True):
            logarithmic(axes)
            for record in shown:
                if record.attack.norm == name:
                    title = titles[id(record)]
                    _record(axes, record, styles[title])
                    parts.append(_words(record, title))
            _widen(axes)
            axes.set_ylabel(f"median {plain(norm_title(name))}, input units")
        panels[-1].set_xlabel("queries per image")
        if not any(_curve(record)[0] for record in shown):
            panels[-1].xaxis.set_major_locator(NullLocator())
            panels[-1].xaxis.set_minor_locator(NullLocator())
        title = "Median norm of the adversarials against queries"
        finish(figure, panels, title)
    alt = f"Line chart on logarithmic axes of the median norm against queries per image. {'; '.join(parts)}."
    return Drawing(name=NAME, title=title, alt=alt, figure=figure)


def _titles(records: Sequence[AttackRecord]) -> list[str]:
    return [
        f"{label} (white box)" if record.white_box else label
        for label, record in zip(labels(records), records, strict=True)
    ]


def _curve(record: AttackRecord) -> tuple[list[float], list[float]]:
    """Queries and norms to draw; of a white-box attack no queries and its norm; nothing where nothing was found."""
    outcome = record.outcome
    final, spent = outcome.distance.median, outcome.queries.median
    last = [] if final is None or final <= 0.0 else [final]
    if record.white_box:
        return [], last
    if outcome.trajectory is not None and (found := positive(outcome.trajectory))[0]:
        return found
    return ([spent], last) if last and spent else ([], [])


def _record(axes: Axes, record: AttackRecord, look: GroupStyle) -> None:
    queries, norms = _curve(record)
    if record.white_box:
        axes.axhline(norms[0], color=look.colour, linestyle=look.dash, label=legend_text(look.title))
    else:
        draw_line(axes, queries, norms, look)


def _words(record: AttackRecord, title: str) -> str:
    queries, norms = _curve(record)
    where = f"after {count(queries[-1])} queries" if queries else "with gradients"
    return f"{title}: {norm_title(record.attack.norm)} {norm(norms[-1])} {where}"


def _widen(axes: Axes) -> None:
    """Give each axis a range of at least `NARROWEST`."""
    for low, high, put in ((*axes.get_xlim(), axes.set_xlim), (*axes.get_ylim(), axes.set_ylim)):
        if high < NARROWEST * low:
            centre, half = (low * high) ** 0.5, NARROWEST**0.5
            put(centre / half, centre * half)
