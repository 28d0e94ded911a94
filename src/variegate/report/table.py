"""A table as plain texts, before it becomes terminal text or HTML."""

from dataclasses import dataclass


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
