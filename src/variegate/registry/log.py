"""The log: one entry for every change, appended in the change's transaction and bound to the one before by its hash.

    hash of an entry = "sha256:" + SHA-256("variegate-event-v1", a zero byte,
                                           canonical JSON of {"at", "body", "kind", "previous", "seq"})

    digest of a salt = "sha256:" + SHA-256("variegate-salt-v1", a zero byte, the copy's name, a zero byte, the salt)

`previous` is the hash of the entry before it, `ZERO` for the first: changing, removing, inserting or reordering entries
changes every hash after them. These definitions are a format: they do not change without a new version.

The end of the log is also written to `meta`, so that a log whose last entries were cut off is noticed. Triggers refuse
to change or remove an entry; dropping the triggers is found by `variegate.registry.verify`.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, insert, select, update

from variegate.errors import InputError
from variegate.manifest import canonical_json, digest, load_json
from variegate.registry.engine import transaction_time
from variegate.registry.registry import Registry
from variegate.registry.rows import CopyRow, EventRow, LogHead
from variegate.registry.schema import events, meta

ZERO = "sha256:" + "0" * 64
"""What the first entry names as its previous hash."""
HEAD_KEY = "log_head"
"""Under this key `meta` remembers the end of the log: its number, a space, its hash."""
EVENTS_PAGE = 20
"""Entries that are read at once: the longest name thousands of copies."""

_MAX_DIGITS = 10
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
        InputError: if a string contains a lone surrogate.
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
        raise InputError("a string for the registry must be valid Unicode; it contains a lone surrogate") from error


def salt_digest(copy_id: str, salt: bytes) -> str:
    """Digest of the salt of a copy: it tells whether the salt is still the one that was recorded, and nothing of it."""
    return "sha256:" + hashlib.sha256(b"variegate-salt-v1\0" + copy_id.encode() + b"\0" + salt).hexdigest()


def lines_digest(lines: Iterable[bytes]) -> str:
    """Digest of lines, each ended by a line feed."""
    summed = hashlib.sha256()
    for line in lines:
        summed.update(line + b"\n")
    return "sha256:" + summed.hexdigest()


def append(connection: Connection, kind: str, body: Mapping[str, Any]) -> LogHead:
    """Append one entry inside a writing transaction and return the new end.

    Args:
        connection: in a writing transaction.
        kind: what happened.
        body: the details, plain JSON without secrets.
    """
    at, before = transaction_time(connection), log_head(connection)
    seq = before.seq + 1
    after = LogHead(seq=seq, hash=event_hash(seq=seq, at=at, kind=kind, body=body, previous=before.hash))
    connection.execute(
        insert(events).values(
            seq=seq,
            at=at,
            kind=kind,
            body=canonical_json(body).decode(),
            previous=before.hash,
            hash=after.hash,
        )
    )
    remembered = f"{after.seq} {after.hash}"
    if connection.execute(update(meta).where(meta.c.key == HEAD_KEY).values(value=remembered)).rowcount == 0:
        connection.execute(insert(meta).values(key=HEAD_KEY, value=remembered))
    return after


def log_head(connection: Connection) -> LogHead:
    """Return the last entry's number and hash, as the entries themselves say."""
    found = connection.execute(select(events.c.seq, events.c.hash).order_by(events.c.seq.desc()).limit(1)).first()
    return LogHead(seq=0, hash=ZERO) if found is None else LogHead(seq=found.seq, hash=found.hash)


def remembered_head(connection: Connection) -> LogHead | None:
    """Return the end that `meta` remembers: (0, zeros) if none, None if it is not written as it should be."""
    text = connection.scalar(select(meta.c.value).where(meta.c.key == HEAD_KEY))
    if text is None:
        return LogHead(seq=0, hash=ZERO)
    if not isinstance(text, str):  # SQLite keeps what it is given
        return None
    number, _, hashed = text.partition(" ")
    good = number.isascii() and number.isdecimal() and len(number) <= _MAX_DIGITS
    return LogHead(seq=int(number), hash=hashed) if good else None


def event_page(connection: Connection, *, after: int, limit: int = EVENTS_PAGE) -> list[EventRow]:
    """Return at most `limit` entries behind number `after`.

    Raises:
        FormatError: if a body is not JSON.
    """
    query = select(events).where(events.c.seq > after).order_by(events.c.seq).limit(limit)
    return [
        EventRow(
            seq=row["seq"],
            at=row["at"],
            kind=row["kind"],
            body=load_json(row["body"].encode(errors="surrogateescape"), f"the body of entry {row['seq']} of the log"),
            previous=row["previous"],
            hash=row["hash"],
        )
        for row in connection.execute(query).mappings()
    ]


def events_in(connection: Connection) -> Iterator[EventRow]:
    """Yield all entries of one consistent view, in order, in bounded memory."""
    after = 0
    while page := event_page(connection, after=after):
        yield from page
        after = page[-1].seq


def iterate_events(registry: Registry, *, after: int = 0) -> Iterator[EventRow]:
    """Yield the entries of the log behind number `after`, in order, in bounded memory; each page is one transaction."""
    while page := registry.read(event_page, after=after):
        yield from page
        after = page[-1].seq


def row_digest(values: Mapping[str, Any]) -> str:
    """Digest of a row's unchanging fields, binary ones in hexadecimal: what the entry about the row holds."""
    return digest({key: value.hex() if isinstance(value, bytes) else value for key, value in values.items()})
