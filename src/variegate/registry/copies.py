"""Copies as they stand in the registry: reading them, moving them from one status to another, salts and quotas.

The life of a copy is a state machine; nothing else decides what may follow what:

- a copy is issued `active`;
- active -> superseded: the buyer has a later one, this one is still theirs;
- active -> revoked and superseded -> revoked: it is no longer valid;
- revoked is the end: no step leads back, a new copy of a later epoch does;
- a step to the same status changes nothing.

The salts of copies whose key can be forgotten are the only secret bytes in a registry. Forgetting erases the row.
SQLite overwrites the erased bytes (`secure_delete`), and its write-ahead log is emptied once nobody reads an older
state. PostgreSQL keeps the erased row in its files until the table `copy_salts` is vacuumed, and in its own log for
longer; that, backups and what the file system keeps are out of the registry's reach. The entry about a copy's issue is
bound to its salt, so that a changed salt is found, and the entry about forgetting it keeps the salt's digest
(`variegate.registry.log.salt_digest`), so that the salts issued with it can still be checked.

Counting queries against a quota is one statement, which the database makes atomic; it is not part of the log.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, TypedDict, TypeVar, Unpack

from sqlalchemy import Connection, RowMapping, Select, delete, func, select, text, update

from variegate.errors import ConfigurationError, ConflictError, FormatError, NotFoundError, QuotaError
from variegate.registry.log import append, salt_digest
from variegate.registry.registry import Registry
from variegate.registry.rows import MAX_ROWS, CopyRow
from variegate.registry.schema import copies, copy_salts, models, policies, quotas, seller_secrets, specs
from variegate.types import CopyStatus


class CopyFilter(TypedDict, total=False):
    """Which copies are meant; what is None or missing is no condition.

    Attributes:
        model: the name of their original.
        buyer: who received them.
        status: where they stand in their life.
    """

    model: str | None
    buyer: str | None
    status: CopyStatus | None


CHUNK_ROWS = 5000
"""Rows per statement: bounds the memory, and stays under the databases' limits of 32,766 and 65,535 values."""
PAGE_ROWS = 1000
"""Rows that `copy_page` reads at once."""

NEXT: dict[CopyStatus, frozenset[CopyStatus]] = {
    CopyStatus.ACTIVE: frozenset({CopyStatus.SUPERSEDED, CopyStatus.REVOKED}),
    CopyStatus.SUPERSEDED: frozenset({CopyStatus.REVOKED}),
    CopyStatus.REVOKED: frozenset(),
}
"""The states that may follow each state."""

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

_SPEND = text(
    "INSERT INTO quotas (copy_id, used) "
    "SELECT id, CAST(:queries AS BIGINT) FROM copies WHERE copy_id = :copy_id AND :queries <= :quota "
    "ON CONFLICT (copy_id) DO UPDATE SET used = quotas.used + excluded.used "
    "WHERE quotas.used + excluded.used <= :quota RETURNING used"
)

_T = TypeVar("_T")


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


def pieces(values: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Cut a sequence into pieces of at most `CHUNK_ROWS`."""
    for start in range(0, len(values), CHUNK_ROWS):
        yield values[start : start + CHUNK_ROWS]


def get_copy(connection: Connection, copy_id: str) -> CopyRow:
    """Return one copy.

    Raises:
        NotFoundError: if there is no copy of this name.
    """
    row = get_copies(connection, [copy_id]).get(copy_id)
    if row is None:
        raise _no_copy(copy_id)
    return row


def get_copies(connection: Connection, copy_ids: Sequence[str]) -> dict[str, CopyRow]:
    """Return those of the named copies that are recorded, by name."""
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
        raise _no_copy(copy_id)
    return int(number)


def copy_page(
    connection: Connection,
    *,
    after: int,
    limit: int = PAGE_ROWS,
    **which: Unpack[CopyFilter],
) -> tuple[list[CopyRow], int]:
    """Return the next copies behind number `after` that match every filter, and the number of the last of them."""
    query = only(SELECT_COPIES, **which).where(copies.c.id > after)
    found = connection.execute(query.order_by(copies.c.id).limit(limit)).mappings().all()
    return [copy_row(row) for row in found], found[-1]["id"] if found else after


def iterate_copies(registry: Registry, **which: Unpack[CopyFilter]) -> Iterator[CopyRow]:
    """Yield the copies that match every given filter, in the order in which they were issued, in bounded memory.

    Each page of rows is one transaction.
    """
    page, last = registry.read(copy_page, after=0, **which)
    while page:
        yield from page
        page, last = registry.read(copy_page, after=last, **which)


def list_copies(
    connection: Connection,
    *,
    limit: int | None = None,
    offset: int = 0,
    **which: Unpack[CopyFilter],
) -> list[CopyRow]:
    """Return the copies that match every given filter, in the order in which they were issued.

    Raises:
        ConfigurationError: if the limit or the offset is below 0 or above `MAX_ROWS`.
    """
    if not 0 <= offset <= MAX_ROWS or not (limit is None or 0 <= limit <= MAX_ROWS):
        raise ConfigurationError(f"limit and offset must be from 0 to {MAX_ROWS}; got {limit} and {offset}")
    query = only(SELECT_COPIES, **which).order_by(copies.c.id)
    return [copy_row(row) for row in connection.execute(query.limit(limit).offset(offset)).mappings()]


def count_copies(connection: Connection, **which: Unpack[CopyFilter]) -> int:
    """Return how many copies match every given filter."""
    query = select(func.count()).select_from(copies)
    return int(connection.scalar(only(query, **which)) or 0)


def last_epochs(connection: Connection, model: str, buyers: Sequence[str]) -> dict[str, int]:
    """Return the highest epoch of each of these buyers' copies of a model; buyers without a copy are left out."""
    found: dict[str, int] = {}
    for piece in pieces(buyers):
        query = only(select(copies.c.buyer, func.max(copies.c.epoch)), model=model).where(copies.c.buyer.in_(piece))
        found.update((buyer, epoch) for buyer, epoch in connection.execute(query.group_by(copies.c.buyer)))
    return found


def copies_of_buyers(
    connection: Connection,
    model: str,
    buyers: Collection[str],
    *,
    epochs: Collection[int] | None = None,
    status: CopyStatus | None = None,
) -> list[CopyRow]:
    """Return the copies of an original that these buyers hold, in no promised order: few statements for many names.

    Args:
        connection: in a transaction.
        model: the original's name.
        buyers: whose copies.
        epochs: only copies of these epochs, at most `CHUNK_ROWS` of them; None for all.
        status: only copies of this status; None for all.
    """
    found: list[CopyRow] = []
    for piece in pieces(list(dict.fromkeys(buyers))):
        query = only(SELECT_COPIES, model=model, status=status).where(copies.c.buyer.in_(piece))
        if epochs is not None:
            query = query.where(copies.c.epoch.in_(set(epochs)))
        found += map(copy_row, connection.execute(query).mappings())
    return found


def check_step(copy_id: str, before: CopyStatus, after: CopyStatus) -> bool:
    """Return whether the step changes anything.

    Raises:
        ConflictError: if the step is forbidden.
    """
    if before == after:
        return False
    if after not in NEXT[before]:
        allowed = " or ".join(sorted(NEXT[before])) or "nothing else"
        raise ConflictError(
            f"copy {copy_id} is {before} and cannot become {after}, only {allowed}; nothing was changed: "
            "issue a later epoch for a new active copy"
        )
    return True


def change_status(connection: Connection, copy_ids: Sequence[str], status: CopyStatus, *, reason: str = "") -> int:
    """Move copies to another status, all or none, and return how many were not there already.

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
                raise _no_copy(copy_id, "nothing was changed, see")
            if check_step(copy_id, CopyStatus(found[copy_id].status), status):
                moving.append((int(found[copy_id].id), copy_id))
        mark(connection, moving, status, reason=reason)
        changed += len(moving)
    return changed


def mark(connection: Connection, moving: Sequence[tuple[int, str]], status: CopyStatus, *, reason: str) -> None:
    """Write the new state of copies that may take it, and the entries of the log.

    Args:
        connection: in a writing transaction.
        moving: number and name of each copy.
        status: where they go.
        reason: why, for the log.
    """
    for piece in pieces(moving):
        connection.execute(
            update(copies).where(copies.c.id.in_([number for number, _ in piece])).values(status=status.value)
        )
        body = {"copies": [copy_id for _, copy_id in piece], "reason": reason, "to": status.value}
        append(connection, "status_changed", body)


def get_salt(connection: Connection, copy_id: str) -> bytes | None:
    """Return the salt of a salted copy, or None: it has none, or it was forgotten."""
    salt = connection.scalar(select(copy_salts.c.salt).join(copies).where(copies.c.copy_id == copy_id))
    return None if salt is None else bytes(salt)


def forget_salt(registry: Registry, copy_id: str) -> bool:
    """Erase the salt of a copy, so that its key can never be derived again.

    Doing it again adds nothing to the log, and tries again to remove the erased bytes from the files.

    Returns:
        Whether the bytes are out of the registry's files. If not, another reader kept the write-ahead log in use.
        A database server's own files are not known here: they keep an erased row until it is vacuumed.

    Raises:
        ConflictError: if the copy never had a salt.
        NotFoundError: if there is no such copy.
    """
    registry.write(_erase_salt, copy_id)
    return registry.emptied_log()


def spend_quota(connection: Connection, copy_id: str, queries: int, *, quota: int) -> int:
    """Count queries against a copy's quota, in one atomic step (`Registry.count`), and return how many are left.

    Raises:
        QuotaError: if fewer than `queries` are left; nothing is counted then.
        NotFoundError: if there is no such copy.
    """
    if not 0 <= queries <= MAX_ROWS or not 0 <= quota <= MAX_ROWS:
        raise ConfigurationError(f"queries and quota must be from 0 to {MAX_ROWS}; got {queries} and {quota}")
    used = connection.execute(_SPEND, {"copy_id": copy_id, "queries": queries, "quota": quota}).scalar()
    if used is not None:
        return quota - int(used)
    left = max(quota - used_quota(connection, copy_id), 0)
    raise QuotaError(
        f"copy {copy_id} has {left} of {quota} queries left, and {queries} were requested; none was counted"
    )


def used_quota(connection: Connection, copy_id: str) -> int:
    """Return how many queries of a copy were counted."""
    number = copy_number(connection, copy_id)
    return int(connection.scalar(select(quotas.c.used).where(quotas.c.copy_id == number)) or 0)


def _erase_salt(connection: Connection, copy_id: str) -> None:
    number = copy_number(connection, copy_id)
    salt = get_salt(connection, copy_id)
    if salt is not None:
        connection.execute(delete(copy_salts).where(copy_salts.c.copy_id == number))
        body = {"copy": copy_id, "salt": salt_digest(copy_id, salt)}
        append(connection, "salt_forgotten", body)
    elif not connection.scalar(select(copies.c.salted).where(copies.c.id == number)):
        raise ConflictError(
            f"copy {copy_id} has no salt: its key comes from the seller's secret alone and cannot be forgotten"
        )


def _no_copy(copy_id: str, then: str = "see") -> NotFoundError:
    return NotFoundError(f"there is no copy named {copy_id!r}; {then}: variegate copies ls")
