"""Recording many copies at once: few statements for thousands of rows, and a clear word when one conflicts.

Every piece of at most `CHUNK_ROWS` copies gets one entry "issued" in the log. It holds the first and the last number of
its copies, their count, the digests of their models, the digest over `variegate.registry.chain.copy_line` of each and,
if any of them is salted, that over `variegate.registry.chain.salt_digest` of these.
"""

from collections.abc import Mapping, Sequence
from typing import Any, final

from sqlalchemy import ColumnElement, Connection, Table, select
from sqlalchemy.exc import IntegrityError

from variegate.errors import ConfigurationError, NotFoundError
from variegate.registry.chain import copy_line, lines_digest, salt_digest
from variegate.registry.conflicts import first_conflict
from variegate.registry.events import append
from variegate.registry.protocol import CopyRow
from variegate.registry.rows import insert_rows, next_id, number_of_key
from variegate.registry.schema import copies, copy_salts, models, policies, seller_secrets, specs
from variegate.registry.statuses import mark
from variegate.types import CopyStatus

_COLUMNS = (
    "id",
    "copy_id",
    "model_id",
    "spec_id",
    "policy_id",
    "secret_id",
    "buyer",
    "epoch",
    "status",
    "issued_at",
    "key_identifier",
    "draw",
    "salted",
    "expires_at",
)


@final
class CopyWriter:
    """Records copies piece by piece inside one writing transaction.

    Args:
        connection: holds the write lock.
        at: Unix time in whole seconds, for the log.
        keep_existing: pass over a row whose `copy_id` is recorded already and active.
        supersede: the buyers' active copies of the same model with a lower epoch become superseded.
        salts: copy id -> salt, of rows that are salted; looked up when the row is written.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        at: int,
        keep_existing: bool = False,
        supersede: bool = False,
        salts: Mapping[str, bytes] | None = None,
    ) -> None:
        self._connection = connection
        self._at = at
        self._keep_existing = keep_existing
        self._supersede = supersede
        self._salts: Mapping[str, bytes] = {} if salts is None else salts
        self._numbers: dict[tuple[str, ...], int] = {}
        self._next = next_id(connection, copies)

    def add(self, rows: Sequence[CopyRow]) -> int:
        """Record at most `CHUNK_ROWS` copies and return how many are new.

        Raises:
            ConflictError: naming the first buyer, in the order of `rows`, whose copy cannot be recorded.
            NotFoundError: if a model, spec, policy or secret is not recorded.
            ConfigurationError: if a row is salted and has no salt, or a key's identifier is not written as one.
        """
        models_used = [self._model(row) for row in rows]
        fresh = self._new(rows) if self._keep_existing else rows
        if fresh:
            self._insert(fresh)
            self._log(fresh)
        if self._supersede:
            self._mark_superseded(rows, models_used)
        return len(fresh)

    def _new(self, rows: Sequence[CopyRow]) -> list[CopyRow]:
        query = select(copies.c.copy_id, copies.c.status).where(copies.c.copy_id.in_([row.copy_id for row in rows]))
        known = {row.copy_id: row.status for row in self._connection.execute(query)}
        if any(status != CopyStatus.ACTIVE.value for status in known.values()) and (
            conflict := first_conflict(self._connection, rows, keep_existing=True)
        ):
            raise conflict
        fresh = {row.copy_id: row for row in reversed(rows) if row.copy_id not in known}  # the first of equals stays
        return list(reversed(fresh.values()))

    def _insert(self, rows: Sequence[CopyRow]) -> None:
        values = [self._values(number, row) for number, row in enumerate(rows, self._next)]
        self._connection.exec_driver_sql("SAVEPOINT piece")  # by hand: a full disk takes SQLAlchemy's savepoints away
        try:
            insert_rows(self._connection, copies, _COLUMNS, values)
        except IntegrityError as error:
            self._connection.exec_driver_sql("ROLLBACK TO SAVEPOINT piece")
            raise first_conflict(self._connection, rows, keep_existing=self._keep_existing) or error from error
        self._connection.exec_driver_sql("RELEASE SAVEPOINT piece")
        salted = [(number, self._salt(row)) for number, row in enumerate(rows, self._next) if row.salted]
        insert_rows(self._connection, copy_salts, ("copy_id", "salt"), salted)

    def _log(self, rows: Sequence[CopyRow]) -> None:
        body: dict[str, Any] = {
            "count": len(rows),
            "first": self._next,
            "last": self._next + len(rows) - 1,
            "models": sorted({row.model_digest for row in rows}),
            "rows": lines_digest(copy_line(row) for row in rows),
        }
        if salted := [row for row in rows if row.salted]:
            body["salts"] = lines_digest(salt_digest(row.copy_id, self._salt(row)).encode() for row in salted)
        append(self._connection, at=self._at, kind="issued", body=body)
        for status in sorted({row.status for row in rows} - {CopyStatus.ACTIVE}):
            changed = [row.copy_id for row in rows if row.status == status]
            body = {"copies": changed, "reason": "recorded so", "to": status.value}
            append(self._connection, at=self._at, kind="status_changed", body=body)
        self._next += len(rows)

    def _mark_superseded(self, rows: Sequence[CopyRow], models_used: Sequence[int]) -> None:
        latest: dict[tuple[str, int], int] = {}
        for row, model in zip(rows, models_used, strict=True):
            latest[row.buyer, model] = max(row.epoch, latest.get((row.buyer, model), 0))
        query = (
            select(copies.c.id, copies.c.copy_id, copies.c.buyer, copies.c.model_id, copies.c.epoch)
            .where(copies.c.status == CopyStatus.ACTIVE.value, copies.c.buyer.in_({row.buyer for row in rows}))
            .order_by(copies.c.id)
        )
        found = self._connection.execute(query).all()
        old = [(row.id, row.copy_id) for row in found if row.epoch < latest.get((row.buyer, row.model_id), 0)]
        mark(self._connection, old, CopyStatus.SUPERSEDED, at=self._at, reason="a later copy was issued")

    def _values(self, number: int, row: CopyRow) -> tuple[Any, ...]:
        return (
            number,
            row.copy_id,
            self._model(row),
            self._number(specs, "there is no rewriter spec with digest {} in the registry", digest=row.spec_digest),
            None if row.policy is None else self._number(policies, "there is no policy named {!r}", name=row.policy),
            None
            if row.secret is None
            else self._number(seller_secrets, "there is no seller secret {} in the registry", identifier=row.secret),
            row.buyer,
            row.epoch,
            row.status.value,
            row.issued_at,
            number_of_key(row.key_identifier),
            row.draw,
            row.salted,
            row.expires_at,
        )

    def _model(self, row: CopyRow) -> int:
        missing = "there is no model named {!r} with digest {} in the registry"
        return self._number(models, missing, name=row.model, digest=row.model_digest)

    def _number(self, table: Table, missing: str, **fields: str) -> int:
        """The number of the row with these fields; asked once for each transaction."""
        key = (table.name, *fields.values())
        if key not in self._numbers:
            wanted: list[ColumnElement[bool]] = [table.c[name] == value for name, value in fields.items()]
            found = self._connection.scalar(select(table.c.id).where(*wanted))
            if found is None:
                raise NotFoundError(missing.format(*fields.values()) + "; record it first")
            self._numbers[key] = int(found)
        return self._numbers[key]

    def _salt(self, row: CopyRow) -> bytes:
        salt = self._salts.get(row.copy_id)
        if not salt:
            raise ConfigurationError(f"copy {row.copy_id} is salted, but no salt came with it; nothing was recorded")
        return salt
