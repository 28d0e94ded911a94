"""What an original is and what a copy is: frozen documents, their JSON and their digests. Imports no torch.

A manifest holds no secret. `from_dict` keeps fields that this version does not know (in `extra`), so that a newer
writer's digest stays true; `from_dict(m.to_dict()) == m` for every manifest.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, Self, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator

from variegate.errors import FormatError
from variegate.manifest.canonical import copy_id, digest, shown
from variegate.manifest.document import (
    Count,
    Digest,
    Document,
    FileDigests,
    Identifier,
    JsonObject,
    Many,
    Text,
    UtcTime,
    json_object,
    known_format,
)
from variegate.types import Bounds, InputSpec

MANIFEST_FORMAT: Final = 1

_ARCHITECTURE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_]\w*)?", re.ASCII)


class Manifest(Document):
    """The base of manifests: a format, a kind, and unknown fields that are kept.

    Attributes:
        format: the version of this record.
        extra: fields that this version does not know, kept as they are.
    """

    KIND: ClassVar[str]

    format: Annotated[int, known_format(MANIFEST_FORMAT)] = MANIFEST_FORMAT
    extra: JsonObject = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check_extra(self) -> Self:
        if clash := sorted(({"kind"} | type(self).model_fields.keys()) & self.extra.keys()):
            raise ValueError(f"extra must hold other names than the manifest's own; got {', '.join(clash)}")
        return self

    def to_dict(self) -> dict[str, Any]:
        """A fresh JSON object: the fields, "kind", bounds as [lower, upper], and the extra fields next to them."""
        return {**json_object(self.extra), **self.model_dump(mode="json", exclude={"extra"}), "kind": self.KIND}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The manifest in a JSON object, which is not changed; unknown fields go to `extra`.

        Raises:
            FormatError: if a field is missing or not as described.
            ConfigurationError: if an identifier or the bounds are not valid.
        """
        kind = data.get("kind") if isinstance(data, Mapping) else data
        if kind != cls.KIND:
            raise FormatError(f'{cls.DOCUMENT} must be an object with "kind": "{cls.KIND}"; got {shown(kind)}')
        names = cls.model_fields.keys() - {"extra"}
        known = {name: value for name, value in data.items() if name in names}
        made = cls(**known, extra={name: data[name] for name in data if name not in names and name != "kind"})
        if absent := sorted(names - known.keys()):  # they have defaults in Python, but a digest covers every field
            raise FormatError(f"{cls.DOCUMENT} lacks {', '.join(absent)}")
        return made

    @property
    def digest(self) -> str:
        """Digest of `to_dict()`, extra fields included."""
        return digest(self.to_dict())

    def __hash__(self) -> int:
        return hash(self.digest)


def _bounds(value: object) -> object:
    if isinstance(value, Bounds):
        return Bounds(float(value.lower), float(value.upper))
    if isinstance(value, list) and len(value) == 2 and all(type(end) in (int, float) for end in value):
        return Bounds(float(value[0]), float(value[1]))
    raise ValueError(f"must be a lower and an upper number; got {shown(value)}")


def _architecture(value: str) -> str:
    if not _ARCHITECTURE.fullmatch(value):
        raise ValueError(f"must be a catalog name or module:factory; got {shown(value)}")
    return value


BoundsField: TypeAlias = Annotated[
    Bounds, BeforeValidator(_bounds), PlainSerializer(lambda bounds: [bounds.lower, bounds.upper])
]
"""In JSON [lower, upper]."""
Shape: TypeAlias = Annotated[Many[Annotated[int, Field(ge=1, lt=1 << 63)]], Field(min_length=1)]


class ModelManifest(Manifest):
    """What an original is: enough to build it again, to check its files and to feed it. Its digest names the original.

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

    Raises:
        FormatError: if a field is not as described; the message names the field, what was expected and what came.
        ConfigurationError: if the name is not a valid identifier.
    """

    DOCUMENT = "a model manifest"
    KIND = "model"

    name: Identifier
    architecture: Annotated[Text, AfterValidator(_architecture)]
    arguments: Annotated[dict[str, int | float | str | bool], BeforeValidator(json_object)] = Field(
        default_factory=dict
    )
    input_shape: Shape
    bounds: BoundsField
    labels: Annotated[Many[Text], Field(min_length=2)]
    mean: Many[float] | None = None
    std: Many[Annotated[float, Field(gt=0)]] | None = None
    outputs: Literal["logits", "probabilities"] = "logits"
    weights_digest: Digest
    files: FileDigests

    @property
    def input_spec(self) -> InputSpec:
        """Shape and bounds of one input."""
        return InputSpec(self.input_shape, self.bounds)

    @model_validator(mode="after")
    def _check_channels(self) -> Self:
        for name in ("mean", "std"):
            numbers = getattr(self, name)
            if numbers is not None and len(numbers) != self.input_shape[0]:
                raise ValueError(
                    f"{name} must be null or {self.input_shape[0]} numbers, one per channel; got {shown(numbers)}"
                )
        if (self.mean is None) != (self.std is None):
            raise ValueError(f"std must be null exactly when mean is null; got {shown(self.std)}")
        return self


class CopyIdentity(Document):
    """Which copy of which original a document speaks of.

    Attributes:
        copy_id: the public name of the copy.
        model: the original's name.
        model_digest: the digest of the original's manifest.
        rewriter: name in the rewriters' catalog.
        spec_digest: the digest of the rewriter's spec.
        buyer: who gets the copy.
        epoch: 0 or more; raised when the copy is rotated.
    """

    copy_id: Identifier
    model: Identifier
    model_digest: Digest
    rewriter: Identifier
    spec_digest: Digest
    buyer: Identifier
    epoch: Count

    @property
    def identity(self) -> dict[str, Any]:
        """The fields above by their names."""
        return {name: getattr(self, name) for name in CopyIdentity.model_fields}

    @property
    def expected_id(self) -> str:
        """The name that a copy of this model, spec, buyer and epoch has."""
        return copy_id(model_digest=self.model_digest, spec_digest=self.spec_digest, buyer=self.buyer, epoch=self.epoch)


class CopyManifest(Manifest, CopyIdentity):
    """What a copy is: everything but the seller's secret that rebuilding it takes. Holds no secret itself.

    Attributes:
        spec: the rewriter's spec as a JSON object.
        issued_at: time of issue, ISO 8601 in UTC, such as "2026-01-31T12:00:00Z".

    Raises:
        FormatError: if a field is not as described; the message names the field, what was expected and what came.
        ConfigurationError: if an identifier is not valid.
    """

    DOCUMENT = "a copy manifest"
    KIND = "copy"

    spec: JsonObject
    issued_at: UtcTime
