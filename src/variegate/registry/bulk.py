"""Recording many copies at once: few statements for thousands of rows, and a clear word when one conflicts."""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import IntegrityError

from variegate.errors import ConflictError, NotFoundError
from variegate.registry.protocol import CopyRow
from variegate.registry.schema import buyers, copies, models, specs
from variegate.types import CopyStatus

__all__ = ["CHUNK_ROWS", "insert_copies"]

CHUNK_ROWS = 5000
"""Rows per statement: bounds the memory, and stays under SQLite's limit of 32,766 values in one statement."""

_ADD_BUYER = insert(buyers).on_conflict_do_nothing()
_ADD_COPY = insert(copies).values(
    copy_id=bindparam("row_copy_id"),
    buyer_id=select(buyers.c.id).where(buyers.c.name == bindparam("row_buyer")).scalar_subquery(),
    model_id=bindparam("row_model"),
    spec_id=bindparam("row_spec"),
    epoch=bindparam("row_epoch"),
    status=bindparam("row_status"),
    issued_at=bindparam("row_issued_at"),
)
_ADD_COPY_OR_KEEP = _ADD_COPY.on_conflict_do_nothing(index_elements=[copies.c.copy_id])


def insert_copies(connection: Connection, rows: Sequence[CopyRow], *, keep_existing: bool) -> int:
    """Insert `rows` inside the transaction of `connection` and return how many are new.

    Args:
        connection: inside a transaction that holds the write lock.
        rows: at most `CHUNK_ROWS` copies.
        keep_existing: pass over a row whose `copy_id` is recorded already and active.

    Raises:
        ConflictError: naming the first buyer, in the order of `rows`, who holds another copy for this model and epoch,
            or whose copy is no longer active.
        NotFoundError: if a model or a spec is not recorded.
    """
    model_ids = {pair: _model_id(connection, *pair) for pair in {(row.model, row.model_digest) for row in rows}}
    spec_ids = {digest: _spec_id(connection, digest) for digest in {row.spec_digest for row in rows}}
    values = [
        {
            "row_copy_id": row.copy_id,
            "row_buyer": row.buyer,
            "row_model": model_ids[row.model, row.model_digest],
            "row_spec": spec_ids[row.spec_digest],
            "row_epoch": row.epoch,
            "row_status": row.status.value,
            "row_issued_at": row.issued_at,
        }
        for row in rows
    ]
    connection.execute(_ADD_BUYER, [{"name": row.buyer} for row in rows])
    statement = _ADD_COPY_OR_KEEP if keep_existing else _ADD_COPY
    try:
        with connection.begin_nested():
            added = connection.execute(statement, values, execution_options={"preserve_rowcount": True}).rowcount
    except IntegrityError as error:
        raise _first_conflict(connection, rows, keep_existing=keep_existing) or error from error
    if added < len(rows):
        _check_active(connection, rows)
    return added


def _first_conflict(connection: Connection, rows: Sequence[CopyRow], *, keep_existing: bool) -> ConflictError | None:
    """Who conflicts first; the rows themselves are rolled back, earlier pieces of the same transaction are not."""
    query = (
        select(models.c.name, buyers.c.name, copies.c.epoch, copies.c.copy_id)
        .select_from(copies)
        .join(models)
        .join(buyers)
        .where(buyers.c.name.in_([row.buyer for row in rows]))
    )
    held = {(model, buyer, epoch): copy_id for model, buyer, epoch, copy_id in connection.execute(query)}
    for row in rows:
        known = held.get((row.model, row.buyer, row.epoch))
        if known is None or (keep_existing and known == row.copy_id):
            held[row.model, row.buyer, row.epoch] = row.copy_id
            continue
        return ConflictError(
            f"buyer {row.buyer!r} holds copy {known} of model {row.model!r} for epoch {row.epoch} already; "
            "nothing was recorded"
        )
    return None


def _check_active(connection: Connection, rows: Sequence[CopyRow]) -> None:
    """Refuse to pass over a copy that was revoked or superseded."""
    query = (
        select(copies.c.copy_id, copies.c.status, buyers.c.name)
        .join(buyers)
        .where(copies.c.copy_id.in_([row.copy_id for row in rows]), copies.c.status != CopyStatus.ACTIVE.value)
        .order_by(copies.c.id)
    )
    if found := connection.execute(query).first():
        raise ConflictError(
            f"copy {found.copy_id} of buyer {found.name!r} is {found.status}; nothing was recorded: issue a later epoch"
        )


def _model_id(connection: Connection, name: str, digest: str) -> int:
    found = connection.scalar(select(models.c.id).where(models.c.name == name, models.c.digest == digest))
    if found is None:
        raise NotFoundError(f"there is no model named {name!r} with digest {digest} in the registry; import it first")
    return int(found)


def _spec_id(connection: Connection, digest: str) -> int:
    found = connection.scalar(select(specs.c.id).where(specs.c.digest == digest))
    if found is None:
        raise NotFoundError(f"there is no rewriter spec with digest {digest} in the registry; save it first")
    return int(found)
