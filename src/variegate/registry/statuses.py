"""Moving copies from one state to another, with the entry in the log; `variegate.registry.state` says which may."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from sqlalchemy import Connection, select, update

from variegate.errors import NotFoundError
from variegate.registry.events import append
from variegate.registry.schema import copies
from variegate.registry.state import check_step
from variegate.types import CopyStatus

CHUNK_ROWS = 5000
"""Rows per statement: bounds the memory, and stays under the databases' limits of 32,766 and 65,535 values."""

_T = TypeVar("_T")


def pieces(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Cut a sequence into pieces of at most `CHUNK_ROWS`."""
    for start in range(0, len(values), CHUNK_ROWS):
        yield values[start : start + CHUNK_ROWS]


def change(connection: Connection, copy_ids: Sequence[str], status: CopyStatus, *, at: int, reason: str) -> int:
    """Move copies to another state inside a writing transaction and return how many were not there already.

    Raises:
        ConflictError: if the state machine forbids the step for one of them.
        NotFoundError: if one of them is not recorded.
    """
    changed = 0
    for piece in pieces(list(dict.fromkeys(copy_ids))):
        query = select(copies.c.copy_id, copies.c.id, copies.c.status).where(copies.c.copy_id.in_(piece))
        found = {row.copy_id: row for row in connection.execute(query)}
        moving = []
        for copy_id in piece:
            if copy_id not in found:
                raise NotFoundError(
                    f"there is no copy named {copy_id!r}; nothing was changed, see: variegate copies ls"
                )
            if check_step(copy_id, CopyStatus(found[copy_id].status), status):
                moving.append((int(found[copy_id].id), copy_id))
        mark(connection, moving, status, at=at, reason=reason)
        changed += len(moving)
    return changed


def mark(
    connection: Connection, moving: Sequence[tuple[int, str]], status: CopyStatus, *, at: int, reason: str
) -> None:
    """Write the new state of copies that may take it, and the entries of the log.

    Args:
        connection: in a writing transaction.
        moving: number and name of each copy.
        status: where they go.
        at: Unix time in whole seconds.
        reason: why, for the log.
    """
    for piece in pieces(moving):
        connection.execute(
            update(copies).where(copies.c.id.in_([number for number, _ in piece])).values(status=status.value)
        )
        body = {"copies": [copy_id for _, copy_id in piece], "reason": reason, "to": status.value}
        append(connection, at=at, kind="status_changed", body=body)
