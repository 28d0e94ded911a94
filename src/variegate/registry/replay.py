"""Plays the log again, entry by entry, and compares it with the rows of the registry; see `variegate.registry.verify`.

Salts are compared with the digests in the entries about their copies' issue. The digest of a salt that was forgotten
since is in the entry that forgot it, so the others can still be checked.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, final

from sqlalchemy import Connection, Table, func, select, type_coerce
from sqlalchemy.types import NullType

from variegate.errors import VariegateError
from variegate.registry.copies import NEXT, SELECT_COPIES, copy_row, pieces
from variegate.registry.engine import pages
from variegate.registry.log import copy_line, events_in, row_digest, salt_digest
from variegate.registry.records import LOGGED
from variegate.registry.rows import EventRow
from variegate.registry.schema import api_keys, copies, copy_salts
from variegate.types import CopyStatus

_PAGE = 1000
_STATES = tuple(CopyStatus)
_FORGOTTEN = 0x80
_CHANGING = {"id", "revoked_at"}  # what the digest of a row leaves out
_MARKS = {"restored"}  # entries that speak of no row
_MAX_NUMBER = 2**31 - 1


class BadEntryError(Exception):
    """The first thing that is wrong: the number of the entry, or None, and a sentence."""

    def __init__(self, entry: int | None, problem: str) -> None:
        super().__init__(problem.encode(errors="backslashreplace").decode())  # what was changed may be invalid UTF-8
        self.entry = entry


@final
class Replay:
    """What the log says so far, compared with the rows.

    Args:
        connection: one consistent view.
        progress: called with (rows so far, all rows).
    """

    def __init__(self, connection: Connection, progress: Callable[[int, int], None] | None) -> None:
        self._connection = connection
        self._progress = progress
        self._total = 2 * int(connection.scalar(select(func.count()).select_from(copies)) or 0)
        self._done = 0
        self._states = bytearray(1)  # by the number of the copy; number 0 is nobody's
        self._named: dict[str, set[str]] = {table.name: set() for table, _ in LOGGED.values()}
        self._last = dict.fromkeys(self._named, 0)  # the number of the last row that was added
        self._revoked: dict[str, int] = {}
        self._forgotten: dict[int, str] = {}  # number of a copy -> digest of the salt that it had, if it was kept
        self._salts_bound = False

    @property
    def issued(self) -> int:
        """How many copies the entries so far speak of."""
        return len(self._states) - 1

    def apply(self, entry: EventRow) -> None:
        """Compare one entry with the rows.

        Raises:
            BadEntryError: if they do not agree.
        """
        try:
            if entry.kind == "issued":
                self._issued(entry)
            elif entry.kind == "status_changed":
                self._status_changed(entry)
            elif entry.kind == "salt_forgotten":
                self._salt_forgotten(entry)
            elif entry.kind == "api_key_revoked":
                self._revoked[entry.body["identifier"]] = entry.body["revoked_at"]
            elif entry.kind in LOGGED:
                self._added(entry, *LOGGED[entry.kind])
            elif entry.kind not in _MARKS:
                raise _bad(entry, "is of no kind that this version knows")
        except (AttributeError, KeyError, TypeError, ValueError, VariegateError) as error:
            raise _bad(entry, "and what it speaks of do not fit together") from error

    def finish(self) -> None:
        """Compare the end of the log with all rows.

        Raises:
            BadEntryError: if they do not agree.
        """
        try:
            self._check_copies()
            self._check_tables()
        except (TypeError, ValueError) as error:
            problem = "a row of the registry holds what its table cannot hold: it was changed"
            raise BadEntryError(None, problem) from error

    def _check_copies(self) -> None:
        groups = _salt_groups(self._connection) if self._salts_bound else iter(())
        salts, check = 0, _SaltCheck(groups, self._forgotten)
        for number, copy_id, status, salted, salt in self._copies():
            self._step(1)
            has_salt = salt is not None
            if not 0 < number < len(self._states):
                raise BadEntryError(None, f"copy {copy_id} is recorded, but no entry of the log speaks of it")
            state = self._states[number]
            said = _STATES[state & ~_FORGOTTEN]
            if status != said:
                raise self._about(copy_id, number, f"copy {copy_id} is recorded as {status}, and the log says {said}")
            if has_salt != (salted and not state & _FORGOTTEN):
                what = "was forgotten or never there, but is recorded" if has_salt else "is missing"
                raise self._about(copy_id, number, f"the salt of copy {copy_id} {what}")
            salts += has_salt
            if salted and (group := check.add(number, copy_id, salt)):
                raise _changed_salts(group)
        if group := check.finish():
            raise _changed_salts(group)
        if salts != self._connection.scalar(select(func.count()).select_from(copy_salts)):
            raise BadEntryError(None, "a salt is recorded that belongs to no copy")

    def _check_tables(self) -> None:
        for kind, (table, name) in LOGGED.items():
            for found in self._connection.scalars(select(table.c[name]).order_by(table.c.id)):
                if found not in self._named[table.name]:
                    raise BadEntryError(
                        None, f"{found} stands in the table {table.name}, but no entry {kind!r} of the log speaks of it"
                    )
        self._check_api_keys()

    def _issued(self, entry: EventRow) -> None:
        first, last, count = (_number(entry.body[key]) for key in ("first", "last", "count"))
        if first != len(self._states) or last - first + 1 != count or count < 1:
            raise _bad(entry, f"speaks of copies {first} to {last}, which do not follow those before it")
        summed, found = hashlib.sha256(), 0
        query = SELECT_COPIES.where(copies.c.id.between(first, last))
        for page in pages(self._connection, query, copies.c.id, limit=_PAGE):
            for row in page:
                summed.update(copy_line(copy_row(row)) + b"\n")
            found += len(page)
            self._step(len(page))
        if found != count:
            raise _bad(entry, f"speaks of {count} copies, and {found} of them are recorded")
        if "sha256:" + summed.hexdigest() != entry.body["rows"]:
            raise _bad(entry, f"speaks of copies that were changed: those numbered {first} to {last}")
        self._states.extend(bytes(count))  # active is the first state
        if "salts" in entry.body:
            _text(entry.body["salts"])
            self._salts_bound = True

    def _status_changed(self, entry: EventRow) -> None:
        after = CopyStatus(entry.body["to"])
        for piece in pieces([_text(name) for name in entry.body["copies"]]):
            numbers = self._numbers(piece)
            for copy_id in piece:
                number = self._known(entry, copy_id, numbers.get(copy_id))
                state = self._states[number]
                before = _STATES[state & ~_FORGOTTEN]
                if after not in NEXT[before]:
                    raise _bad(entry, f"moves copy {copy_id} from {before} to {after}, which cannot be")
                self._states[number] = _STATES.index(after) | state & _FORGOTTEN

    def _salt_forgotten(self, entry: EventRow) -> None:
        copy_id = _text(entry.body["copy"])
        number = self._known(entry, copy_id, self._numbers([copy_id]).get(copy_id))
        if self._states[number] & _FORGOTTEN:
            raise _bad(entry, f"forgets the salt of copy {copy_id} a second time")
        self._states[number] |= _FORGOTTEN
        if "salt" in entry.body:
            self._forgotten[number] = _text(entry.body["salt"])

    def _added(self, entry: EventRow, table: Table, name: str) -> None:
        value = _text(entry.body[name])
        found = self._connection.execute(select(table).where(table.c[name] == value)).mappings().first()
        if found is None or value in self._named[table.name]:
            raise _bad(entry, f"speaks of {value} in the table {table.name}, which is not there, or was there before")
        if row_digest({key: field for key, field in found.items() if key not in _CHANGING}) != entry.body["row"]:
            raise _bad(entry, f"speaks of {value} in the table {table.name}, which was changed")
        if found["id"] <= self._last[table.name]:  # the current secret is the one with the highest number
            raise _bad(
                entry, f"speaks of {value} in the table {table.name}, whose number is not behind those before it"
            )
        self._named[table.name].add(value)
        self._last[table.name] = found["id"]

    def _check_api_keys(self) -> None:
        for row in self._connection.execute(select(api_keys).order_by(api_keys.c.id)).mappings():
            said = self._revoked.get(row["identifier"])
            if row["revoked_at"] != said:
                name = row["identifier"]
                entry = self._last_entry(partial(_names_key, name))
                raise BadEntryError(
                    entry,
                    f"the API key {name} is recorded as revoked at {row['revoked_at']}, and the log says {said} "
                    f"in entry {entry}",
                )

    def _numbers(self, copy_ids: Sequence[str]) -> dict[str, int]:
        query = select(copies.c.copy_id, copies.c.id).where(copies.c.copy_id.in_(copy_ids))
        return {row.copy_id: row.id for row in self._connection.execute(query)}

    def _known(self, entry: EventRow, copy_id: str, number: int | None) -> int:
        if number is None or not 0 < number < len(self._states):
            raise _bad(entry, f"speaks of copy {copy_id}, which is not recorded or was not issued before it")
        return number

    def _copies(self) -> Iterator[tuple[int, str, str, bool, bytes | None]]:
        salt = type_coerce(copy_salts.c.salt, NullType)  # as it is, whatever it is
        columns = (copies.c.id, copies.c.copy_id, copies.c.status, copies.c.salted, salt.label("salt"))
        query = select(*columns).select_from(copies).outerjoin(copy_salts)
        for page in pages(self._connection, query, copies.c.id, limit=_PAGE):
            for row in page:
                yield row["id"], row["copy_id"], row["status"], bool(row["salted"]), row["salt"]

    def _about(self, copy_id: str, number: int, problem: str) -> BadEntryError:
        """Name the last entry that speaks of a copy."""

        def speaks(body: Mapping[str, Any]) -> bool:
            named = body.get("copy") == copy_id or copy_id in body.get("copies", ())
            return named or ("rows" in body and body["first"] <= number <= body["last"])

        entry = self._last_entry(speaks)
        return BadEntryError(entry, f"{problem} in entry {entry}")

    def _last_entry(self, speaks: Callable[[Mapping[str, Any]], bool]) -> int | None:
        last = None
        for entry in events_in(self._connection):
            last = entry.seq if speaks(entry.body) else last
        return last

    def _step(self, rows: int) -> None:
        self._done += rows
        if self._progress is not None and (self._done % _PAGE == 0 or self._done == self._total):
            self._progress(self._done, self._total)


def _names_key(name: str, body: Mapping[str, Any]) -> bool:
    return body.get("identifier") == name


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_NUMBER:
        raise ValueError
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _bad(entry: EventRow, problem: str) -> BadEntryError:
    return BadEntryError(entry.seq, f"entry {entry.seq} of the log ({entry.kind}) {problem}")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _SaltGroup:
    """Copies that were issued in one entry of the log.

    Attributes:
        entry: its number.
        first: the first number of its copies.
        last: the last number of its copies.
        digest: `variegate.registry.log.lines_digest` over `salt_digest` of those that are salted.
    """

    entry: int
    first: int
    last: int
    digest: str


@final
class _SaltCheck:
    """Takes in salted copies by ascending number and compares each group as soon as its last copy is passed.

    Args:
        groups: in the order of the log, which is that of their copies.
        forgotten: number of a copy -> digest of the salt that it had.
    """

    def __init__(self, groups: Iterator[_SaltGroup], forgotten: Mapping[int, str]) -> None:
        self._groups = groups
        self._forgotten = forgotten
        self._open()

    def add(self, number: int, copy_id: str, salt: object) -> _SaltGroup | None:
        """Take in the next salted copy, None for a forgotten salt; return a group before it that does not match."""
        while self._group is not None and number > self._group.last:
            if bad := self._close():
                return bad
        if self._group is not None and number >= self._group.first:
            digest = self._forgotten.get(number) if salt is None else _digest_of_salt(copy_id, salt)
            if digest is None:
                self._whole = False
            else:
                self._summed.update(digest.encode() + b"\n")
        return None

    def finish(self) -> _SaltGroup | None:
        """Return the first of the last groups that does not match, or None."""
        while self._group is not None:
            if bad := self._close():
                return bad
        return None

    def _open(self) -> None:
        self._group = next(self._groups, None)
        self._summed, self._whole = hashlib.sha256(), True

    def _close(self) -> _SaltGroup | None:
        group, whole, found = self._group, self._whole, "sha256:" + self._summed.hexdigest()
        self._open()
        return group if whole and group is not None and found != group.digest else None


def _salt_groups(connection: Connection) -> Iterator[_SaltGroup]:
    """Read from the log, which is checked by now, which copies were issued together and bound to their salts."""
    for entry in events_in(connection):
        if entry.kind == "issued" and "salts" in entry.body:
            first, last, digest = (entry.body[key] for key in ("first", "last", "salts"))
            yield _SaltGroup(entry=entry.seq, first=first, last=last, digest=digest)


def _digest_of_salt(copy_id: str, salt: object) -> str:
    return salt_digest(copy_id, salt) if isinstance(salt, bytes) else "no bytes"  # SQLite keeps what it is given


def _changed_salts(group: _SaltGroup) -> BadEntryError:
    problem = f"a salt of the copies numbered {group.first} to {group.last} is not the one of entry {group.entry}"
    return BadEntryError(group.entry, problem)
