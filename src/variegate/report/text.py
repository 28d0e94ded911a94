"""Blocks as plain text for the terminal: fixed width, no colour, no markup."""

import textwrap
from collections.abc import Iterable, Sequence

from variegate.report.blocks import Block, Heading, Pairs, Rows, Table, Text
from variegate.report.formatting import clean

WIDTH = 100
"""Characters that a line of prose may take; tables take what they need."""


def print_blocks(blocks: Iterable[Block], *, width: int = WIDTH) -> str:
    """Every block that is meant for the terminal, with an empty line between two of them."""
    printed = (_printed(block, width) for block in blocks if block.where != "page")
    return "\n\n".join(text for text in printed if text) + "\n"


def _printed(block: Block, width: int) -> str:
    if isinstance(block, Heading):
        text = _clean(block.text)
        return f"{text}\n{'=' * len(text)}" if block.level == 1 else text
    if isinstance(block, Text):
        return _text(block, width)
    if isinstance(block, Rows):
        return render_table(block.table) if block.table.rows else ""
    if isinstance(block, Pairs):
        return "\n\n".join(_lines([f"{name}: {value}" for name, value in table.rows], width) for table in block.tables)
    return ""  # figures are for pages


def _text(block: Text, width: int) -> str:
    if not block.lines:
        return ""
    title = "Take care" if block.style == "care" else block.title
    if block.style == "terms":
        terms = zip(block.lines[::2], block.lines[1::2], strict=True)
        text = _lines([f"- {term}: {meaning}" for term, meaning in terms], width, indent="  ")
    elif block.style in ("bullets", "care"):
        text = _lines([f"- {line}" for line in block.lines], width, indent="  ")
    else:
        text = _lines(block.lines, width)
    return f"{title}\n{text}" if title else text


def _lines(lines: Sequence[str], width: int, indent: str = "") -> str:
    return "\n".join(textwrap.fill(_clean(line), width, subsequent_indent=indent) for line in lines)


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
