"""The seller's secret, a copy's key, and how one leads to the other: bytes that neither print nor pickle."""

import contextlib
import hmac
import secrets
import struct
from dataclasses import dataclass
from enum import IntEnum
from functools import cache, lru_cache
from typing import Any, ClassVar, Final, NoReturn, Self, SupportsIndex, final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from variegate.errors import InputError, SecretError
from variegate.keys.hkdf import KeyedHash, check_integer, check_text, extract, hkdf, keyed, length_prefixed

KEY_FORMAT: Final = "variegate-key-v1"
SALT_BYTES: Final = 16
SECRET_BYTES: Final = 32

_SUBKEY_FORMAT: Final = "variegate-subkey-v1"
_SALTED_FORMAT: Final = "variegate-salted-key-v1"
_MAX_DRAW: Final = 2**31 - 1
_WORD: Final = 1 << 32
_MAX_STREAM: Final = 1 << 30
_IDENTIFIER_FORMAT: Final = "variegate-identifier-v1"
_BYTES: Final = (bytes, bytearray, memoryview)
_ZEROS: Final = bytes(SECRET_BYTES)


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
            found = keyed(extract(self._alive()), _identifier_info(self._role))[:8].hex()
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


class Purpose(IntEnum):
    """What a stream of a copy's key is for. The numbers are part of the format and are never reused."""

    MESSAGE = 1
    DITHER = 2
    PERMUTATION = 3
    HADAMARD_SIGNS = 4
    HADAMARD_ROWS = 5
    SPARSE = 6
    WEIGHT = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyContext:
    """What a copy's key is bound to; change any field and the key is unrelated.

    Attributes:
        model_digest: digest of the original's manifest, such as "sha256:...".
        rewriter: the rewriter's name in the catalog.
        spec_digest: digest of the rewriter's spec.
        buyer: the buyer's identifier.
        epoch: 0 or more; raised when a buyer's copy is rotated.

    Raises:
        InputError: if a text is empty, too long or not encodable as UTF-8, or the epoch is not in 0..2**63-1.
    """

    model_digest: str
    rewriter: str
    spec_digest: str
    buyer: str
    epoch: int

    def __post_init__(self) -> None:
        for name in ("model_digest", "rewriter", "spec_digest", "buyer"):
            text = getattr(self, name)
            if not (isinstance(text, str) and text.isascii() and 1 <= len(text) <= 4096):  # the quick case
                check_text(text, f"the key context's {name}")
        if isinstance(self.epoch, bool) or not isinstance(self.epoch, int) or not 0 <= self.epoch < 1 << 63:
            raise InputError(f"the key context's epoch must be an integer in 0..2**63-1; got {self.epoch!r}")

    def info(self) -> bytes:
        """HKDF's info: format version, then the fields in the order above, the epoch in decimal digits.

        Each is UTF-8 behind its length as an unsigned 32-bit big-endian integer, so that no two contexts collide.
        """
        buyer, epoch = self.buyer.encode(), b"%d" % self.epoch
        return b"%b%b%b%b%b" % (
            _info_of_spec(self.model_digest, self.rewriter, self.spec_digest),
            len(buyer).to_bytes(4, "big"),
            buyer,
            len(epoch).to_bytes(4, "big"),
            epoch,
        )


@lru_cache(maxsize=64)
def _info_of_spec(model_digest: str, rewriter: str, spec_digest: str) -> bytes:
    """The part of `KeyContext.info` that all copies of one model and spec share."""
    return length_prefixed(KEY_FORMAT, model_digest, rewriter, spec_digest)


@final
class CopyKey(Hidden):
    """The key of one copy: 32 bytes from which all that is particular to the copy is drawn."""

    __slots__ = ()
    _role = "copy"
    _what = "a copy's key"

    def keystream(self, purpose: Purpose, class_index: int, index: int, count: int) -> bytes:
        """The first `count` bytes of the stream for (purpose, class index, index): ChaCha20 of zeros.

        The 12-byte nonce is purpose, class index and index as three unsigned 32-bit little-endian integers; the block
        counter starts at 0 (RFC 8439). About 1 ms per MB.

        Raises:
            InputError: if the class index or the index is not in 0..2**32-1, or the count not in 0..2**30.
        """
        purpose_value = _purpose(purpose)
        class_index = check_integer(class_index, "a stream's class index", 0, _WORD - 1)
        index = check_integer(index, "a stream's index", 0, _WORD - 1)
        count = check_integer(count, "a stream's byte count", 0, _MAX_STREAM)
        nonce = struct.pack("<IIII", 0, purpose_value, class_index, index)
        return Cipher(ChaCha20(self._alive(), nonce), mode=None).encryptor().update(bytes(count))

    def subkey(self, label: str) -> "CopyKey":
        """An unrelated key for one part of a composed rewriter: HKDF-SHA256 with info ("variegate-subkey-v1", label).

        Raises:
            InputError: if the label is empty or too long.
        """
        check_text(label, "a subkey's label")
        return CopyKey.from_bytes(hkdf(self._alive(), length_prefixed(_SUBKEY_FORMAT, label), SECRET_BYTES))


@final
class SellerSecret(Hidden):
    """A seller's secret. Anyone who holds it can rebuild every copy issued under it; losing it loses them all."""

    __slots__ = ("_expand",)
    _expand: KeyedHash  # HKDF's second step under this secret; made by the first derivation
    _role = "seller"
    _what = "the seller's secret"

    @classmethod
    def generate(cls) -> "SellerSecret":
        """A fresh secret from the operating system's random source."""
        return cls.from_bytes(secrets.token_bytes(SECRET_BYTES))

    def derive(self, context: KeyContext, *, salt: bytes | None = None, draw: int = 0) -> CopyKey:
        """The copy's key for this context.

        1. HKDF-SHA256 (RFC 5869) of the secret without salt, info = `context.info()`.
        2. With a salt: HKDF-SHA256 of step 1's key with this salt, info = the length-prefixed
           "variegate-salted-key-v1". The secret without the salt reveals nothing about the key.
        3. With a draw above 0: the sub-key "draw-<draw>" of the key so far.

        Args:
            context: what the key is bound to.
            salt: 16 random bytes of this copy alone; without them the key cannot be derived again.
            draw: how often the key is drawn again, because an earlier one came too close to another copy's.

        Raises:
            InputError: if the salt has not 16 bytes, or the draw is not in 0..2**31-1.
            SecretError: if the secret was wiped.
        """
        try:
            expand = self._expand
        except AttributeError:
            expand = KeyedHash(extract(self._alive()))
            object.__setattr__(self, "_expand", expand)
        key = CopyKey.from_bytes(expand.digest(context.info() + b"\x01"))
        if salt is not None:
            if not isinstance(salt, bytes) or len(salt) != SALT_BYTES:
                size = f"{len(salt)} bytes" if isinstance(salt, bytes) else f"a {type(salt).__name__}"
                raise InputError(f"a copy's salt must be {SALT_BYTES} bytes; got {size}")
            key = CopyKey.from_bytes(hkdf(key._alive(), _SALTED_INFO, SECRET_BYTES, salt=salt))  # noqa: SLF001
        if draw != 0:
            key = key.subkey(f"draw-{check_integer(draw, 'a draw', 0, _MAX_DRAW)}")
        return key

    def wipe(self) -> None:
        """Overwrite the secret with zeros; from then on every use raises `SecretError`. Again changes nothing."""
        super().wipe()
        with contextlib.suppress(AttributeError):
            object.__delattr__(self, "_expand")


_SALTED_INFO: Final = length_prefixed(_SALTED_FORMAT)


def _purpose(purpose: int) -> int:
    try:
        return Purpose(purpose).value
    except ValueError as error:
        raise InputError(f"a stream's purpose must be one of {[p.name for p in Purpose]}; got {purpose!r}") from error


@cache
def _identifier_info(role: str) -> bytes:
    return length_prefixed(_IDENTIFIER_FORMAT, role) + b"\x01"
