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
    from variegate.records.load import Record

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
            "variegate report hsj/ geoda/ --html attacks.html --figures figures/",
            "variegate report check/ --html cross-check.html",
            "variegate report collusion/",
            "variegate report reproduction/ --html reproduction.html",
        ),
    )(report)


def report(
    records: Annotated[
        list[Path],
        typer.Argument(
            help="Records or saved specs (JSON), or folders with a record.json or with the records of `reproduce`."
        ),
    ],
    *,
    html: Annotated[Path | None, typer.Option("--html", help="Write a self-contained page to this file.")] = None,
    figures: Annotated[Path | None, typer.Option("--figures", help="Write the figures as SVG and PNG here.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show records of audits, collusion, calibrations, attacks, cross-checks, reproductions.

    As text, or with --html as a page that needs no other file; pictures beside a record are shown, too. Of several
    audits, the page is an index, and each audit gets its own page beside it, with the calibrations of its original.
    Attacks stand side by side: in one table, in one figure of norm against queries, on one page of their own. The
    tables and figures of a reproduction share one page, which opens with the paper's Table 2.
    """
    loaded = [_load(file) for path in records for file in _files(path)]
    if as_json:
        print_json([one.raw for one in loaded])
    elif html is None and figures is None:
        typer.echo("\n".join(_texts(loaded)), nl=False)
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


def _files(path: Path) -> list[Path]:
    """Return the file itself, or of a folder its record.json, or else the records of a reproduction."""
    from variegate.records.reproduction import EXPERIMENTS

    if not path.is_dir():
        return [path]
    single = path / "record.json"
    found = [file for name in EXPERIMENTS if (file := path / f"{name}.json").is_file()]
    return found if found and not single.exists() else [single]


def _load(file: Path) -> _Loaded:
    from variegate.errors import FormatError
    from variegate.files import read_bounded
    from variegate.manifest import load_json
    from variegate.records.load import parse_record

    raw = load_json(read_bounded(file, _LIMIT_BYTES), f"the record {file}")
    if raw.get("kind") == "spec":
        raw = raw.get("record") or {}
        if not isinstance(raw, dict) or not raw:
            raise FormatError(f"the spec {file} was saved without a calibration's record; there is nothing to report")
    beside = (file.with_name("pictures.npz"), file.with_suffix(".npz"))
    return _Loaded(raw, parse_record(raw), next((each for each in beside if each.is_file()), None))


def _texts(loaded: Sequence[_Loaded]) -> list[str]:
    """Return the text of each record, and at the end one of all attacks."""
    from variegate.records.attack import AttackRecord
    from variegate.report.render import render_attacks_text, render_text

    attacks = [one.record for one in loaded if isinstance(one.record, AttackRecord)]
    texts = [render_text(one.record) for one in loaded if not isinstance(one.record, AttackRecord)]
    return [*texts, render_attacks_text(attacks)] if attacks else texts


def _write_pages(loaded: Sequence[_Loaded], html: Path) -> list[Path]:
    """Write one page of all attacks or of a reproduction, or one of each audit with its calibrations and an index."""
    from variegate.errors import ConfigurationError
    from variegate.files import write_atomic
    from variegate.report.render import render_attacks, render_html, render_index, render_reproduction

    reproduced = [one for one in loaded if one.raw.get("kind") == "reproduction"]
    if reproduced and len(reproduced) < len(loaded):
        raise ConfigurationError("a page of a reproduction shows nothing else; give the other records to another page")
    if reproduced:
        write_atomic(html, render_reproduction([one.record for one in reproduced]).encode())
        return [html]
    attacks = [one for one in loaded if one.raw.get("kind") == "attack"]
    if attacks and len(attacks) < len(loaded):
        raise ConfigurationError(
            "a page shows either attacks or audits with calibrations; got both: give them to two commands"
        )
    if attacks:
        text = render_attacks([one.record for one in attacks], [one.pictures for one in attacks])
        write_atomic(html, text.encode())
        return [html]
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
    kinds = [str(one.raw["kind"]).replace("_", "-") for one in calibrations]
    left = [html.with_name(f"{html.stem}-{kind}-{number}.html") for number, kind in enumerate(kinds, start=1)]
    for one, page in zip(calibrations, left, strict=True):
        write_atomic(page, render_html(one.record).encode())
    return [html, *pages, *left]


def _page_names(audits: Sequence[_Loaded]) -> list[str]:
    """Return the originals' names where they tell the audits apart, else numbers."""
    names = [str(one.raw["model"]["name"]) for one in audits]
    clear = len(set(names)) == len(names) and all(re.fullmatch(r"[A-Za-z0-9][\w.-]{0,80}", name) for name in names)
    return names if clear else [str(number) for number in range(1, len(names) + 1)]


def _write_figures(loaded: Sequence[_Loaded], folder: Path) -> list[Path]:
    """Write every figure as SVG and PNG; of several records, each gets a subfolder but those that are drawn together.

    These are attacks, and the tables and figures of a reproduction.
    """
    from variegate.files import file_error
    from variegate.records.attack import AttackRecord
    from variegate.records.reproduction import ReproductionRecord
    from variegate.report.figures.gallery import load_pictures
    from variegate.report.render import draw_attacks, draw_reproduction, save_all, save_drawings

    files: list[Path] = []
    place = folder
    try:
        attacks, shown, reproduced = [], [], []
        for number, one in enumerate(loaded, start=1):
            pictures = None if one.pictures is None else load_pictures(one.pictures)
            if isinstance(one.record, ReproductionRecord):
                reproduced.append(one.record)
                continue
            if isinstance(one.record, AttackRecord):
                attacks.append(one.record)
                shown.append(pictures)
                continue
            place = folder if len(loaded) == 1 else folder / str(number)
            place.mkdir(parents=True, exist_ok=True)
            files += save_all(one.record, place, pictures=pictures)
        drawn = [*(draw_attacks(attacks, pictures=shown) if attacks else ()), *draw_reproduction(reproduced)]
        if drawn:
            place = folder
            place.mkdir(parents=True, exist_ok=True)
            files += save_drawings(drawn, place)
    except OSError as error:
        raise file_error(error, place, "write figures to") from error
    return files
