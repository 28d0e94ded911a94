"""Calibrated specs as files: the spec, the model that it was calibrated for, and the record of its calibration."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from variegate.errors import FormatError, NotFoundError, VerificationError
from variegate.files import read_bounded, write_atomic
from variegate.manifest import digest, load_json

_FORMAT = 1
_LIMIT_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedSpec:
    """A rewriter spec under a name.

    Attributes:
        name: what the seller calls it.
        model: the original that it was calibrated for, or None if it is for any.
        model_digest: the digest of that original's manifest, or None.
        spec: the spec as a JSON object.
        spec_digest: its digest.
        record: what the calibration measured, or None.
    """

    name: str
    model: str | None
    model_digest: str | None
    spec: Mapping[str, Any]
    spec_digest: str
    record: Mapping[str, Any] | None

    def to_dict(self) -> dict[str, Any]:
        """Return the file's JSON object."""
        return {
            "format": _FORMAT,
            "kind": "spec",
            "name": self.name,
            "model": self.model,
            "model_digest": self.model_digest,
            "spec": dict(self.spec),
            "spec_digest": self.spec_digest,
            "record": None if self.record is None else dict(self.record),
        }


def write_spec(path: Path, saved: SavedSpec) -> None:
    """Write `saved` whole or not at all."""
    write_atomic(path, json.dumps(saved.to_dict(), indent=2, sort_keys=True, allow_nan=False).encode() + b"\n")


def read_spec(path: Path) -> SavedSpec:
    """Read what `write_spec` wrote.

    Raises:
        NotFoundError: if there is no such file.
        FormatError: if the file is not a saved spec, or of a newer format.
        VerificationError: if the spec does not have the digest that stands beside it.
    """
    if not path.is_file():
        raise NotFoundError(f"there is no rewriter spec named {path.stem!r}; make one with: variegate calibrate")
    try:
        values = load_json(read_bounded(path, _LIMIT_BYTES), f"the saved spec {path}")
        if values["format"] > _FORMAT:
            raise FormatError(f"{path} has format {values['format']}, newer than {_FORMAT}; upgrade variegate")
        saved = SavedSpec(
            name=str(values["name"]),
            model=values["model"],
            model_digest=values["model_digest"],
            spec=dict(values["spec"]),
            spec_digest=str(values["spec_digest"]),
            record=values["record"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"{path} is not a rewriter spec that variegate saved; calibrate again") from error
    if digest(dict(saved.spec)) != saved.spec_digest:
        raise VerificationError(f"the spec in {path} does not have the digest that stands beside it; calibrate again")
    return saved
