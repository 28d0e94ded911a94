"""Records as text, as pages and as figures: the views' blocks, printed."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from variegate.errors import ConfigurationError
from variegate.records.attack import AttackRecord
from variegate.records.calibration import CalibrationRecord
from variegate.records.load import Record, parse_record
from variegate.records.replication import ReplicationRecord
from variegate.records.reproduction import ReproductionRecord
from variegate.report.blocks import Block, Figures, Heading
from variegate.report.glossary import ATTACK_GLOSSARY, GLOSSARY
from variegate.report.text import WIDTH, print_blocks
from variegate.report.views.attack import attack_title
from variegate.report.views.calibration import calibration_title
from variegate.report.views.catalog import VIEWS
from variegate.report.views.index import index_view
from variegate.report.views.paper.view import WORDS, reproduction_intro, reproduction_title
from variegate.report.views.shown import Shown

if TYPE_CHECKING:
    from variegate.report.drawing import Drawing
    from variegate.report.figures.gallery import Pictures


def render_text(record: object, *, width: int = WIDTH) -> str:
    """The whole record for the terminal: summary, warnings, tables.

    Args:
        record: a record as JSON gives it, or a parsed one.
        width: characters a line of prose may take; tables take what they need.

    Raises:
        FormatError: a field of the record is missing or wrong; the sentence names it.
    """
    parsed = parse_record(record)
    return print_blocks(VIEWS[parsed.kind]([parsed], Shown()), width=width)


def render_attacks_text(records: Sequence[AttackRecord], *, width: int = WIDTH) -> str:
    """Attacks side by side for the terminal; at least one record."""
    return print_blocks(VIEWS["attack"](records, Shown()), width=width)


def render_html(
    record: object,
    pictures: Path | None = None,
    extras: Sequence[object] = (),
    *,
    class_names: Sequence[str] = (),
) -> str:
    """The page for a record.

    Args:
        record: of any kind, as JSON gives it or parsed.
        pictures: the .npz next to the record, if there is one.
        extras: further records that follow on the same page, such as the calibration that chose the spec.
        class_names: names of the classes, for the labels below the pictures.

    Raises:
        FormatError: a field of a record or an array of the pictures is missing or wrong; the sentence names it.
        NotFoundError: `pictures` names no file.
        ConfigurationError: matplotlib is not installed, or only some records are of attacks or of a reproduction.
    """
    parsed = [parse_record(each) for each in (record, *extras)]
    if any(isinstance(each, ReproductionRecord) for each in parsed):
        return render_reproduction(parsed)
    if any(isinstance(each, AttackRecord) for each in parsed):
        return render_attacks(parsed, [pictures, *(None for _ in extras)])
    blocks: list[Block] = []
    for number, one in enumerate(parsed, start=1):
        shown = Shown(
            pictures=[_loaded(pictures) if number == 1 else None], class_names=class_names, anchor=f"r{number}"
        )
        view = VIEWS[one.kind]([one], shown)
        blocks += view if len(parsed) == 1 else _demoted(view)
    groups = dict.fromkeys(group.name for one in parsed if isinstance(one, ReplicationRecord) for group in one.groups)
    return _page(_title(parsed[0]), blocks, len(parsed), GLOSSARY, groups=[*groups])


def render_attacks(records: Sequence[object], pictures: Sequence[Path | None] = ()) -> str:
    """One page for a set of attacks: table, figure, outcomes, pictures, how each was run.

    Args:
        records: of attacks, as JSON gives them or parsed.
        pictures: for each record the .npz next to it or None; none at all if there are no pictures.

    Raises:
        FormatError: a field of a record or an array of the pictures is missing or wrong; the sentence names it.
        NotFoundError: `pictures` names a file that is not there.
        ConfigurationError: there are no records, some are of another kind, or matplotlib is not installed.
    """
    parsed = [parse_record(record) for record in records]
    attacks = [record for record in parsed if isinstance(record, AttackRecord)]
    if not attacks or len(attacks) < len(parsed):
        raise ConfigurationError(
            "a page of attacks takes attack records alone, at least one; give audits and calibrations to another page"
        )
    blocks = VIEWS["attack"](attacks, Shown(pictures=[_loaded(path) for path in pictures]))
    return _page(attack_title(attacks), blocks, len(attacks), ATTACK_GLOSSARY)


def render_reproduction(records: Sequence[object]) -> str:
    """The page of some records of `variegate reproduce`, of any experiments.

    Args:
        records: as JSON gives them, or parsed.

    Raises:
        FormatError: a field of a record is missing or wrong; the sentence names it.
        ConfigurationError: there are no records, some are of another kind, or two are of one experiment and study.
    """
    parsed = [parse_record(record) for record in records]
    reproduced = [record for record in parsed if isinstance(record, ReproductionRecord)]
    if not reproduced:
        raise ConfigurationError("a page of a reproduction needs at least one record; got none")
    if len(reproduced) < len(parsed):
        raise ConfigurationError("a page of a reproduction takes its records alone; give others to another page")
    blocks = VIEWS["reproduction"](reproduced, Shown())
    words = [*WORDS, *GLOSSARY]
    intro = reproduction_intro(reproduced)
    return _page(reproduction_title(reproduced), blocks, len(reproduced), words, intro=intro)


def render_index(
    records: Sequence[object], links: Sequence[str | None] | None = None, *, title: str = "Replication reports"
) -> str:
    """The index page of several audits.

    Args:
        records: replication and calibration records, as JSON gives them or parsed.
        links: for each record the file of its own page, relative to the index, or None.
        title: the page's heading.

    Raises:
        FormatError: a field of a record is missing or wrong; the sentence names it.
        ConfigurationError: there are no records, some are of another kind, or the links do not fit them or are not
            relative.
    """
    parsed = _told_apart([parse_record(record) for record in records])
    audits = [record for record in parsed if isinstance(record, ReplicationRecord)]
    calibrations = [record for record in parsed if isinstance(record, CalibrationRecord)]
    if len(audits) + len(calibrations) < len(parsed):
        raise ConfigurationError(
            "an index holds audits and calibrations; show records of attacks, cross-checks and collusion on other pages"
        )
    addresses = {
        _name(record): link for record, link in zip(parsed, _addresses(links, len(parsed)), strict=True) if link
    }
    groups = [*dict.fromkeys(group.name for record in audits for group in record.groups)]
    return _page(title, index_view(audits, calibrations, addresses), len(parsed), GLOSSARY, groups=groups)


def draw_all(record: Record, *, pictures: "Pictures | None" = None) -> tuple["Drawing", ...]:
    """Every figure that the record has numbers for, in the order in which its page shows them. Needs matplotlib."""
    return draw_blocks(VIEWS[record.kind]([record], Shown(pictures=[pictures])))


def draw_attacks(
    records: Sequence[AttackRecord], *, pictures: Sequence["Pictures | None"] = ()
) -> tuple["Drawing", ...]:
    """The figure over all attacks, if they found anything, and a grid for each record that has pictures.

    Args:
        records: of attacks; their grids are called "pictures", or "pictures-1" and so on if there are several records.
        pictures: one entry a record, or none at all.

    Raises:
        ConfigurationError: there are pictures, but not an entry for each record.
    """
    return draw_blocks(VIEWS["attack"](records, Shown(pictures=pictures)))


def draw_reproduction(records: Sequence[ReproductionRecord]) -> tuple["Drawing", ...]:
    """Every figure of every record and study; Tables 1 and 3 have none."""
    return draw_blocks(VIEWS["reproduction"](records, Shown())) if records else ()


def draw_blocks(blocks: Sequence[Block]) -> tuple["Drawing", ...]:
    """The figures among some blocks."""
    return tuple(drawing for block in blocks if isinstance(block, Figures) for drawing in block.draw())


def save_all(record: Record, folder: Path, *, pictures: "Pictures | None" = None, dpi: int = 150) -> tuple[Path, ...]:
    """Write every figure as SVG and PNG into an existing folder; returns the files."""
    return save_drawings(draw_all(record, pictures=pictures), folder, dpi=dpi)


def save_drawings(drawings: Sequence["Drawing"], folder: Path, *, dpi: int = 150) -> tuple[Path, ...]:
    """Write figures as SVG and PNG, by their names, into an existing folder; returns the files."""
    files = []
    for drawing in drawings:
        for suffix in (".svg", ".png"):
            files.append(folder / f"{drawing.name}{suffix}")
            drawing.save(files[-1], dpi=dpi)
    return tuple(files)


def _page(
    title: str,
    blocks: Sequence[Block],
    records: int,
    words: Sequence[tuple[str, str]],
    *,
    groups: Sequence[str] = (),
    intro: str = "",
) -> str:
    from variegate.report.page import Page, render_page

    return render_page(Page(title=title, records=records, words=words, groups=groups, intro=intro), blocks)


def _demoted(blocks: Sequence[Block]) -> list[Block]:
    """The blocks of one record among several on a page: each heading one level below."""
    return [replace(block, level=block.level + 1) if isinstance(block, Heading) else block for block in blocks]


def _title(record: Record) -> str:
    return calibration_title(record) if isinstance(record, CalibrationRecord) else str(record.title)  # type: ignore[union-attr]  # attacks have pages of their own


def _name(record: object) -> str:
    """What an index calls a record."""
    return record.model.name if isinstance(record, ReplicationRecord) else calibration_title(record)  # type: ignore[arg-type]  # or a calibration


def _told_apart(records: Sequence[Record]) -> list[Record]:
    """The records, in which audits of originals with the same name have numbers behind it."""
    names = [record.model.name for record in records if isinstance(record, ReplicationRecord)]
    seen: Counter[str] = Counter()
    apart: list[Record] = []
    for record in records:
        if isinstance(record, ReplicationRecord) and names.count(name := record.model.name) > 1:
            seen[name] += 1
            model = record.model.model_copy(update={"name": f"{name} ({seen[name]})"})
            apart.append(record.model_copy(update={"model": model}))
        else:
            apart.append(record)
    return apart


def _loaded(path: Path | None) -> "Pictures | None":
    from variegate.report.figures.gallery import load_pictures

    return None if path is None else load_pictures(path)


def _addresses(links: Sequence[str | None] | None, count: int) -> list[str | None]:
    if not count:
        raise ConfigurationError("an index needs at least one record; got none")
    if links is None:
        return [None] * count
    if len(links) != count:
        raise ConfigurationError(f"expected one link per record, {count} in all; got {len(links)}")
    for link in links:
        if link is not None and (not link or link.startswith("/")):
            raise ConfigurationError(
                f"a link in an index must be a relative file such as model.html; got {link[:80]!r}"
            )
    return [None if link is None else quote(link) for link in links]
