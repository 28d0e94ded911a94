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

from variegate.keys.secret import KEY_FORMAT, SALT_BYTES, SECRET_BYTES, CopyKey, KeyContext, Purpose, SellerSecret
from variegate.keys.streams import (
    DERANGEMENT_ATTEMPTS,
    derangement,
    distinct_below,
    integers_below,
    permutation,
    signs,
    uniform24,
)

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
