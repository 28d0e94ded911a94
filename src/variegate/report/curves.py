"""Curves of a replication record: rate against s, rate against norm, norm against queries."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator, PercentFormatter

from variegate.records.base import Point
from variegate.records.replication import Group, ReplicationRecord
from variegate.report.drawing import GRID, Axes, Drawing, Figure, canvas, plain, spaced_ticks, style
from variegate.report.lines import draw_line, finish, logarithmic, positive
from variegate.report.palette import BLACK, group_styles
from variegate.report.words import count, group_title, norm_title, number, percent

BAND = 0.16


def overshoot_curve(record: ReplicationRecord) -> Drawing:
    """Rate of victims fooled at x + s (x' - x) against s, all groups, 95 % intervals as bands, controls dashed."""
    steps = sorted({point.at for group in record.groups for point in group.replication_at if point.at > 0})
    title = "Victims fooled when the adversarial is pushed further: x + s (x' - x)"
    with style():
        figure, (axes,) = canvas(4.3)
        _rates(axes, record, lambda group: group.replication_at)
        axes.set_xscale("log")
        axes.set_xlabel("s (1: the adversarial itself; 2: twice as far from the clean input)")
        _ticks(axes, steps)
        _finish(figure, axes, title)
    alt = _alt(record, "s", lambda group: group.replication_at, "Line chart of victims fooled in per cent against s.")
    return Drawing(name="overshoot", title=title, alt=alt, figure=figure)


def security_curve(record: ReplicationRecord) -> Drawing:
    """Rate of victims fooled within a norm, all groups, 95 % intervals as bands; where 50 % is crossed matters."""
    norms = sorted({point.at for group in record.groups for point in group.replication_within})
    title = f"Victims fooled by perturbations of at most a given {norm_title(record.attack.norm)}"
    with style():
        figure, (axes,) = canvas(4.3)
        _rates(axes, record, lambda group: group.replication_within)
        axes.axhline(50.0, color=GRID, linewidth=1.0, linestyle=(0, (1.0, 2.0)))
        positive = [value for value in norms if value > 0]
        if positive and positive[-1] > 20 * positive[0]:
            axes.set_xscale("log")
            _ticks(axes, positive)
        else:
            axes.set_xlim(left=0.0)
        axes.set_xlabel(f"largest {norm_unit(record)}")
        _finish(figure, axes, title)
    alt = _alt(
        record,
        "norm",
        lambda group: group.replication_within,
        f"Line chart of victims fooled in per cent against the {norm_title(record.attack.norm)}, with a line at 50 %.",
    )
    return Drawing(name="security", title=title, alt=alt, figure=figure)


def trajectory_curve(record: ReplicationRecord) -> Drawing:
    """Median norm of the best adversarials so far against queries: thin per attacked copy, thick the group's mean."""
    styles = group_styles(group.name for group in record.groups)
    title = f"Median {norm_title(record.attack.norm)} of the adversarials as the attack goes on"
    ends = []
    with style():
        figure, (axes,) = canvas(4.3)
        for group in record.groups:
            curves = [curve for a in group.attacked if a.trajectory and (curve := positive(a.trajectory))[0]]
            if not curves:
                continue
            look = styles[group.name]
            if len(curves) > 1:
                for queries, distances in curves:
                    axes.plot(queries, distances, color=look.colour, linewidth=0.8, alpha=0.45)
            queries, distances = _mean_curve(curves)
            draw_line(axes, queries, distances, look)
            ends.append(f"{group_title(group.name)} ends at {distances[-1]:.3g} after {count(queries[-1])} queries")
        logarithmic(axes)
        axes.set_xlabel("queries an input (one query labels one input once)")
        axes.set_ylabel(f"median {norm_unit(record)}")
        _finish(figure, axes, title, percentages=False)
    alt = f"Line chart on logarithmic axes of the median norm against queries. {'; '.join(ends) or 'No curve'}."
    return Drawing(name="trajectory", title=title, alt=alt, figure=figure)


def norm_unit(record: ReplicationRecord) -> str:
    """The norm's name with its unit, for an axis."""
    low, high = record.model.bounds
    return f"{plain(norm_title(record.attack.norm))} (inputs lie in [{number(low)}, {number(high)}])"


def _rates(axes: Axes, record: ReplicationRecord, points_of: Callable[[Group], Sequence[Point]]) -> None:
    styles = group_styles(group.name for group in record.groups)
    for group in record.groups:
        points = [point for point in points_of(group) if point.rate.rate is not None]
        if not points:
            continue
        look = styles[group.name]
        banded = [point for point in points if point.rate.low is not None and point.rate.high is not None]
        axes.fill_between(
            [point.at for point in banded],
            [100.0 * (point.rate.low or 0.0) for point in banded],
            [100.0 * (point.rate.high or 0.0) for point in banded],
            color="#777777" if look.colour == BLACK else look.colour,
            alpha=BAND,
            linewidth=0,
        )
        draw_line(axes, [point.at for point in points], [100.0 * (point.rate.rate or 0.0) for point in points], look)


def _finish(figure: Figure, axes: Axes, title: str, *, percentages: bool = True) -> None:
    if percentages:
        axes.set_ylim(0.0, 100.0)
        axes.yaxis.set_major_locator(FixedLocator([0, 25, 50, 75, 100]))
        axes.yaxis.set_major_formatter(PercentFormatter(decimals=0, symbol=" %"))
        axes.set_ylabel("victims fooled")
    finish(figure, [axes], title)


def _ticks(axes: Axes, positions: list[float]) -> None:
    """Ticks at the measured places of a logarithmic axis; labels only where they do not run into each other."""
    if not positions:
        return
    axes.xaxis.set_major_locator(FixedLocator(spaced_ticks(positions)))
    axes.xaxis.set_minor_locator(FixedLocator(positions) if len(positions) > 1 else NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _mean_curve(curves: list[tuple[list[float], list[float]]]) -> tuple[list[float], list[float]]:
    """Geometric mean of the curves over the queries that all of them cover."""
    first, last = max(queries[0] for queries, _ in curves), min(queries[-1] for queries, _ in curves)
    grid = sorted({query for queries, _ in curves for query in queries if first <= query <= last})
    if not grid:
        return curves[0]
    logs = [np.interp(grid, queries, np.log(distances)) for queries, distances in curves]
    return grid, [float(value) for value in np.exp(np.mean(logs, axis=0))]


def _alt(record: ReplicationRecord, unit: str, points_of: Callable[[Group], Sequence[Point]], start: str) -> str:
    parts = []
    for group in record.groups:
        points = [point for point in points_of(group) if point.rate.rate is not None]
        if points:
            shown = [points[0], points[len(points) // 2], points[-1]] if len(points) > 2 else points
            values = ", ".join(f"{percent(point.rate.rate)} at {unit} {number(point.at)}" for point in shown)
            parts.append(f"{group_title(group.name)}: {values}")
    return f"{start} {'; '.join(parts) or 'Nothing was measured'}."
