"""Figure 5 like the paper's, the same for copies of one original, and the variants of the attack."""

from collections.abc import Sequence
from dataclasses import replace

from matplotlib.ticker import FixedLocator

from variegate.records.base import Rate
from variegate.records.collusion import Setting
from variegate.records.reproduction import CollusionResults
from variegate.report.drawing import Axes, Drawing, canvas, finish, style
from variegate.report.figures.axes import PANEL, draw_rates, file_name, percentages, subtitle
from variegate.report.formatting import group_title, percent
from variegate.report.labels import VARIANT_TITLES, setting_title
from variegate.report.palette import Dash, GroupStyle, group_styles, series_styles

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
                parts.append(f"{letter}{setting.setting} {look.title}: {_words(points)}")
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
                parts.append(f"setting {setting.name}, {look.title}: {_words(points)}")
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


def _words(points: Sequence[tuple[float, Rate]]) -> str:
    known = [(at, rate) for at, rate in points if rate.rate is not None]
    ends = known if len(known) < 2 else [known[0], known[-1]]
    return ", ".join(f"{percent(rate.rate)} % at r = {at:g}" for at, rate in ends) or "nothing to count"
