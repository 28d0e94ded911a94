"""Records in and out of files: JSON that is checked against the schema of its kind."""

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from variegate.errors import FormatError
from variegate.files import read_bounded, write_atomic
from variegate.records.attack import AttackRecord
from variegate.records.base import Part
from variegate.records.calibration import CalibrationRecord
from variegate.records.collusion import CollusionRecord
from variegate.records.cross_check import CrossCheckRecord
from variegate.records.replication import ReplicationRecord
from variegate.records.reproduction import EXPERIMENTS, ReproductionRecord

Record = ReplicationRecord | CalibrationRecord | AttackRecord | CrossCheckRecord | CollusionRecord | ReproductionRecord

KINDS: Mapping[str, type[Part]] = {
    "attack": AttackRecord,
    "replication": ReplicationRecord,
    "calibration": CalibrationRecord,
    "cross_check": CrossCheckRecord,
    "collusion": CollusionRecord,
}
"""The schema of each kind of record; a reproduction's depends on its experiment, too (`EXPERIMENTS`)."""

MAX_BYTES = 256 * 2**20

_ALTERNATIVES = ("int", "float", "str", "constrained-int")  # where pydantic names the type that it tried last


def load_record(path: Path) -> Record:
    """Read a record from a JSON file.

    Raises:
        NotFoundError: there is no such file.
        FormatError: the file is not JSON, or a field is missing, unknown or wrong; the message names file and field.
    """
    return parse_record(_read(path), where=path.name)


def kind_of(path: Path) -> str:
    """Return the kind of the record in a file, whatever else it holds; "" where it has none.

    Raises:
        NotFoundError: there is no such file.
        FormatError: the file is not JSON.
    """
    value = _read(path)
    return str(value.get("kind", "")) if isinstance(value, Mapping) else ""


def parse_record(value: object, *, where: str = "the record") -> Record:
    """Check a record that came from JSON; a record that is one already is returned as it is.

    Args:
        value: what `json.loads` gave.
        where: what errors call it, such as its file's name.

    Raises:
        FormatError: a field is missing, unknown or wrong; the message names it by its path, such as
            groups[2].rates.replication_rate.k.
    """
    if isinstance(value, Record):
        return value
    schema = _schema(value, where)
    try:
        text = json.dumps(value)
        if "NaN" in text:
            text = json.dumps(json.loads(text, parse_constant=_constant))
        return schema.model_validate_json(text)  # type: ignore[return-value]  # of KINDS and EXPERIMENTS
    except ValidationError as error:
        raise FormatError(f"{where}: {describe(error)}") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise FormatError(f"{where} must be a record in JSON; got a value that is none ({error})") from error


def write_record(path: Path, record: Part) -> None:
    """Write a record atomically, as JSON with an indent of one."""
    write_atomic(path, (json.dumps(record.to_dict(), indent=1, allow_nan=False) + "\n").encode())


def describe(error: ValidationError) -> str:
    """Return a sentence on the first thing that is wrong: the field's path, what was expected, what came."""
    first = error.errors(include_url=False)[0]
    path, kind = field_path(first["loc"]), first["type"]
    if kind == "missing":
        return f"the field {path} is missing; write the record again with this version of variegate"
    if kind == "extra_forbidden":
        return f"the field {path} is unknown to this version of variegate"
    expected = first["msg"].removeprefix("Value error, ")
    got = "" if kind == "value_error" else f"; got {_brief(first['input'])}"
    return f"the field {path or 'at the top'} is wrong: {expected[:1].lower()}{expected[1:]}{got}"


def field_path(location: tuple[int | str, ...]) -> str:
    """Return a place in a record, such as groups[2].rates.replication_rate.k."""
    if location and location[-1] in _ALTERNATIVES:
        location = location[:-1]
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")


def _constant(name: str) -> float | None:
    """Read NaN as null, which is nothing to measure; infinity stays and is refused."""
    return None if name == "NaN" else float(name)


def _read(path: Path) -> object:
    try:
        return json.loads(read_bounded(path, MAX_BYTES))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"expected a record in JSON in {path.name}; it cannot be read as JSON ({error})") from error


def _schema(value: object, where: str) -> type[Part]:
    if not isinstance(value, Mapping):
        raise FormatError(f"{where} must be a record, a JSON object; got {_brief(value)}")
    kind = str(value.get("kind"))
    if kind == "reproduction":
        experiment = str(value.get("experiment"))
        if experiment in EXPERIMENTS:
            return EXPERIMENTS[experiment]
        raise FormatError(
            f"{where}: the field experiment must be one of {', '.join(EXPERIMENTS)}; got {_brief(experiment)}"
        )
    if kind not in KINDS:
        raise FormatError(
            f"{where}: the field kind must be one of {', '.join([*KINDS, 'reproduction'])}; got {_brief(kind)}"
        )
    if kind != "calibration" and value.get("format") != 1:
        raise FormatError(f"{where}: this version reads records of format 1; got format {_brief(value.get('format'))}")
    return KINDS[kind]


def _brief(value: object) -> str:
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "an array"
    text = repr(value)
    return text if len(text) <= 40 else text[:39] + "…"
