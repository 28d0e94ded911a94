"""The copies of many buyers at once: few statements for thousands of names."""

from collections.abc import Collection, Iterator

from variegate.registry.protocol import CopyRow
from variegate.registry.rows import SELECT_COPIES, copy_row, only
from variegate.registry.schema import copies
from variegate.registry.statuses import pieces
from variegate.registry.store import SqlStore
from variegate.types import CopyStatus


def copies_of_buyers(
    store: SqlStore,
    model: str,
    buyers: Collection[str],
    *,
    epochs: Collection[int] | None = None,
    status: CopyStatus | None = None,
) -> Iterator[CopyRow]:
    """Yield the copies of an original that these buyers hold, in no promised order; each piece is one transaction.

    Args:
        store: the registry.
        model: the original's name.
        buyers: whose copies.
        epochs: only copies of these epochs, at most `CHUNK_ROWS` of them; None for all.
        status: only copies that stand so; None for all.
    """
    for piece in pieces(list(dict.fromkeys(buyers))):
        query = only(SELECT_COPIES, model=model, status=status).where(copies.c.buyer.in_(piece))
        if epochs is not None:
            query = query.where(copies.c.epoch.in_(set(epochs)))
        with store.reading() as connection:
            found = [copy_row(row) for row in connection.execute(query).mappings()]
        yield from found
