"""A record's parts as frozen values: what the tables, the figures and the page read.

`parse_record` checks a record that came from JSON once and for all; behind it nothing is missing, no number is NaN and
every matrix is rectangular. Rates are fractions in [0, 1]; None means that there was nothing to count.
"""

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from variegate.errors import FormatError
from variegate.files import read_bounded
from variegate.report.attack import AttackRecord
from variegate.report.candidates import CalibrationRecord
from variegate.report.collusion import CollusionRecord
from variegate.report.cross_check import CrossCheckRecord
from variegate.report.fields import Field
from variegate.report.matrix import Matrix
from variegate.report.parts import Accuracy, Attacker, Efficiency, Point, Rate, read_bounds
from variegate.report.reproduction.record import ReproductionRecord

__all__ = [
    "RATE_NAMES",
    "AttackRecord",
    "CalibrationRecord",
    "CollusionRecord",
    "CrossCheckRecord",
    "Efficiency",
    "Group",
    "Record",
    "ReplicationRecord",
    "ReproductionRecord",
    "load_record",
    "parse_record",
]

FORMAT = 1
MAXIMUM_BYTES = 256 * 2**20

RATE_NAMES = (
    "attack_success_rate",
    "replication_rate",
    "replication_rate_conditioned",
    "replicated_same_rate",
    "end_to_end_rate",
)
"""The rates of a group, in the order in which every report shows them (definitions: `glossary`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Everything measured for one kind of copies.

    Attributes:
        name: "identical", "independent", "noise" or the rewriter's name.
        rewriter: the rewriter's spec as plain data, None for a control.
        copies: one label per copy, the attackers' among them.
        original_accuracy: of the model before rewriting; None where it was not measured.
        copy_accuracies: one per copy whose accuracy was measured.
        attackers: one per copy that was attacked.
        rates: by name, all of `RATE_NAMES`.
        replication_at: victims fooled at x + s (x' - x), one point per s, s ascending.
        replication_within: the security curve, one point per norm, norms ascending.
        noise_at: as replication_at, with random noise of the adversarials' norms in their place; may be empty.
        reverified: how many adversarials the attackers' copies misclassify when asked again; None where not counted.
        matrix: attackers by victims, None where it was not measured.
    """

    name: str
    rewriter: Mapping[str, object] | None
    copies: tuple[str, ...]
    original_accuracy: Accuracy | None
    copy_accuracies: tuple[Accuracy, ...]
    attackers: tuple[Attacker, ...]
    rates: Mapping[str, Rate]
    replication_at: tuple[Point, ...]
    replication_within: tuple[Point, ...]
    noise_at: tuple[Point, ...]
    reverified: int | None
    matrix: Matrix | None

    @property
    def attacked(self) -> tuple[Attacker, ...]:
        """The attackers, none for the noise control: what it repeats is the attack behind the norms of its noise."""
        return () if self.name == "noise" else self.attackers

    @property
    def distances(self) -> tuple[float, ...]:
        """The norms of all adversarials of all attackers, in the record's norm."""
        return tuple(distance for attacker in self.attackers for distance in attacker.distances)

    @property
    def median_distance(self) -> float | None:
        """The median norm over all adversarials, or over the attackers' medians where no single norms are kept."""
        values = self.distances or tuple(a.distance.median for a in self.attackers if a.distance.median is not None)
        return statistics.median(values) if values else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationRecord:
    """One replication experiment: one model, one attack, several groups of copies.

    `environment` holds what else is known about the machine, as (name, value).
    """

    created: str
    variegate: str
    torch: str
    environment: tuple[tuple[str, str], ...]
    command: str
    seconds: float
    model_name: str
    model_digest: str
    num_classes: int
    input_shape: tuple[int, ...]
    bounds: tuple[float, float]
    data_name: str
    data_split: str
    images: int
    indices: tuple[int, ...]
    attack: str
    parameters: Mapping[str, object]
    budget: int
    norm: str
    seed: int
    groups: tuple[Group, ...]
    efficiency: Efficiency | None

    def group(self, name: str) -> Group | None:
        """The group called `name`, if the record has one."""
        return next((group for group in self.groups if group.name == name), None)


Record = ReplicationRecord | CalibrationRecord | AttackRecord | CrossCheckRecord | CollusionRecord | ReproductionRecord


def load_record(path: Path) -> Record:
    """Read a record from a JSON file.

    Raises:
        NotFoundError: if there is no such file.
        FormatError: if the file is not JSON, or if a field is missing or wrong; the sentence names it.
    """
    try:
        value = json.loads(read_bounded(path, MAXIMUM_BYTES))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"expected a record in JSON in {path.name}; it cannot be read as JSON ({error})") from error
    return parse_record(value)


def parse_record(value: object) -> Record:
    """Check a record that came from JSON; a record that was parsed already is returned as it is.

    Raises:
        FormatError: if a field is missing or wrong; the sentence names it.
    """
    if isinstance(value, Record):
        return value
    top = Field(value)
    kind = top["kind"].text()
    if kind == "calibration":
        return CalibrationRecord.read(top)
    if kind not in ("attack", "collusion", "cross_check", "replication", "reproduction"):
        raise FormatError(
            "the record's field kind must be attack, replication, calibration, cross_check, collusion or reproduction; "
            f"got {kind[:40]!r}"
        )
    if (version := top["format"].integer()) != FORMAT:
        raise FormatError(f"this version of variegate reads records of format {FORMAT}; got format {version}")
    if kind == "cross_check":
        return CrossCheckRecord.read(top)
    if kind == "collusion":
        return CollusionRecord.read(top)
    if kind == "reproduction":
        return ReproductionRecord.read(top)
    return AttackRecord.read(top) if kind == "attack" else _replication(top)


def _replication(top: Field) -> ReplicationRecord:
    model, data, attack = top["model"], top["data"], top["attack"]
    efficiency = top.nullable("efficiency")
    indices = data.nullable("indices")
    groups = tuple(_group(group) for group in top["groups"].elements())
    names = [group.name for group in groups]
    if len(set(names)) != len(names):
        raise FormatError(f"the record's groups must have different names; got {', '.join(names)[:200]}")
    return ReplicationRecord(
        created=top["created"].text(),
        variegate=top["variegate"].text(),
        torch=top["torch"].text(),
        environment=tuple((name, member.text()) for name in ("python", "device") if (member := top.optional(name))),
        command=top["command"].text(),
        seconds=top["seconds"].number(),
        model_name=model["name"].text(),
        model_digest=model["digest"].text(),
        num_classes=model["num_classes"].integer(),
        input_shape=tuple(size.integer() for size in model["input_shape"].elements()),
        bounds=read_bounds(model["bounds"]),
        data_name=data["name"].text(),
        data_split=data["split"].text(),
        images=data["images"].integer(),
        indices=() if indices is None else tuple(index.integer() for index in indices.elements()),
        attack=attack["name"].text(),
        parameters=attack["parameters"].mapping(),
        budget=attack["budget"].integer(),
        norm=attack["norm"].text(),
        seed=attack["seed"].integer(),
        groups=groups,
        efficiency=None if efficiency is None else Efficiency.read(efficiency),
    )


def _group(field: Field) -> Group:
    accuracy, attack = field.nullable("accuracy"), field.nullable("attack")
    matrix, rewriter = field.nullable("matrix"), field.nullable("rewriter")
    original = None if accuracy is None else accuracy.nullable("original")
    rates, noise = field["rates"], field.optional("noise_at")
    reverified = None if attack is None else attack.optional("reverified")
    copies = tuple(copy.text() for copy in field["copies"].elements())
    return Group(
        name=field["name"].text(),
        rewriter=None if rewriter is None else rewriter.mapping(),
        copies=copies,
        original_accuracy=None if original is None else Accuracy.read(original),
        copy_accuracies=() if accuracy is None else tuple(map(Accuracy.read, accuracy["copies"].elements())),
        attackers=() if attack is None else tuple(map(Attacker.read, attack["attackers"].elements())),
        rates={name: Rate.read(rates, name) for name in RATE_NAMES},
        replication_at=Point.read_all(field["replication_at"], "s"),
        replication_within=Point.read_all(field["replication_within"], "epsilon"),
        noise_at=() if noise is None else Point.read_all(noise, "s"),
        reverified=None if reverified is None else reverified.integer(),
        matrix=None if matrix is None else Matrix.read(matrix, copies),
    )
