"""What `manifest.json` of an artifact says. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Final, Literal, Self, final

from variegate.errors import FormatError, InputError
from variegate.manifest import fields as checks
from variegate.manifest.canonical import check_digest, digest, shown
from variegate.registry.rows import LogHead
from variegate.types import Bounds, check_identifier

ArtifactKind = Literal["onnx", "pt2", "safetensors", "vgc"]

ARTIFACT_FORMAT: Final = 1
MANIFEST_FILE: Final = "manifest.json"
MOST_MANIFEST_BYTES: Final = 2**20
PAYLOADS: Final[Mapping[str, str]] = {
    "onnx": "model.onnx",
    "pt2": "model.pt2",
    "safetensors": "model.safetensors",
    "vgc": "copy.vgc",
}
"""Kind of artifact -> the name of its payload."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactManifest:
    """Whose copy a folder holds, of which original, made when. Holds no secret; of the spec, its digest only.

    Attributes:
        artifact: the kind of payload: "onnx", "pt2", "safetensors" or "vgc".
        files: the payload's name -> its SHA-256, 64 hexadecimal digits.
        copy_id: the public name of the copy.
        model: the original's name.
        model_digest: the digest of the original's manifest.
        rewriter: name in the rewriters' catalog.
        spec_digest: the digest of the rewriter's spec.
        buyer: who gets the copy.
        epoch: 0 or more; raised when the copy is rotated.
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
        format: the version of this record.
        extra: fields that this version does not know, kept as they are.

    Raises:
        FormatError: if a field is not as described; the message names the field, what was expected and what came.
        ConfigurationError: if an identifier is not valid.
    """

    artifact: ArtifactKind
    files: dict[str, str] = field(hash=False)
    copy_id: str
    model: str
    model_digest: str
    rewriter: str
    spec_digest: str
    buyer: str
    epoch: int
    issued_at: str
    expires_at: str | None = None
    created_at: str
    signing_key: str
    log: LogHead
    input_shape: tuple[int, ...]
    bounds: Bounds
    num_classes: int
    output: Literal["label", "scores"]
    made_with: str
    format: int = ARTIFACT_FORMAT
    extra: dict[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        _check_format(self.format)
        if not isinstance(self.artifact, str) or self.artifact not in PAYLOADS:
            checks.refuse("artifact", f"one of {', '.join(PAYLOADS)}", self.artifact)
        _set(self, "files", checks.file_digests(self.files, "files"))
        if set(self.files) != {PAYLOADS[self.artifact]}:
            checks.refuse("files", f"the one payload {PAYLOADS[self.artifact]}", sorted(self.files))
        self._check_identity()
        if not isinstance(self.log, LogHead):
            checks.refuse("log", "the number and hash of the log's last entry", self.log)
        checks.integer(self.log.seq, "log.seq", 0)
        check_digest(self.log.hash, "a manifest's log.hash")
        self._check_use()
        checks.text(self.made_with, "made_with")
        _set(self, "extra", checks.plain_object(self.extra, "extra"))
        if clash := sorted((_NAMES | {"kind", "extra"}) & self.extra.keys()):
            raise FormatError(f"a manifest's extra fields must have other names than its own; got {', '.join(clash)}")

    def _check_identity(self) -> None:
        for name in ("copy_id", "model", "rewriter", "buyer"):
            check_identifier(checks.text(getattr(self, name), name), f"a manifest's {name}")
        for name in ("model_digest", "spec_digest", "signing_key"):
            check_digest(getattr(self, name), f"a manifest's {name}")
        for name in ("issued_at", "created_at"):
            checks.utc_time(getattr(self, name), name)
        if self.expires_at is not None:
            checks.utc_time(self.expires_at, "expires_at")
        _set(self, "epoch", checks.integer(self.epoch, "epoch", 0))

    def _check_use(self) -> None:
        shape = checks.sequence(self.input_shape, "input_shape")
        _set(self, "input_shape", tuple(checks.integer(size, "input_shape", 1) for size in shape))
        if not self.input_shape:
            checks.refuse("input_shape", "one size or more", shape)
        if not isinstance(self.bounds, Bounds):
            checks.refuse("bounds", "a lower and an upper number", self.bounds)
        _set(self, "bounds", Bounds(float(self.bounds.lower), float(self.bounds.upper)))
        _set(self, "num_classes", checks.integer(self.num_classes, "num_classes", 2))
        if self.output not in ("label", "scores"):
            checks.refuse("output", "'label' or 'scores'", self.output)

    def to_dict(self) -> dict[str, Any]:
        """A fresh JSON object: the fields above, "kind": "artifact", bounds as [lower, upper], extra fields."""
        values = {name: getattr(self, name) for name in _NAMES}
        return {
            **checks.plain_object(self.extra, "extra"),
            **values,
            "bounds": [self.bounds.lower, self.bounds.upper],
            "files": dict(self.files),
            "input_shape": list(self.input_shape),
            "kind": "artifact",
            "log": {"hash": self.log.hash, "seq": self.log.seq},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The manifest in a JSON object, which is not changed; unknown fields go to `extra`.

        Raises:
            FormatError: if a field is missing or not as described.
            ConfigurationError: if an identifier or the bounds are not valid.
        """
        if not isinstance(data, Mapping) or data.get("kind") != "artifact":
            got = data.get("kind") if isinstance(data, Mapping) else data
            raise FormatError(f'an artifact\'s manifest must say "kind": "artifact"; got {shown(got)}')
        _check_format(data.get("format"))
        if missing := sorted(_NAMES - data.keys()):
            raise FormatError(f"an artifact's manifest lacks {', '.join(missing)}")
        known = {name: data[name] for name in _NAMES}
        bounds = [checks.number(value, "bounds") for value in checks.sequence(known["bounds"], "bounds")]
        if len(bounds) != 2:
            checks.refuse("bounds", "a lower and an upper number", known["bounds"])
        log = known["log"]
        if not isinstance(log, Mapping) or log.keys() != {"hash", "seq"}:
            checks.refuse("log", "an object with hash and seq", log)
        known["bounds"] = Bounds(bounds[0], bounds[1])
        known["log"] = LogHead(seq=checks.integer(log["seq"], "log.seq", 0), hash=log["hash"])
        extra = {name: value for name, value in data.items() if name not in _NAMES and name != "kind"}
        return cls(**known, extra=extra)

    @property
    def digest(self) -> str:
        """Digest of `to_dict()`."""
        return digest(self.to_dict())


def utc_text(seconds: float) -> str:
    """Return Unix time, less the fraction of a second, as manifests write it, such as "2026-01-31T12:00:00Z".

    Raises:
        InputError: if it is not a time of the years 1 to 9999.
    """
    try:
        return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError) as error:
        raise InputError(f"a time must be seconds since 1970 of the years 1 to 9999; got {seconds}") from error


_NAMES = frozenset(one.name for one in fields(ArtifactManifest)) - {"extra"}


def _set(manifest: ArtifactManifest, name: str, value: object) -> None:
    object.__setattr__(manifest, name, value)


def _check_format(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value != ARTIFACT_FORMAT:
        raise FormatError(
            f"an artifact's manifest must have format {ARTIFACT_FORMAT}; got {shown(value)}: it needs another version "
            "of variegate"
        )
