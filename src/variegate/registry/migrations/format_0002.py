"""Format 2, the first that was released: meta, models, specs, policies, secrets, copies, API keys, quotas, the log."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = None
branch_labels = None
depends_on = None

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
    """Create the tables in an empty database."""
    connection = op.get_bind()
    meta = op.create_table(
        "meta",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_meta"),
    )
    _create_records()
    _create_copies()
    _create_others()
    for trigger in _SQLITE_TRIGGERS if connection.dialect.name == "sqlite" else _POSTGRES_TRIGGERS:
        connection.exec_driver_sql(trigger)
    op.bulk_insert(meta, [{"key": "format", "value": "2"}])


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
