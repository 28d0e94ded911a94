"""The steps from one format of the tables to the next, run by Alembic: `versions` has one file for each.

- A registry is created by all steps and upgraded by those it lacks, in one transaction that holds the write lock, on
  SQLite and PostgreSQL alike: a step that fails or is killed leaves the former format.
- Alembic's table `alembic_version` names the last step; `meta` states the same as "format". A registry from before the
  first upgrade has only the latter and is stamped on the way.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from variegate.errors import FormatError, NotFoundError
from variegate.registry.engine import Database, locate, open_engine, reading, writing
from variegate.registry.failures import clear_failures
from variegate.registry.formats import stated_format
from variegate.registry.schema import FORMAT

__all__ = ["current_format", "run", "upgrade"]

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


def upgrade(url: str | Path, *, clock: Callable[[], float] = time.time) -> int:
    """Bring a registry to this version's format and return the format that it had; nothing to do is fine.

    Args:
        url: as `variegate.registry.store.SqlStore` takes it.
        clock: returns the Unix time in seconds, for the log.

    Raises:
        NotFoundError: if there is no such file.
        FormatError: if it is no registry, or is newer than this version.
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
            if before < FORMAT:
                run(connection, at=int(clock()), before=before)
    finally:
        engine.dispose()
    return before


def run(connection: Connection, *, at: int, before: int = 0, through: int = FORMAT) -> None:
    """Run the steps that are missing, inside a writing transaction.

    Args:
        connection: holds the write lock.
        at: Unix time in whole seconds, for the log.
        before: the format that the registry states; 0 for an empty database.
        through: the format to reach.
    """
    script = ScriptDirectory(Path(__file__).parent)

    def steps(heads: Any, context: MigrationContext) -> list[Any]:  # noqa: ANN401 - Alembic's own type
        if before and not heads:
            context.stamp(script, f"{before:04d}")
            heads = (f"{before:04d}",)
        return script._upgrade_revs(f"{through:04d}", heads)  # noqa: SLF001

    with _ONE_AT_A_TIME, EnvironmentContext(Config(), script, fn=steps) as environment:
        environment.configure(connection=connection, at=at, before=before)
        environment.run_migrations()


def _existing(url: str | Path) -> Database:
    database = locate(url)
    if database.path is not None and not database.path.is_file():
        raise NotFoundError(f"there is no registry at {database.path}; create one with: variegate init")
    return database
