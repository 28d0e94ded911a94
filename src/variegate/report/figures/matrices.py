"""Attacker-by-victim heat maps: which copy's adversarials fool which other copy."""

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, NullLocator

from variegate.records.replication import Group, Matrix
from variegate.report.drawing import GRID, Axes, Drawing, canvas, plain, style, titled
from variegate.report.formatting import copy_names, group_title, percent

MOST_NUMBERS = 12
"""Up to so many copies a side, the cells hold their percentage; above, only their colour."""

MOST_HATCHED = 30
DARK_INK, LIGHT_INK = "#101418", "#ffffff"
_NO_VALUE = "#c9c9c9"
_SCALE = LinearSegmentedColormap.from_list(
    "variegate", ["#f4f7fb", "#c3d9ec", "#7fb2d6", "#3c83b8", "#155a91", "#0a2f57"], N=256
)


def heat_map(group: Group) -> Drawing | None:
    """Replication in per cent, a row per attacker and a column per victim; None where it was not measured.

    All groups share one scale from 0 to 100 %. An attacker's own copy is hatched; a cell without counts is grey.
    """
    matrix = group.matrix
    if matrix is None or not matrix.attackers or not matrix.victims:
        return None
    rows, columns = len(matrix.attackers), len(matrix.victims)
    values = np.array(
        [[np.nan if (v := matrix.fraction(r, c)) is None else 100.0 * v for c in range(columns)] for r in range(rows)]
    )
    name = plain(group_title(group.name))
    title = f"{name}: victims fooled, by the attacker's copy"
    cell = min(0.52, 4.9 / columns)
    height = min(max(rows * max(cell, 0.05), 0.5), 6.0)
    with style():
        figure, (axes, scale) = canvas(height + 1.9, rows=2, ratios=(height, 0.13))
        image = axes.imshow(
            np.ma.masked_invalid(values), cmap=_SCALE, vmin=0.0, vmax=100.0, aspect="auto", interpolation="none"
        )
        axes.set_facecolor(_NO_VALUE)
        axes.set_box_aspect(height / (cell * columns))
        axes.spines[:].set_visible(False)
        _own_cells(axes, matrix)
        if max(rows, columns) <= MOST_NUMBERS:
            _numbers(axes, values)
        _copy_ticks(axes, group, matrix, cell)
        axes.set_xlabel("victim's copy")
        axes.set_ylabel("attacker's copy" if height > 1.1 else "attacker's\ncopy")
        bar = figure.colorbar(image, cax=scale, orientation="horizontal")
        bar.set_label("victims fooled (%)" + _note(matrix, values))
        bar.outline.set_edgecolor(GRID)
        titled(figure, title)
    return Drawing(name=f"matrix-{_slug(group.name)}", title=title, alt=_alt(group, values), figure=figure)


def _own_cells(axes: Axes, matrix: Matrix) -> None:
    for row, cells in enumerate(matrix.own):
        for column, own in enumerate(cells):
            if own:
                axes.add_patch(
                    Rectangle(
                        (column - 0.5, row - 0.5),
                        1.0,
                        1.0,
                        facecolor=_NO_VALUE,
                        edgecolor=GRID,
                        hatch="////" if len(cells) <= MOST_HATCHED else None,
                        linewidth=0.0,
                    )
                )


def _numbers(axes: Axes, values: np.ndarray) -> None:
    size = 9.0 if values.shape[1] <= 10 else 8.0
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            ink = LIGHT_INK if _luminance(_SCALE(value / 100.0)) < 0.2 else DARK_INK
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=size, color=ink)


def _luminance(colour: tuple[float, float, float, float]) -> float:
    """Relative luminance as WCAG 2 defines it; white ink has more contrast than dark ink below about 0.2."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _note(matrix: Matrix, values: np.ndarray) -> str:
    own = np.array(matrix.own)
    parts = []
    if own.any():
        parts.append(f"{'hatched' if len(matrix.victims) <= MOST_HATCHED else 'grey'}: the attacker's own copy")
    if (np.isnan(values) & ~own).any():
        parts.append("plain grey: nothing counted")
    return "".join(f"; {part}" for part in parts)


def _copy_ticks(axes: Axes, group: Group, matrix: Matrix, cell: float) -> None:
    """Labels where there is room for them, else the copies' numbers from 1 on, some of them left out."""
    for axis, labels in ((axes.xaxis, matrix.victims), (axes.yaxis, matrix.attackers)):
        axis.set_minor_locator(NullLocator())
        step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 10**9) if len(labels) / step <= MOST_NUMBERS)
        if step == 1:
            texts = [plain(name) for name in copy_names([group.label(each) for each in labels])]
            axis.set_major_locator(FixedLocator(range(len(labels))))
        else:
            shown = range(step - 1, len(labels), step)
            texts = [str(index + 1) for index in shown]
            axis.set_major_locator(FixedLocator(list(shown)))
        turned = axis is axes.xaxis and 0.08 * max(map(len, texts)) > cell * step
        axis.set_ticklabels(
            texts, rotation=35 if turned else 0, ha="right" if turned or axis is axes.yaxis else "center"
        )
        axis.set_tick_params(length=2.0, color=GRID)
        if turned:
            for label in axis.get_ticklabels():
                label.set_rotation_mode("anchor")


def _alt(group: Group, values: np.ndarray) -> str:
    start = f"Heat map of {values.shape[0]} attackers by {values.shape[1]} victims for {group_title(group.name)}."
    measured = values[~np.isnan(values)] / 100.0
    if not measured.size:
        return f"{start} No pair was measured."
    low, high = float(measured.min()), float(measured.max())
    mean = float(measured.mean())
    return f"{start} Victims fooled: from {percent(low)} to {percent(high)} %, mean of the pairs {percent(mean)} %."


def _slug(name: str) -> str:
    return "".join(character if character.isascii() and character.isalnum() else "-" for character in name)[:40]
