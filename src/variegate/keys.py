"""From one seller's secret to every copy's key, and from a key to integers, signs and permutations.

    SellerSecret (32 random bytes)
      -> HKDF-SHA256 (RFC 5869, no salt), info = `KeyContext.info()`
      -> where asked for: HKDF-SHA256 with the copy's own salt; a sub-key for the n-th new draw
      -> CopyKey (32 bytes)
      -> ChaCha20 keystream (RFC 8439, block counter from 0), one nonce per (purpose, class index, index)
      -> signs, 24-bit uniform floats, unbiased integers, permutations, derangements

All of it is integer arithmetic on bytes whose order is written down, so that a copy comes out the same on every
machine, NumPy version and device. What is drawn here is frozen by the format version "variegate-key-v1": a change to
any byte needs a new version. Known-answer vectors are in `tests/golden/keys-v1.json`. Imports no torch.

Every stream has the prefix property: asking for more gives the same values first. Except for `derangement`, which
says how it uses the index, two calls with different (purpose, class index, index) use unrelated bytes.
"""

import contextlib
import secrets
import struct
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final, final

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from variegate._key_material import (
    SECRET_BYTES,
    Hidden,
    KeyedHash,
    check_integer,
    check_text,
    extract,
    hkdf,
    length_prefixed,
)
from variegate.errors import InputError, SecretError

__all__ = [
    "DERANGEMENT_ATTEMPTS",
    "KEY_FORMAT",
    "SALT_BYTES",
    "SECRET_BYTES",
    "CopyKey",
    "KeyContext",
    "Purpose",
    "SellerSecret",
    "derangement",
    "distinct_below",
    "integers_below",
    "permutation",
    "signs",
    "uniform24",
]

KEY_FORMAT: Final = "variegate-key-v1"
SALT_BYTES: Final = 16
DERANGEMENT_ATTEMPTS: Final = 1024

_SUBKEY_FORMAT: Final = "variegate-subkey-v1"
_SALTED_FORMAT: Final = "variegate-salted-key-v1"
_MAX_DRAW: Final = 2**31 - 1
_WORD: Final = 1 << 32
_MAX_STREAM: Final = 1 << 30
_WINDOW: Final = 4096


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
    """A seller's secret. Whoever holds it can rebuild every copy issued under it; losing it loses them all."""

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
           "variegate-salted-key-v1". Whoever has the secret but not the salt learns nothing about the key.
        3. With a draw above 0: the sub-key "draw-<draw>" of the key so far.

        Args:
            context: what the key is bound to.
            salt: 16 random bytes of this copy alone; without them the key cannot be derived again.
            draw: how often the key is drawn anew, because an earlier one came too close to another copy's.

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


def signs(key: CopyKey, purpose: Purpose, class_index: int, index: int, count: int) -> npt.NDArray[np.int8]:
    """`count` fair signs, int8 (count,), each -1 or +1.

    Bits are taken from the lowest to the highest of each byte; a 1 gives +1.

    Raises:
        InputError: if an argument is out of range.
    """
    count = check_integer(count, "a count of signs", 0, 8 * _MAX_STREAM)
    stream = np.frombuffer(key.keystream(purpose, class_index, index, -(-count // 8)), dtype=np.uint8)
    bits = np.unpackbits(stream, count=count, bitorder="little").view(np.int8)
    bits <<= 1
    bits -= 1
    return bits


def uniform24(key: CopyKey, purpose: Purpose, class_index: int, index: int, count: int) -> npt.NDArray[np.float32]:
    """`count` uniform numbers, float32 (count,), in [0, 1), each a whole multiple of 2**-24 and so exact.

    Each takes one unsigned 32-bit little-endian word, shifted right by 8.

    Raises:
        InputError: if an argument is out of range.
    """
    words = _words(key, purpose, class_index, index, check_integer(count, "a count of numbers", 0, _MAX_STREAM // 4))
    return (words >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def integers_below(
    key: CopyKey, purpose: Purpose, class_index: int, index: int, bound: int, count: int
) -> npt.NDArray[np.int64]:
    """`count` independent integers, int64 (count,), each uniform on 0..bound-1 without bias.

    Unsigned 32-bit little-endian words are taken in order; one that is not below the largest multiple of `bound` up
    to 2**32 is skipped, the others are taken modulo `bound`.

    Raises:
        InputError: if the bound is not in 1..2**32 or another argument is out of range.
    """
    bound = check_integer(bound, "a bound", 1, _WORD)
    count = check_integer(count, "a count of integers", 0, _MAX_STREAM // 16)
    limit = _WORD - _WORD % bound
    wanted = count * _WORD // limit + 8
    while True:
        words = _words(key, purpose, class_index, index, wanted).astype(np.int64)
        accepted = words[words < limit]
        if len(accepted) >= count:
            return accepted[:count] % bound
        wanted += wanted // 4 + 8


def distinct_below(
    key: CopyKey, purpose: Purpose, class_index: int, index: int, bound: int, count: int
) -> npt.NDArray[np.int64]:
    """`count` different integers, int64 (count,), in 0..bound-1, every ordered choice equally likely.

    The first `count` steps of Fisher and Yates: step i swaps place i of 0..bound-1 with place i + a uniform integer
    below bound - i, which is drawn like those of `integers_below`. Takes memory for `count` numbers, not for `bound`.

    Raises:
        InputError: if the bound is not in 1..2**32, the count is above the bound, or another argument is out of range.
    """
    bound = check_integer(bound, "a bound", 1, _WORD)
    count = check_integer(count, "a count of different integers", 0, min(bound, _MAX_STREAM // 16))
    offsets = _fisher_yates_offsets(key, purpose, class_index, index, bound, count).tolist()
    moved: dict[int, int] = {}
    chosen = np.empty(count, dtype=np.int64)
    for i, offset in enumerate(offsets):
        value = moved.pop(i, i)
        if offset:
            chosen[i] = moved.get(i + offset, i + offset)
            moved[i + offset] = value
        else:
            chosen[i] = value
    return chosen


def permutation(key: CopyKey, purpose: Purpose, class_index: int, index: int, n: int) -> npt.NDArray[np.int64]:
    """A uniform permutation of 0..n-1, int64 (n,): `distinct_below` with bound = count = n.

    Raises:
        InputError: if n is below 1 or another argument is out of range.
    """
    n = check_integer(n, "a permutation's length", 1, _MAX_STREAM // 16)
    return distinct_below(key, purpose, class_index, index, n, n)


def derangement(key: CopyKey, purpose: Purpose, class_index: int, index: int, n: int) -> npt.NDArray[np.int64]:
    """A uniform permutation of 0..n-1 without fixed point, int64 (n,).

    Permutations are drawn until one has no fixed point (about 2.7 draws). The index is the base of the retry's
    counter: draw t = 0, 1, ... is `permutation` with index 1024 * index + t. So derangements of different index never
    share a draw, but do not draw both permutations and derangements from one (purpose, class index).

    Raises:
        InputError: if n is below 2, the index is not in 0..2**22-1, or another argument is out of range.
    """
    n = check_integer(n, "a derangement's length", 2, _MAX_STREAM // 16)
    index = check_integer(index, "a derangement's index", 0, _WORD // DERANGEMENT_ATTEMPTS - 1)
    identity = np.arange(n, dtype=np.int64)
    for attempt in range(DERANGEMENT_ATTEMPTS):
        drawn = permutation(key, purpose, class_index, DERANGEMENT_ATTEMPTS * index + attempt, n)
        if not np.any(drawn == identity):
            return drawn
    raise SecretError(f"no derangement in {DERANGEMENT_ATTEMPTS} draws (chance below 1e-180); the key must be broken")


def _fisher_yates_offsets(
    key: CopyKey, purpose: Purpose, class_index: int, index: int, bound: int, count: int
) -> npt.NDArray[np.int64]:
    bounds = bound - np.arange(count, dtype=np.int64)
    limits = _WORD - _WORD % bounds
    kept = np.empty(count, dtype=np.int64)
    spare = 8
    while True:
        words = _words(key, purpose, class_index, index, count + spare).astype(np.int64)
        done = refused = 0
        while done < count and refused <= spare:
            end = min(count, done + _WINDOW)
            window = words[done + refused : end + refused]
            bad = np.flatnonzero(window >= limits[done:end])
            taken = int(bad[0]) if len(bad) else len(window)
            kept[done : done + taken] = window[:taken]
            done += taken
            refused += len(bad) > 0
        if done == count:
            return kept % bounds
        spare *= 2


def _words(key: CopyKey, purpose: Purpose, class_index: int, index: int, count: int) -> npt.NDArray[np.uint32]:
    return np.frombuffer(key.keystream(purpose, class_index, index, 4 * count), dtype="<u4").astype(np.uint32)


def _purpose(purpose: int) -> int:
    try:
        return Purpose(purpose).value
    except ValueError as error:
        raise InputError(f"a stream's purpose must be one of {[p.name for p in Purpose]}; got {purpose!r}") from error
