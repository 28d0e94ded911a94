"""The log: one entry for every change, each bound to the one before by its hash, appended in the change's transaction.

The end of the log is written down a second time, in `meta`, so that a log whose last entries were cut off is noticed.
Triggers refuse to change or remove an entry; who drops them is found by `variegate.registry.verify_log`.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, insert, select, update

from variegate.manifest import canonical_json, digest, load_json
from variegate.registry.chain import ZERO, event_hash
from variegate.registry.protocol import EventRow, LogHead
from variegate.registry.schema import events, meta

HEAD_KEY = "log_head"
"""Under this key `meta` remembers the end of the log: its number, a space, its hash."""
_MOST_DIGITS = 10


def append(connection: Connection, *, at: int, kind: str, body: Mapping[str, Any]) -> LogHead:
    """Append one entry inside a writing transaction and return the new end.

    Args:
        connection: in a writing transaction.
        at: Unix time in whole seconds.
        kind: what happened.
        body: the details, plain JSON without secrets.
    """
    before = read_head(connection)
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


def read_head(connection: Connection) -> LogHead:
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
    good = number.isascii() and number.isdecimal() and len(number) <= _MOST_DIGITS
    return LogHead(seq=int(number), hash=hashed) if good else None


def event_page(connection: Connection, *, after: int, limit: int) -> list[EventRow]:
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


def row_digest(values: Mapping[str, Any]) -> str:
    """Digest of a row's unchanging fields, binary ones in hexadecimal: what the entry about the row holds."""
    return digest({key: value.hex() if isinstance(value, bytes) else value for key, value in values.items()})
