"""Who can open a sealed package: the holder of an X25519 key, or whoever knows a passphrase. Imports no torch.

The data key (32 random bytes) is wrapped with AES-256-GCM and a nonce of 12 zero bytes under a wrapping key that is
used once:

- X25519: HKDF-SHA256 of the shared secret with a fresh key pair; salt = fresh public key and recipient's public key,
  info = `length_prefixed("variegate-vgc-x25519-v1")`, 32 bytes;
- passphrase: Argon2id with a fresh salt of 16 bytes, 32 bytes, with the limits of `variegate.keystore.sealing`.
"""

import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from secrets import token_bytes
from typing import Any, Final, TypeAlias, final

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from variegate._key_material import length_prefixed
from variegate.errors import ConfigurationError, FormatError, SecretError
from variegate.keystore.sealing import SealingCost, stretch

_X25519_INFO: Final = "variegate-vgc-x25519-v1"
_AAD: Final = b"variegate-vgc-v1"
_ZEROS: Final = bytes(12)
_DATA_KEY_BYTES: Final = 32


@final
@dataclass(frozen=True, slots=True)
class KeyRecipient:
    """The holder of the private key of this X25519 public key."""

    public_key: X25519PublicKey


@final
@dataclass(frozen=True, slots=True)
class PassphraseRecipient:
    """Whoever knows the passphrase.

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


def wrap(data_key: bytes, recipient: Recipient) -> dict[str, Any]:
    """Return the header's field "recipient": the data key, wrapped, and what unwrapping it takes.

    Raises:
        SecretError: if the passphrase is empty, the public key is degenerate, or Argon2id cannot run.
    """
    if isinstance(recipient, KeyRecipient):
        fresh = X25519PrivateKey.generate()
        ephemeral = fresh.public_key().public_bytes_raw()
        stanza: dict[str, Any] = {"ephemeral": ephemeral.hex(), "type": "x25519"}
        wrapping = _agree(fresh, recipient.public_key, ephemeral, recipient.public_key.public_bytes_raw())
    else:
        cost, salt = recipient.cost, token_bytes(16)
        stanza = {
            "iterations": cost.iterations,
            "lanes": cost.lanes,
            "memory_kib": cost.memory_kib,
            "salt": salt.hex(),
            "type": "passphrase",
        }
        wrapping = stretch(recipient.passphrase, salt, cost)
    return {**stanza, "wrapped": AESGCM(wrapping).encrypt(_ZEROS, data_key, _AAD).hex()}


def unwrap(
    stanza: Mapping[str, Any], *, recipient_key: X25519PrivateKey | None = None, passphrase: bytes | None = None
) -> bytes:
    """Return the data key, of which `wrap` made the stanza.

    Raises:
        FormatError: if the stanza is malformed, or asks for more than the limits.
        SecretError: if it is for another key or passphrase, or was changed.
    """
    kind = stanza.get("type")
    if kind == "x25519":
        if recipient_key is None:
            raise SecretError("the package is sealed to an X25519 key, not under a passphrase; give the private key")
        ephemeral = _bytes(stanza, "ephemeral", 32, others={"type", "wrapped"})
        public = recipient_key.public_key().public_bytes_raw()
        wrapping = _agree(recipient_key, X25519PublicKey.from_public_bytes(ephemeral), ephemeral, public)
    elif kind == "passphrase":
        if passphrase is None:
            raise SecretError("the package is sealed under a passphrase, not to a key; give the passphrase")
        numbers = {name: stanza.get(name) for name in ("memory_kib", "iterations", "lanes")}
        salt = _bytes(stanza, "salt", 16, others={"type", "wrapped", *numbers})
        try:
            cost = SealingCost(**numbers)  # type: ignore[arg-type]  # it checks them
        except ConfigurationError as error:
            raise FormatError(f"a sealed package's recipient is out of range: {error}") from error
        wrapping = stretch(passphrase, salt, cost)
    else:
        raise FormatError("a sealed package's recipient must be of type x25519 or passphrase; it is of another type")
    wrapped = _bytes(stanza, "wrapped", _DATA_KEY_BYTES + 16, others=set(stanza))
    try:
        return AESGCM(wrapping).decrypt(_ZEROS, wrapped, _AAD)
    except InvalidTag:
        what = "key" if kind == "x25519" else "passphrase"
        raise SecretError(
            f"cannot open the sealed package: it is not sealed to this {what}, or it was changed; check the {what}, "
            "then ask for the package again"
        ) from None


def _agree(private: X25519PrivateKey, public: X25519PublicKey, ephemeral: bytes, recipient: bytes) -> bytes:
    try:
        shared = private.exchange(public)
    except ValueError as error:
        raise SecretError("the X25519 key agreement gives no secret: the public key is degenerate") from error
    derivation = HKDF(algorithm=SHA256(), length=32, salt=ephemeral + recipient, info=length_prefixed(_X25519_INFO))
    return derivation.derive(shared)


def _bytes(stanza: Mapping[str, Any], name: str, length: int, *, others: set[str]) -> bytes:
    value = stanza.get(name)
    try:
        data = bytes.fromhex(value) if isinstance(value, str) else b""
    except (ValueError, binascii.Error):
        data = b""
    if len(data) != length or value != data.hex() or stanza.keys() != others | {name}:
        raise FormatError(f"a sealed package's recipient must hold {name} as {length} bytes in hexadecimal digits")
    return data
