"""The registry's tables in SQLAlchemy Core, written so that SQLite and PostgreSQL both take them.

A copy costs about 150 bytes with its indexes: models, specs and buyers are stored once and referred to by number. The
names of all constraints are fixed here, so that later migrations can address them.
"""

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from variegate.types import CopyStatus

__all__ = ["FORMAT", "buyers", "copies", "meta", "metadata", "models", "specs"]

FORMAT = 1
"""The layout of these tables; a registry that states a higher one is refused."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

meta = Table(
    "meta",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

models = Table(
    "models",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(128), nullable=False, unique=True),
    Column("digest", String(80), nullable=False, unique=True),
    Column("manifest", Text, nullable=False),
    Column("added_at", Integer, nullable=False),
)

specs = Table(
    "specs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("digest", String(80), nullable=False, unique=True),
    Column("name", String(128), nullable=False),
    Column("rewriter", String(128), nullable=False),
    Column("body", Text, nullable=False),
    Column("added_at", Integer, nullable=False),
)

buyers = Table(
    "buyers",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(128), nullable=False, unique=True),
)

copies = Table(
    "copies",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("copy_id", String(64), nullable=False, unique=True),
    Column("buyer_id", ForeignKey("buyers.id"), nullable=False),
    Column("model_id", ForeignKey("models.id"), nullable=False),
    Column("spec_id", ForeignKey("specs.id"), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("status", String(16), nullable=False),
    Column("issued_at", Integer, nullable=False),
    UniqueConstraint("buyer_id", "model_id", "epoch"),
    CheckConstraint("epoch >= 1", name="epoch"),
    CheckConstraint("status IN ({})".format(", ".join(f"'{status}'" for status in CopyStatus)), name="status"),
)
