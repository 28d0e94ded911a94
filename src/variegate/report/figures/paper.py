"""Figures of a reproduction, in the order in which its page shows them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator, PercentFormatter

from variegate.experiments.paper.paper import TABLE2, TABLE2_ROWS
from variegate.records.base import Point
from variegate.records.reproduction import (
    INDEPENDENT,
    AttackResults,
    BindingResults,
    CollusionResults,
    CosineResults,
    ReplicationResults,
    ReproductionRecord,
    Study,
)
from variegate.report.drawing import GRID, Axes, Drawing, canvas, finish, plain, spaced_ticks, style
from variegate.report.figures.curves import (
    PANEL,
    binding_figure,
    clean_cosines,
    collusion_figures,
    draw_rates,
    file_name,
    other_cosines,
    percentages,
    subtitle,
)
from variegate.report.formatting import group_title, number, percent
from variegate.report.labels import replication_cells
from variegate.report.palette import BLACK, Dash, GroupStyle, group_styles

_DOTTED: Dash = (0, (1.2, 1.4))


def against_the_paper(study: str, results: ReplicationResults, position: int = 0) -> Drawing:
    """Rows (a) to (k) from top to bottom, a panel for each attack: the paper's mean and ours with its interval."""
    title, parts = f"Table 2, cell by cell: the paper and ours on {study}", []
    rows = len(TABLE2_ROWS)
    with style():
        figure, panels = canvas(
            1.4 + len(results.attacks.ordered) * (0.5 + 0.21 * rows), rows=len(results.attacks.ordered), sharex=True
        )
        for axes, attack in zip(panels, results.attacks.ordered, strict=True):
            parts.append(f"{attack.name}: {', '.join(_cells(axes, study, attack))}")
            subtitle(axes, f"{attack.name}, at most {attack.queries:,} queries an image")
            axes.set_ylim(rows - 0.5, -0.5)
            axes.yaxis.set_major_locator(FixedLocator(range(rows)))
            axes.yaxis.set_minor_locator(NullLocator())
            axes.set_yticklabels(
                [plain(f"{_row_title(row.rewriter, row.kind)} ({row.letter})", limit=50) for row in TABLE2_ROWS]
            )
            axes.tick_params(axis="y", length=0, labelsize=8.0)
            axes.set_xlim(0.0, 100.0)
            axes.xaxis.set_major_locator(FixedLocator([0, 25, 50, 75, 100]))
            axes.xaxis.set_major_formatter(PercentFormatter(decimals=0, symbol=" %"))
        panels[-1].set_xlabel("rate (bars: our 95 % interval)")
        finish(figure, panels, title)
    where = "" if study in TABLE2 else " The paper has no such data."
    alt = f"Dot plot of rates in per cent, the paper's and ours.{where} {'; '.join(parts)}."
    return Drawing(name=file_name("table2", study, position), title=title, alt=alt, figure=figure)


def lengthened(study: str, results: ReplicationResults, position: int = 0) -> Drawing:
    """R(s), the victims fooled at x + s (x' - x): a panel for each attack, dotted where the victim is trained anew."""
    title, parts, attacks = f"Replication of lengthened perturbations, {study}", [], results.attacks.ordered
    with style():
        figure, panels = canvas(1.9 + PANEL * len(attacks), rows=len(attacks), sharex=True)
        for axes, attack in zip(panels, attacks, strict=True):
            for look, points in _steps(attack):
                draw_rates(axes, [(point.at, point.rate) for point in points], look, interval="none")
                shown = (points[0], points[-1])
                values = ", ".join(f"{percent(point.rate.rate)} % at s = {number(point.at)}" for point in shown)
                parts.append(f"{attack.name}, {look.title}: {values}")
            percentages(axes, "victims fooled")
            subtitle(axes, attack.name)
            axes.set_xscale("log")
            _ticks(axes, sorted({point.at for _, points in _steps(attack) for point in points}))
        panels[-1].set_xlabel("s (1: the adversarial itself)")
        finish(figure, panels, title)
    alt = f"Line charts of victims fooled in per cent against s. {'; '.join(parts) or 'Nothing was measured'}."
    return Drawing(name=file_name("table2-steps", study, position), title=title, alt=alt, figure=figure)


def _cells(axes: Axes, study: str, attack: AttackResults) -> Iterator[str]:
    """Draw the cells of one attack; yields them in words."""
    styles = group_styles(dict.fromkeys(row.rewriter or INDEPENDENT for row in TABLE2_ROWS))
    theirs: str | None = "the paper"
    for place, (row, rate, _, paper) in enumerate(replication_cells(study, attack)):
        look = styles[row.rewriter or INDEPENDENT]
        ours = None if rate is None or rate.rate is None else 100.0 * rate.rate
        if ours is not None and paper is not None:
            axes.plot([ours, paper[0]], [place, place], color=GRID, linewidth=0.8, linestyle=_DOTTED)
        if rate is not None and rate.low is not None and rate.high is not None:
            ends = [100.0 * rate.low, 100.0 * rate.high]
            axes.plot(ends, [place, place], color=look.colour, linewidth=1.6, clip_on=False)
        if ours is not None:
            label = f"ours: {look.title}" if row.kind == "success" else None
            axes.plot(
                [ours], [place], color=look.colour, marker=look.marker, linestyle="none", label=label, clip_on=False
            )
        if paper is not None:
            axes.plot(
                [paper[0]],
                [place],
                color=BLACK,
                marker="o",
                markersize=7.5,
                markerfacecolor="none",
                linestyle="none",
                label=theirs,
                clip_on=False,
            )
            theirs = None
        beside = "" if paper is None else f" (paper {paper[0]:.1f})"
        yield f"({row.letter}) {'not measured' if rate is None else percent(rate.rate)}{beside}"


def _steps(attack: AttackResults) -> Iterator[tuple[GroupStyle, tuple[Point, ...]]]:
    styles = group_styles(attack.groups)
    for group in attack.groups.values():
        for kind, found in group.kinds.items():
            if kind == "identical" or not found.at:
                continue
            look = styles[group.name]
            if kind == "rewriting":
                yield look, found.at
            elif group.name == INDEPENDENT:
                yield replace(look, dash=_DOTTED), found.at
            else:
                yield replace(look, title=f"{look.title} + training", dash=_DOTTED), found.at


def _ticks(axes: Axes, positions: list[float]) -> None:
    if positions:
        axes.xaxis.set_major_locator(FixedLocator(spaced_ticks(positions)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
        axes.xaxis.set_minor_formatter(NullFormatter())


def _row_title(rewriter: str | None, kind: str) -> str:
    what = "success" if kind == "success" else "replication"
    whose = group_title(rewriter or INDEPENDENT)
    return f"{whose} + training, {what}" if rewriter is not None and kind == "training" else f"{whose}, {what}"


def draw_reproduction(records: Sequence[ReproductionRecord]) -> tuple[Drawing, ...]:
    """Every figure of every record and study; Tables 1 and 3 have none."""
    studies = [study for record in records for study in record.studies]
    return tuple(drawing for position, study in enumerate(studies) for drawing in draw_study(study, position))


def draw_study(study: Study, position: int = 0) -> list[Drawing]:
    """The figures of one study; its position names them where its name cannot."""
    results = study.results
    if isinstance(results, ReplicationResults):
        return [against_the_paper(study.name, results, position), lengthened(study.name, results, position)]
    if isinstance(results, CosineResults):
        found = (clean_cosines(study.name, results, position), other_cosines(study.name, results, position))
        return [drawing for drawing in found if drawing is not None]
    if isinstance(results, BindingResults):
        return [binding_figure(study.name, results, position)]
    return collusion_figures(study.name, results, position) if isinstance(results, CollusionResults) else []
