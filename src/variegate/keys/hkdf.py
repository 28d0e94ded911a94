"""HMAC, HKDF and length-prefixed fields, and the checks of arguments that all of `variegate.keys` shares.

HMAC is written out over SHA-256 (RFC 2104), because the hashed key of a seller's secret can then be kept between calls
and because OpenSSL's one-shot HMAC takes twice as long: bulk issuing derives a key for each copy.
"""

import hmac
import operator
import struct
from hashlib import sha256
from typing import Final, final

from variegate.errors import InputError

_BLOCK: Final = 64
_HASH: Final = 32
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))
_INNER_REST: Final = bytes([0x36]) * (_BLOCK - _HASH)
_OUTER_REST: Final = bytes([0x5C]) * (_BLOCK - _HASH)


@final
class KeyedHash:
    """HMAC-SHA256 under one key of at most 64 bytes, whose two blocks are hashed once, for many messages.

    Holds what is as good as the key; OpenSSL overwrites it when the object goes.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes | bytearray) -> None:
        if len(key) > _BLOCK:
            raise InputError(f"a key of this hash has at most {_BLOCK} bytes; got {len(key)}")
        block = bytearray(_BLOCK)
        block[: len(key)] = key
        inner, outer = block.translate(_INNER), block.translate(_OUTER)
        self._inner, self._outer = sha256(inner), sha256(outer)
        for used in (block, inner, outer):
            used[:] = bytes(_BLOCK)

    def digest(self, message: bytes | bytearray) -> bytes:
        """The 32 bytes of HMAC-SHA256 of the message."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()


_WITHOUT_SALT: Final = KeyedHash(bytes(_HASH))


def extract(secret: bytes | bytearray, salt: bytes | None = None) -> bytes:
    """HKDF's first step (RFC 5869): the 32-byte pseudorandom key of a secret, with a salt or without."""
    if salt is None:
        return _WITHOUT_SALT.digest(secret)
    if len(salt) <= _HASH:
        return keyed(salt.ljust(_HASH, b"\0"), secret)  # HMAC pads its key with zeros
    return hmac.digest(salt, secret, "sha256")


def hkdf(secret: bytes | bytearray, info: bytes, length: int, *, salt: bytes | None = None) -> bytes:
    """HKDF-SHA256 (RFC 5869): `length` bytes (at most 8160) from a secret, with a salt or without."""
    key = extract(secret, salt)
    block = keyed(key, info + b"\x01")
    if length <= _HASH:
        return block[:length]
    blocks = [block]
    for counter in range(2, -(-length // _HASH) + 1):
        blocks.append(keyed(key, blocks[-1] + info + bytes([counter])))
    return b"".join(blocks)[:length]


def keyed(key: bytes, message: bytes | bytearray) -> bytes:
    """HMAC-SHA256 of one message under a key of 32 bytes."""
    inner = sha256(key.translate(_INNER) + _INNER_REST + message).digest()
    return sha256(key.translate(_OUTER) + _OUTER_REST + inner).digest()


def length_prefixed(*fields: str) -> bytes:
    """Each field in UTF-8 behind its length in bytes, an unsigned 32-bit big-endian integer."""
    encoded = [field.encode() for field in fields]
    return b"".join(struct.pack(">I", len(field)) + field for field in encoded)


def check_text(text: str, what: str) -> None:
    """Raise `InputError` unless `text` is 1 to 4096 characters of valid Unicode."""
    if not isinstance(text, str) or not 1 <= len(text) <= 4096:
        size = f"{len(text)} characters" if isinstance(text, str) else f"a {type(text).__name__}"
        raise InputError(f"{what} must be a string of 1 to 4096 characters; got {size}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{what} must be valid Unicode text; got a lone surrogate in it") from error


def check_integer(value: int, what: str, low: int, high: int) -> int:
    """`value` as an int (NumPy integers too) if it is in low..high, else raise `InputError`."""
    try:
        number = operator.index(value)
    except TypeError as error:
        raise InputError(f"{what} must be an integer in {low}..{high}; got a {type(value).__name__}") from error
    if not low <= number <= high:
        raise InputError(f"{what} must be an integer in {low}..{high}; got {number}")
    return number
