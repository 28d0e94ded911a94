"""Compares the salts that are there with the digests in the entries about their copies' issue.

The digest of a salt that was forgotten since stands in the entry that forgot it, so the others can still be checked.
Entries of earlier versions hold no digests; their copies' salts are not checked.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import final

from sqlalchemy import Connection

from variegate.registry.chain import salt_digest
from variegate.registry.events import event_page

_PAGE = 20


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SaltGroup:
    """Copies that were issued in one entry of the log.

    Attributes:
        entry: its number.
        first: the first number of its copies.
        last: the last number of its copies.
        digest: `variegate.registry.chain.lines_digest` over `salt_digest` of those that are salted.
    """

    entry: int
    first: int
    last: int
    digest: str


@final
class SaltCheck:
    """Takes in salted copies by ascending number and compares each group as soon as its last copy is passed.

    Args:
        groups: in the order of the log, which is that of their copies.
        forgotten: number of a copy -> digest of the salt that it had.
    """

    def __init__(self, groups: Iterator[SaltGroup], forgotten: Mapping[int, str]) -> None:
        self._groups = groups
        self._forgotten = forgotten
        self._open()

    def add(self, number: int, copy_id: str, salt: object) -> SaltGroup | None:
        """Take in the next salted copy, None for a forgotten salt; return a group before it that does not match."""
        while self._group is not None and number > self._group.last:
            if bad := self._close():
                return bad
        if self._group is not None and number >= self._group.first:
            digest = self._forgotten.get(number) if salt is None else _digest(copy_id, salt)
            if digest is None:
                self._whole = False
            else:
                self._summed.update(digest.encode() + b"\n")
        return None

    def finish(self) -> SaltGroup | None:
        """Return the first of the last groups that does not match, or None."""
        while self._group is not None:
            if bad := self._close():
                return bad
        return None

    def _open(self) -> None:
        self._group = next(self._groups, None)
        self._summed, self._whole = hashlib.sha256(), True

    def _close(self) -> SaltGroup | None:
        group, whole, found = self._group, self._whole, "sha256:" + self._summed.hexdigest()
        self._open()
        return group if whole and group is not None and found != group.digest else None


def salt_groups(connection: Connection) -> Iterator[SaltGroup]:
    """Read from the log, which is checked by now, which copies were issued together and bound to their salts."""
    after = 0
    while page := event_page(connection, after=after, limit=_PAGE):
        for entry in page:
            if entry.kind == "issued" and "salts" in entry.body:
                first, last, digest = (entry.body[key] for key in ("first", "last", "salts"))
                yield SaltGroup(entry=entry.seq, first=first, last=last, digest=digest)
        after = page[-1].seq


def _digest(copy_id: str, salt: object) -> str:
    return salt_digest(copy_id, salt) if isinstance(salt, bytes) else "no bytes"  # SQLite keeps what it is given
