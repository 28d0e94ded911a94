"""Lines on axes, as several figures draw them: the line, logarithmic axes, the legend below."""

import textwrap
from collections.abc import Sequence

from matplotlib.artist import Artist
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from variegate.records.base import Trajectory
from variegate.report.drawing import GRID, Axes, Figure, plain, titled
from variegate.report.palette import GroupStyle

LEGEND_CHARACTERS = 60
"""How many characters a line of the legend takes beside its handles, about."""


def draw_line(axes: Axes, x: Sequence[float], y: Sequence[float], look: GroupStyle) -> None:
    """Draw one line with its markers and its entry in the legend."""
    axes.plot(
        x,
        y,
        color=look.colour,
        linestyle=look.dash,
        marker=look.marker,
        markeredgewidth=1.4 if look.marker == "x" else 0.0,
        label=legend_text(look.title),
        clip_on=False,
    )


def legend_text(title: str) -> str:
    """A title as the legend shows it: on two lines if it is long."""
    return textwrap.fill(plain(title, limit=2 * LEGEND_CHARACTERS), LEGEND_CHARACTERS)


def logarithmic(axes: Axes) -> None:
    """Make both axes logarithmic, with labels at 1, 2 and 5 times powers of ten."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
        axis.set_minor_formatter(NullFormatter())


def finish(figure: Figure, panels: Sequence[Axes], title: str) -> None:
    """Add the grid, the title and one legend below all panels; an empty panel says so.

    A label that an earlier panel has already is in the legend once.
    """
    entries: list[tuple[str, Artist]] = []
    for axes in panels:
        axes.grid(visible=True, color=GRID, alpha=0.3, linewidth=0.7)
        above = {label for label, _ in entries}
        handles, labels = axes.get_legend_handles_labels()
        entries += [(label, handle) for label, handle in zip(labels, handles, strict=True) if label not in above]
        if not handles:
            axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", va="center", color=GRID)
    titled(figure, title)
    if entries:
        columns = max(1, min(3, len(entries), LEGEND_CHARACTERS // max(len(label) for label, _ in entries)))
        figure.legend(
            [handle for _, handle in entries],
            [label for label, _ in entries],
            loc="outside lower center",
            ncols=columns,
            handlelength=3.4,
        )


def positive(trajectory: Trajectory) -> tuple[list[float], list[float]]:
    """Queries and median norms of a trajectory where both can stand on a logarithmic axis."""
    pairs = [
        (queries, distance)
        for queries, distance in zip(trajectory.queries, trajectory.median_distance, strict=True)
        if distance is not None and distance > 0 and queries > 0
    ]
    return [queries for queries, _ in pairs], [distance for _, distance in pairs]
