"""Checks the log against itself and against the rows that it speaks of: nothing edited, removed, inserted or reordered.

What is checked, in this order; the first failure is the report:

1. every entry has the next number, names the hash of the entry before it, and has the hash of its own content;
2. what it speaks of is recorded as it was then: the digests of copies, models, specs, policies, secrets and API keys;
3. the steps of copies, replayed, are those that the state machine allows;
4. the log ends where the registry remembers that it ends, and agrees with a head that was kept elsewhere;
5. every copy has the state, the API keys have the end, and the salts are those that the log says;
6. nothing is recorded that no entry speaks of.

Quotas and the remembered facts (`put_meta`) are not part of the log. Anyone who may write to the database can also
rewrite the whole log, or take the registry back to an earlier state together with its log: only `expect` finds that, so
keep the head of the log elsewhere from time to time. Memory: one byte for each copy, and a digest for each forgotten
salt.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

from sqlalchemy import Connection, RowMapping, select

from variegate.errors import VariegateError
from variegate.manifest import canonical_json, load_json
from variegate.registry.engine import pages
from variegate.registry.log import EVENTS_PAGE, ZERO, event_hash, log_head, remembered_head
from variegate.registry.replay import BadEntryError, Replay
from variegate.registry.rows import EventRow, LogHead
from variegate.registry.schema import events


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LogReport:
    """What `verify_log` found.

    Attributes:
        entries: how many entries, from the first on, are as they should be.
        copies: how many copies these entries speak of.
        head: the end of the log.
        bad_entry: the number of the first bad entry; None if there is none, or a row is bad that no entry speaks of.
        problem: one sentence; None if all is well.
    """

    entries: int
    copies: int
    head: LogHead
    bad_entry: int | None = None
    problem: str | None = None

    @property
    def ok(self) -> bool:
        """Whether all is well."""
        return self.problem is None


def verify_log(
    connection: Connection, *, expect: LogHead | None = None, progress: Callable[[int, int], None] | None = None
) -> LogReport:
    """Check the whole log of a registry in one consistent view.

    Args:
        connection: in a transaction.
        expect: a head of the log that was kept elsewhere.
        progress: called with (rows so far, all rows), where each copy is looked at twice.

    Raises:
        VariegateError: if the registry cannot be read.
    """
    with _texts_of_any_bytes(connection):
        return _verify(connection, expect, progress)


def _verify(connection: Connection, expect: LogHead | None, progress: Callable[[int, int], None] | None) -> LogReport:
    replay = Replay(connection, progress)
    end, done = LogHead(seq=0, hash=ZERO), 0
    bad, problem = None, None
    try:
        for entry in _chained(connection):
            _check_expected(entry, expect)
            replay.apply(entry)
            end, done = LogHead(seq=entry.seq, hash=entry.hash), entry.seq
        _check_end(connection, end, expect)
        replay.finish()
    except BadEntryError as error:
        bad, problem = error.entry, str(error)
        done = min(done, bad - 1) if bad is not None else done
    head = log_head(connection)
    shown = LogHead(seq=head.seq, hash=str(head.hash).encode(errors="backslashreplace").decode())
    return LogReport(entries=done, copies=replay.issued, head=shown, bad_entry=bad, problem=problem)


@contextmanager
def _texts_of_any_bytes(connection: Connection) -> Iterator[None]:
    """Let SQLite return strings that are not UTF-8, with surrogates: no digest can be computed of these."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, sqlite3.Connection):
        yield
        return
    before = driver.text_factory
    driver.text_factory = lambda data: data.decode(errors="surrogateescape")
    try:
        yield
    finally:
        driver.text_factory = before


def _check_expected(entry: EventRow, expect: LogHead | None) -> None:
    if expect is not None and entry.seq == expect.seq and entry.hash != expect.hash:
        raise BadEntryError(entry.seq, f"entry {entry.seq} of the log is not the one whose hash was kept elsewhere")


def _chained(connection: Connection) -> Iterator[EventRow]:
    """Yield the entries while each follows from the one before."""
    before = LogHead(seq=0, hash=ZERO)
    rows = (row for page in pages(connection, select(events), events.c.seq, limit=EVENTS_PAGE) for row in page)
    for row in rows:
        seq = row["seq"]
        if seq != before.seq + 1:
            raise BadEntryError(
                before.seq + 1, f"entry {before.seq + 1} of the log is missing: entry {seq} follows entry {before.seq}"
            )
        entry = _parsed(row)
        if entry.previous != before.hash:
            raise BadEntryError(
                seq, f"entry {seq} of the log does not follow entry {before.seq}: it names another hash before it"
            )
        yield entry
        before = LogHead(seq=seq, hash=entry.hash)


def _parsed(row: RowMapping) -> EventRow:
    """Read one entry; its hash is that of its content."""
    changed = BadEntryError(
        row["seq"], f"entry {row['seq']} of the log was changed: its hash is not that of its content"
    )
    try:
        body = load_json(row["body"].encode(), "the body")
        entry = EventRow(
            seq=row["seq"], at=row["at"], kind=row["kind"], body=body, previous=row["previous"], hash=row["hash"]
        )
        hashed = event_hash(seq=entry.seq, at=entry.at, kind=entry.kind, body=body, previous=entry.previous)
        whole = canonical_json(body) == row["body"].encode()
    except (AttributeError, TypeError, ValueError, VariegateError) as error:
        raise changed from error
    if hashed != entry.hash or not whole:
        raise changed
    return entry


def _check_end(connection: Connection, end: LogHead, expect: LogHead | None) -> None:
    remembered = remembered_head(connection)
    if remembered is None:
        raise BadEntryError(None, "the registry does not remember where its log ends: that fact was changed")
    if remembered != end:
        if remembered.seq > end.seq:
            raise BadEntryError(
                end.seq + 1,
                f"entry {end.seq + 1} of the log is missing: it ends at {end.seq}, and the registry remembers "
                f"{remembered.seq} entries",
            )
        seq = min(remembered.seq + 1, end.seq)
        raise BadEntryError(
            seq, f"entry {seq} of the log was not written by variegate: the registry remembers {remembered.seq} entries"
        )
    if expect is not None and expect.seq == 0 and expect.hash != ZERO:
        raise BadEntryError(None, "the head kept elsewhere is that of an empty log, but has another hash than that")
    if expect is not None and expect.seq > end.seq:
        raise BadEntryError(
            end.seq + 1,
            f"entry {end.seq + 1} of the log is missing: it ends at {end.seq}, and the head kept elsewhere is entry "
            f"{expect.seq}",
        )
