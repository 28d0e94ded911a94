"""Reading copies: one, some, page by page, in bounded memory."""

from collections.abc import Sequence

from sqlalchemy import Connection, func, select

from variegate.errors import ConfigurationError, NotFoundError
from variegate.registry.protocol import MOST_ROWS, CopyRow
from variegate.registry.rows import SELECT_COPIES, copy_row, only
from variegate.registry.schema import copies
from variegate.registry.statuses import pieces
from variegate.types import CopyStatus

PAGE_ROWS = 1000
"""Rows that `copy_page` reads at once."""


def get_copies(connection: Connection, copy_ids: Sequence[str]) -> dict[str, CopyRow]:
    """See `Store.get_copies`."""
    found: dict[str, CopyRow] = {}
    for piece in pieces(copy_ids):
        query = SELECT_COPIES.where(copies.c.copy_id.in_(piece))
        found.update((row["copy_id"], copy_row(row)) for row in connection.execute(query).mappings())
    return found


def copy_number(connection: Connection, copy_id: str) -> int:
    """Return the number of a copy.

    Raises:
        NotFoundError: if there is no copy of this name.
    """
    number = connection.scalar(select(copies.c.id).where(copies.c.copy_id == copy_id))
    if number is None:
        raise NotFoundError(f"there is no copy named {copy_id!r}; see: variegate copies ls")
    return int(number)


def copy_page(
    connection: Connection,
    *,
    after: int,
    model: str | None = None,
    buyer: str | None = None,
    status: CopyStatus | None = None,
    limit: int = PAGE_ROWS,
) -> tuple[list[CopyRow], int]:
    """Return the next copies behind number `after` that match every filter, and the number of the last of them."""
    query = only(SELECT_COPIES, model=model, buyer=buyer, status=status).where(copies.c.id > after)
    found = connection.execute(query.order_by(copies.c.id).limit(limit)).mappings().all()
    return [copy_row(row) for row in found], found[-1]["id"] if found else after


def list_copies(
    connection: Connection,
    *,
    model: str | None = None,
    buyer: str | None = None,
    status: CopyStatus | None = None,
    limit: int | None = None,
    offset: int = 0,
) -> list[CopyRow]:
    """See `Store.list_copies`."""
    if not 0 <= offset <= MOST_ROWS or not (limit is None or 0 <= limit <= MOST_ROWS):
        raise ConfigurationError(f"limit and offset must be from 0 to {MOST_ROWS}; got {limit} and {offset}")
    query = only(SELECT_COPIES, model=model, buyer=buyer, status=status).order_by(copies.c.id)
    return [copy_row(row) for row in connection.execute(query.limit(limit).offset(offset)).mappings()]


def count_copies(
    connection: Connection, *, model: str | None = None, buyer: str | None = None, status: CopyStatus | None = None
) -> int:
    """See `Store.count_copies`."""
    query = select(func.count()).select_from(copies)
    return int(connection.scalar(only(query, model=model, buyer=buyer, status=status)) or 0)


def last_epochs(connection: Connection, model: str, buyers: Sequence[str]) -> dict[str, int]:
    """See `Store.last_epochs`."""
    found: dict[str, int] = {}
    for piece in pieces(buyers):
        query = only(select(copies.c.buyer, func.max(copies.c.epoch)), model=model).where(copies.c.buyer.in_(piece))
        found.update((buyer, epoch) for buyer, epoch in connection.execute(query.group_by(copies.c.buyer)))
    return found
