"""The blocks of plain text that every report in the terminal is made of: headings, prose, bullets, tables."""

import textwrap
from collections.abc import Sequence

from variegate.report.table import Table
from variegate.report.words import clean

WIDTH = 100
"""Characters that a line of prose may take."""


def heading(text: str) -> str:
    """A title, underlined."""
    text = _clean(text)
    return f"{text}\n{'=' * len(text)}"


def prose(lines: Sequence[str], width: int = WIDTH) -> str:
    """Sentences, each from the start of a line."""
    return "\n".join(textwrap.fill(_clean(line), width) for line in lines)


def bullets(lines: Sequence[str], width: int = WIDTH) -> str:
    """Sentences, each with a bullet."""
    return "\n".join(textwrap.fill(_clean(line), width, initial_indent="- ", subsequent_indent="  ") for line in lines)


def render_table(table: Table) -> str:
    """One table: title, headings, a rule, rows; columns as wide as their longest text, row labels cut."""
    columns = tuple(map(_clean, table.columns))
    rows = [
        tuple(
            _cut(_clean(cell), table.label_width) if index < table.labels else _clean(cell)
            for index, cell in enumerate(row)
        )
        for row in _without_repeats(table)
    ]
    widths = [max(len(row[index]) for row in [columns, *rows]) for index in range(len(columns))]

    def line(cells: Sequence[str]) -> str:
        texts = (
            cell.ljust(width) if index < table.labels else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join(texts).rstrip()

    lines = [_clean(table.title), line(columns), "  ".join("-" * width for width in widths), *map(line, rows)]
    return "\n".join([*lines, textwrap.fill(_clean(table.note), WIDTH)] if table.note else lines)


def _without_repeats(table: Table) -> list[tuple[str, ...]]:
    """The rows, with the first cell empty where it repeats the one above."""
    if not table.grouped:
        return list(table.rows)
    above = [None, *(row[0] for row in table.rows)]
    return [("" if row[0] == before else row[0], *row[1:]) for row, before in zip(table.rows, above, strict=False)]


def _clean(text: str) -> str:
    return clean(" ".join(text.splitlines()) if "\n" in text else text).replace("\t", " ")


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
