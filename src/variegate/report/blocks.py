"""The blocks that a view makes of a record: headings, text, tables, figures. Renderers know no record."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, final

if TYPE_CHECKING:
    from variegate.report.drawing import Drawing


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A titled table of texts.

    Attributes:
        title: what it shows, with units.
        columns: headings; the first `labels` columns name the row and are aligned left, the others right.
        rows: one text per column each.
        labels: how many columns name the row.
        note: a sentence below, or empty.
        grouped: rows with the same first text belong together.
        paired: every second row holds the intervals of the row above it.
        label_width: characters that a text which names the row takes in the terminal; what is longer is cut.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    labels: int = 1
    note: str = ""
    grouped: bool = False
    paired: bool = False
    label_width: int = 30


Where = Literal["both", "text", "page"]
"""Who prints a block: both renderers, the one for the terminal alone, or the one for pages alone."""


@final
@dataclass(frozen=True, slots=True)
class Heading:
    """A heading; with an anchor, the page's contents link to it.

    Attributes:
        level: 1 for a record's title, 2 for its parts, 3 below.
    """

    text: str
    level: int = 2
    anchor: str = ""
    where: Where = "both"


@final
@dataclass(frozen=True, slots=True)
class Text:
    """Sentences.

    Attributes:
        lines: one sentence or more each.
        style: "prose"; "bullets"; "care", bullets that the reader must not miss; "note", small print below something;
            "terms", alternately a term and what it means.
        title: above bullets.
    """

    lines: Sequence[str]
    style: Literal["prose", "bullets", "care", "note", "terms"] = "prose"
    title: str = ""
    where: Where = "both"


@final
@dataclass(frozen=True, slots=True)
class Rows:
    """A table.

    Attributes:
        words: how many of the last columns are words, aligned left.
        folded: None, or whether it starts closed, behind its title.
        links: address by text in the first column.
    """

    table: Table
    words: int = 0
    folded: bool | None = None
    links: Mapping[str, str] = field(default_factory=dict)
    where: Where = "both"


@final
@dataclass(frozen=True, slots=True)
class Pairs:
    """Tables of names and values, side by side on a page."""

    tables: Sequence[Table]
    where: Where = "both"


@final
@dataclass(frozen=True, slots=True)
class Figures:
    """Figures, drawn when a renderer that shows them asks for them.

    Attributes:
        draw: makes them; needs matplotlib.
        caption: below each.
        missing: what to say if there is none.
    """

    draw: Callable[[], "Sequence[Drawing]"]
    caption: str = ""
    missing: str = ""
    where: Where = "page"


Block = Heading | Text | Rows | Pairs | Figures
