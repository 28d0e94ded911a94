"""Which format a database's tables have, and whether this version can use it."""

from sqlalchemy import Connection, inspect, select

from variegate.errors import FormatError
from variegate.registry.schema import FORMAT, meta

_MOST_DIGITS = 10


def is_empty(connection: Connection) -> bool:
    """Whether the database has no table at all (PostgreSQL: none in the current schema)."""
    return not inspect(connection).get_table_names()


def stated_format(connection: Connection, location: str) -> int:
    """Return the format that a registry states.

    Raises:
        FormatError: if it states none, or this is no registry.
    """
    stated = connection.scalar(select(meta.c.value).where(meta.c.key == "format"))
    if not isinstance(stated, str) or not (stated.isascii() and stated.isdecimal() and len(stated) < _MOST_DIGITS):
        raise FormatError(f"{location} is not a variegate registry: it does not state its format")
    return int(stated)


def check_format(connection: Connection, location: str) -> None:
    """Refuse a registry of another format than this version's.

    Raises:
        FormatError: saying what to upgrade.
    """
    stated = stated_format(connection, location)
    if stated > FORMAT:
        raise FormatError(
            f"the registry {location} has format {stated}, newer than the {FORMAT} that this variegate reads; "
            "upgrade variegate"
        )
    if stated < FORMAT:
        raise FormatError(f"the registry {location} has format {stated}; upgrade it with: variegate db upgrade")
