"""What `keys` is made of: 32 bytes that stay hidden, HKDF, length-prefixed fields, checks of arguments.

HMAC is written out over SHA-256 (RFC 2104), because the hashed key of a seller's secret can then be kept between calls
and because OpenSSL's one-shot HMAC takes twice as long: bulk issuing derives a key for each copy.
"""

import hmac
import operator
import struct
from functools import cache
from hashlib import sha256
from typing import Any, ClassVar, Final, NoReturn, Self, SupportsIndex, final

from variegate.errors import InputError, SecretError

SECRET_BYTES: Final = 32

_IDENTIFIER_FORMAT: Final = "variegate-identifier-v1"
_BYTES: Final = (bytes, bytearray, memoryview)
_BLOCK: Final = 64
_HASH: Final = 32
_ZEROS: Final = bytes(SECRET_BYTES)
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))
_INNER_REST: Final = bytes([0x36]) * (_BLOCK - _HASH)
_OUTER_REST: Final = bytes([0x5C]) * (_BLOCK - _HASH)


class Hidden:
    """32 secret bytes that neither print, pickle, change nor compare in variable time.

    The object overwrites the copy that it keeps when it is told to (`wipe`) and at the end of its life. Copies that
    `reveal` handed out, and those that Python and the libraries made on the way, are beyond its reach.
    """

    __slots__ = ("_identifier", "_secret")
    _role: ClassVar[str]  # part of the format: the identifier depends on it
    _what: ClassVar[str]
    _secret: bytearray  # empty once it is wiped
    _identifier: str | None

    def __init__(self) -> None:
        name = type(self).__name__
        raise SecretError(f"{name} is made by {name}.from_bytes, not by calling the class")

    @classmethod
    def from_bytes(cls, secret: bytes | bytearray | memoryview) -> Self:
        """Wrap a copy of exactly 32 bytes.

        Raises:
            SecretError: if it is not 32 bytes; the message tells the length only.
        """
        if not isinstance(secret, _BYTES):
            raise SecretError(f"{cls._what} must be {SECRET_BYTES} bytes; got a {type(secret).__name__}")
        kept = bytearray(secret)
        if len(kept) != SECRET_BYTES:
            raise SecretError(f"{cls._what} must be {SECRET_BYTES} bytes; got {len(kept)} bytes")
        self = object.__new__(cls)
        _set_secret(self, kept)
        _set_identifier(self, None)
        return self

    @property
    def identifier(self) -> str:
        """16 hexadecimal digits that name this secret and tell nothing else about it: safe to show and store.

        Raises:
            SecretError: if it was wiped before anybody asked.
        """
        found = self._identifier
        if found is None:
            found = _keyed(extract(self._alive()), _identifier_info(self._role))[:8].hex()
            _set_identifier(self, found)
        return found

    @property
    def is_wiped(self) -> bool:
        """Whether `wipe` was called."""
        return len(self._secret) == 0

    def reveal(self) -> bytes:
        """The 32 secret bytes, for sealing them. Never log, print or store what this returns.

        It is a copy that cannot be overwritten, and libraries that take it may make more: let go of it soon.

        Raises:
            SecretError: if it was wiped.
        """
        return bytes(self._alive())

    def duplicate(self) -> Self:
        """The same secret in an object of its own, which is wiped separately.

        Raises:
            SecretError: if it was wiped.
        """
        return self.from_bytes(self._alive())

    def wipe(self) -> None:
        """Overwrite the 32 bytes with zeros; from then on every use raises `SecretError`. Again changes nothing."""
        kept = self._secret
        _set_secret(self, bytearray())
        kept[:] = bytes(len(kept))  # of the same size, so that the bytes stay where they are

    def _alive(self) -> bytearray:
        """The bytes themselves; not to be kept."""
        if not self._secret:
            raise SecretError(f"{self._what} was wiped from memory and cannot be used any more; fetch it again")
        return self._secret

    def __del__(self, _zeros: bytes = _ZEROS) -> None:
        try:  # no helper here: modules may be gone when the interpreter ends
            self._secret[:] = _zeros
        except AttributeError:  # the class was called, and refused
            return

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return hmac.compare_digest(self._alive(), other._alive())

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.identifier))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(<hidden>)"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} cannot be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} cannot be changed")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise SecretError(
            f"a {type(self).__name__} cannot be pickled; seal the seller's secret and derive keys from it"
        )


# Quicker than object.__setattr__.
_set_secret: Final = vars(Hidden)["_secret"].__set__
_set_identifier: Final = vars(Hidden)["_identifier"].__set__


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


@cache
def _identifier_info(role: str) -> bytes:
    return length_prefixed(_IDENTIFIER_FORMAT, role) + b"\x01"


def extract(secret: bytes | bytearray, salt: bytes | None = None) -> bytes:
    """HKDF's first step (RFC 5869): the 32-byte pseudorandom key of a secret, with a salt or without."""
    if salt is None:
        return _WITHOUT_SALT.digest(secret)
    if len(salt) <= _HASH:
        return _keyed(salt.ljust(_HASH, b"\0"), secret)  # HMAC pads its key with zeros
    return hmac.digest(salt, secret, "sha256")


def hkdf(secret: bytes | bytearray, info: bytes, length: int, *, salt: bytes | None = None) -> bytes:
    """HKDF-SHA256 (RFC 5869): `length` bytes (at most 8160) from a secret, with a salt or without."""
    key = extract(secret, salt)
    block = _keyed(key, info + b"\x01")
    if length <= _HASH:
        return block[:length]
    blocks = [block]
    for counter in range(2, -(-length // _HASH) + 1):
        blocks.append(_keyed(key, blocks[-1] + info + bytes([counter])))
    return b"".join(blocks)[:length]


def _keyed(key: bytes, message: bytes | bytearray) -> bytes:
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
        raise InputError(f"{what} must be text of 1 to 4096 characters; got {size}")
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
