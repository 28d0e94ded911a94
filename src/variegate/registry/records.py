"""Models, specs, policies and the seller's secrets: rows that are added once, never change, and are in the log.

The entry of the log about a row holds its name and `variegate.registry.events.row_digest` over all its fields but the
number, so that a later change of the row is found.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, RowMapping, Table, insert, select

from variegate.errors import ConflictError, NotFoundError
from variegate.manifest import ModelManifest, canonical_json, digest, load_json
from variegate.registry.events import append, row_digest
from variegate.registry.protocol import PolicyRow, SecretRow
from variegate.registry.rows import next_id
from variegate.registry.schema import meta, models, policies, seller_secrets, specs

LOGGED: dict[str, tuple[Table, str]] = {
    "model_added": (models, "name"),
    "spec_added": (specs, "digest"),
    "policy_added": (policies, "name"),
    "secret_added": (seller_secrets, "identifier"),
}
"""Kind of entry -> the table that it speaks of, and the column that names a row there."""


def log_row(connection: Connection, kind: str, values: Mapping[str, Any], *, at: int) -> None:
    """Append the entry about a new row; `values` are its fields but the number."""
    _, name = LOGGED[kind]
    append(connection, at=at, kind=kind, body={name: values[name], "row": row_digest(values)})


def put_meta(connection: Connection, key: str, value: str) -> None:
    """See `Store.put_meta`."""
    known = get_meta(connection, key)
    if known is None:
        connection.execute(insert(meta).values(key=key, value=value))
    elif known != value:
        raise ConflictError(f"the registry remembers {key} as {known!r}; it cannot become {value!r}")


def get_meta(connection: Connection, key: str) -> str | None:
    """See `Store.get_meta`."""
    value: str | None = connection.scalar(select(meta.c.value).where(meta.c.key == key))
    return value


def add_model(connection: Connection, manifest: ModelManifest, *, at: int) -> None:
    """See `Store.add_model`."""
    for name in connection.scalars(
        select(models.c.name).where((models.c.name == manifest.name) | (models.c.digest == manifest.digest))
    ):
        if name == manifest.name:
            raise ConflictError(f"a model named {name!r} exists already; import under another name")
        raise ConflictError(f"this model is recorded already, under the name {name!r}")
    body = canonical_json(manifest.to_dict()).decode()
    _add(
        connection,
        "model_added",
        {"name": manifest.name, "digest": manifest.digest, "manifest": body, "added_at": at},
        at=at,
    )


def get_model(connection: Connection, name: str) -> ModelManifest:
    """See `Store.get_model`."""
    body = connection.scalar(select(models.c.manifest).where(models.c.name == name))
    if body is None:
        raise NotFoundError(f"there is no model named {name!r}; see: variegate model ls")
    return _manifest(body)


def list_models(connection: Connection) -> list[ModelManifest]:
    """See `Store.list_models`."""
    return [_manifest(body) for body in connection.scalars(select(models.c.manifest).order_by(models.c.id))]


def add_spec(connection: Connection, name: str, spec: Mapping[str, Any], *, at: int) -> str:
    """See `Store.add_spec`."""
    body = dict(spec)
    named = digest(body)
    if connection.scalar(select(specs.c.id).where(specs.c.digest == named)) is None:
        values = {
            "digest": named,
            "name": name,
            "rewriter": str(body.get("rewriter", "")),
            "body": canonical_json(body).decode(),
            "added_at": at,
        }
        _add(connection, "spec_added", values, at=at)
    return named


def get_spec(connection: Connection, named: str) -> dict[str, Any]:
    """See `Store.get_spec`."""
    body = connection.scalar(select(specs.c.body).where(specs.c.digest == named))
    if body is None:
        raise NotFoundError(f"there is no rewriter spec with digest {named} in the registry; save it first")
    return load_json(body.encode(), "a spec in the registry")


def add_policy(connection: Connection, name: str, body: Mapping[str, Any], *, at: int) -> None:
    """See `Store.add_policy`."""
    text = canonical_json(body).decode()
    known = connection.scalar(select(policies.c.body).where(policies.c.name == name))
    if known is None:
        _add(connection, "policy_added", {"name": name, "body": text, "added_at": at}, at=at)
    elif known != text:
        raise ConflictError(
            f"another policy is named {name!r}: policies do not change, copies refer to them; choose another name"
        )


def get_policy(connection: Connection, name: str) -> PolicyRow:
    """See `Store.get_policy`."""
    found = connection.execute(select(policies).where(policies.c.name == name)).mappings().first()
    if found is None:
        raise NotFoundError(f"there is no policy named {name!r}; see: variegate policy ls")
    return _policy(found)


def list_policies(connection: Connection) -> list[PolicyRow]:
    """See `Store.list_policies`."""
    return [_policy(row) for row in connection.execute(select(policies).order_by(policies.c.id)).mappings()]


def add_secret(connection: Connection, identifier: str, *, provider: str, public_key: str, at: int) -> None:
    """See `Store.add_secret`."""
    if connection.scalar(select(seller_secrets.c.id).where(seller_secrets.c.identifier == identifier)) is not None:
        raise ConflictError(f"the seller's secret {identifier} is recorded already")
    values = {"identifier": identifier, "provider": provider, "public_key": public_key, "added_at": at}
    _add(connection, "secret_added", values, at=at)


def list_secrets(connection: Connection) -> list[SecretRow]:
    """See `Store.list_secrets`."""
    query = select(seller_secrets).order_by(seller_secrets.c.id)
    return [
        SecretRow(
            identifier=row["identifier"],
            provider=row["provider"],
            public_key=row["public_key"],
            added_at=row["added_at"],
        )
        for row in connection.execute(query).mappings()
    ]


def _add(connection: Connection, kind: str, values: dict[str, Any], *, at: int) -> None:
    table, _ = LOGGED[kind]
    connection.execute(insert(table).values(id=next_id(connection, table), **values))
    log_row(connection, kind, values, at=at)


def _manifest(body: str) -> ModelManifest:
    return ModelManifest.from_dict(load_json(body.encode(), "a model in the registry"))


def _policy(row: RowMapping) -> PolicyRow:
    body = load_json(row["body"].encode(), f"the policy {row['name']!r} in the registry")
    return PolicyRow(name=row["name"], body=body, added_at=row["added_at"])
