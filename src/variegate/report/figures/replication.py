"""Figures of replication records: rates past the boundary and at equal norm, norms, models side by side."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, NullLocator, PercentFormatter

from variegate.records.base import Point
from variegate.records.replication import Group, ReplicationRecord
from variegate.report.drawing import (
    GRID,
    Axes,
    Drawing,
    Figure,
    canvas,
    draw_line,
    finish,
    logarithmic,
    plain,
    positive,
    spaced_ticks,
    style,
    titled,
)
from variegate.report.formatting import count, group_title, norm, norm_title, number, percent
from variegate.report.measures import rate_at
from variegate.report.palette import BLACK, group_styles

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


BINS = 36


def norm_histogram(record: ReplicationRecord) -> Drawing:
    """How large the adversarials on each group's own copies are; a line marks the median.

    The last bin holds everything above the 99th percentile of all groups, and the figure says so.
    """
    groups = [group for group in record.groups if group.attacked and group.distances]
    title = f"How large the adversarials are: {norm_title(record.attack.norm)} on the own copy"
    styles = group_styles(group.name for group in record.groups)
    parts = []
    with style():
        figure, panels = canvas(1.0 + 0.82 * max(1, len(groups)), rows=max(1, len(groups)), sharex=True)
        everything = np.concatenate([np.asarray(group.distances) for group in groups]) if groups else np.ones(1)
        largest, end = float(everything.max()), float(np.quantile(everything, 0.99)) * 1.05
        cut = largest > 1.5 * end
        edges = np.linspace(0.0, (end if cut else largest * 1.02) or 1.0, BINS + 1)
        for axes, group in zip(panels, groups, strict=False):
            look = styles[group.name]
            values = np.minimum(np.asarray(group.distances), edges[-1])
            axes.hist(values, bins=edges.tolist(), color="#555555" if look.colour == BLACK else look.colour, alpha=0.85)
            median = group.median_distance or 0.0
            if median <= edges[-1]:
                axes.axvline(median, color=BLACK, linewidth=1.4)
            text = f"{group_title(group.name)}: median {norm(median)}, n = {count(values.size)}"
            axes.set_ylim(top=1.15 * axes.get_ylim()[1])
            axes.set_title(plain(text, limit=80), loc="left", fontsize=9.5, pad=3.0, color=BLACK)
            axes.spines["left"].set_visible(False)
            axes.yaxis.set_major_locator(MaxNLocator(nbins=2, integer=True))
            axes.tick_params(axis="y", length=0)
            axes.grid(visible=True, axis="y", color=GRID, alpha=0.3, linewidth=0.7)
            parts.append(f"{group_title(group.name)} median {norm(median)} over {count(values.size)} adversarials")
        if not groups:
            panels[0].text(0.5, 0.5, "not measured", transform=panels[0].transAxes, ha="center", color=GRID)
        more = "; the last bar holds all larger ones" if cut else ""
        panels[-1].set_xlabel(f"{norm_unit(record)}{more}")
        figure.supylabel("adversarials", fontsize=10.0)
        titled(figure, title)
    alt = f"Histograms of the norms, one row per group. {'; '.join(parts) or 'Nothing was measured'}."
    return Drawing(name="norms", title=title, alt=alt, figure=figure)


def comparison(records: Sequence[ReplicationRecord], *, s: float = 1.0) -> Drawing:
    """Replication at s with 95 % intervals: models from top to bottom, groups as marks beside each other."""
    names = list(dict.fromkeys(group.name for record in records for group in record.groups))
    styles = group_styles(names)
    title = f"Victims fooled at s = {number(s)}, by model"
    parts = []
    with style():
        figure, (axes,) = canvas(1.6 + max(1, len(records)) * (0.2 + 0.11 * max(1, len(names))))
        for name in names:
            look = styles[name]
            offset = (names.index(name) - (len(names) - 1) / 2) * 0.8 / max(1, len(names))
            label: str | None = plain(look.title)
            for row, record in enumerate(records):
                group = record.group(name)
                rate = rate_at(group, s) if group else None
                if rate is None or rate.rate is None:
                    continue
                y = row + offset
                if rate.low is not None and rate.high is not None:
                    axes.plot(
                        [100 * rate.low, 100 * rate.high], [y, y], color=look.colour, linewidth=1.6, clip_on=False
                    )
                axes.plot(
                    [100 * rate.rate],
                    [y],
                    color=look.colour,
                    marker=look.marker,
                    linestyle="none",
                    label=label,
                    clip_on=False,
                )
                label = None
                parts.append(f"{record.model.name}, {group_title(name)} {percent(rate.rate)}")
        axes.set_ylim(max(1, len(records)) - 0.5, -0.5)
        axes.yaxis.set_major_locator(FixedLocator(range(len(records))))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_yticklabels([plain(record.model.name, limit=24) for record in records])
        for edge in range(1, len(records)):
            axes.axhline(edge - 0.5, color=GRID, linewidth=0.6, alpha=0.6)
        axes.set_xlim(0.0, 100.0)
        axes.xaxis.set_major_locator(FixedLocator([0, 25, 50, 75, 100]))
        axes.xaxis.set_major_formatter(PercentFormatter(decimals=0, symbol=" %"))
        axes.set_xlabel("victims fooled (bars: 95 % interval)")
        axes.grid(visible=True, axis="x", color=GRID, alpha=0.3, linewidth=0.7)
        axes.tick_params(axis="y", length=0)
        handles, labels = axes.get_legend_handles_labels()
        if handles:
            figure.legend(handles, labels, loc="outside lower center", ncols=3)
        titled(figure, title)
    alt = f"Dot plot of victims fooled in per cent at s = {number(s)}. {'; '.join(parts) or 'Nothing was measured'}."
    return Drawing(name=f"comparison-{round(100 * s)}", title=title, alt=alt, figure=figure)
