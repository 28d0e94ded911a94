"""The registry's tables in SQLAlchemy Core, written so that SQLite and PostgreSQL both take them.

This is how the tables stand now; `variegate.registry.migrations` has the steps that lead here, and a test compares the
two. Models, specs, policies and secrets are stored once and referred to by number. The names of all constraints are
fixed here, so that migrations can address them.

- Numbers (`id`) are given by the program, one above the highest: writers take turns, so that none is given twice, and a
  restored registry has the numbers that its log speaks of.
- A copy stands in one row of about 120 bytes, widest columns first, with its buyer's name: PostgreSQL pays about 30
  bytes for every row and every entry of an index, so a second table of buyers would cost more than repeating names.
- `events` refuses UPDATE and DELETE by triggers, which SQLAlchemy does not describe: see the migrations.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    select,
    text,
)

from variegate.errors import FormatError
from variegate.types import CopyStatus

FORMAT = 2
"""The layout of these tables: the number of the last migration. A registry that states another one is refused."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id() -> Column[int]:
    return Column("id", Integer, primary_key=True, autoincrement=False)


meta = Table(
    "meta",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

models = Table(
    "models",
    metadata,
    _id(),
    Column("name", String(128), nullable=False, unique=True),
    Column("digest", String(80), nullable=False, unique=True),
    Column("manifest", Text, nullable=False),
    Column("added_at", BigInteger, nullable=False),
)

specs = Table(
    "specs",
    metadata,
    _id(),
    Column("digest", String(80), nullable=False, unique=True),
    Column("name", String(128), nullable=False),
    Column("rewriter", String(128), nullable=False),
    Column("body", Text, nullable=False),
    Column("added_at", BigInteger, nullable=False),
)

policies = Table(
    "policies",
    metadata,
    _id(),
    Column("name", String(128), nullable=False, unique=True),
    Column("body", Text, nullable=False),
    Column("added_at", BigInteger, nullable=False),
)

seller_secrets = Table(
    "seller_secrets",
    metadata,
    _id(),
    Column("identifier", String(16), nullable=False, unique=True),
    Column("provider", String(128), nullable=False),
    Column("public_key", Text, nullable=False),
    Column("added_at", BigInteger, nullable=False),
)

copies = Table(
    "copies",
    metadata,
    Column("key_identifier", BigInteger, unique=True),  # 64 bits, signed
    Column("expires_at", BigInteger),
    Column("issued_at", BigInteger, nullable=False),
    _id(),
    Column("model_id", ForeignKey("models.id"), nullable=False),
    Column("spec_id", ForeignKey("specs.id"), nullable=False),
    Column("policy_id", ForeignKey("policies.id")),
    Column("secret_id", ForeignKey("seller_secrets.id")),
    Column("epoch", Integer, nullable=False),
    Column("draw", SmallInteger, nullable=False, server_default=text("0")),
    Column("salted", Boolean(create_constraint=False), nullable=False, server_default=false()),
    Column("status", String(16), nullable=False),
    Column("copy_id", String(64), nullable=False, unique=True),
    Column("buyer", String(128), nullable=False),
    UniqueConstraint("buyer", "model_id", "epoch"),
    CheckConstraint("epoch >= 1", name="epoch"),
    CheckConstraint("status IN ({})".format(", ".join(f"'{status}'" for status in CopyStatus)), name="status"),
)

copy_salts = Table(
    "copy_salts",
    metadata,
    Column("copy_id", ForeignKey("copies.id"), primary_key=True, autoincrement=False),
    Column("salt", LargeBinary, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    _id(),
    Column("identifier", String(32), nullable=False, unique=True),
    Column("buyer", String(128), nullable=False, index=True),
    Column("digest", LargeBinary, nullable=False, unique=True),  # SHA-256 of the key
    Column("added_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
)

quotas = Table(
    "quotas",
    metadata,
    Column("copy_id", ForeignKey("copies.id"), primary_key=True, autoincrement=False),
    Column("used", BigInteger, nullable=False),
    CheckConstraint("used >= 0", name="used"),
)

events = Table(
    "events",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),  # 1, 2, 3, ... without gaps
    Column("at", BigInteger, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("body", Text, nullable=False),
    Column("previous", String(80), nullable=False),
    Column("hash", String(80), nullable=False, unique=True),
)


_MAX_DIGITS = 10


def stated_format(connection: Connection, location: str) -> int:
    """Return the format that a registry states.

    Raises:
        FormatError: if it states none, or this is no registry.
    """
    stated = connection.scalar(select(meta.c.value).where(meta.c.key == "format"))
    if not isinstance(stated, str) or not (stated.isascii() and stated.isdecimal() and len(stated) < _MAX_DIGITS):
        raise FormatError(f"{location} is not a variegate registry: it does not state its format")
    return int(stated)
