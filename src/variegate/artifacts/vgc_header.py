"""What a sealed package says in clear: which copy of which original, and how its data key is wrapped. No torch."""

import struct
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal, final

from variegate.errors import ConfigurationError, FormatError
from variegate.files import file_error
from variegate.manifest import fields as checks
from variegate.manifest.canonical import canonical_json, check_digest, load_json, shown
from variegate.types import check_identifier

Content = Literal["key", "overlay"]

VGC_FORMAT: Final = 1
MOST_HEADER_BYTES: Final = 2**16
MOST_VGC_BYTES: Final = 2**30

_MAGIC: Final = b"VGCOPY"
_START: Final = struct.Struct(">6sHI")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class VgcHeader:
    """What a sealed package says in clear.

    Attributes:
        copy_id, model, model_digest, rewriter, spec_digest, buyer, epoch: as in the copy's manifest.
        weights_digest: of the original that the copy is made from.
        content: what is sealed: the copy's "key", or its "overlay", the tensors that the key decides.
        recipient: how the data key is wrapped; a JSON object.
    """

    copy_id: str
    model: str
    model_digest: str
    weights_digest: str
    rewriter: str
    spec_digest: str
    buyer: str
    epoch: int
    content: Content
    recipient: dict[str, Any]

    def __post_init__(self) -> None:
        for name in ("copy_id", "model", "rewriter", "buyer"):
            check_identifier(checks.text(getattr(self, name), name), f"a sealed package's {name}")
        for name in ("model_digest", "weights_digest", "spec_digest"):
            check_digest(getattr(self, name), f"a sealed package's {name}")
        checks.integer(self.epoch, "epoch", 0)
        if self.content not in ("key", "overlay"):
            checks.refuse("content", "'key' or 'overlay'", self.content)
        object.__setattr__(self, "recipient", checks.plain_object(self.recipient, "recipient"))

    def to_dict(self) -> dict[str, Any]:
        """A fresh JSON object with "kind": "sealed copy"."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {**values, "format": VGC_FORMAT, "kind": "sealed copy", "recipient": dict(self.recipient)}


def start_of(header: VgcHeader) -> bytes:
    """Return the beginning of a package, up to the nonce: magic, version, length and header."""
    data = canonical_json(header.to_dict())
    return _START.pack(_MAGIC, VGC_FORMAT, len(data)) + data


def read_header(blob: bytes) -> VgcHeader:
    """Return what a sealed package says in clear; without the key, only the signature over the file vouches for it.

    Raises:
        FormatError: if it is no sealed package, or needs another version.
    """
    return read_start(blob)[0]


def read_header_of(path: str | Path) -> VgcHeader:
    """Return the header of a file, of which no more than the start is read.

    Raises:
        FormatError: if it is no sealed package, or needs another version.
        InputError: if it cannot be read.
        NotFoundError: if there is no such file.
    """
    try:
        with Path(path).open("rb") as file:
            return read_header(file.read(_START.size + MOST_HEADER_BYTES))
    except OSError as error:
        raise file_error(error, path, "read") from error


def read_start(blob: bytes) -> tuple[VgcHeader, int]:
    """Return the header of a package or of its beginning, and how many bytes come before the nonce.

    Raises:
        FormatError: if it is no sealed package, is truncated, or needs another version.
    """
    if len(blob) > MOST_VGC_BYTES:
        raise FormatError(f"a sealed package has at most {MOST_VGC_BYTES} bytes; got {len(blob)}")
    if len(blob) < _START.size or not blob.startswith(_MAGIC):
        raise FormatError(
            f"expected a sealed package, which starts with {_MAGIC.decode()}; got {len(blob)} other bytes"
        )
    _, version, length = _START.unpack_from(blob)
    if version != VGC_FORMAT:
        raise FormatError(
            f"the sealed package has format {version}, expected {VGC_FORMAT}: it needs another version of variegate"
        )
    size = _START.size + length
    if length > MOST_HEADER_BYTES or size > len(blob):
        raise FormatError("the sealed package is truncated: its header is not whole")
    data = blob[_START.size : size]
    values = load_json(data, "a sealed package's header")
    expected = {one.name for one in fields(VgcHeader)} | {"format", "kind"}
    if values.keys() != expected or canonical_json(values) != data:
        raise FormatError("a sealed package's header must be canonical JSON with the fields of its format; it differs")
    if (values.pop("kind"), values.pop("format")) != ("sealed copy", VGC_FORMAT):
        raise FormatError(f"a sealed package must be a sealed copy of format {VGC_FORMAT}; got {shown(data[:60])}")
    try:
        return VgcHeader(**values), size
    except ConfigurationError as error:
        raise FormatError(f"a sealed package's header is malformed: {error}") from error
