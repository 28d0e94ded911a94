"""What the figures of a reproduction share: panels with a heading, rates with their intervals, names of files."""

import re
from collections.abc import Sequence
from typing import Literal, TypeAlias

from matplotlib.ticker import FixedLocator, PercentFormatter

from variegate.records.base import Rate
from variegate.report.drawing import Axes, draw_line, plain
from variegate.report.figures.replication import BAND
from variegate.report.palette import BLACK, GroupStyle

PANEL = 2.6
"""Height of one panel in inches."""

Interval: TypeAlias = Literal["band", "bars", "none"]

_BARS = 0.55


def subtitle(axes: Axes, text: str) -> None:
    """Put a heading above one panel, left."""
    axes.set_title(plain(text, limit=90), loc="left", fontsize=9.5, pad=5.0, color=BLACK)


def percentages(axes: Axes, label: str) -> None:
    """Make the vertical axis one of rates."""
    axes.set_ylim(0.0, 100.0)
    axes.yaxis.set_major_locator(FixedLocator([0, 25, 50, 75, 100]))
    axes.yaxis.set_major_formatter(PercentFormatter(decimals=0, symbol=" %"))
    axes.set_ylabel(label)


def draw_rates(
    axes: Axes,
    points: Sequence[tuple[float, Rate]],
    look: GroupStyle,
    *,
    interval: Interval = "band",
    shift: float = 0.0,
) -> None:
    """Draw rates in per cent with their 95 % intervals; rates without counts are left out.

    Args:
        points: where each rate lies, and the rate.
        interval: "band"; "bars" where many lines share the panel; or "none".
        shift: by how much the line is moved to the right, so that bars of several lines do not lie on each other.
    """
    shown = [(at + shift, rate.rate) for at, rate in points if rate.rate is not None]
    if not shown:
        return
    ends = [
        (at + shift, 100.0 * rate.low, 100.0 * rate.high)
        for at, rate in points
        if rate.low is not None and rate.high is not None
    ]
    colour = "#777777" if look.colour == BLACK else look.colour
    places, low, high = ([end[i] for end in ends] for i in range(3))
    if interval == "band":
        axes.fill_between(places, low, high, color=colour, alpha=BAND, linewidth=0)
    elif interval == "bars":
        axes.vlines(places, low, high, color=colour, alpha=_BARS, linewidth=1.0)
    draw_line(axes, [at for at, _ in shown], [100.0 * rate for _, rate in shown], look)


def file_name(figure: str, study: str, position: int) -> str:
    """A drawing's name: the figure and the study, or the study's number where its name cannot be part of a file's."""
    fits = re.fullmatch(r"[A-Za-z0-9][\w-]{0,60}", study, re.ASCII)
    return f"{figure}-{study if fits else f'study-{position + 1}'}"
