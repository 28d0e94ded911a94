"""The steps from one format of the tables to the next, run by Alembic: one file `format_NNNN.py` for each.

- A registry is created by all steps and upgraded by those it lacks, in one transaction that holds the write lock, on
  SQLite and PostgreSQL alike: a step that fails or is killed leaves the former format.
- Alembic's table `alembic_version` names the last step; `meta` states the same as "format".
- A step that was released never changes: it refers to no table of `variegate.registry.schema`.
"""

import threading
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from variegate.errors import FormatError, NotFoundError
from variegate.registry.engine import Database, clear_failures, locate, open_engine, reading, writing
from variegate.registry.schema import FORMAT, stated_format

FIRST_FORMAT = 2
"""The format of the oldest registry that this version upgrades."""

_ONE_AT_A_TIME = threading.Lock()  # Alembic's `op` stands for one run in the whole process


def current_format(url: str | Path) -> int:
    """Return the format of a registry, of any age.

    Raises:
        NotFoundError: if there is no such file.
        FormatError: if it is no registry.
        InputError: if it cannot be opened.
    """
    database = _existing(url)
    engine = open_engine(database, read_only=True)
    try:
        with clear_failures(database.location), reading(engine) as connection:
            return stated_format(connection, database.location)
    finally:
        engine.dispose()


def upgrade(url: str | Path) -> int:
    """Bring a registry to this version's format and return the format that it had; nothing to do is fine.

    Args:
        url: as `variegate.registry.registry.Registry` takes it.

    Raises:
        NotFoundError: if there is no such file.
        FormatError: if it is no registry, is newer than this version, or is of a format that was never released.
        InputError: if it cannot be opened or written.
    """
    database = _existing(url)
    engine = open_engine(database)
    try:
        with clear_failures(database.location), writing(engine) as connection:
            before = stated_format(connection, database.location)
            if before > FORMAT:
                raise FormatError(
                    f"the registry {database.location} has format {before}, newer than the {FORMAT} that this "
                    "variegate reads; upgrade variegate"
                )
            if before < FIRST_FORMAT:
                raise FormatError(
                    f"the registry {database.location} has format {before}, which no released version wrote; this "
                    f"variegate upgrades from format {FIRST_FORMAT} on: make a new home with variegate init"
                )
            if before < FORMAT:
                run(connection)
    finally:
        engine.dispose()
    return before


def run(connection: Connection) -> None:
    """Run the steps that are missing, inside a writing transaction; an empty database lacks them all."""
    folder = Path(__file__).parent
    script = ScriptDirectory(folder, version_locations=[str(folder)])

    def steps(heads: Any, _context: object) -> list[Any]:  # noqa: ANN401 - Alembic's own type
        return script._upgrade_revs("head", heads)  # noqa: SLF001

    with _ONE_AT_A_TIME, EnvironmentContext(Config(), script, fn=steps) as environment:
        environment.configure(connection=connection)
        environment.run_migrations()


def _existing(url: str | Path) -> Database:
    database = locate(url)
    if database.path is not None and not database.path.is_file():
        raise NotFoundError(f"there is no registry at {database.path}; create one with: variegate init")
    return database
