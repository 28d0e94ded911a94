"""The sealed package of one copy, `copy.vgc`: its key or its overlay, encrypted to one recipient. Imports no torch.

    offset  bytes  what
         0      8  "VGCOPY" and the format version, 0x0001
         8      4  length h of the header, big-endian
        12      h  header: canonical JSON in clear, which copy of which original, and how the data key is wrapped
      12+h     12  nonce
      24+h      *  the content, AES-256-GCM under the data key, and the 16-byte tag

Everything before the nonce is authenticated with the content (AAD). The random data key is wrapped for an X25519
recipient or under a passphrase (`variegate.artifacts.vgc_header`). Format: `docs/formats/vgc.md`.

The seal protects the copy in transit. Anyone who opens it holds the copy, and can strip the rewriter off.
"""

import secrets
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from variegate.artifacts.vgc_header import (
    MAX_VGC_BYTES,
    Content,
    Recipient,
    VgcHeader,
    read_header,
    read_start,
    start_of,
    unwrap,
    wrap,
)
from variegate.errors import ConfigurationError, FormatError, InputError, SecretError, VerificationError
from variegate.keys import SECRET_BYTES, CopyKey
from variegate.manifest import CopyManifest, ModelManifest
from variegate.manifest.canonical import canonical_json, digest, load_json

if TYPE_CHECKING:
    from variegate.models.classifier import Classifier
    from variegate.rewriters.base import AbstractHead, RewrittenCopy

__all__ = ["Content", "OpenedCopy", "VgcHeader", "check_together", "open_copy", "read_header", "seal_copy"]

_LENGTH: Final = struct.Struct(">I")
_NONCE: Final = 12
_TAG: Final = 16


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenedCopy:
    """What was sealed. Prints nothing secret.

    Attributes:
        header: what the package said in clear.
        copy_manifest: the copy's manifest, with the spec.
        model_manifest: the original's manifest; the original itself is not in the package.
    """

    header: VgcHeader
    copy_manifest: CopyManifest
    model_manifest: ModelManifest
    _secret: bytes

    def __repr__(self) -> str:
        return f"OpenedCopy({self.header.copy_id}, {self.header.content})"

    def copy(self, original: "Classifier") -> "RewrittenCopy":
        """Make the copy from the original that the recipient holds.

        Raises:
            VerificationError: if it is not the original that the copy was issued for.
            ConfigurationError: if the rewriter is not known here.
            FormatError: if the sealed tensors do not fit it.
        """
        from variegate.rewriters.base import RewrittenCopy, rewrite
        from variegate.rewriters.catalog import spec_from_dict

        model = self.model_manifest
        if original.digest != model.weights_digest:
            raise VerificationError(
                f"this is not the original of copy {self.header.copy_id}: expected weights with digest "
                f"{model.weights_digest[:23]}..., got {original.digest[:23]}..."
            )
        given = (original.input_shape, original.num_classes, original.bounds, original.outputs)
        if given != (model.input_shape, len(model.labels), model.bounds, model.outputs):
            raise VerificationError(
                "the original has another input shape, number of classes, bounds or outputs than its manifest says"
            )
        spec = spec_from_dict(self.copy_manifest.spec)
        if self.header.content == "key":
            return rewrite(original, CopyKey.from_bytes(self._secret), spec)
        from variegate.artifacts.tensors import restore_head, tensors_from_bytes
        from variegate.rewriters.base import original_shape

        return RewrittenCopy(original, restore_head(spec, tensors_from_bytes(self._secret), original_shape(original)))


def seal_copy(
    copy_manifest: CopyManifest,
    model_manifest: ModelManifest,
    *,
    recipient: Recipient,
    key: CopyKey | None = None,
    head: "AbstractHead | None" = None,
) -> bytes:
    """Return the sealed package; different bytes at each call.

    Args:
        copy_manifest: of the copy, with its spec.
        model_manifest: of the original.
        recipient: who can open it.
        key: the copy's key: the package is some kilobytes, and the recipient's variegate derives the rest.
        head: instead of the key, the copy's head, whose tensors are sealed.

    Raises:
        ConfigurationError: unless exactly one of key and head is given; or the manifests do not belong together.
        InputError: if the content is larger than 1 GiB.
    """
    check_together(copy_manifest, model_manifest)
    if key is not None and head is None:
        secret = key.reveal()
    elif head is not None and key is None:
        from variegate.artifacts.tensors import head_tensors, tensors_to_bytes

        secret = tensors_to_bytes(head_tensors(head))
    else:
        raise ConfigurationError("a sealed package holds either the copy's key or its head; give exactly one")
    records = canonical_json({"copy": copy_manifest.to_dict(), "model": model_manifest.to_dict()})
    plain = _LENGTH.pack(len(records)) + records + secret
    data_key, nonce = secrets.token_bytes(32), secrets.token_bytes(_NONCE)
    start = start_of(
        VgcHeader(
            **copy_manifest.identity,
            weights_digest=model_manifest.weights_digest,
            content="key" if head is None else "overlay",
            recipient=wrap(data_key, recipient),
        )
    )
    if len(start) + _NONCE + len(plain) + _TAG > MAX_VGC_BYTES:
        raise InputError(
            f"a sealed package has at most {MAX_VGC_BYTES} bytes; this copy's tensors take {len(plain)}: seal its key"
        )
    return start + nonce + AESGCM(data_key).encrypt(nonce, plain, start)


def open_copy(
    blob: bytes, *, recipient_key: X25519PrivateKey | None = None, passphrase: bytes | None = None
) -> OpenedCopy:
    """Open a sealed package.

    Args:
        blob: the file's bytes.
        recipient_key: the recipient's private key, or
        passphrase: the passphrase.

    Raises:
        ConfigurationError: unless exactly one of key and passphrase is given.
        FormatError: if it is no sealed package, is truncated, or needs another version.
        SecretError: if it is not sealed to this key or passphrase, or was changed (they cannot be told apart).
        VerificationError: if its parts contradict each other.
    """
    if (recipient_key is None) == (passphrase is None):
        raise ConfigurationError("a sealed package is opened with a private key or a passphrase; give exactly one")
    header, size = read_start(blob)
    data_key = unwrap(header.recipient, recipient_key=recipient_key, passphrase=passphrase)
    nonce, sealed = blob[size : size + _NONCE], blob[size + _NONCE :]
    if len(sealed) < _TAG:
        raise FormatError("the sealed package is truncated: its content is missing")
    try:
        plain = AESGCM(data_key).decrypt(nonce, sealed, blob[:size])
    except InvalidTag:
        raise SecretError(
            "cannot open the sealed package: it was changed or is truncated after it was sealed; ask for it again"
        ) from None
    if len(plain) < _LENGTH.size or (length := _LENGTH.unpack_from(plain)[0]) > len(plain) - _LENGTH.size:
        raise FormatError("the sealed package holds no records")
    records = load_json(plain[_LENGTH.size : _LENGTH.size + length], "a sealed package's records")
    copy = CopyManifest.from_dict(records.get("copy", {}))
    model = ModelManifest.from_dict(records.get("model", {}))
    secret = plain[_LENGTH.size + length :]
    try:
        check_together(copy, model)
    except ConfigurationError as error:
        raise VerificationError(f"the sealed package contradicts itself: {error}") from error
    if header.identity != copy.identity or header.weights_digest != model.weights_digest:
        raise VerificationError("the sealed package's header names another copy than its content")
    if header.content == "key" and len(secret) != SECRET_BYTES:
        raise FormatError(f"the sealed package must hold a key of {SECRET_BYTES} bytes; got {len(secret)}")
    return OpenedCopy(header=header, copy_manifest=copy, model_manifest=model, _secret=secret)


def check_together(copy: CopyManifest, model: ModelManifest) -> None:
    """Check that a copy's manifest is whole and belongs to the original's.

    Raises:
        ConfigurationError: says what does not fit.
    """
    if (copy.model, copy.model_digest) != (model.name, model.digest):
        raise ConfigurationError(f"copy {copy.copy_id} is one of {copy.model}, not of this {model.name}")
    if copy.spec_digest != digest(copy.spec) or copy.rewriter != copy.spec.get("rewriter"):
        raise ConfigurationError(f"the spec of copy {copy.copy_id} is not the one of its digest")
    if copy.copy_id != copy.expected_id:
        raise ConfigurationError(f"the copy's name must be {copy.expected_id}; got {copy.copy_id}")
