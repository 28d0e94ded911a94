"""Format 2: policies, secrets, salts, API keys, quotas, and the log, which is filled in for what was there before.

Copies get new columns and carry their buyer's name, so the tables are written anew. They are numbered 1, 2, 3, ... in
the order in which they were issued. A registry that is upgraded gets the entry "migrated" and then one entry for every
model, every spec and every piece of copies that it held; a new one starts with an empty log.
"""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

from variegate.manifest import canonical_json, digest
from variegate.registry.chain import ZERO, copy_line, event_hash, lines_digest
from variegate.registry.protocol import CopyRow

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_PIECE = 5000
_REWRITTEN = ("copies", "buyers", "models", "specs")  # children first

_SQLITE_TRIGGERS = tuple(
    f"CREATE TRIGGER events_no_{step.lower()} BEFORE {step} ON events "
    "BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END"
    for step in ("UPDATE", "DELETE")
)
_POSTGRES_TRIGGERS = (
    (
        "CREATE FUNCTION variegate_refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN RAISE EXCEPTION ''the log is append-only''; END'"
    ),
    (
        "CREATE TRIGGER events_no_change BEFORE UPDATE OR DELETE ON events "
        "FOR EACH ROW EXECUTE FUNCTION variegate_refuse_change()"
    ),
    (
        "CREATE TRIGGER events_no_truncate BEFORE TRUNCATE ON events "
        "FOR EACH STATEMENT EXECUTE FUNCTION variegate_refuse_change()"
    ),
)


def upgrade() -> None:
    """From format 1 to format 2."""
    connection = op.get_bind()
    for table in _REWRITTEN:
        op.execute(f"CREATE TABLE old_{table} AS SELECT * FROM {table}")  # noqa: S608 - fixed names
    for table in _REWRITTEN:
        op.drop_table(table)
    _create_records()
    _create_copies()
    _create_others()
    op.execute(
        "INSERT INTO models (id, name, digest, manifest, added_at) "
        "SELECT id, name, digest, manifest, added_at FROM old_models"
    )
    op.execute(
        "INSERT INTO specs (id, digest, name, rewriter, body, added_at) "
        "SELECT id, digest, name, rewriter, body, added_at FROM old_specs"
    )
    op.execute(
        "INSERT INTO copies (id, copy_id, buyer, model_id, spec_id, epoch, status, issued_at) "
        "SELECT row_number() OVER (ORDER BY c.id), c.copy_id, b.name, c.model_id, c.spec_id, c.epoch, c.status, "
        "c.issued_at "
        "FROM old_copies c JOIN old_buyers b ON b.id = c.buyer_id ORDER BY c.id"
    )
    for table in _REWRITTEN:
        op.drop_table(f"old_{table}")
    for trigger in _SQLITE_TRIGGERS if connection.dialect.name == "sqlite" else _POSTGRES_TRIGGERS:
        connection.exec_driver_sql(trigger)
    op.execute("UPDATE meta SET value = '2' WHERE key = 'format'")
    options = op.get_context().opts
    if options["before"]:
        _fill_log(_Log(connection, options["at"]))


class _Log:
    """Appends entries as `variegate.registry.events` did at format 2."""

    def __init__(self, connection: sa.Connection, at: int) -> None:
        self.connection, self._at, self._seq, self._hash = connection, at, 0, ZERO

    def append(self, kind: str, body: Mapping[str, Any]) -> None:
        self._seq += 1
        values = {"seq": self._seq, "at": self._at, "kind": kind, "previous": self._hash}
        self._hash = event_hash(seq=self._seq, at=self._at, kind=kind, body=body, previous=self._hash)
        self.connection.execute(
            sa.text(
                "INSERT INTO events (seq, at, kind, body, previous, hash) "
                "VALUES (:seq, :at, :kind, :body, :previous, :hash)"
            ),
            values | {"body": canonical_json(body).decode(), "hash": self._hash},
        )

    def close(self) -> None:
        self.connection.execute(
            sa.text("INSERT INTO meta (key, value) VALUES ('log_head', :head)"), {"head": f"{self._seq} {self._hash}"}
        )


def _fill_log(log: _Log) -> None:
    def rows(query: str, **values: int) -> list[dict[str, Any]]:
        return [dict(row) for row in log.connection.execute(sa.text(query), values).mappings()]

    counted = {table: rows(f"SELECT count(*) AS n FROM {table}")[0]["n"] for table in ("copies", "models", "specs")}  # noqa: S608
    log.append("migrated", counted | {"from": 1, "to": 2})
    for row in rows("SELECT name, digest, manifest, added_at FROM models ORDER BY id"):
        log.append("model_added", {"name": row["name"], "row": digest(row)})
    for row in rows("SELECT digest, name, rewriter, body, added_at FROM specs ORDER BY id"):
        log.append("spec_added", {"digest": row["digest"], "row": digest(row)})
    query = (
        "SELECT c.id, c.copy_id, c.buyer, c.epoch, c.status, c.issued_at, m.name AS model, m.digest AS model_digest, "
        "s.digest AS spec_digest FROM copies c JOIN models m ON m.id = c.model_id JOIN specs s ON s.id = c.spec_id "
        "WHERE c.id > :after AND c.id <= :after + :piece ORDER BY c.id"
    )
    for after in range(0, counted["copies"], _PIECE):
        _log_piece(log, after, rows(query, after=after, piece=_PIECE))
    log.close()


def _log_piece(log: _Log, after: int, found: list[dict[str, Any]]) -> None:
    statuses = {row["copy_id"]: row["status"] for row in found}
    plain = [CopyRow(**{key: value for key, value in row.items() if key not in ("id", "status")}) for row in found]
    body = {
        "count": len(found),
        "first": after + 1,
        "last": after + len(found),
        "models": sorted({row.model_digest for row in plain}),
        "rows": lines_digest(copy_line(row) for row in plain),
    }
    log.append("issued", body)
    for status in ("revoked", "superseded"):
        if changed := [copy_id for copy_id, known in statuses.items() if known == status]:
            log.append("status_changed", {"copies": changed, "reason": "recorded so", "to": status})


def _create_records() -> None:
    op.create_table(
        "models",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("digest", sa.String(80), nullable=False),
        sa.Column("manifest", sa.Text, nullable=False),
        sa.Column("added_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
        sa.UniqueConstraint("name", name="uq_models_name"),
        sa.UniqueConstraint("digest", name="uq_models_digest"),
    )
    op.create_table(
        "specs",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("digest", sa.String(80), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("rewriter", sa.String(128), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("added_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_specs"),
        sa.UniqueConstraint("digest", name="uq_specs_digest"),
    )
    op.create_table(
        "policies",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("added_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_policies"),
        sa.UniqueConstraint("name", name="uq_policies_name"),
    )
    op.create_table(
        "seller_secrets",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("identifier", sa.String(16), nullable=False),
        sa.Column("provider", sa.String(128), nullable=False),
        sa.Column("public_key", sa.Text, nullable=False),
        sa.Column("added_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_seller_secrets"),
        sa.UniqueConstraint("identifier", name="uq_seller_secrets_identifier"),
    )


def _create_copies() -> None:
    op.create_table(
        "copies",
        sa.Column("key_identifier", sa.BigInteger),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("issued_at", sa.BigInteger, nullable=False),
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("model_id", sa.Integer, nullable=False),
        sa.Column("spec_id", sa.Integer, nullable=False),
        sa.Column("policy_id", sa.Integer),
        sa.Column("secret_id", sa.Integer),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("draw", sa.SmallInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("salted", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("copy_id", sa.String(64), nullable=False),
        sa.Column("buyer", sa.String(128), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_copies"),
        sa.UniqueConstraint("key_identifier", name="uq_copies_key_identifier"),
        sa.UniqueConstraint("copy_id", name="uq_copies_copy_id"),
        sa.UniqueConstraint("buyer", "model_id", "epoch", name="uq_copies_buyer_model_id_epoch"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_copies_model_id"),
        sa.ForeignKeyConstraint(["spec_id"], ["specs.id"], name="fk_copies_spec_id"),
        sa.ForeignKeyConstraint(["policy_id"], ["policies.id"], name="fk_copies_policy_id"),
        sa.ForeignKeyConstraint(["secret_id"], ["seller_secrets.id"], name="fk_copies_secret_id"),
        sa.CheckConstraint("epoch >= 1", name="ck_copies_epoch"),
        sa.CheckConstraint("status IN ('active', 'superseded', 'revoked')", name="ck_copies_status"),
    )


def _create_others() -> None:
    op.create_table(
        "copy_salts",
        sa.Column("copy_id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("salt", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("copy_id", name="pk_copy_salts"),
        sa.ForeignKeyConstraint(["copy_id"], ["copies.id"], name="fk_copy_salts_copy_id"),
    )
    op.create_table(
        "quotas",
        sa.Column("copy_id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("used", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("copy_id", name="pk_quotas"),
        sa.ForeignKeyConstraint(["copy_id"], ["copies.id"], name="fk_quotas_copy_id"),
        sa.CheckConstraint("used >= 0", name="ck_quotas_used"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("identifier", sa.String(32), nullable=False),
        sa.Column("buyer", sa.String(128), nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("added_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("revoked_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("identifier", name="uq_api_keys_identifier"),
        sa.UniqueConstraint("digest", name="uq_api_keys_digest"),
    )
    op.create_index("ix_api_keys_buyer", "api_keys", ["buyer"])
    op.create_table(
        "events",
        sa.Column("seq", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("previous", sa.String(80), nullable=False),
        sa.Column("hash", sa.String(80), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_events"),
        sa.UniqueConstraint("hash", name="uq_events_hash"),
    )
