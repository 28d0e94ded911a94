"""Recording many copies at once: few statements for thousands of rows, and a precise error when one conflicts.

Every piece of at most `CHUNK_ROWS` copies gets one entry "issued" in the log. It holds the first and the last number of
its copies, their count, the digests of their models, the digest over `variegate.registry.log.copy_line` of each and,
if any of them is salted, that over `variegate.registry.log.salt_digest` of these.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, final

from sqlalchemy import ColumnElement, Connection, Table, func, or_, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from variegate.errors import ConfigurationError, ConflictError, InputError, NotFoundError
from variegate.registry.copies import CHUNK_ROWS, SELECT_COPIES, copy_row, mark, number_of_key
from variegate.registry.log import append, copy_line, lines_digest, salt_digest
from variegate.registry.rows import CopyRow
from variegate.registry.schema import copies, copy_salts, models, policies, seller_secrets, specs
from variegate.types import CopyStatus

_COLUMNS = tuple(copies.columns.keys())


def add_copies(
    connection: Connection,
    rows: Iterable[CopyRow],
    *,
    keep_existing: bool = False,
    supersede: bool = False,
    salts: Mapping[str, bytes] | None = None,
) -> int:
    """Record copies in a writing transaction and return how many are new; `rows` is read in bounded pieces.

    Args:
        connection: holds the write lock.
        rows: the copies; their models, specs, policies and secrets are recorded before.
        keep_existing: a row whose `copy_id` is recorded already and active is kept as it is, instead of refused.
        supersede: the buyers' active copies of the same model with a lower epoch become superseded.
        salts: copy id -> salt, of rows that are `salted`; looked up when the row is written.

    Raises:
        ConflictError: if a buyer holds another copy for the same model and epoch, or one that is no longer active,
            or a key is in use already; it names the first such buyer. Nothing is recorded then.
        NotFoundError: if a row's model, spec, policy or secret is not recorded.
        ConfigurationError: if a row is salted and has no salt, or a key's identifier is malformed.
    """
    iterator, added = iter(rows), 0
    writer = _CopyWriter(
        connection, keep_existing=keep_existing, supersede=supersede, salts={} if salts is None else salts
    )
    while chunk := list(islice(iterator, CHUNK_ROWS)):
        added += writer.add(chunk)
    return added


@final
class _CopyWriter:
    """Records copies piece by piece inside one writing transaction; `add_copies` says what its arguments mean."""

    def __init__(
        self, connection: Connection, *, keep_existing: bool, supersede: bool, salts: Mapping[str, bytes]
    ) -> None:
        self._connection = connection
        self._keep_existing = keep_existing
        self._supersede = supersede
        self._salts = salts
        self._numbers: dict[tuple[str, ...], int] = {}
        self._next = next_id(connection, copies)

    def add(self, rows: Sequence[CopyRow]) -> int:
        """Record at most `CHUNK_ROWS` copies and return how many are new."""
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
            conflict := _first_conflict(self._connection, rows, keep_existing=True)
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
            raise _first_conflict(self._connection, rows, keep_existing=self._keep_existing) or error from error
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
        append(self._connection, "issued", body)
        for status in sorted({row.status for row in rows} - {CopyStatus.ACTIVE}):
            changed = [row.copy_id for row in rows if row.status == status]
            body = {"copies": changed, "reason": "recorded so", "to": status.value}
            append(self._connection, "status_changed", body)
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
        mark(self._connection, old, CopyStatus.SUPERSEDED, reason="a later copy was issued")

    def _values(self, number: int, row: CopyRow) -> tuple[Any, ...]:
        return (  # in the order of the table's columns
            number_of_key(row.key_identifier),
            row.expires_at,
            row.issued_at,
            number,
            self._model(row),
            self._number(specs, "there is no rewriter spec with digest {} in the registry", digest=row.spec_digest),
            None if row.policy is None else self._number(policies, "there is no policy named {!r}", name=row.policy),
            None
            if row.secret is None
            else self._number(seller_secrets, "there is no seller secret {} in the registry", identifier=row.secret),
            row.epoch,
            row.draw,
            row.salted,
            row.status.value,
            row.copy_id,
            row.buyer,
        )

    def _model(self, row: CopyRow) -> int:
        missing = "there is no model named {!r} with digest {} in the registry"
        return self._number(models, missing, name=row.model, digest=row.model_digest)

    def _number(self, table: Table, missing: str, **fields: str) -> int:
        """The number of the row with these fields; looked up once per transaction."""
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


def next_id(connection: Connection, table: Table) -> int:
    """The number of the next row, inside a transaction that holds the write lock."""
    return int(connection.scalar(select(func.coalesce(func.max(table.c.id), 0))) or 0) + 1


def insert_rows(connection: Connection, table: Table, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Insert many rows by the database's fastest way: COPY on PostgreSQL, one prepared statement on SQLite.

    Args:
        connection: in a writing transaction.
        table: into which.
        columns: its columns that the rows hold; the others get their defaults.
        rows: values as the driver takes them.

    Raises:
        InputError: if the database cannot hold a value.
    """
    names = ", ".join(f'"{column}"' for column in columns)
    try:
        if connection.dialect.name == "sqlite":
            values = [tuple(row) for row in rows]
            marks = ", ".join("?" * len(columns))
            if values:
                connection.exec_driver_sql(f'INSERT INTO "{table.name}" ({names}) VALUES ({marks})', values)  # noqa: S608
        else:
            _copy_in(connection, f'COPY "{table.name}" ({names}) FROM STDIN', rows)
    except (OverflowError, UnicodeError) as error:
        raise InputError(
            f"the registry cannot hold a value for the table {table.name}: a number is too large, or a string is not "
            "valid Unicode; nothing was recorded"
        ) from error


def _copy_in(connection: Connection, statement: str, rows: Iterable[Sequence[Any]]) -> None:
    import psycopg

    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise ConfigurationError("a registry on PostgreSQL needs the driver psycopg")
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except psycopg.Error as error:
        raise DBAPIError.instance(statement, None, error, psycopg.Error) from error


def _first_conflict(connection: Connection, rows: Sequence[CopyRow], *, keep_existing: bool) -> ConflictError | None:
    """Return the error for the first of `rows` that conflicts with the registry or the rows before it.

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
