"""A finished figure and how it leaves: SVG for a page, SVG and PNG files. matplotlib without pyplot or a window.

Each `Drawing` carries its title and a text alternative that says in words what the figure shows.
"""

import io
import math
import re
import textwrap
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from matplotlib.artist import Artist
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from variegate.errors import ConfigurationError
from variegate.files import write_atomic
from variegate.records.base import Trajectory
from variegate.report.formatting import clean
from variegate.report.palette import BLACK, GroupStyle

try:
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties, findfont, get_font
    from matplotlib.layout_engine import ConstrainedLayoutEngine
except ImportError as error:  # pragma: no cover - depends on what is installed
    raise ConfigurationError("figures need matplotlib; install it with: pip install 'variegate[report]'") from error

__all__ = ["GRID", "Axes", "Drawing", "Figure", "canvas", "plain", "spaced_ticks", "style", "titled"]

WIDTH = 6.2
"""Width of every figure in inches: one column of a page, and still legible on a phone."""

GRID = "#8c8c8c"
FONT_SIZE = 10.0
TITLE_SIZE = 11.0

_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.formatter.useoffset": False,
    "axes.grid": False,
    "axes.labelsize": FONT_SIZE,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": FONT_SIZE,
    "axes.unicode_minus": True,
    "figure.constrained_layout.use": False,
    "font.family": ["DejaVu Sans"],
    "font.size": FONT_SIZE,
    "hatch.linewidth": 0.7,
    "legend.fontsize": FONT_SIZE - 0.5,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5.0,
    "path.sketch": None,
    "savefig.bbox": None,
    "savefig.transparent": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "variegate",
    "text.usetex": False,
    "xtick.labelsize": FONT_SIZE - 1,
    "ytick.labelsize": FONT_SIZE - 1,
}
_LOCK = threading.RLock()
_NAMESPACES = re.compile(r'\s+xmlns(?::xlink)?="[^"]*"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A figure with its words.

    Attributes:
        name: short, of letters and hyphens; the start of a file's name.
        title: what is shown, as it stands above the figure.
        alt: the figure in words, with its main numbers, for those who do not see it.
        figure: matplotlib's figure.
    """

    name: str
    title: str
    alt: str
    figure: Figure

    def __post_init__(self) -> None:
        """Place everything once, so that each output, at whatever resolution, has the same layout."""
        with style():
            FigureCanvasSVG(self.figure)
            self.figure.draw_without_rendering()
            self.figure.set_layout_engine("none")

    def svg(self) -> str:
        """The figure as a whole SVG document on white, with its title and description inside."""
        return self._svg(facecolor="white")

    def inline_svg(self, prefix: str = "") -> str:
        """The figure as an `<svg>` element for an HTML page: no ground, no namespaces, no metadata.

        Pure black becomes the page's text colour, so that the figure follows a light or dark theme. Every id begins
        with `prefix` and the drawing's name, so that several figures can stand in one page.
        """
        text = self._svg(facecolor="none")
        start = f"{prefix}{self.name}-"
        text = _NAMESPACES.sub("", text[text.index("<svg") :]).replace("xlink:href=", "href=")
        text = re.sub(r'\bid="', f'id="{start}', text)
        text = re.sub(r'href="#', f'href="#{start}', text).replace("url(#", f"url(#{start}")
        text = re.sub(r'aria-(labelledby|describedby)="', rf'aria-\1="{start}', text)
        return text.replace(f"stroke: {BLACK}", "stroke: currentColor").replace(f"fill: {BLACK}", "fill: currentColor")

    def png(self, dpi: int = 150) -> bytes:
        """The figure as PNG on white."""
        buffer = io.BytesIO()
        with style():
            FigureCanvasAgg(self.figure)
            self.figure.savefig(buffer, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
        return buffer.getvalue()

    def save(self, path: Path, *, dpi: int = 150) -> None:
        """Write the figure; the ending of `path` says how: .svg or .png.

        Raises:
            ConfigurationError: for another ending.
        """
        if path.suffix not in (".svg", ".png"):
            raise ConfigurationError(f"a figure is written as .svg or .png; got the name {path.name!r}")
        write_atomic(path, self.svg().encode() if path.suffix == ".svg" else self.png(dpi))

    def _svg(self, *, facecolor: str) -> str:
        buffer = io.StringIO()
        with style():
            FigureCanvasSVG(self.figure)
            metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
            self.figure.savefig(buffer, format="svg", facecolor=facecolor, metadata=metadata)
        text = buffer.getvalue()
        text = re.sub(r"<defs>\s*<style[^>]*>.*?</style>\s*</defs>", "", text, count=1, flags=re.DOTALL)
        text = re.sub(r"<metadata>.*?</metadata>", "", text, count=1, flags=re.DOTALL)
        text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
        words = f'<title id="title">{escape(clean(self.title))}</title><desc id="desc">{escape(clean(self.alt))}</desc>'
        opening = text.index(">", text.index("<svg"))
        labels = ' role="img" aria-labelledby="title" aria-describedby="desc"'
        return f"{text[:opening]}{labels}{text[opening : opening + 1]}{words}{text[opening + 1 :]}"


@contextmanager
def style() -> Iterator[None]:
    """This package's look, whatever the user's matplotlibrc says; the settings are put back afterwards."""
    with _LOCK, mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def canvas(
    height: float, *, rows: int = 1, sharex: bool = False, ratios: Sequence[float] | None = None
) -> tuple[Figure, list[Axes]]:
    """A figure of the given height in inches with `rows` axes, one above the other. Call it within `style()`."""
    figure = Figure(figsize=(WIDTH, height), layout=ConstrainedLayoutEngine(w_pad=0.1))
    axes = figure.subplots(rows, 1, sharex=sharex, squeeze=False, height_ratios=ratios)
    return figure, [row[0] for row in axes]


def titled(figure: Figure, title: str) -> None:
    """Put a title above everything, left, on as many lines as the width needs."""
    characters = int(figure.get_figwidth() * 72 / (TITLE_SIZE * 0.58))
    text = textwrap.fill(plain(title, limit=400), characters)
    figure.suptitle(text, x=0.012, ha="left", fontsize=TITLE_SIZE, fontweight="bold", color=BLACK)


def plain(text: str, *, limit: int = 40) -> str:
    """A text that matplotlib draws as it stands: no formulas, no control characters, only glyphs that its font has."""
    known = get_font(findfont(FontProperties(family="DejaVu Sans"))).get_charmap()
    text = "".join(character if ord(character) in known and character >= " " else "\ufffd" for character in text)
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    return text.replace("$", r"\$")


def spaced_ticks(positions: Sequence[float], *, share: float = 1 / 12) -> list[float]:
    """Which of the places on a logarithmic axis get a label, so that labels do not run into each other.

    Both ends come first, then 1, 2 and 5 times powers of ten, then the others from small to large; a place is left out
    if it is nearer than `share` of the axis to one that is there already.

    Args:
        positions: positive, ascending.
    """
    if not positions:
        return []
    gap = share * math.log(positions[-1] / positions[0])
    round_ones = [position for position in positions if f"{position:.3e}"[:5] in ("1.000", "2.000", "5.000")]
    kept: list[float] = []
    for position in (positions[0], positions[-1], *round_ones, *positions):
        if all(abs(math.log(position / other)) >= gap for other in kept if other != position) and position not in kept:
            kept.append(position)
    return sorted(kept)


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
