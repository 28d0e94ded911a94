"""The seller's secret at rest: AES-256-GCM under a key that Argon2id makes from a passphrase. Imports no torch.

    offset  bytes  what
         0      8  "VGSEALED"
         8      1  format version, 1
         9      1  key derivation, 1 = Argon2id version 1.3 (RFC 9106)
        10      4  memory in KiB, big-endian, as the two after it
        14      4  iterations
        18      4  lanes
        22     16  salt
        38     12  nonce
        50     48  the 32 secret bytes, encrypted, and the 16-byte tag

Bytes 0 to 49 are authenticated with the secret (AAD). A reader checks the parameters against fixed limits before it
spends memory or time on them, so that a hostile file costs at most 1 GiB and 16 passes.
"""

import secrets
import struct
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from variegate.errors import ConfigurationError, SecretError
from variegate.keys import SECRET_BYTES, SellerSecret

_MAGIC: Final = b"VGSEALED"
_VERSION: Final = 1
_ARGON2ID: Final = 1
_HEADER: Final = struct.Struct(">8sBBIII16s12s")
_LIMITS: Final = {"memory_kib": (8 * 1024, 1024 * 1024), "iterations": (1, 16), "lanes": (1, 16)}
SEALED_BYTES: Final = _HEADER.size + SECRET_BYTES + 16


@dataclass(frozen=True, slots=True, kw_only=True)
class SealingCost:
    """What one guess of the passphrase costs; the defaults are RFC 9106's second choice, about 0.2 seconds.

    Attributes:
        memory_kib: memory in KiB, 8192 to 1048576.
        iterations: passes over it, 1 to 16.
        lanes: parallel lanes, 1 to 16.

    Raises:
        ConfigurationError: if one is out of these limits.
    """

    memory_kib: int = 64 * 1024
    iterations: int = 3
    lanes: int = 4

    def __post_init__(self) -> None:
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise ConfigurationError(f"a sealing's {name} must be an integer in {low}..{high}; got {value!r}")


_DEFAULT_COST: Final = SealingCost()


def seal(secret: SellerSecret, passphrase: bytes, *, cost: SealingCost = _DEFAULT_COST) -> bytes:
    """The sealed secret, 98 bytes, different on every call; `unseal` opens it with the same passphrase.

    Raises:
        SecretError: if the passphrase is empty, or Argon2id is not there or runs out of memory.
    """
    salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
    header = _HEADER.pack(_MAGIC, _VERSION, _ARGON2ID, cost.memory_kib, cost.iterations, cost.lanes, salt, nonce)
    return header + AESGCM(stretch(passphrase, salt, cost)).encrypt(nonce, secret.reveal(), header)


def unseal(blob: bytes, passphrase: bytes) -> SellerSecret:
    """The secret in `blob`, which `seal` made.

    Raises:
        SecretError: if the blob is not a sealed secret, asks for more than the limits, was changed, or the passphrase
            is wrong (the last two cannot be told apart).
    """
    cost, salt, nonce = _read_header(blob)
    header, sealed = blob[: _HEADER.size], blob[_HEADER.size :]
    try:
        return SellerSecret.from_bytes(AESGCM(stretch(passphrase, salt, cost)).decrypt(nonce, sealed, header))
    except InvalidTag:
        raise SecretError(
            "cannot unseal the seller's secret: the passphrase is wrong, or the sealed file was changed; "
            "check the passphrase, then restore the file from a backup"
        ) from None


def _read_header(blob: bytes) -> tuple[SealingCost, bytes, bytes]:
    if len(blob) != SEALED_BYTES or not blob.startswith(_MAGIC):
        raise SecretError(
            f"cannot unseal: expected a sealed secret of {SEALED_BYTES} bytes that starts with {_MAGIC.decode()}; "
            f"got {len(blob)} bytes of another kind"
        )
    _, version, derivation, memory_kib, iterations, lanes, salt, nonce = _HEADER.unpack_from(blob)
    if (version, derivation) != (_VERSION, _ARGON2ID):
        raise SecretError(
            f"cannot unseal: expected format {_VERSION} with key derivation {_ARGON2ID}; got format {version} with "
            f"{derivation}: the file was changed, or needs another version of variegate"
        )
    try:
        return SealingCost(memory_kib=memory_kib, iterations=iterations, lanes=lanes), salt, nonce
    except ConfigurationError as error:
        raise SecretError(f"cannot unseal: {error}; the file was changed, restore it from a backup") from error


def stretch(passphrase: bytes, salt: bytes, cost: SealingCost) -> bytes:
    """Return the 32-byte key that Argon2id makes from a passphrase.

    Raises:
        SecretError: if the passphrase is empty, or Argon2id is not there or runs out of memory.
    """
    if not passphrase:
        raise SecretError("the passphrase must not be empty; got no bytes")
    try:
        argon2 = Argon2id(
            salt=salt, length=32, iterations=cost.iterations, lanes=cost.lanes, memory_cost=cost.memory_kib
        )
        return argon2.derive(passphrase)
    except UnsupportedAlgorithm as error:
        raise SecretError(
            "this build of the package cryptography has no Argon2id; install one with OpenSSL 3.2"
        ) from error
    except MemoryError as error:
        raise SecretError(
            f"there is not enough memory for Argon2id: expected {cost.memory_kib} KiB to be free; close other programs"
        ) from error
