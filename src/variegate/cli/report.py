"""`variegate report`: records as text, or as a page with figures."""

import re
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
            "variegate report audit/ --figures figures/",
        ),
    )(report)


def report(
    records: Annotated[
        list[Path], typer.Argument(help="Records or saved specs (JSON), or folders with a record.json.")
    ],
    *,
    html: Annotated[Path | None, typer.Option("--html", help="Write a self-contained page to this file.")] = None,
    figures: Annotated[Path | None, typer.Option("--figures", help="Write the figures as SVG and PNG here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what audits and calibrations measured.

    As text, or with --html as a page that needs no other file; pictures beside a record are shown, too. Of several
    audits, the page is an index, and each audit gets its own page beside it, with the calibrations of its original.
    """
    loaded = [_load(path) for path in records]
    if as_json:
        print_json([one.raw for one in loaded])
    elif html is None and figures is None:
        from variegate.report.text import render_text

        typer.echo("\n".join(render_text(one.record) for one in loaded), nl=False)
    if html is not None:
        for path in _write_pages(loaded, html):
            talk(f"wrote {path}")
    if figures is not None:
        talk(f"wrote {len(_write_figures(loaded, figures))} files to {figures}")


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
    """Write one page for each audit, with its original's calibrations; for several audits also an index."""
    from variegate.files import write_atomic
    from variegate.report.html import render_html, render_index

    audits = [one for one in loaded if one.raw.get("kind") == "replication"]
    if len(audits) < 2:
        first, *rest = [*audits, *(one for one in loaded if one not in audits)]
        write_atomic(html, render_html(first.record, first.pictures, [one.record for one in rest]).encode())
        return [html]
    calibrations = [one for one in loaded if one not in audits]
    pages = [html.with_name(f"{html.stem}-{name}.html") for name in _page_names(audits)]
    for audit, page in zip(audits, pages, strict=True):
        # In records, both names mean the digest of the original's weights, not that of its manifest.
        weights_digest = audit.raw["model"]["digest"]
        own = [one for one in calibrations if one.raw.get("model_digest") == weights_digest]
        calibrations = [one for one in calibrations if one not in own]
        write_atomic(page, render_html(audit.record, audit.pictures, [one.record for one in own]).encode())
    index = render_index([one.record for one in audits], [page.name for page in pages])
    write_atomic(html, index.encode())
    left = [html.with_name(f"{html.stem}-calibration-{number}.html") for number in range(1, len(calibrations) + 1)]
    for one, page in zip(calibrations, left, strict=True):
        write_atomic(page, render_html(one.record).encode())
    return [html, *pages, *left]


def _page_names(audits: Sequence[_Loaded]) -> list[str]:
    """Return the originals' names where they tell the audits apart, else numbers."""
    names = [str(one.raw["model"]["name"]) for one in audits]
    clear = len(set(names)) == len(names) and all(re.fullmatch(r"[A-Za-z0-9][\w.-]{0,80}", name) for name in names)
    return names if clear else [str(number) for number in range(1, len(names) + 1)]


def _write_figures(loaded: Sequence[_Loaded], folder: Path) -> list[Path]:
    """Write every figure as SVG and PNG, in one subfolder a record if there are several."""
    from variegate.files import file_error
    from variegate.report.figures import load_pictures, save_all

    files: list[Path] = []
    for number, one in enumerate(loaded, start=1):
        place = folder if len(loaded) == 1 else folder / str(number)
        try:
            place.mkdir(parents=True, exist_ok=True)
            pictures = None if one.pictures is None else load_pictures(one.pictures)
            files += save_all(one.record, place, pictures=pictures)
        except OSError as error:
            raise file_error(error, place, "write figures to") from error
    return files
