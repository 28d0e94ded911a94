"""API keys of buyers, by the SHA-256 of the key: who has the registry cannot use them."""

from sqlalchemy import Connection, RowMapping, insert, or_, select, update

from variegate.errors import ConfigurationError, ConflictError, NotFoundError
from variegate.registry.events import append, row_digest
from variegate.registry.protocol import ApiKeyRow
from variegate.registry.rows import next_id
from variegate.registry.schema import api_keys, copies


def add_api_key(
    connection: Connection, buyer: str, *, identifier: str, digest: bytes, expires_at: int | None, at: int
) -> ApiKeyRow:
    """See `Store.add_api_key`."""
    if len(digest) != 32:
        raise ConfigurationError(f"an API key is recorded by its SHA-256, 32 bytes; got {len(digest)}")
    if connection.scalar(select(copies.c.id).where(copies.c.buyer == buyer).limit(1)) is None:
        raise NotFoundError(f"no copy was issued to buyer {buyer!r}; issue one before an API key")
    same = or_(api_keys.c.identifier == identifier, api_keys.c.digest == digest)
    if connection.scalar(select(api_keys.c.id).where(same).limit(1)) is not None:
        raise ConflictError(f"the API key {identifier} is recorded already; make a new one")
    values = {
        "identifier": identifier,
        "buyer": buyer,
        "digest": digest,
        "added_at": at,
        "expires_at": expires_at,
    }
    connection.execute(insert(api_keys).values(id=next_id(connection, api_keys), **values))
    append(connection, at=at, kind="api_key_added", body={"identifier": identifier, "row": row_digest(values)})
    return ApiKeyRow(identifier=identifier, buyer=buyer, added_at=at, expires_at=expires_at)


def find_api_key(connection: Connection, digest: bytes) -> ApiKeyRow | None:
    """See `Store.find_api_key`."""
    found = connection.execute(select(api_keys).where(api_keys.c.digest == digest)).mappings().first()
    return None if found is None else _api_key(found)


def list_api_keys(connection: Connection, *, buyer: str | None) -> list[ApiKeyRow]:
    """See `Store.list_api_keys`."""
    query = select(api_keys).order_by(api_keys.c.id)
    if buyer is not None:
        query = query.where(api_keys.c.buyer == buyer)
    return [_api_key(row) for row in connection.execute(query).mappings()]


def revoke_api_key(connection: Connection, identifier: str, *, at: int) -> None:
    """See `Store.revoke_api_key`."""
    found = connection.execute(select(api_keys).where(api_keys.c.identifier == identifier)).mappings().first()
    if found is None:
        raise NotFoundError(f"there is no API key {identifier!r} in the registry; check its identifier")
    if found["revoked_at"] is None:
        connection.execute(update(api_keys).where(api_keys.c.id == found["id"]).values(revoked_at=at))
        append(connection, at=at, kind="api_key_revoked", body={"identifier": identifier, "revoked_at": at})


def _api_key(row: RowMapping) -> ApiKeyRow:
    return ApiKeyRow(
        identifier=row["identifier"],
        buyer=row["buyer"],
        added_at=row["added_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
    )
