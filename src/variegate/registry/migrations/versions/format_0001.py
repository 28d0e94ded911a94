"""Format 1, the first: models, specs, buyers and copies."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of format 1 in an empty database."""
    meta = op.create_table(
        "meta",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_meta"),
    )
    op.create_table(
        "models",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("digest", sa.String(80), nullable=False),
        sa.Column("manifest", sa.Text, nullable=False),
        sa.Column("added_at", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
        sa.UniqueConstraint("name", name="uq_models_name"),
        sa.UniqueConstraint("digest", name="uq_models_digest"),
    )
    op.create_table(
        "specs",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("digest", sa.String(80), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("rewriter", sa.String(128), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("added_at", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_specs"),
        sa.UniqueConstraint("digest", name="uq_specs_digest"),
    )
    op.create_table(
        "buyers",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_buyers"),
        sa.UniqueConstraint("name", name="uq_buyers_name"),
    )
    op.create_table(
        "copies",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("copy_id", sa.String(64), nullable=False),
        sa.Column("buyer_id", sa.Integer, nullable=False),
        sa.Column("model_id", sa.Integer, nullable=False),
        sa.Column("spec_id", sa.Integer, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("issued_at", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_copies"),
        sa.UniqueConstraint("copy_id", name="uq_copies_copy_id"),
        sa.UniqueConstraint("buyer_id", "model_id", "epoch", name="uq_copies_buyer_id_model_id_epoch"),
        sa.ForeignKeyConstraint(["buyer_id"], ["buyers.id"], name="fk_copies_buyer_id"),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_copies_model_id"),
        sa.ForeignKeyConstraint(["spec_id"], ["specs.id"], name="fk_copies_spec_id"),
        sa.CheckConstraint("epoch >= 1", name="ck_copies_epoch"),
        sa.CheckConstraint("status IN ('active', 'superseded', 'revoked')", name="ck_copies_status"),
    )
    op.bulk_insert(meta, [{"key": "format", "value": "1"}])
