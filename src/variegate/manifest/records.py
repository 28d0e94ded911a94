"""Frozen records of an original and of a copy, their JSON and their digests. Imports no torch.

A manifest holds no secret. `from_dict` keeps fields that this version does not know (in `extra`), so that a newer
writer's digest stays true; `from_dict(m.to_dict()) == m` for every manifest.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self

from variegate.errors import FormatError
from variegate.manifest import fields
from variegate.manifest.canonical import check_digest, digest, shown
from variegate.types import Bounds, check_identifier

MANIFEST_FORMAT: Final = 1

_ARCHITECTURE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_]\w*)?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelManifest:
    """What an original is: enough to build it again, to check its files and to feed it.

    Attributes:
        name: the seller's name for it.
        architecture: a name in the catalog ("vgg19") or "module:factory" in the seller's own file.
        arguments: keyword arguments of the architecture.
        input_shape: shape of one input, such as (3, 32, 32).
        bounds: the interval of every input value.
        labels: one name per class, in order; two or more.
        mean: per channel, subtracted from inputs before the network; None for no normalisation.
        std: per channel, inputs are divided by it after the subtraction; None exactly when `mean` is None.
        outputs: whether the network gives logits or probabilities.
        weights_digest: digest over the tensors, whatever file they came in.
        files: file name inside the model's folder -> SHA-256, 64 hexadecimal digits.
        format: the version of this record.
        extra: fields that this version does not know, kept as they are.

    Raises:
        FormatError: if a field is not as described; the message names the field, what was expected and what came.
        ConfigurationError: if the name is not a valid identifier.
    """

    name: str
    architecture: str
    arguments: dict[str, int | float | str | bool] = field(default_factory=dict, hash=False)
    input_shape: tuple[int, ...]
    bounds: Bounds
    labels: tuple[str, ...]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    outputs: Literal["logits", "probabilities"] = "logits"
    weights_digest: str
    files: dict[str, str] = field(hash=False)
    format: int = MANIFEST_FORMAT
    extra: dict[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        check_identifier(fields.text(self.name, "name"), "a model's name")
        if not _ARCHITECTURE.fullmatch(fields.text(self.architecture, "architecture")):
            fields.refuse("architecture", "a catalog name or module:factory", self.architecture)
        shape = tuple(
            fields.integer(size, "input_shape", 1) for size in fields.sequence(self.input_shape, "input_shape")
        )
        labels = tuple(fields.text(label, "labels") for label in fields.sequence(self.labels, "labels"))
        if not shape:
            fields.refuse("input_shape", "one size or more", self.input_shape)
        if len(labels) < 2:
            fields.refuse("labels", "two class names or more", self.labels)
        if not isinstance(self.bounds, Bounds):
            fields.refuse("bounds", "a lower and an upper number", self.bounds)
        if self.outputs not in ("logits", "probabilities"):
            fields.refuse("outputs", "'logits' or 'probabilities'", self.outputs)
        check_digest(self.weights_digest, "a manifest's weights_digest")
        _set(self, "input_shape", shape)
        _set(self, "labels", labels)
        _set(self, "bounds", Bounds(float(self.bounds.lower), float(self.bounds.upper)))
        _set(self, "arguments", fields.scalars(self.arguments, "arguments"))
        _set(self, "files", fields.file_digests(self.files, "files"))
        _set(self, "mean", fields.channels(self.mean, "mean", shape[0], positive=False))
        _set(self, "std", fields.channels(self.std, "std", shape[0], positive=True))
        if (self.mean is None) != (self.std is None):
            fields.refuse("std", "null exactly when mean is null", self.std)
        _finish(self, _MODEL_FIELDS)

    def to_dict(self) -> dict[str, Any]:
        """A fresh JSON object: the fields above, "kind": "model", bounds as [lower, upper], extra fields."""
        return {
            **fields.plain_object(self.extra, "extra"),
            "arguments": dict(self.arguments),
            "architecture": self.architecture,
            "bounds": [self.bounds.lower, self.bounds.upper],
            "files": dict(self.files),
            "format": self.format,
            "input_shape": list(self.input_shape),
            "kind": "model",
            "labels": list(self.labels),
            "mean": None if self.mean is None else list(self.mean),
            "name": self.name,
            "outputs": self.outputs,
            "std": None if self.std is None else list(self.std),
            "weights_digest": self.weights_digest,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The manifest in a JSON object, which is not changed; unknown fields go to `extra`.

        Raises:
            FormatError: if a field is missing or not as described.
            ConfigurationError: if the name or the bounds are not valid.
        """
        known, extra = _split(data, "model", _MODEL_FIELDS)
        bounds = [fields.number(value, "bounds") for value in fields.sequence(known["bounds"], "bounds")]
        if len(bounds) != 2:
            fields.refuse("bounds", "a lower and an upper number", known["bounds"])
        known["bounds"] = Bounds(bounds[0], bounds[1])
        return cls(**known, extra=extra)

    @property
    def digest(self) -> str:
        """Digest of `to_dict()`: it names the original, extra fields included."""
        return digest(self.to_dict())


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyManifest:
    """What a copy is: everything but the seller's secret that rebuilding it takes. Holds no secret itself.

    Attributes:
        copy_id: the public name of the copy.
        model: the original's name.
        model_digest: the original's manifest's digest.
        rewriter: name in the rewriters' catalog.
        spec: the rewriter's spec as a JSON object.
        spec_digest: the spec's digest.
        buyer: who gets the copy.
        epoch: 0 or more; raised when the copy is rotated.
        issued_at: time of issue, ISO 8601 in UTC, such as "2026-01-31T12:00:00Z".
        format: the version of this record.
        extra: fields that this version does not know, kept as they are.

    Raises:
        FormatError: if a field is not as described; the message names the field, what was expected and what came.
        ConfigurationError: if an identifier is not valid.
    """

    copy_id: str
    model: str
    model_digest: str
    rewriter: str
    spec: dict[str, Any] = field(hash=False)
    spec_digest: str
    buyer: str
    epoch: int
    issued_at: str
    format: int = MANIFEST_FORMAT
    extra: dict[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name in ("copy_id", "model", "rewriter", "buyer"):
            check_identifier(fields.text(getattr(self, name), name), f"a manifest's {name}")
        check_digest(self.model_digest, "a manifest's model_digest")
        check_digest(self.spec_digest, "a manifest's spec_digest")
        _set(self, "epoch", fields.integer(self.epoch, "epoch", 0))
        fields.utc_time(self.issued_at, "issued_at")
        _set(self, "spec", fields.plain_object(self.spec, "spec"))
        _finish(self, _COPY_FIELDS)

    def to_dict(self) -> dict[str, Any]:
        """A fresh JSON object: the fields above, "kind": "copy", extra fields beside them."""
        return {
            **fields.plain_object(self.extra, "extra"),
            "buyer": self.buyer,
            "copy_id": self.copy_id,
            "epoch": self.epoch,
            "format": self.format,
            "issued_at": self.issued_at,
            "kind": "copy",
            "model": self.model,
            "model_digest": self.model_digest,
            "rewriter": self.rewriter,
            "spec": fields.plain_object(self.spec, "spec"),
            "spec_digest": self.spec_digest,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The manifest in a JSON object, which is not changed; unknown fields go to `extra`.

        Raises:
            FormatError: if a field is missing or not as described.
            ConfigurationError: if an identifier is not valid.
        """
        known, extra = _split(data, "copy", _COPY_FIELDS)
        return cls(**known, extra=extra)

    @property
    def digest(self) -> str:
        """Digest of `to_dict()`."""
        return digest(self.to_dict())


_MODEL_FIELDS = frozenset(ModelManifest.__dataclass_fields__) - {"extra"}
_COPY_FIELDS = frozenset(CopyManifest.__dataclass_fields__) - {"extra"}


def _set(manifest: object, name: str, value: object) -> None:
    object.__setattr__(manifest, name, value)


def _split(data: Mapping[str, Any], kind: str, names: frozenset[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    if not isinstance(data, Mapping):
        raise FormatError(f"a {kind} manifest must be a JSON object; got {shown(data)}")
    if data.get("kind") != kind:
        raise FormatError(f'a {kind} manifest must say "kind": "{kind}"; got {shown(data.get("kind"))}')
    _check_format(data.get("format"))
    missing = sorted(names - data.keys())
    if missing:
        raise FormatError(f"a {kind} manifest lacks {', '.join(missing)}; expected {', '.join(sorted(names))}")
    known = {name: data[name] for name in names}
    return known, {name: value for name, value in data.items() if name not in names and name != "kind"}


def _finish(manifest: ModelManifest | CopyManifest, names: frozenset[str]) -> None:
    _check_format(manifest.format)
    extra = fields.plain_object(manifest.extra, "extra")
    clash = sorted((names | {"kind", "extra"}) & extra.keys())
    if clash:
        raise FormatError(f"a manifest's extra fields must have other names than its own; got {', '.join(clash)}")
    _set(manifest, "extra", extra)


def _check_format(value: object) -> None:
    if isinstance(value, bool) or value != MANIFEST_FORMAT or not isinstance(value, int):
        raise FormatError(
            f"a manifest's format must be {MANIFEST_FORMAT}; got {shown(value)}: it needs another version of variegate"
        )
