"""The log's arithmetic: what an entry's hash and a group of copies' digest are computed from. Pure functions.

    hash of an entry = "sha256:" + SHA-256("variegate-event-v1", a zero byte,
                                           canonical JSON of {"at", "body", "kind", "previous", "seq"})

    digest of a salt = "sha256:" + SHA-256("variegate-salt-v1", a zero byte, the copy's name, a zero byte, the salt)

`previous` is the hash of the entry before it, `ZERO` for the first: whoever changes, removes, inserts or exchanges
entries changes every hash behind them. These definitions are a format: they do not change without a new version.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from variegate.errors import InputError
from variegate.manifest import canonical_json
from variegate.registry.protocol import CopyRow

ZERO = "sha256:" + "0" * 64
"""What the first entry names as its previous hash."""

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")).encode


def event_hash(*, seq: int, at: int, kind: str, body: Mapping[str, Any], previous: str) -> str:
    """Return the hash of an entry.

    Raises:
        InputError: if the body is not plain JSON.
    """
    content = canonical_json({"at": at, "body": body, "kind": kind, "previous": previous, "seq": seq})
    return "sha256:" + hashlib.sha256(b"variegate-event-v1\0" + content).hexdigest()


def copy_line(row: CopyRow) -> bytes:
    """The canonical JSON of what never changes about a copy, that is, of every field but `status`.

    Raises:
        InputError: if a text holds a lone surrogate.
    """
    line = _encode(
        {  # in the order of canonical JSON
            "buyer": row.buyer,
            "copy_id": row.copy_id,
            "draw": row.draw,
            "epoch": row.epoch,
            "expires_at": row.expires_at,
            "issued_at": row.issued_at,
            "key_identifier": row.key_identifier,
            "model": row.model,
            "model_digest": row.model_digest,
            "policy": row.policy,
            "salted": row.salted,
            "secret": row.secret,
            "spec_digest": row.spec_digest,
        }
    )
    try:
        return line.encode()
    except UnicodeEncodeError as error:
        raise InputError("a text for the registry must be valid Unicode; got a lone surrogate in it") from error


def salt_digest(copy_id: str, salt: bytes) -> str:
    """Digest of the salt of a copy: it tells whether the salt is still the one that was recorded, and nothing of it."""
    return "sha256:" + hashlib.sha256(b"variegate-salt-v1\0" + copy_id.encode() + b"\0" + salt).hexdigest()


def lines_digest(lines: Iterable[bytes]) -> str:
    """Digest of lines, each ended by a line feed."""
    summed = hashlib.sha256()
    for line in lines:
        summed.update(line + b"\n")
    return "sha256:" + summed.hexdigest()
