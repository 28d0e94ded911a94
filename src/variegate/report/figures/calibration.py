"""The calibration's trade-off: what each setting costs in labels and norm, and what it gains in replication."""

from matplotlib.ticker import FuncFormatter

from variegate.records.calibration import CalibrationRecord, Candidate
from variegate.report.drawing import GRID, Axes, Drawing, canvas, style, titled
from variegate.report.formatting import norm, number, percent
from variegate.report.palette import BLACK

# Light to dark with the strength; each strength has its own marker, too.
_COLOURS = ("#56B4E9", "#0072B2", "#D55E00", "#7A3B9A", "#009E73", "#B09C00")
_MARKERS = ("o", "s", "^", "D", "v", "P")


def trade_off(record: CalibrationRecord) -> Drawing:
    """Two panels over the labels changed: replication (dot: smallest s, bar: up to the largest), and norm kept.

    Filled markers meet the limits, hollow ones do not; the chosen setting is ringed. Settings whose replication was not
    measured stand as ticks on the lower edge.
    """
    title = "What each setting costs and gains"
    strengths = sorted({candidate.strength for candidate in record.candidates if candidate.strength is not None})
    looks = {value: (_COLOURS[i % 6], _MARKERS[i % 6]) for i, value in enumerate(strengths)}
    steps = sorted({s for candidate in record.candidates for s in candidate.replication_at})
    with style():
        figure, (upper, lower) = canvas(6.2, rows=2, sharex=True)
        seen: set[float | None] = set()
        unmeasured = 0
        for candidate in record.candidates:
            if candidate.measured_change is None:
                continue
            x = 100.0 * candidate.measured_change
            colour, marker = looks.get(candidate.strength or 0.0, (BLACK, "o"))
            measured = [rate for s in steps if (rate := candidate.replication_at.get(s)) is not None]
            if measured:
                label = f"strength {number(candidate.strength)}" if candidate.strength not in seen else None
                seen.add(candidate.strength)
                upper.plot([x, x], [100 * measured[0], 100 * measured[-1]], color=colour, linewidth=1.2, alpha=0.55)
                _mark(upper, x, 100 * measured[0], colour, marker, candidate, label)
            else:
                unmeasured += 1
                upper.plot([x], [0.0], color=GRID, marker="|", markersize=9.0, linestyle="none", clip_on=False)
            if candidate.norm_ratio is not None:
                _mark(lower, x, candidate.norm_ratio, colour, marker, candidate, None)
        upper.set_ylim(0.0, 100.0)
        upper.set_ylabel("victims fooled (%)")
        if steps:
            bar = f"; bar up to s = {number(steps[-1])}" if len(steps) > 1 else ""
            upper.set_title(f"Replication: mark at s = {number(steps[0])}{bar}", loc="left", color=BLACK)
        lower.axhline(1.0, color=GRID, linewidth=1.0, linestyle=(0, (1.0, 2.0)))
        lower.set_ylim(bottom=0.0)
        lower.set_title("Norm kept: median norm on a copy / on the original", loc="left", color=BLACK)
        lower.set_ylabel("ratio")
        lower.set_xlabel("labels changed against the original (% of images)")
        if record.max_change is not None:
            for axes in (upper, lower):
                axes.axvline(100.0 * record.max_change, color=GRID, linewidth=1.2, linestyle=(0, (4.0, 3.0)))
            upper.plot([], [], color=GRID, linewidth=1.2, linestyle=(0, (4.0, 3.0)), label="most labels allowed")
        lower.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        lower.set_xlim(left=0.0)
        for axes in (upper, lower):
            axes.grid(visible=True, color=GRID, alpha=0.3, linewidth=0.7)
        _legend(upper, unmeasured=unmeasured > 0)
        handles, labels = upper.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        titled(figure, title)
    return Drawing(name="trade-off", title=title, alt=_alt(record, steps), figure=figure)


def _mark(axes: Axes, x: float, y: float, colour: str, marker: str, candidate: Candidate, label: str | None) -> None:
    axes.plot(
        [x],
        [y],
        color=colour,
        marker=marker,
        markersize=6.5,
        markerfacecolor=colour if candidate.feasible else "none",
        markeredgecolor=colour,
        linestyle="none",
        clip_on=False,
        zorder=3,
    )
    if label is not None:
        axes.plot([], [], color=colour, marker=marker, markersize=6.5, linestyle="none", label=label)
    if candidate.chosen:
        axes.plot(
            [x],
            [y],
            marker="o",
            markersize=15.0,
            markerfacecolor="none",
            markeredgecolor=BLACK,
            markeredgewidth=1.6,
            linestyle="none",
            clip_on=False,
            zorder=4,
        )


def _legend(axes: Axes, *, unmeasured: bool) -> None:
    """Entries for what the markers' fill and ring mean."""
    kinds = [("o", "none", GRID, 6.5, "over a limit"), ("o", "none", BLACK, 12.0, "chosen")]
    if unmeasured:
        kinds.append(("|", GRID, GRID, 9.0, "replication not measured"))
    for marker, face, edge, size, label in kinds:
        axes.plot(
            [],
            [],
            marker=marker,
            markerfacecolor=face,
            markeredgecolor=edge,
            markeredgewidth=1.4,
            markersize=size,
            linestyle="none",
            label=label,
        )


def _alt(record: CalibrationRecord, steps: list[float]) -> str:
    chosen = record.choice
    start = f"Two scatter plots of {len(record.candidates)} settings over the labels that they change."
    if chosen is None:
        return f"{start} No setting was chosen."
    first = chosen.replication_at.get(steps[0]) if steps else None
    return (
        f"{start} The chosen one, strength {number(chosen.strength)}, changes {percent(chosen.measured_change)} % of "
        f"the labels, replication {percent(first)} %, norm kept {norm(chosen.norm_ratio)}."
    )
