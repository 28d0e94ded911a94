"""Models, specs, policies, the seller's secrets and buyers' API keys: rows that are added once and are in the log.

They never change; an API key alone can be revoked. It is recorded by the SHA-256 of the key, so that the registry is of
no use to somebody who wants to use the keys.

The entry of the log about a row holds its name and `variegate.registry.log.row_digest` over all its fields but the
number, so that a later change of the row is found.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, RowMapping, Table, insert, or_, select, update

from variegate.errors import ConfigurationError, ConflictError, NotFoundError
from variegate.manifest import canonical_json, digest, load_json
from variegate.registry.bulk import next_id
from variegate.registry.engine import transaction_time
from variegate.registry.log import append, row_digest
from variegate.registry.rows import ApiKeyRow, PolicyRow, SecretRow
from variegate.registry.schema import api_keys, copies, meta, models, policies, seller_secrets, specs

if TYPE_CHECKING:
    from variegate.manifest import ModelManifest

LOGGED: dict[str, tuple[Table, str]] = {
    "model_added": (models, "name"),
    "spec_added": (specs, "digest"),
    "policy_added": (policies, "name"),
    "secret_added": (seller_secrets, "identifier"),
    "api_key_added": (api_keys, "identifier"),
}
"""Kind of entry -> the table that it speaks of, and the column that names a row there."""

_SELECT_API_KEYS = select(*(api_keys.c[field.name] for field in fields(ApiKeyRow)))


def put_meta(connection: Connection, key: str, value: str) -> None:
    """Remember a fact about this registry, such as the identifier of the seller's first secret.

    Raises:
        ConflictError: if another value is remembered under this key.
    """
    known = get_meta(connection, key)
    if known is None:
        connection.execute(insert(meta).values(key=key, value=value))
    elif known != value:
        raise ConflictError(f"the registry remembers {key} as {known!r}; it cannot become {value!r}")


def get_meta(connection: Connection, key: str) -> str | None:
    """Return a remembered fact about this registry, or None."""
    value: str | None = connection.scalar(select(meta.c.value).where(meta.c.key == key))
    return value


def add_model(connection: Connection, manifest: "ModelManifest") -> None:
    """Record an original.

    Raises:
        ConflictError: if a model of this name or of this digest is recorded already.
    """
    for name in connection.scalars(
        select(models.c.name).where((models.c.name == manifest.name) | (models.c.digest == manifest.digest))
    ):
        if name == manifest.name:
            raise ConflictError(f"a model named {name!r} exists already; import under another name")
        raise ConflictError(f"this model is recorded already, under the name {name!r}")
    body = canonical_json(manifest.to_dict()).decode()
    _add(connection, "model_added", {"name": manifest.name, "digest": manifest.digest, "manifest": body})


def get_model(connection: Connection, name: str) -> "ModelManifest":
    """Return the manifest of an original.

    Raises:
        NotFoundError: if there is no model of this name.
    """
    body = connection.scalar(select(models.c.manifest).where(models.c.name == name))
    if body is None:
        raise NotFoundError(f"there is no model named {name!r}; see: variegate model ls")
    return _manifest(body)


def list_models(connection: Connection) -> "list[ModelManifest]":
    """Return all originals, oldest first."""
    return [_manifest(body) for body in connection.scalars(select(models.c.manifest).order_by(models.c.id))]


def add_spec(connection: Connection, name: str, spec: Mapping[str, Any]) -> str:
    """Record a rewriter's spec once and return its digest; recording it again changes nothing.

    Args:
        connection: in a writing transaction.
        name: what the seller calls it; the first name stays.
        spec: the spec as a JSON object; its field "rewriter" names the rewriter.
    """
    body = dict(spec)
    named = digest(body)
    if connection.scalar(select(specs.c.id).where(specs.c.digest == named)) is None:
        values = {
            "digest": named,
            "name": name,
            "rewriter": str(body.get("rewriter", "")),
            "body": canonical_json(body).decode(),
        }
        _add(connection, "spec_added", values)
    return named


def get_spec(connection: Connection, named: str) -> dict[str, Any]:
    """Return the spec of this digest as a new dictionary.

    Raises:
        NotFoundError: if it is not recorded.
    """
    body = connection.scalar(select(specs.c.body).where(specs.c.digest == named))
    if body is None:
        raise NotFoundError(f"there is no rewriter spec with digest {named} in the registry; save it first")
    return load_json(body.encode(), "a spec in the registry")


def add_policy(connection: Connection, name: str, body: Mapping[str, Any]) -> None:
    """Record a policy; recording the same again changes nothing.

    Raises:
        ConflictError: if another policy has this name: policies do not change, copies refer to them.
    """
    text = canonical_json(body).decode()
    known = connection.scalar(select(policies.c.body).where(policies.c.name == name))
    if known is None:
        _add(connection, "policy_added", {"name": name, "body": text})
    elif known != text:
        raise ConflictError(
            f"another policy is named {name!r}: policies do not change, copies refer to them; choose another name"
        )


def get_policy(connection: Connection, name: str) -> PolicyRow:
    """Return a policy.

    Raises:
        NotFoundError: if there is no policy of this name.
    """
    found = connection.execute(select(policies).where(policies.c.name == name)).mappings().first()
    if found is None:
        raise NotFoundError(f"there is no policy named {name!r}; see: variegate policy ls")
    return _policy(found)


def list_policies(connection: Connection) -> list[PolicyRow]:
    """Return all policies, oldest first."""
    return [_policy(row) for row in connection.execute(select(policies).order_by(policies.c.id)).mappings()]


def add_secret(connection: Connection, identifier: str, *, provider: str, public_key: str) -> None:
    """Record one of the seller's secrets, which is the current one from now on.

    Raises:
        ConflictError: if a secret with this identifier is recorded already.
    """
    if connection.scalar(select(seller_secrets.c.id).where(seller_secrets.c.identifier == identifier)) is not None:
        raise ConflictError(f"the seller's secret {identifier} is recorded already")
    _add(connection, "secret_added", {"identifier": identifier, "provider": provider, "public_key": public_key})


def list_secrets(connection: Connection) -> list[SecretRow]:
    """Return the seller's secrets, oldest first; the last is the current one."""
    columns = [seller_secrets.c[field.name] for field in fields(SecretRow)]
    return [SecretRow(**row) for row in connection.execute(select(*columns).order_by(seller_secrets.c.id)).mappings()]


def add_api_key(
    connection: Connection, buyer: str, *, identifier: str, digest: bytes, expires_at: int | None = None
) -> ApiKeyRow:
    """Record an API key by its SHA-256 (32 bytes).

    Raises:
        ConflictError: if the identifier or the digest is recorded already.
        NotFoundError: if no copy was issued to the buyer.
    """
    if len(digest) != 32:
        raise ConfigurationError(f"an API key is recorded by its SHA-256, 32 bytes; got {len(digest)}")
    if connection.scalar(select(copies.c.id).where(copies.c.buyer == buyer).limit(1)) is None:
        raise NotFoundError(f"no copy was issued to buyer {buyer!r}; issue one before an API key")
    same = or_(api_keys.c.identifier == identifier, api_keys.c.digest == digest)
    if connection.scalar(select(api_keys.c.id).where(same).limit(1)) is not None:
        raise ConflictError(f"the API key {identifier} is recorded already; make a new one")
    values = {"identifier": identifier, "buyer": buyer, "digest": digest, "expires_at": expires_at}
    at = _add(connection, "api_key_added", values)
    return ApiKeyRow(identifier=identifier, buyer=buyer, added_at=at, expires_at=expires_at)


def find_api_key(connection: Connection, digest: bytes) -> ApiKeyRow | None:
    """Return the API key with this SHA-256, revoked and expired ones too, or None."""
    found = connection.execute(_SELECT_API_KEYS.where(api_keys.c.digest == digest)).mappings().first()
    return None if found is None else ApiKeyRow(**found)


def list_api_keys(connection: Connection, *, buyer: str | None = None) -> list[ApiKeyRow]:
    """Return API keys, oldest first."""
    query = _SELECT_API_KEYS if buyer is None else _SELECT_API_KEYS.where(api_keys.c.buyer == buyer)
    return [ApiKeyRow(**row) for row in connection.execute(query.order_by(api_keys.c.id)).mappings()]


def revoke_api_key(connection: Connection, identifier: str) -> None:
    """Revoke an API key; revoking it again changes nothing.

    Raises:
        NotFoundError: if there is none of this identifier.
    """
    found = connection.execute(select(api_keys).where(api_keys.c.identifier == identifier)).mappings().first()
    if found is None:
        raise NotFoundError(f"there is no API key {identifier!r} in the registry; check its identifier")
    if found["revoked_at"] is None:
        at = transaction_time(connection)
        connection.execute(update(api_keys).where(api_keys.c.id == found["id"]).values(revoked_at=at))
        append(connection, "api_key_revoked", {"identifier": identifier, "revoked_at": at})


def _add(connection: Connection, kind: str, values: dict[str, Any]) -> int:
    """Record a row with its log entry, both with the time of the transaction, and return that."""
    table, name = LOGGED[kind]
    at = transaction_time(connection)
    values = {**values, "added_at": at}
    connection.execute(insert(table).values(id=next_id(connection, table), **values))
    append(connection, kind, {name: values[name], "row": row_digest(values)})
    return at


def _manifest(body: str) -> "ModelManifest":
    from variegate.manifest import ModelManifest  # loads pydantic

    return ModelManifest.from_dict(load_json(body.encode(), "a model in the registry"))


def _policy(row: RowMapping) -> PolicyRow:
    body = load_json(row["body"].encode(), f"the policy {row['name']!r} in the registry")
    return PolicyRow(name=row["name"], body=body, added_at=row["added_at"])
