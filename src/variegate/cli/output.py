"""Results go to stdout, as text or JSON; everything else goes to stderr."""

import json
from collections.abc import Sequence
from typing import Any

import typer

__all__ = ["print_json", "print_pairs", "print_table", "talk"]


def talk(line: str) -> None:
    """Say something that is not a result."""
    typer.echo(line, err=True)


def print_json(value: object) -> None:
    """Print a result as JSON, indented, in UTF-8."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under their headings; columns as wide as their longest text, numbers to the right."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *texts, strict=True)]
    to_right = [bool(rows) and all(isinstance(row[i], int | float) for row in rows) for i in range(len(columns))]
    for line in (columns, *texts):
        cells = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, to_right, strict=True)
        )
        typer.echo("  ".join(cells).rstrip())


def print_pairs(values: dict[str, Any]) -> None:
    """Print one "name  value" a line; what is not text or a number is shown as JSON."""
    width = max(map(len, values), default=0)
    for name, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        typer.echo(f"{name.ljust(width)}  {text}")
