"""`variegate report`: records as text, or as a page with figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from variegate.cli.options import AsJson, examples
from variegate.cli.output import print_json, talk

if TYPE_CHECKING:
    from variegate.report.record import Record

__all__ = ["add_to"]

_LIMIT_BYTES = 256 * 2**20


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        "report",
        epilog=examples(
            "variegate report audit/",
            "variegate report audit/record.json .variegate/specs/net-qim.json --html audit.html",
            "variegate report cifar/record.json gtsrb/record.json --html both.html",
        ),
    )(report)


def report(
    records: Annotated[
        list[Path], typer.Argument(help="Records or saved specs (JSON), or folders with a record.json.")
    ],
    *,
    html: Annotated[Path | None, typer.Option("--html", help="Write a self-contained page to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what audits and calibrations measured.

    As text, or with --html as a page that needs no other file; pictures beside a record are shown, too. Of several
    audits, the page is an index, and each audit gets its own page beside it.
    """
    loaded = [_load(path) for path in records]
    if as_json:
        print_json([one.raw for one in loaded])
    elif html is None:
        from variegate.report.text import render_text

        typer.echo("\n".join(render_text(one.record) for one in loaded), nl=False)
    if html is not None:
        for path in _write_pages(loaded, html):
            talk(f"wrote {path}")


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A record: as JSON, checked, and the pictures beside it."""

    raw: dict[str, Any]
    record: "Record"
    pictures: Path | None


def _load(path: Path) -> _Loaded:
    from variegate.errors import FormatError
    from variegate.files import read_bounded
    from variegate.manifest import load_json
    from variegate.report.record import parse_record

    file = path / "record.json" if path.is_dir() else path
    raw = load_json(read_bounded(file, _LIMIT_BYTES), f"the record {file}")
    if raw.get("kind") == "spec":
        raw = raw.get("record") or {}
        if not isinstance(raw, dict) or not raw:
            raise FormatError(f"the spec {file} was saved without a calibration's record; there is nothing to report")
    beside = (file.with_name("pictures.npz"), file.with_suffix(".npz"))
    return _Loaded(raw, parse_record(raw), next((each for each in beside if each.is_file()), None))


def _write_pages(loaded: Sequence[_Loaded], html: Path) -> list[Path]:
    """Write one page for one audit and its calibrations; for several audits an index and a page for each."""
    from variegate.files import write_atomic
    from variegate.report.html import render_html, render_index

    audits = [one for one in loaded if one.raw.get("kind") == "replication"]
    others = [one for one in loaded if one not in audits]
    if len(audits) < 2:
        first, *rest = [*audits, *others]
        write_atomic(html, render_html(first.record, first.pictures, [one.record for one in rest]).encode())
        return [html]
    pages = [html.with_name(f"{html.stem}-{number}.html") for number in range(1, len(loaded) + 1)]
    for one, page in zip(loaded, pages, strict=True):
        write_atomic(page, render_html(one.record, one.pictures).encode())
    index = render_index([one.record for one in loaded], [page.name for page in pages])
    write_atomic(html, index.encode())
    return [html, *pages]
