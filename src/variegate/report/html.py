"""Records as one self-contained HTML page: figures and style inside, no script, nothing loaded from elsewhere."""

from collections.abc import Sequence
from pathlib import Path

from variegate.errors import ConfigurationError
from variegate.records.attack import AttackRecord
from variegate.records.calibration import CalibrationRecord
from variegate.records.collusion import CollusionRecord
from variegate.records.cross_check import CrossCheckRecord
from variegate.records.load import parse_record
from variegate.records.replication import ReplicationRecord
from variegate.records.reproduction import ReproductionRecord
from variegate.report import figures, tables
from variegate.report.attack_labels import full_labels
from variegate.report.attack_overview import advice, attack_cautions, attack_settings, outcome_table, overview_table
from variegate.report.attack_tables import queries_table, status_table
from variegate.report.calibration_table import calibration_table
from variegate.report.cautions import cautions
from variegate.report.collusion_tables import collusion_origin, collusion_setting, collusion_table
from variegate.report.cross_check_tables import check_origin, check_setting, engines_table, verdicts_table
from variegate.report.drawing import Drawing
from variegate.report.gallery import load_pictures, picture_grid
from variegate.report.glossary import ATTACK_GLOSSARY
from variegate.report.index import render_index
from variegate.report.pages import render_template, swatches
from variegate.report.parameters import attack_parameter_table, parameter_tables
from variegate.report.reproduction.page import render_reproduction
from variegate.report.summary import calibration_title, calibration_verdict, sentences, setting
from variegate.report.table import Table

__all__ = ["render_attacks", "render_html", "render_index", "render_reproduction"]

_OnPage = ReplicationRecord | CalibrationRecord | CrossCheckRecord | CollusionRecord


def render_html(
    record: object,
    pictures: Path | None = None,
    extras: Sequence[object] = (),
    *,
    class_names: Sequence[str] = (),
) -> str:
    """The page for a record.

    Args:
        record: of a replication, a calibration, an attack, a cross-check, a collusion or a reproduction, as JSON gives
            it or parsed.
        pictures: the .npz beside the record, if there is one.
        extras: further records that follow on the same page, such as the calibration that chose the spec.
        class_names: names of the classes, for the labels below the pictures.

    Raises:
        InputError: if a field of a record or an array of the pictures is missing or wrong; the sentence names it.
        NotFoundError: if `pictures` names no file.
        ConfigurationError: if matplotlib is not installed, or if only some of the records are of attacks or of a
            reproduction.
    """
    parsed = [parse_record(each) for each in (record, *extras)]
    if reproduced := [each for each in parsed if isinstance(each, ReproductionRecord)]:
        if len(reproduced) < len(parsed):
            raise ConfigurationError("a page of a reproduction takes its records alone; give others to another page")
        return render_reproduction(reproduced)
    records = [each for each in parsed if not isinstance(each, AttackRecord | ReproductionRecord)]
    if len(records) < len(parsed):
        return render_attacks(parsed, [pictures, *(None for _ in extras)])
    parts: list[dict[str, object]] = []
    for index, each in enumerate(records):
        if isinstance(each, CalibrationRecord):
            parts.append(_calibration(each, f"r{index + 1}"))
        elif isinstance(each, CrossCheckRecord):
            parts.append(_check(each, f"r{index + 1}"))
        elif isinstance(each, CollusionRecord):
            parts.append(_collusion(each, f"r{index + 1}"))
        else:
            shown = pictures if index == 0 else None
            parts.append(_replication(each, f"r{index + 1}", shown, class_names))
    first = records[0]
    title = _title(first)
    contents = _contents(records)
    return render_template("report.html.j2", title=title, parts=parts, contents=contents)


def render_attacks(records: Sequence[object], pictures: Sequence[Path | None] = ()) -> str:
    """One page for a set of attacks: table, figure, outcomes, pictures, how each was run.

    Args:
        records: of attacks, as JSON gives them or parsed.
        pictures: for each record the .npz beside it or None; none at all if there are no pictures.

    Raises:
        InputError: if a field of a record or an array of the pictures is missing or wrong; the sentence names it.
        NotFoundError: if `pictures` names a file that is not there.
        ConfigurationError: if there are no records, if some are of audits or calibrations, or if matplotlib is not
            installed.
    """
    parsed = [parse_record(record) for record in records]
    attacks = [record for record in parsed if isinstance(record, AttackRecord)]
    if not attacks or len(attacks) < len(parsed):
        raise ConfigurationError(
            "a page of attacks takes attack records alone, at least one; give audits and calibrations to another page"
        )
    loaded = [None if path is None else load_pictures(path) for path in pictures]
    curves: list[Drawing] = []
    grids: list[Drawing] = []
    for drawing in figures.draw_attacks(attacks, pictures=loaded):
        (grids if drawing.name.startswith("pictures") else curves).append(drawing)
    names = full_labels(attacks)
    targets = ", ".join(dict.fromkeys(record.target.name for record in attacks))
    return render_template(
        "attacks.html.j2",
        title=f"{'Attack' if len(attacks) == 1 else 'Attacks'} on {targets}",
        settings=attack_settings(attacks),
        overview=overview_table(attacks),
        cautions=attack_cautions(attacks),
        curves=curves,
        outcomes=outcome_table(attacks),
        advice=advice(attacks),
        grids=grids,
        parameters=[attack_parameter_table(record, name) for name, record in zip(names, attacks, strict=True)],
        words=ATTACK_GLOSSARY,
    )


def _replication(
    record: ReplicationRecord, anchor: str, pictures: Path | None, class_names: Sequence[str]
) -> dict[str, object]:
    grid = None
    if pictures is not None:
        order = [group.name for group in record.groups]
        grid = picture_grid(load_pictures(pictures), bounds=record.model.bounds, order=order, class_names=class_names)
    drawings = {drawing.name: drawing for drawing in figures.draw_all(record)}

    def named(*names: str) -> list[Drawing]:
        return [drawings[name] for name in names if name in drawings]

    def filled(*candidates: Table) -> list[Table]:
        return [table for table in candidates if table.rows]

    return {
        "kind": "replication",
        "anchor": anchor,
        "record": record,
        "setting": setting(record),
        "glance": tables.glance_table(record),
        "sentences": sentences(record),
        "cautions": cautions(record),
        "swatches": swatches(group.name for group in record.groups),
        "curves": named("overshoot", "security"),
        "curve_tables": filled(
            tables.overshoot_table(record),
            tables.overshoot_table(record, conditioned=True),
            tables.within_table(record),
            tables.noise_table(record),
        ),
        "rate_tables": filled(tables.rates_table(record), tables.accuracy_table(record)),
        "matrices": [drawing for name, drawing in drawings.items() if name.startswith("matrix-")],
        "costs": named("norms", "trajectory"),
        "cost_tables": filled(queries_table(record), status_table(record)),
        "grid": grid,
        "parameters": parameter_tables(record),
    }


def _calibration(record: CalibrationRecord, anchor: str) -> dict[str, object]:
    return {
        "kind": "calibration",
        "anchor": anchor,
        "record": record,
        "title": calibration_title(record),
        "verdict": calibration_verdict(record),
        "curves": figures.draw_all(record),
        "table": calibration_table(record),
    }


def _check(record: CrossCheckRecord, anchor: str) -> dict[str, object]:
    return {
        "kind": "cross_check",
        "anchor": anchor,
        "record": record,
        "title": record.title,
        "setting": check_setting(record),
        "tables": [engines_table(record), verdicts_table(record)],
        "parameters": [check_origin(record)],
    }


def _collusion(record: CollusionRecord, anchor: str) -> dict[str, object]:
    return {
        "kind": "collusion",
        "anchor": anchor,
        "record": record,
        "title": record.title,
        "setting": collusion_setting(record),
        "tables": [collusion_table(record)],
        "parameters": [collusion_origin(record)],
    }


def _title(record: _OnPage) -> str:
    return (
        f"Replication on {record.model.name}"
        if isinstance(record, ReplicationRecord)
        else calibration_title(record)
        if isinstance(record, CalibrationRecord)
        else record.title
    )


def _contents(records: Sequence[_OnPage]) -> list[tuple[str, str]]:
    """Links of the page: to the parts of a single record, or to each record."""
    if len(records) == 1 and isinstance(records[0], ReplicationRecord):
        parts = ["summary", "curves", "rates", "attack", "pictures", "parameters"]
        links = [(f"r1-{part}", part.capitalize()) for part in parts]
    else:
        links = []
        for index, record in enumerate(records):
            links.append((f"r{index + 1}", _title(record)))
    return [*links, ("glossary", "Glossary")]
