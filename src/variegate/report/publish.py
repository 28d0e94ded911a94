"""Records from files to text, pages and figures: which records share a page, and what the files are called."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from variegate.errors import ConfigurationError, FormatError
from variegate.files import file_error, read_bounded, write_atomic
from variegate.manifest import load_json
from variegate.records.attack import AttackRecord
from variegate.records.load import MAX_BYTES, Record, parse_record
from variegate.records.replication import ReplicationRecord
from variegate.records.reproduction import EXPERIMENTS, ReproductionRecord
from variegate.report.render import (
    draw_attacks,
    draw_reproduction,
    render_attacks,
    render_attacks_text,
    render_html,
    render_index,
    render_reproduction,
    render_text,
    save_all,
    save_drawings,
)


@dataclass(frozen=True, slots=True)
class LoadedRecord:
    """A record and the pictures next to it, if there are any."""

    record: Record
    pictures: Path | None


def load_records(paths: Iterable[Path]) -> list[LoadedRecord]:
    """Read records and saved specs; of a folder, its record.json or else the records of a reproduction.

    Raises:
        FormatError: a file is no record, or a spec was saved without a calibration's record.
        NotFoundError: there is no such file.
    """
    return [_load(file) for path in paths for file in _files(path)]


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    single = path / "record.json"
    found = [file for name in EXPERIMENTS if (file := path / f"{name}.json").is_file()]
    return found if found and not single.exists() else [single]


def _load(file: Path) -> LoadedRecord:
    values = load_json(read_bounded(file, MAX_BYTES), f"the record {file}")
    if values.get("kind") == "spec":
        values = values.get("record") or {}
        if not isinstance(values, dict) or not values:
            raise FormatError(f"the spec {file} was saved without a calibration's record; there is nothing to report")
    beside = (file.with_name("pictures.npz"), file.with_suffix(".npz"))
    return LoadedRecord(parse_record(values), next((each for each in beside if each.is_file()), None))


def record_texts(loaded: Sequence[LoadedRecord]) -> list[str]:
    """Return the text of each record, and at the end one of all attacks."""
    attacks = [one.record for one in loaded if isinstance(one.record, AttackRecord)]
    texts = [render_text(one.record) for one in loaded if not isinstance(one.record, AttackRecord)]
    return [*texts, render_attacks_text(attacks)] if attacks else texts


def write_pages(loaded: Sequence[LoadedRecord], html: Path) -> list[Path]:
    """Write one page of all attacks or of a reproduction, or one of each audit with its calibrations and an index."""
    reproduced = [one for one in loaded if one.record.kind == "reproduction"]
    if reproduced and len(reproduced) < len(loaded):
        raise ConfigurationError("a page of a reproduction shows nothing else; give the other records to another page")
    if reproduced:
        write_atomic(html, render_reproduction([one.record for one in reproduced]).encode())
        return [html]
    attacks = [one for one in loaded if one.record.kind == "attack"]
    if attacks and len(attacks) < len(loaded):
        raise ConfigurationError(
            "a page shows either attacks or audits with calibrations; got both: give them to two commands"
        )
    if attacks:
        text = render_attacks([one.record for one in attacks], [one.pictures for one in attacks])
        write_atomic(html, text.encode())
        return [html]
    audits = [one for one in loaded if isinstance(one.record, ReplicationRecord)]
    originals = [one.record.model for one in loaded if isinstance(one.record, ReplicationRecord)]
    if len(audits) < 2:
        first, *rest = [*audits, *(one for one in loaded if one not in audits)]
        write_atomic(html, render_html(first.record, first.pictures, [one.record for one in rest]).encode())
        return [html]
    calibrations = [one for one in loaded if one not in audits]
    pages = [
        html.with_name(f"{html.stem}-{name}.html") for name in _page_names([original.name for original in originals])
    ]
    for audit, original, page in zip(audits, originals, pages, strict=True):
        # In records, both names mean the digest of the original's weights, not that of its manifest.
        own = [one for one in calibrations if getattr(one.record, "model_digest", None) == original.digest]
        calibrations = [one for one in calibrations if one not in own]
        write_atomic(page, render_html(audit.record, audit.pictures, [one.record for one in own]).encode())
    index = render_index([one.record for one in audits], [page.name for page in pages])
    write_atomic(html, index.encode())
    kinds = [one.record.kind.replace("_", "-") for one in calibrations]
    left = [html.with_name(f"{html.stem}-{kind}-{number}.html") for number, kind in enumerate(kinds, start=1)]
    for one, page in zip(calibrations, left, strict=True):
        write_atomic(page, render_html(one.record).encode())
    return [html, *pages, *left]


def _page_names(names: list[str]) -> list[str]:
    """Return the originals' names where they tell the audits apart, else numbers."""
    clear = len(set(names)) == len(names) and all(re.fullmatch(r"[A-Za-z0-9][\w.-]{0,80}", name) for name in names)
    return names if clear else [str(number) for number in range(1, len(names) + 1)]


def write_figures(loaded: Sequence[LoadedRecord], folder: Path) -> list[Path]:
    """Write every figure as SVG and PNG; of several records, each gets a subfolder but those that are drawn together.

    These are attacks, and the tables and figures of a reproduction.
    """
    from variegate.report.figures.gallery import load_pictures

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
