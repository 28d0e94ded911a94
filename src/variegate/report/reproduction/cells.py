"""How the reports of a reproduction write numbers beside those of the paper."""

from collections.abc import Sequence
from dataclasses import replace

from variegate.records.base import Rate
from variegate.report.table import Table
from variegate.report.words import NOTHING, group_title, norm, percent, points, short_interval, span

EXPERIMENT_TITLES = {
    "table1": "Table 1",
    "table2": "Table 2",
    "table3": "Table 3",
    "fig3": "Figure 3",
    "fig4": "Figure 4",
    "fig5": "Figure 5",
}
"""As in the paper."""


def accuracy_title(name: str) -> str:
    """A row of Table 1 for people."""
    return name if name == "original" else group_title(name)


def mean_sd(mean: float | None, sd: float | None) -> str:
    """Mean and standard deviation in per cent as the paper writes them, such as "96.3 (1.3)"."""
    if mean is None:
        return NOTHING
    return percent(mean) if sd is None else f"{percent(mean)} ({points(sd)})"


def paper_cell(cell: tuple[float, float] | None) -> str:
    """A cell of the paper: per cent, with the standard deviation in brackets."""
    return NOTHING if cell is None else f"{cell[0]:.1f} ({cell[1]:.1f})"


def difference(ours: float | None, paper: tuple[float, float] | None) -> str:
    """Ours, a fraction, minus the paper's mean, in points."""
    return NOTHING if ours is None or paper is None else points(ours - paper[0] / 100.0, signed=True)


def ends(low: float | None, high: float | None) -> str:
    """An interval of a rate in per cent, such as "18-25"; empty where there is none."""
    return "" if low is None or high is None else short_interval(low, high)


def ratio(ours: float, paper: float | None) -> str:
    """Ours divided by the paper's; nothing where ours is lost in the noise of a timing."""
    return NOTHING if not paper or ours < 0.0 else norm(ours / paper)


def estimate(mean: float | None, low: float | None, high: float | None) -> str:
    """A mean with its interval, such as "0.0683 (0.0169 to 0.127)"."""
    ends = span(norm(low), norm(high))
    return f"{norm(mean)} ({ends})" if ends else norm(mean)


def place(rate: Rate, paper: tuple[float, float] | None) -> str:
    """Where the paper's mean lies, seen from our interval; empty where one of them is missing."""
    if paper is None or rate.low is None or rate.high is None:
        return ""
    if 100.0 * rate.high < paper[0]:
        return "our interval is below the paper's"
    return f"our interval {'is above' if 100.0 * rate.low > paper[0] else 'holds'} the paper's"


def explained(table: Table, columns: tuple[str, ...], words: Sequence[tuple[str, ...]]) -> Table:
    """The table with further columns of prose, one tuple a row."""
    rows = tuple((*row, *said) for row, said in zip(table.rows, words, strict=True))
    return replace(table, columns=(*table.columns, *columns), rows=rows)
