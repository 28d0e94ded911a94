"""Colours, markers and dashes: of controls fixed, of rewriters as their classes say, of other lines in their order.

They are told apart by people who are colour-blind and in print: the first colours are those of Okabe and Ito, "Color
Universal Design" (2008), and lines differ in marker or dash as well, so that no figure depends on colour alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from variegate.report.formatting import CONTROLS, group_title

BLACK = "#000000"
"""The theme's ink: on the page, pure black follows the reader's light or dark setting."""

Dash = tuple[int, tuple[float, ...]]

_SOLID: Dash = (0, ())
_DASHED: Dash = (0, (5.0, 2.0))

_FIXED = {
    "identical": (BLACK, "o"),
    "independent": ("#0072B2", "s"),
    "noise": ("#808080", "x"),
}
_SPARE = (("#56B4E9", "X"), ("#A6761D", "<"), ("#7570B3", ">"), ("#B09C00", "h"), ("#66A61E", "*"), ("#E7298A", "p"))
_SERIES = (
    (BLACK, "o"),
    ("#0072B2", "s"),
    ("#E69F00", "D"),
    ("#009E73", "^"),
    ("#D55E00", "v"),
    ("#CC79A7", "P"),
    *_SPARE,
)
_SERIES_DASHES: tuple[Dash, ...] = (_SOLID, (0, (1.2, 1.4)), (0, (6.0, 1.6, 1.2, 1.6)))


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStyle:
    """How one group is drawn.

    Attributes:
        title: its name for people.
        colour: "#rrggbb".
        marker: matplotlib's letter for the marker.
        dash: matplotlib's dash pattern in points; controls are dashed.
    """

    title: str
    colour: str
    marker: str
    dash: Dash


def group_styles(names: Iterable[str]) -> dict[str, GroupStyle]:
    """A style for every name: controls and rewriters have theirs, others take spare colours in their order."""
    from variegate.rewriters.catalog import spec_class  # loads torch, which a certificate does without

    styles = {}
    spare = 0
    for name in names:
        kind = None if name in _FIXED else spec_class(name)
        if name in _FIXED:
            colour, marker = _FIXED[name]
        elif kind is not None and kind.colour and kind.marker:
            colour, marker = kind.colour, kind.marker
        else:
            colour, marker = _SPARE[spare % len(_SPARE)]
            spare += 1
        dash = _DASHED if name in CONTROLS else _SOLID
        styles[name] = GroupStyle(title=group_title(name), colour=colour, marker=marker, dash=dash)
    return styles


def series_styles(titles: Iterable[str], *, dashed: Iterable[str] = ()) -> dict[str, GroupStyle]:
    """A style for every title: colours and markers in their order, with other dashes once they begin anew.

    Args:
        titles: different from each other.
        dashed: those of them whose lines are dashed, as levels are.
    """
    levels = set(dashed)
    styles = {}
    for index, title in enumerate(titles):
        colour, marker = _SERIES[index % len(_SERIES)]
        dash = _DASHED if title in levels else _SERIES_DASHES[index // len(_SERIES) % len(_SERIES_DASHES)]
        styles[title] = GroupStyle(title=title, colour=colour, marker=marker, dash=dash)
    return styles
