"""What a sealed package says in clear: which copy of which original, and how its data key is wrapped. Imports no torch.

The holder of an X25519 key can open it, or anyone who knows a passphrase.
The data key (32 random bytes) is wrapped with AES-256-GCM and a nonce of 12 zero bytes under a wrapping key that is
used once:

- X25519: HKDF-SHA256 of the shared secret with a fresh key pair; salt = fresh public key and recipient's public key,
  info = `length_prefixed("variegate-vgc-x25519-v1")`, 32 bytes;
- passphrase: Argon2id with a fresh salt of 16 bytes, 32 bytes, with the limits of `variegate.keystore.sealing`.
"""

import struct
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_bytes
from typing import Annotated, Final, Literal, TypeAlias, final

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import Field, StringConstraints

from variegate.errors import ConfigurationError, FormatError, SecretError
from variegate.files import file_error
from variegate.keys.hkdf import length_prefixed
from variegate.keystore.sealing import SealingCost, stretch
from variegate.manifest import canonical_json, load_json
from variegate.manifest.document import Digest, Part, known_format
from variegate.manifest.manifests import CopyIdentity

Content = Literal["key", "overlay"]

VGC_FORMAT: Final = 1
MAX_HEADER_BYTES: Final = 2**16
MAX_VGC_BYTES: Final = 2**30

_MAGIC: Final = b"VGCOPY"
_START: Final = struct.Struct(">6sHI")
_X25519_INFO: Final = "variegate-vgc-x25519-v1"
_AAD: Final = b"variegate-vgc-v1"
_ZEROS: Final = bytes(12)


@final
@dataclass(frozen=True, slots=True)
class KeyRecipient:
    """The holder of the private key of this X25519 public key."""

    public_key: X25519PublicKey


@final
@dataclass(frozen=True, slots=True)
class PassphraseRecipient:
    """Anyone who knows the passphrase.

    Attributes:
        passphrase: not empty; never printed.
        cost: what one guess costs.
    """

    passphrase: bytes = field(repr=False)
    cost: SealingCost = field(default_factory=SealingCost)


Recipient: TypeAlias = KeyRecipient | PassphraseRecipient


def read_recipient_public_key(pem: bytes) -> X25519PublicKey:
    """Read a public key as `openssl pkey -in device.pem -pubout` writes it.

    Raises:
        FormatError: if it is not the PEM of an X25519 public key.
    """
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, X25519PublicKey):
        raise FormatError(
            "a recipient's public key must be X25519 in PEM; make a key pair with: openssl genpkey -algorithm X25519 "
            "-out device.pem; openssl pkey -in device.pem -pubout -out device.pub"
        )
    return key


def read_recipient_key(pem: bytes) -> X25519PrivateKey:
    """Read a private key as `openssl genpkey -algorithm X25519` writes it, without a passphrase.

    Raises:
        FormatError: if it is not the PEM of an X25519 private key.
    """
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, X25519PrivateKey):
        raise FormatError("a recipient's key must be an X25519 private key in PEM, without a passphrase")
    return key


def _hexadecimal(count: int) -> StringConstraints:
    return StringConstraints(pattern=rf"^([0-9a-f]{{2}}){{{count}}}$")


_Wrapped: TypeAlias = Annotated[str, _hexadecimal(32 + 16)]


@final
class KeyStanza(Part):
    """A data key wrapped for the holder of an X25519 key; bytes in hexadecimal."""

    type: Literal["x25519"] = "x25519"
    ephemeral: Annotated[str, _hexadecimal(32)]
    wrapped: _Wrapped


@final
class PassphraseStanza(Part):
    """A data key wrapped under a passphrase; bytes in hexadecimal."""

    type: Literal["passphrase"] = "passphrase"
    iterations: int
    lanes: int
    memory_kib: int
    salt: Annotated[str, _hexadecimal(16)]
    wrapped: _Wrapped


@final
class VgcHeader(CopyIdentity):
    """What a sealed package says in clear.

    Attributes:
        weights_digest: of the original that the copy is made from.
        content: what is sealed: the copy's "key", or its "overlay", the tensors that the key decides.
        recipient: how the data key is wrapped.
    """

    DOCUMENT = "a sealed package's header"

    format: Annotated[int, known_format(VGC_FORMAT)] = VGC_FORMAT
    kind: Literal["sealed copy"] = "sealed copy"
    weights_digest: Digest
    content: Content
    recipient: Annotated[KeyStanza | PassphraseStanza, Field(discriminator="type")]


def start_of(header: VgcHeader) -> bytes:
    """Return the beginning of a package, up to the nonce: magic, version, length and header."""
    data = canonical_json(header.model_dump(mode="json"))
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
            return read_header(file.read(_START.size + MAX_HEADER_BYTES))
    except OSError as error:
        raise file_error(error, path, "read") from error


def read_start(blob: bytes) -> tuple[VgcHeader, int]:
    """Return the header of a package or of its beginning, and how many bytes come before the nonce.

    Raises:
        FormatError: if it is no sealed package, is truncated, or needs another version.
    """
    if len(blob) > MAX_VGC_BYTES:
        raise FormatError(f"a sealed package has at most {MAX_VGC_BYTES} bytes; got {len(blob)}")
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
    if length > MAX_HEADER_BYTES or size > len(blob):
        raise FormatError("the sealed package is truncated: its header is not whole")
    values = load_json(blob[_START.size : size], "a sealed package's header")
    try:
        header = VgcHeader(**values)
    except ConfigurationError as error:
        raise FormatError(f"a sealed package's header is malformed: {error}") from error
    if start_of(header) != blob[:size]:
        raise FormatError("a sealed package's header must be canonical JSON with every field of its format; it differs")
    return header, size


def wrap(data_key: bytes, recipient: Recipient) -> "KeyStanza | PassphraseStanza":
    """Return the header's field "recipient": the data key, wrapped, and what unwrapping it takes.

    Raises:
        SecretError: if the passphrase is empty, the public key is degenerate, or Argon2id cannot run.
    """
    if isinstance(recipient, KeyRecipient):
        fresh = X25519PrivateKey.generate()
        ephemeral = fresh.public_key().public_bytes_raw()
        wrapping = _agree(fresh, recipient.public_key, ephemeral, recipient.public_key.public_bytes_raw())
        return KeyStanza(ephemeral=ephemeral.hex(), wrapped=_encrypt(wrapping, data_key))
    cost, salt = recipient.cost, token_bytes(16)
    return PassphraseStanza(
        iterations=cost.iterations,
        lanes=cost.lanes,
        memory_kib=cost.memory_kib,
        salt=salt.hex(),
        wrapped=_encrypt(stretch(recipient.passphrase, salt, cost), data_key),
    )


def unwrap(
    stanza: "KeyStanza | PassphraseStanza",
    *,
    recipient_key: X25519PrivateKey | None = None,
    passphrase: bytes | None = None,
) -> bytes:
    """Return the data key, of which `wrap` made the stanza.

    Raises:
        FormatError: if the stanza asks for more than the limits.
        SecretError: if it is for another key or passphrase, or was changed.
    """
    if isinstance(stanza, KeyStanza):
        if recipient_key is None:
            raise SecretError("the package is sealed to an X25519 key, not under a passphrase; give the private key")
        ephemeral = bytes.fromhex(stanza.ephemeral)
        public = recipient_key.public_key().public_bytes_raw()
        wrapping = _agree(recipient_key, X25519PublicKey.from_public_bytes(ephemeral), ephemeral, public)
    else:
        if passphrase is None:
            raise SecretError("the package is sealed under a passphrase, not to a key; give the passphrase")
        try:
            cost = SealingCost(memory_kib=stanza.memory_kib, iterations=stanza.iterations, lanes=stanza.lanes)
        except ConfigurationError as error:
            raise FormatError(f"a sealed package's recipient is out of range: {error}") from error
        wrapping = stretch(passphrase, bytes.fromhex(stanza.salt), cost)
    try:
        return AESGCM(wrapping).decrypt(_ZEROS, bytes.fromhex(stanza.wrapped), _AAD)
    except InvalidTag:
        what = "key" if isinstance(stanza, KeyStanza) else "passphrase"
        raise SecretError(
            f"cannot open the sealed package: it is not sealed to this {what}, or it was changed; check the {what}, "
            "then ask for the package again"
        ) from None


def _encrypt(wrapping: bytes, data_key: bytes) -> str:
    return AESGCM(wrapping).encrypt(_ZEROS, data_key, _AAD).hex()


def _agree(private: X25519PrivateKey, public: X25519PublicKey, ephemeral: bytes, recipient: bytes) -> bytes:
    try:
        shared = private.exchange(public)
    except ValueError as error:
        raise SecretError("the X25519 key agreement gives no secret: the public key is degenerate") from error
    derivation = HKDF(algorithm=SHA256(), length=32, salt=ephemeral + recipient, info=length_prefixed(_X25519_INFO))
    return derivation.derive(shared)
