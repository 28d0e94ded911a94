"""What `manifest.json` of an artifact says. Imports no torch."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from variegate.errors import InputError
from variegate.manifest.canonical import is_digest, shown
from variegate.manifest.document import Digest, FileDigests, Text, UtcTime, known_format
from variegate.manifest.manifests import BoundsField, CopyIdentity, Manifest, Shape
from variegate.registry.rows import LogHead

ArtifactKind = Literal["onnx", "pt2", "safetensors", "vgc"]

ARTIFACT_FORMAT: Final = 1
MANIFEST_FILE: Final = "manifest.json"
MAX_MANIFEST_BYTES: Final = 2**20
PAYLOADS: Final[Mapping[str, str]] = {
    "onnx": "model.onnx",
    "pt2": "model.pt2",
    "safetensors": "model.safetensors",
    "vgc": "copy.vgc",
}
"""Kind of artifact -> the name of its payload."""


def _log_head(value: object) -> object:
    if isinstance(value, Mapping) and value.keys() == {"hash", "seq"}:
        value = LogHead(seq=value["seq"], hash=value["hash"])
    if not isinstance(value, LogHead) or type(value.seq) is not int or not 0 <= value.seq < 1 << 63:
        raise ValueError(f"must be the number (seq) and hash of the log's last entry; got {shown(value)}")
    if not isinstance(value.hash, str) or not is_digest(value.hash):
        raise ValueError(f"must have a digest as its hash; got {shown(value.hash)}")
    return value


LogHeadField: TypeAlias = Annotated[
    LogHead, BeforeValidator(_log_head), PlainSerializer(lambda head: {"hash": head.hash, "seq": head.seq})
]
"""In JSON {"hash": ..., "seq": ...}."""


class ArtifactManifest(Manifest, CopyIdentity):
    """Whose copy a folder holds, of which original, made when. Holds no secret; of the spec, its digest only.

    Attributes:
        artifact: the kind of payload: "onnx", "pt2", "safetensors" or "vgc".
        files: the payload's name -> its SHA-256, 64 hexadecimal digits.
        issued_at: when the copy was issued, ISO 8601 in UTC.
        expires_at: from when it is no longer valid, or None.
        created_at: when this artifact was made.
        signing_key: digest of the public key that verifies `model.sig`.
        log: the end of the seller's log when the artifact was made; the copy's issue is before it.
        input_shape: shape of one input, such as (3, 32, 32).
        bounds: the interval of every input value.
        num_classes: how many classes there are.
        output: what the payload answers with: the "label" alone, or the "scores" too.
        made_with: the version of variegate.

    Raises:
        FormatError: if a field is not as described; the message names the field, what was expected and what came.
        ConfigurationError: if an identifier is not valid.
    """

    DOCUMENT = "an artifact's manifest"
    KIND = "artifact"

    format: Annotated[int, known_format(ARTIFACT_FORMAT)] = ARTIFACT_FORMAT
    artifact: ArtifactKind
    files: FileDigests
    issued_at: UtcTime
    expires_at: UtcTime | None = None
    created_at: UtcTime
    signing_key: Digest
    log: LogHeadField
    input_shape: Shape
    bounds: BoundsField
    num_classes: Annotated[int, Field(ge=2, lt=1 << 63)]
    output: Literal["label", "scores"]
    made_with: Text

    @model_validator(mode="after")
    def _check_payload(self) -> Self:
        if set(self.files) != {PAYLOADS[self.artifact]}:
            raise ValueError(
                f"files must be the one payload {PAYLOADS[self.artifact]}; got {shown(sorted(self.files))}"
            )
        return self


def utc_text(seconds: float) -> str:
    """Return Unix time, less the fraction of a second, as manifests write it, such as "2026-01-31T12:00:00Z".

    Raises:
        InputError: if it is not a time of the years 1 to 9999.
    """
    try:
        return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError) as error:
        raise InputError(f"a time must be seconds since 1970 of the years 1 to 9999; got {seconds}") from error
