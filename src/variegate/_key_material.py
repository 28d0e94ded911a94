"""What `keys` is made of: 32 bytes that stay hidden, HKDF, length-prefixed fields, checks of arguments."""

import hmac
import operator
import struct
from typing import Any, ClassVar, Final, NoReturn, Self, SupportsIndex

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from variegate.errors import InputError, SecretError

__all__ = ["SECRET_BYTES", "Hidden", "check_integer", "check_text", "hkdf", "length_prefixed"]

SECRET_BYTES: Final = 32

_IDENTIFIER_FORMAT: Final = "variegate-identifier-v1"


class Hidden:
    """32 secret bytes that neither print, pickle, change nor compare in variable time."""

    __slots__ = ("_identifier", "_secret")
    _role: ClassVar[str]  # part of the format: the identifier depends on it
    _what: ClassVar[str]
    _secret: bytes
    _identifier: str

    def __init__(self) -> None:
        name = type(self).__name__
        raise SecretError(f"{name} is made by {name}.from_bytes, not by calling the class")

    @classmethod
    def from_bytes(cls, secret: bytes) -> Self:
        """Wrap exactly 32 bytes.

        Raises:
            SecretError: if it is not 32 bytes; the message tells the length only.
        """
        if not isinstance(secret, bytes | bytearray | memoryview):
            raise SecretError(f"{cls._what} must be {SECRET_BYTES} bytes; got a {type(secret).__name__}")
        secret = bytes(secret)
        if len(secret) != SECRET_BYTES:
            raise SecretError(f"{cls._what} must be {SECRET_BYTES} bytes; got {len(secret)} bytes")
        self = object.__new__(cls)
        object.__setattr__(self, "_secret", secret)
        identifier = hkdf(secret, length_prefixed(_IDENTIFIER_FORMAT, cls._role), 8).hex()
        object.__setattr__(self, "_identifier", identifier)
        return self

    @property
    def identifier(self) -> str:
        """16 hexadecimal digits that name this secret and tell nothing else about it: safe to show and store."""
        return self._identifier

    def reveal(self) -> bytes:
        """The 32 secret bytes, for sealing them. Never log, print or store what this returns."""
        return self._secret

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return hmac.compare_digest(self._secret, other._secret)

    def __hash__(self) -> int:
        return hash((type(self).__name__, self._identifier))

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


def hkdf(secret: bytes, info: bytes, length: int) -> bytes:
    """HKDF-SHA256 (RFC 5869) without salt: `length` bytes from a uniform secret."""
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(secret)


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
