"""Results go to stdout, as text or JSON; everything else goes to stderr."""

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TextIO

import typer

if TYPE_CHECKING:
    from variegate.records.load import Record

_RESULTS: ContextVar[TextIO | None] = ContextVar("results", default=None)


@contextlib.contextmanager
def only_results_on_stdout() -> Iterator[None]:
    """Send to stderr what a seller's own code prints, so that stdout holds the results alone."""
    token = _RESULTS.set(sys.stdout)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _RESULTS.reset(token)


def talk(line: str) -> None:
    """Say something that is not a result."""
    typer.echo(line, err=True)


def print_text(text: str) -> None:
    """Print a result that is text; its last line needs no line break."""
    typer.echo(text.removesuffix("\n"), file=_RESULTS.get())


def print_json(value: object) -> None:
    """Print a result as JSON, indented, in UTF-8."""
    print_text(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def print_result(value: object, text: str, *, as_json: bool) -> None:
    """Print a result as JSON, or as text."""
    if as_json:
        print_json(value)
    else:
        print_text(text)


def print_described(values: dict[str, Any], *, as_json: bool) -> None:
    """Print what is recorded of one thing as JSON, or as one "name  value" a line."""
    if as_json:
        print_json(values)
    else:
        print_pairs(values)


def print_listed(
    values: Sequence[object],
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    empty: str,
    as_json: bool,
) -> None:
    """Print several things as JSON, or as a table with a row each; `empty` says what to do where there are none."""
    if as_json:
        print_json(values)
    elif rows:
        print_table(columns, rows)
    else:
        talk(empty)


def print_record(record: "Record", *, as_json: bool) -> None:
    """Print the record of an experiment as JSON, or as the report's text."""
    if as_json:
        print_json(record.to_dict())
        return
    from variegate.report.render import render_text

    print_text(render_text(record))


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
        print_text("  ".join(cells).rstrip())


def print_pairs(values: dict[str, Any]) -> None:
    """Print one "name  value" a line; what is not text or a number is shown as JSON."""
    width = max(map(len, values), default=0)
    for name, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        print_text(f"{name.ljust(width)}  {text}")
