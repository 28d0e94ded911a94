"""Between `CopyRow` and the table `copies`: the query, the two directions, and many rows in at full speed."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, Table, func, select
from sqlalchemy.exc import DBAPIError

from variegate.errors import ConfigurationError, FormatError, InputError
from variegate.registry.protocol import CopyRow
from variegate.registry.schema import copies, models, policies, seller_secrets, specs
from variegate.types import CopyStatus

SELECT_COPIES: Select[Any] = (
    select(
        copies.c.id,
        copies.c.copy_id,
        models.c.name.label("model"),
        models.c.digest.label("model_digest"),
        specs.c.digest.label("spec_digest"),
        copies.c.buyer,
        copies.c.epoch,
        copies.c.status,
        copies.c.issued_at,
        policies.c.name.label("policy"),
        seller_secrets.c.identifier.label("secret"),
        copies.c.key_identifier,
        copies.c.draw,
        copies.c.salted,
        copies.c.expires_at,
    )
    .select_from(copies)
    .join(models)
    .join(specs)
    .outerjoin(policies)
    .outerjoin(seller_secrets)
)
"""Everything about copies; add filters and an order."""


def copy_row(row: RowMapping) -> CopyRow:
    """Turn one row of `SELECT_COPIES` into a `CopyRow`.

    Raises:
        FormatError: if its status is none that this version knows.
    """
    try:
        status = CopyStatus(row["status"])
    except ValueError as error:
        raise FormatError(f"copy {row['copy_id']} has the unknown status {row['status']!r} in the registry") from error
    return CopyRow(
        copy_id=row["copy_id"],
        model=row["model"],
        model_digest=row["model_digest"],
        spec_digest=row["spec_digest"],
        buyer=row["buyer"],
        epoch=row["epoch"],
        status=status,
        issued_at=row["issued_at"],
        policy=row["policy"],
        secret=row["secret"],
        key_identifier=text_of_key(row["key_identifier"]),
        draw=row["draw"],
        salted=row["salted"],
        expires_at=row["expires_at"],
    )


def number_of_key(identifier: str | None) -> int | None:
    """The signed 64-bit number that 16 hexadecimal digits stand for.

    Raises:
        ConfigurationError: if the identifier is written otherwise.
    """
    if identifier is None:
        return None
    if len(identifier) != 16 or not set(identifier) <= set("0123456789abcdef"):
        raise ConfigurationError(f"a key's identifier must be 16 hexadecimal digits; got {identifier[:40]!r}")
    number = int(identifier, 16)
    return number - (1 << 64) if number >> 63 else number


def text_of_key(number: int | None) -> str | None:
    """The 16 hexadecimal digits of a signed 64-bit number."""
    return None if number is None else f"{number & 0xFFFF_FFFF_FFFF_FFFF:016x}"


def only(
    query: Select[Any], *, model: str | None = None, buyer: str | None = None, status: CopyStatus | None = None
) -> Select[Any]:
    """Add filters to a query on `copies`; the model's name becomes its number by a subquery: nothing is joined."""
    if model is not None:
        query = query.where(copies.c.model_id == select(models.c.id).where(models.c.name == model).scalar_subquery())
    if buyer is not None:
        query = query.where(copies.c.buyer == buyer)
    if status is not None:
        query = query.where(copies.c.status == status.value)
    return query


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
        InputError: if a value is none that the database can hold.
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
            f"the registry cannot hold a value for the table {table.name}: a number is too large, or a text is not "
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
