"""Why copies were refused: which buyer, in the order in which they were given, is the first with a conflict."""

from collections.abc import Sequence

from sqlalchemy import Connection, or_, select

from variegate.errors import ConflictError
from variegate.registry.protocol import CopyRow
from variegate.registry.rows import SELECT_COPIES, copy_row, number_of_key
from variegate.registry.schema import copies
from variegate.types import CopyStatus


def first_conflict(connection: Connection, rows: Sequence[CopyRow], *, keep_existing: bool) -> ConflictError | None:
    """Return the error for the first of `rows` that cannot stand beside the registry and the rows before it.

    Args:
        connection: `rows` themselves are rolled back by now, earlier pieces of the same transaction are not.
        rows: at most `CHUNK_ROWS` copies.
        keep_existing: a row that is recorded already and active is no conflict.
    """
    places: dict[tuple[str, str, int], CopyRow] = {}
    names: dict[str, CopyRow] = {}
    keys: dict[str, CopyRow] = {}

    def remember(row: CopyRow) -> None:
        places[row.model, row.buyer, row.epoch] = row
        names[row.copy_id] = row
        if row.key_identifier is not None:
            keys[row.key_identifier] = row

    for row in _recorded(connection, rows):
        remember(row)
    for row in rows:
        known = names.get(row.copy_id)
        if known is not None and keep_existing and known.buyer == row.buyer:
            if known.status != CopyStatus.ACTIVE:
                return ConflictError(
                    f"copy {row.copy_id} of buyer {row.buyer!r} is {known.status}; nothing was recorded: "
                    "issue a later epoch"
                )
            continue
        known = places.get((row.model, row.buyer, row.epoch), known)
        if known is not None:
            return ConflictError(
                f"buyer {known.buyer!r} holds copy {known.copy_id} of model {known.model!r} for epoch {known.epoch} "
                "already; nothing was recorded"
            )
        if row.key_identifier is not None and (owner := keys.get(row.key_identifier)):
            return ConflictError(
                f"the key of a copy for buyer {row.buyer!r} is in use already, by copy {owner.copy_id} of buyer "
                f"{owner.buyer!r}; nothing was recorded: two copies never share a key"
            )
        remember(row)
    return None


def _recorded(connection: Connection, rows: Sequence[CopyRow]) -> list[CopyRow]:
    """The recorded copies that one of `rows` could meet."""
    numbers = [number_of_key(row.key_identifier) for row in rows if row.key_identifier is not None]
    same = or_(
        copies.c.id.in_(select(copies.c.id).where(copies.c.buyer.in_({row.buyer for row in rows}))),
        copies.c.id.in_(select(copies.c.id).where(copies.c.copy_id.in_({row.copy_id for row in rows}))),
        copies.c.id.in_(select(copies.c.id).where(copies.c.key_identifier.in_(numbers))),
    )
    return [copy_row(row) for row in connection.execute(SELECT_COPIES.where(same)).mappings()]
