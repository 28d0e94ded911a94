"""A SQLAlchemy engine on one SQLite file, with transactions that mean what they say.

Rules:

- the driver starts no transaction on its own; every one begins here, `BEGIN` to read, `BEGIN IMMEDIATE` to write, so
  that two writers queue up instead of failing halfway;
- write-ahead log, `synchronous=NORMAL`, foreign keys on, and five seconds of patience with another writer.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event

__all__ = ["BUSY_TIMEOUT_MS", "open_engine", "reading", "writing"]

BUSY_TIMEOUT_MS = 5000
"""How long a statement waits for another writer, in milliseconds."""


def open_engine(path: Path, *, create: bool = False, read_only: bool = False) -> Engine:
    """Return an engine on `path`; the file is opened at the first use.

    Args:
        path: the SQLite file.
        create: create the file if it is missing, and give it a write-ahead log, which it keeps.
        read_only: open the file without the right to write to it.
    """
    mode = "ro" if read_only else "rwc" if create else "rw"
    uri = f"file:{quote(str(path.absolute()))}?mode={mode}"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        try:
            for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "foreign_keys=ON", "synchronous=NORMAL"):
                connection.execute(f"PRAGMA {pragma}")
            if create:
                connection.execute("PRAGMA journal_mode=WAL")
        except BaseException:
            connection.close()
            raise
        return connection

    engine = create_engine("sqlite+pysqlite://", creator=connect, poolclass=QueuePool)
    event.listen(engine, "begin", _begin)
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One consistent view of the database."""
    with engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction that holds the write lock from its start; an exception undoes all of it."""
    with engine.connect().execution_options(variegate_begin="BEGIN IMMEDIATE") as connection, connection.begin():
        yield connection


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("variegate_begin", "BEGIN"))
