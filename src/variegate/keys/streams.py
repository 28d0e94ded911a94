"""From a copy's key to signs, uniform numbers, integers, permutations and derangements."""

from typing import Final

import numpy as np
import numpy.typing as npt

from variegate.errors import SecretError
from variegate.keys.hkdf import check_integer
from variegate.keys.secret import CopyKey, Purpose

DERANGEMENT_ATTEMPTS: Final = 1024

_WORD: Final = 1 << 32
_MAX_STREAM: Final = 1 << 30
_WINDOW: Final = 4096


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
