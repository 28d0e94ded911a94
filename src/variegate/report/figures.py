"""All figures of the reports, in one place. Needs matplotlib; uses neither pyplot nor its global state.

Every function returns a `Drawing`: `.svg()`, `.png()`, `.inline_svg()`, `.save(path)`, `.title`, `.alt`.
"""

from collections.abc import Sequence
from pathlib import Path

from variegate.errors import ConfigurationError
from variegate.records.attack import AttackRecord
from variegate.records.calibration import CalibrationRecord
from variegate.records.collusion import CollusionRecord
from variegate.records.cross_check import CrossCheckRecord
from variegate.records.load import Record
from variegate.records.replication import Group, ReplicationRecord
from variegate.records.reproduction import ReproductionRecord
from variegate.report.attack_curves import norm_against_queries
from variegate.report.attack_labels import full_labels
from variegate.report.comparison import comparison
from variegate.report.curves import overshoot_curve, security_curve, trajectory_curve
from variegate.report.drawing import Drawing
from variegate.report.gallery import Pictures, load_pictures, picture_grid
from variegate.report.matrices import heat_map
from variegate.report.norms import norm_histogram
from variegate.report.reproduction.figures import draw_reproduction
from variegate.report.tradeoff import trade_off

__all__ = [
    "Drawing",
    "Pictures",
    "comparison",
    "draw_all",
    "draw_attacks",
    "draw_reproduction",
    "heat_map",
    "load_pictures",
    "norm_against_queries",
    "norm_histogram",
    "overshoot_curve",
    "picture_grid",
    "save_all",
    "save_drawings",
    "security_curve",
    "trade_off",
    "trajectory_curve",
]

ATTACK_ROWS = 3
"""Rows of pictures for one attack."""


def draw_all(record: Record, *, pictures: Pictures | None = None) -> tuple[Drawing, ...]:
    """Every figure that the record has numbers for, in the order in which the page shows them."""
    if isinstance(record, AttackRecord):
        return draw_attacks([record], pictures=[pictures])
    if isinstance(record, ReproductionRecord):
        return draw_reproduction([record])
    if isinstance(record, CrossCheckRecord | CollusionRecord):
        return ()  # their tables say everything
    if isinstance(record, CalibrationRecord):
        return (trade_off(record),) if record.candidates else ()
    drawings = [overshoot_curve(record), security_curve(record)]
    drawings += [drawing for group in record.groups if _pairs(group) > 1 and (drawing := heat_map(group))]
    if any(group.attacked and group.distances for group in record.groups):
        drawings.append(norm_histogram(record))
    if any(attacker.trajectory for group in record.groups for attacker in group.attacked):
        drawings.append(trajectory_curve(record))
    if pictures is not None and (grid := _grid(record, pictures)):
        drawings.append(grid)
    return tuple(drawings)


def draw_attacks(records: Sequence[AttackRecord], *, pictures: Sequence[Pictures | None] = ()) -> tuple[Drawing, ...]:
    """The figure over all attacks, if they found anything, and a grid for each record that has pictures.

    Args:
        records: of attacks; their grids are called "pictures", or "pictures-1" and so on if there are several records.
        pictures: one entry a record, or none at all.

    Raises:
        ConfigurationError: if there are pictures, but not an entry for each record.
    """
    if pictures and len(pictures) != len(records):
        raise ConfigurationError(
            f"expected one entry of pictures for each record, {len(records)} in all; got {len(pictures)}"
        )
    drawings = [norm_against_queries(records)]
    names, grids = full_labels(records), pictures or [None] * len(records)
    for number, (label, record, kept) in enumerate(zip(names, records, grids, strict=True), start=1):
        if kept is not None:
            name = "pictures" if len(records) == 1 else f"pictures-{number}"
            drawings.append(
                picture_grid(
                    kept,
                    bounds=record.target.bounds,
                    rows=ATTACK_ROWS,
                    size=record.attack.norm,
                    judge="target",
                    name=name,
                    heading=label,
                )
            )
    return tuple(drawing for drawing in drawings if drawing is not None)


def save_all(record: Record, folder: Path, *, pictures: Pictures | None = None, dpi: int = 150) -> tuple[Path, ...]:
    """Write every figure as SVG and PNG into an existing folder; returns the files."""
    return save_drawings(draw_all(record, pictures=pictures), folder, dpi=dpi)


def save_drawings(drawings: Sequence[Drawing], folder: Path, *, dpi: int = 150) -> tuple[Path, ...]:
    """Write figures as SVG and PNG, by their names, into an existing folder; returns the files."""
    files = []
    for drawing in drawings:
        for suffix in (".svg", ".png"):
            files.append(folder / f"{drawing.name}{suffix}")
            drawing.save(files[-1], dpi=dpi)
    return tuple(files)


def _pairs(group: Group) -> int:
    """Pairs that were measured; a single one needs no heat map."""
    return 0 if group.matrix is None else sum(count is not None for row in group.matrix.replicated for count in row)


def _grid(record: ReplicationRecord, pictures: Pictures) -> Drawing | None:
    return picture_grid(pictures, bounds=record.model.bounds, order=[group.name for group in record.groups])
