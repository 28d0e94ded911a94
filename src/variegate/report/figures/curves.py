"""Figures 3 to 5 like the paper's: densities of cosines and of values, rates by the number of colluders."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from matplotlib.ticker import FixedLocator, PercentFormatter

from variegate.records.base import Rate
from variegate.records.collusion import Setting
from variegate.records.reproduction import BindingResults, CollusionResults, CosineResults, Curve, Place
from variegate.report.drawing import GRID, Axes, Drawing, canvas, draw_line, finish, legend_text, plain, style
from variegate.report.figures.replication import BAND
from variegate.report.formatting import count, group_title, norm, percent
from variegate.report.labels import VARIANT_TITLES, estimate, setting_title
from variegate.report.palette import BLACK, Dash, GroupStyle, group_styles, series_styles

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


_DASHES: tuple[Dash, ...] = ((0, ()), (0, (5.0, 2.0)), (0, (1.2, 1.4)))
_COSINES = (
    "H1: two trainings",
    "H2: two copies of one training",
    "H3: copies of two trainings",
)
_PANELS = ("spread_spectrum", "qim", "permutation")  # (a) and (b) of the paper; (c) is ours
_TOWERING = 3.0  # peaks that many times higher than most are cut off, so that the others can be seen


def clean_cosines(study: str, results: CosineResults, position: int = 0) -> Drawing | None:
    """Figure 3: H1, H2 and H3 on clean images, a panel for each rewriter; None without any."""
    place = next((one for one in results.places if one.place == "clean"), None)
    names = [] if place is None else _ordered(place)
    if place is None or not names:
        return None
    looks = _looks(_COSINES)
    title, parts = f"Cosine between input gradients, clean images of {study}", []
    with style():
        figure, panels = canvas(1.3 + PANEL * len(names), rows=len(names), sharex=True)
        for letter, axes, name in zip("abcdefgh", panels, names, strict=False):
            curves = dict(zip(_COSINES, (place.H1, place.rewriters[name].H2, place.rewriters[name].H3), strict=True))
            _draw(axes, curves, looks)
            subtitle(axes, f"({letter}) {group_title(name)}{'' if name in _PANELS[:2] else ' (not in the paper)'}")
            parts += [f"({letter}) {group_title(name)}: {_words(curves)}"]
        _cosine_axis(panels)
        finish(figure, panels, title)
    alt = f"Density curves of cosines from -1 to 1. {'; '.join(parts)}."
    return Drawing(name=file_name("fig3", study, position), title=title, alt=alt, figure=figure)


def other_cosines(study: str, results: CosineResults, position: int = 0) -> Drawing | None:
    """Figure 3 at the boundary and with smoothed gradients: a panel for each place; None without any."""
    places = [one for one in results.places if one.place != "clean" and one.rewriters]
    if not places:
        return None
    title, parts = f"Cosine between input gradients elsewhere, {study}", []
    with style():
        figure, panels = canvas(1.6 + PANEL * len(places), rows=len(places), sharex=True)
        for axes, place in zip(panels, places, strict=True):
            curves, looks = {"H1": place.H1}, dict(_looks(["H1"]))
            styles = group_styles(_ordered(place))
            for name in _ordered(place):
                pair = place.rewriters[name]
                for label, curve, dash in zip(("H2", "H3"), (pair.H2, pair.H3), _DASHES[1:], strict=True):
                    curves[f"{label} {group_title(name)}"] = curve
                    looks[f"{label} {group_title(name)}"] = replace(styles[name], dash=dash, marker="")
            _draw(axes, curves, looks)
            subtitle(axes, place.title)
            parts.append(f"{place.title}: {_words(curves)}")
        _cosine_axis(panels)
        finish(figure, panels, title)
    alt = f"Density curves of cosines from -1 to 1. {'; '.join(parts)}."
    return Drawing(name=file_name("fig3-elsewhere", study, position), title=title, alt=alt, figure=figure)


def binding_figure(study: str, results: BindingResults, position: int = 0) -> Drawing:
    """Figure 4: F1 and F2 of the original, G1 to G3 of the permutation copy, for the values nearest to the paper's."""
    values = results.nearest
    groups: list[tuple[str, dict[str, Curve]]] = [
        (
            "(a) original without a rewriter",
            {"F1, G1: true class": values.original.F1, "F2, G3: other classes": values.original.F2},
        )
    ]
    if values.permutation is not None:
        reading = values.readings[results.nearest_to_the_paper.reading]
        bound = {"F1, G1: true class": values.permutation.G1, "G2: binding partner": reading.G2}
        groups.append(("(b) copy by permutation", bound | {"F2, G3: other classes": reading.G3}))
    looks = _looks(["F1, G1: true class", "G2: binding partner", "F2, G3: other classes"])
    title, parts = f"Change of output values ({values.name.replace('_', ' ')}) under GeoDA, {study}", []
    with style():
        figure, panels = canvas(1.3 + PANEL * len(groups), rows=len(groups), sharex=True)
        for axes, (heading, curves) in zip(panels, groups, strict=True):
            _draw(axes, curves, looks)
            axes.set_ylabel("density")
            subtitle(axes, heading)
            parts.append(f"{heading}: {_words(curves)}")
        panels[-1].set_xlabel("value at the adversarial minus value at the clean image")
        finish(figure, panels, title)
    alt = f"Density curves. {'; '.join(parts)}."
    return Drawing(name=file_name("fig4", study, position), title=title, alt=alt, figure=figure)


def _looks(titles: Sequence[str]) -> dict[str, GroupStyle]:
    """Lines without markers, told apart by colour and dash."""
    found = series_styles(titles).items()
    return {title: replace(look, marker="", dash=dash) for (title, look), dash in zip(found, _DASHES, strict=False)}


def _ordered(place: Place) -> list[str]:
    return sorted(place.rewriters, key=lambda name: _PANELS.index(name) if name in _PANELS else len(_PANELS))


def _draw(axes: Axes, curves: Mapping[str, Curve], looks: Mapping[str, GroupStyle]) -> None:
    """Draw curves from 0 up; peaks that tower over most curves are cut off, and the panel says how high they are."""
    for title, curve in curves.items():
        if curve.density:
            look = looks[title]
            axes.plot(curve.x, curve.density, color=look.colour, linestyle=look.dash, label=legend_text(title))
    heights = sorted((max(curve.density), title) for title, curve in curves.items() if curve.density)
    tall = next(
        (at for at in range(-(-len(heights) // 2), len(heights)) if heights[at][0] > _TOWERING * heights[at - 1][0]),
        len(heights),
    )
    cut = [f"{title.partition(':')[0]} goes up to {norm(height)}" for height, title in heights[tall:]] if tall else []
    heights = heights[:tall]
    if heights:
        axes.set_ylim(0.0, 1.12 * heights[-1][0] or 1.0)
    if cut:
        text = plain("; ".join(cut), limit=90)
        axes.text(0.99, 0.97, text, transform=axes.transAxes, ha="right", va="top", fontsize=8.5, color=GRID)


def _cosine_axis(panels: Sequence[Axes]) -> None:
    for axes in panels:
        axes.set_xlim(-1.0, 1.0)
        axes.set_ylabel("density")
    panels[-1].set_xlabel("cosine")


def _words(curves: Mapping[str, Curve]) -> str:
    return ", ".join(
        f"{title.partition(':')[0]} mean {estimate(curve.mean, *curve.ends)}, peak at {norm(curve.peak)}, "
        f"n {count(curve.n)}"
        for title, curve in curves.items()
    )


_DOTTED: Dash = (0, (1.2, 1.4))
_HEADINGS = {
    "B": "(a) all generated outputs",
    "C": "(b) only outputs that fool every colluder's copy",
    "V": "(c) outputs lengthened until they do (not in the paper)",
}
_MAIN = "mean"
_APART = 0.07  # of one colluder: between two lines of a panel


def collusion_figures(study: str, results: CollusionResults, position: int = 0) -> list[Drawing]:
    """The paper's panels (settings 1 and 2), the same for setting 3, and a panel of variants for each setting."""
    paper = [setting for setting in results.settings if setting.setting < 3]
    sold = [setting for setting in results.settings if setting.setting == 3]
    drawings = []
    if paper:
        lines = [(_line(setting), setting) for setting in paper]
        title = f"Collusion: replication by r colluders, {study}"
        drawings.append(_panels(file_name("fig5", study, position), title, lines, "BC"))
    if sold:
        looks = group_styles(setting.rewriter or "" for setting in sold)
        lines = [(looks[setting.rewriter or ""], setting) for setting in sold]
        title = f"Collusion of copies of one original, by rewriter, {study}"
        letters = [letter for letter in _HEADINGS if any(letter in setting.letters for setting in sold)]
        drawings.append(_panels(file_name("fig5-one-original", study, position), title, lines, letters))
    if results.settings:
        drawings.append(_variants(file_name("fig5-variants", study, position), study, results.settings))
    return drawings


def _line(setting: Setting) -> GroupStyle:
    """Settings 1 solid, setting 2 dotted, as in the paper."""
    if setting.setting == 1:
        return replace(group_styles(["independent"])["independent"], title="1: independent training", dash=(0, ()))
    title = f"2: {group_title(setting.rewriter or '')} and training"
    return replace(group_styles([setting.rewriter or ""])[setting.rewriter or ""], title=title, dash=_DOTTED)


def _panels(name: str, title: str, lines: Sequence[tuple[GroupStyle, Setting]], letters: Sequence[str]) -> Drawing:
    parts = []
    with style():
        figure, panels = canvas(1.3 + PANEL * len(letters), rows=len(letters), sharex=True)
        for axes, letter in zip(panels, letters, strict=True):
            for look, setting in lines:
                points = _points(setting, _MAIN, letter)
                draw_rates(axes, points, look)
                parts.append(f"{letter}{setting.setting} {look.title}: {_collusion_words(points)}")
            _colluders(axes, [setting for _, setting in lines])
            subtitle(axes, _HEADINGS[letter])
        panels[-1].set_xlabel("colluders (r)")
        finish(figure, panels, title)
    alt = f"Line charts of replication in per cent against the number of colluders. {'; '.join(parts)}."
    return Drawing(name=name, title=title, alt=alt, figure=figure)


def _variants(name: str, study: str, settings: Sequence[Setting]) -> Drawing:
    variants = list(dict.fromkeys(variant for setting in settings for variant in setting.variants))
    looks = series_styles(VARIANT_TITLES.get(variant, variant) for variant in variants)
    title = f"Collusion: all outputs (B), by what is attacked, {study}"
    parts = []
    with style():
        figure, panels = canvas(1.5 + 2.1 * len(settings), rows=len(settings), sharex=True)
        for axes, setting in zip(panels, settings, strict=True):
            for variant in setting.variants:
                look = looks[VARIANT_TITLES.get(variant, variant)]
                points = _points(setting, variant, "B")
                shift = _APART * (variants.index(variant) - 0.5 * (len(variants) - 1))
                draw_rates(axes, points, look, interval="bars", shift=shift)
                parts.append(f"setting {setting.name}, {look.title}: {_collusion_words(points)}")
            _colluders(axes, settings)
            subtitle(axes, setting_title(setting))
        panels[-1].set_xlabel("colluders (r); lines set apart; bars: 95 % intervals")
        finish(figure, panels, title)
    alt = f"Line charts of replication in per cent against the number of colluders. {'; '.join(parts)}."
    return Drawing(name=name, title=title, alt=alt, figure=figure)


def _colluders(axes: Axes, settings: Sequence[Setting]) -> None:
    largest = max((point.r for setting in settings for point in setting.points), default=1)
    axes.set_xlim(0.8, max(largest, 2) + 0.2)
    axes.xaxis.set_major_locator(FixedLocator(range(1, max(largest, 2) + 1)))
    percentages(axes, "victims fooled")


def _points(setting: Setting, variant: str, letter: str) -> list[tuple[float, Rate]]:
    return [
        (float(point.r), point.outputs[letter].replication_rate)
        for point in setting.of(variant)
        if letter in point.outputs
    ]


def _collusion_words(points: Sequence[tuple[float, Rate]]) -> str:
    known = [(at, rate) for at, rate in points if rate.rate is not None]
    ends = known if len(known) < 2 else [known[0], known[-1]]
    return ", ".join(f"{percent(rate.rate)} % at r = {at:g}" for at, rate in ends) or "nothing to count"
