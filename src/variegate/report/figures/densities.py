"""Figures 3 and 4: densities, drawn like the paper's so that they can be laid side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from variegate.records.reproduction import BindingResults, CosineResults, Curve, Place
from variegate.report.drawing import GRID, Axes, Drawing, canvas, finish, legend_text, plain, style
from variegate.report.figures.axes import PANEL, file_name, subtitle
from variegate.report.formatting import count, group_title, norm
from variegate.report.labels import estimate
from variegate.report.palette import Dash, GroupStyle, group_styles, series_styles

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
