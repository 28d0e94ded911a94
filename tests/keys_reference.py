"""The format variegate-key-v1 a second time, slow, from RFC 5869, RFC 8439 and the docstrings of keys.py alone.

It shares no code with variegate and uses no NumPy and no cryptography. `python -m tests.keys_reference` prints
tests/golden/keys-v1.json; the vectors are frozen, so the file changes only if a vector is added.
"""

import hashlib
import hmac
import json
from typing import Any

SECRET = bytes(range(32))
CONTEXT = {
    "model_digest": "sha256:" + "ab" * 32,
    "rewriter": "qim",
    "spec_digest": "sha256:" + "cd" * 32,
    "buyer": "acme-1",
    "epoch": 7,
}


def hkdf(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 with SHA-256."""
    prk = hmac.new(salt or bytes(32), secret, hashlib.sha256).digest()
    out, block, counter = b"", b"", 1
    while len(out) < length:
        block = hmac.new(prk, block + info + bytes([counter]), hashlib.sha256).digest()
        out += block
        counter += 1
    return out[:length]


def _quarter_round(s: list[int], a: int, b: int, c: int, d: int) -> None:
    for x, y, z, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        s[x] = (s[x] + s[y]) % 2**32
        v = s[z] ^ s[x]
        s[z] = ((v << turn) | (v >> (32 - turn))) % 2**32


def chacha20_block(key: bytes, counter: int, nonce: bytes) -> bytes:
    """RFC 8439, section 2.3."""
    words = b"expand 32-byte k" + key + counter.to_bytes(4, "little") + nonce
    start = [int.from_bytes(words[i : i + 4], "little") for i in range(0, 64, 4)]
    s = list(start)
    for _ in range(10):
        for i in range(4):
            _quarter_round(s, i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            _quarter_round(s, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return b"".join(((x + y) % 2**32).to_bytes(4, "little") for x, y in zip(s, start, strict=True))


def prefixed(*fields: str) -> bytes:
    return b"".join(len(f.encode()).to_bytes(4, "big") + f.encode() for f in fields)


def info(context: dict[str, Any]) -> bytes:
    names = ("model_digest", "rewriter", "spec_digest", "buyer")
    return prefixed("variegate-key-v1", *(context[name] for name in names), str(context["epoch"]))


def identifier(secret: bytes, role: str) -> str:
    return hkdf(secret, b"", prefixed("variegate-identifier-v1", role), 8).hex()


def subkey(key: bytes, label: str) -> bytes:
    return hkdf(key, b"", prefixed("variegate-subkey-v1", label), 32)


def derive(secret: bytes, context: dict[str, Any], salt: bytes | None = None, draw: int = 0) -> bytes:
    key = hkdf(secret, b"", info(context), 32)
    if salt is not None:
        key = hkdf(key, salt, prefixed("variegate-salted-key-v1"), 32)
    return subkey(key, f"draw-{draw}") if draw else key


class Stream:
    """One stream, taken byte by byte."""

    def __init__(self, key: bytes, purpose: int, class_index: int, index: int) -> None:
        self.key = key
        self.nonce = b"".join(n.to_bytes(4, "little") for n in (purpose, class_index, index))
        self.counter = 0
        self.rest = b""

    def take(self, count: int) -> bytes:
        while len(self.rest) < count:
            self.rest += chacha20_block(self.key, self.counter, self.nonce)
            self.counter += 1
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def word(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def below(self, bound: int) -> int:
        while True:
            word = self.word()
            if word < 2**32 // bound * bound:
                return word % bound


def signs(stream: Stream, count: int) -> list[int]:
    data = stream.take(-(-count // 8))
    return [1 if data[i // 8] >> i % 8 & 1 else -1 for i in range(count)]


def uniform24(stream: Stream, count: int) -> list[int]:
    """Times 2**24."""
    return [stream.word() >> 8 for _ in range(count)]


def integers_below(stream: Stream, bound: int, count: int) -> list[int]:
    return [stream.below(bound) for _ in range(count)]


def distinct_below(stream: Stream, bound: int, count: int) -> list[int]:
    places: dict[int, int] = {}
    for i in range(count):
        j = i + stream.below(bound - i)
        places[i], places[j] = places.get(j, j), places.get(i, i)
    return [places[i] for i in range(count)]


def derangement(key: bytes, purpose: int, class_index: int, index: int, n: int) -> list[int]:
    attempt = 1024 * index
    while True:
        drawn = distinct_below(Stream(key, purpose, class_index, attempt), n, n)
        if all(i != j for i, j in enumerate(drawn)):
            return drawn
        attempt += 1


def vectors() -> dict[str, Any]:
    key = hkdf(SECRET, b"", info(CONTEXT), 32)
    last = 2**32 - 1

    def run(function: Any, name: str, cases: list[list[int]]) -> list[dict[str, Any]]:
        return [
            {"stream": case[:3], name: case[3:], "out": function(Stream(key, *case[:3]), *case[3:])} for case in cases
        ]

    return {
        "format": "variegate-key-v1",
        "secret": SECRET.hex(),
        "secret_identifier": identifier(SECRET, "seller"),
        "context": CONTEXT,
        "info": info(CONTEXT).hex(),
        "copy_key": key.hex(),
        "copy_key_identifier": identifier(key, "copy"),
        "subkeys": {label: subkey(key, label).hex() for label in ("0", "1:qim")},
        "keystream": [
            {"stream": case[:3], "arguments": case[3:], "out": Stream(key, *case[:3]).take(case[3]).hex()}
            for case in ([1, 0, 0, 96], [1, 2, 3, 65], [7, last, last, 16])
        ],
        "signs": run(signs, "arguments", [[1, 0, 0, 40], [4, 1, 0, 13]]),
        "uniform24": run(uniform24, "arguments", [[2, 0, 0, 8], [7, 9, 1, 8]]),
        "integers_below": run(integers_below, "arguments", [[3, 0, 0, 10, 12], [5, 1, 2, 3 * 2**30, 12]]),
        "distinct_below": run(distinct_below, "arguments", [[5, 0, 0, 4096, 12], [6, 3, 0, 3 * 2**30, 12]]),
        "permutation": [
            {"stream": [3, 0, 0], "arguments": [n], "out": distinct_below(Stream(key, 3, 0, 0), n, n)}
            for n in (1, 10, 43)
        ],
        "derangement": [
            {"stream": [3, 0, index], "arguments": [n], "out": derangement(key, 3, 0, index, n)}
            for n, index in ((2, 0), (10, 0), (10, 1), (43, 5))
        ],
        "salts_and_draws": [
            {
                "salt": None if salt is None else salt.hex(),
                "draw": draw,
                "copy_key": (drawn := derive(SECRET, CONTEXT, salt, draw)).hex(),
                "identifier": identifier(drawn, "copy"),
            }
            for salt, draw in (
                (None, 1),
                (None, 2**31 - 1),
                (bytes(range(0xF0, 0x100)), 0),
                (bytes(16), 0),
                (bytes(range(0xF0, 0x100)), 3),
            )
        ],
    }


def as_file() -> str:
    def line(value: Any) -> str:
        return json.dumps(value)

    rows = []
    for name, value in vectors().items():
        if isinstance(value, list):
            rows.append(f'  "{name}": [\n    ' + ",\n    ".join(line(item) for item in value) + "\n  ]")
        else:
            rows.append(f'  "{name}": {line(value)}')
    return "{\n" + ",\n".join(rows) + "\n}\n"


if __name__ == "__main__":
    print(as_file(), end="")  # noqa: T201
