"""SQLAlchemy engines on one SQLite file or one PostgreSQL database, with transactions that mean what they say.

Rules, the same on both:

- one writer at a time: a writing transaction takes the registry's write lock as its first step (SQLite: BEGIN
  IMMEDIATE; PostgreSQL: an advisory lock of the schema) and waits for it five seconds at most;
- a reading transaction sees one state of the registry, however long it lasts, and holds up no writer (SQLite: the
  write-ahead log; PostgreSQL: REPEATABLE READ, READ ONLY);
- errors do not show the values of a statement, among which are salts;
- what was committed lasts through a power cut (SQLite: `synchronous=FULL`);
- SQLite: a new file is its owner's alone (mode 0600); write-ahead log, foreign keys on, erased bytes overwritten.
"""

import contextlib
import importlib.util
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import final
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from variegate.errors import ConfigurationError

BUSY_TIMEOUT_MS = 5000
"""How long a statement waits for another writer, in milliseconds."""

_SQLITE_BEGIN = {"read": "BEGIN", "count": "BEGIN IMMEDIATE", "write": "BEGIN IMMEDIATE"}
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('variegate-registry:' || coalesce(current_schema(), ''), 0))"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Where a registry lives.

    Attributes:
        location: text for people: the path, or the URL without password and options.
        path: the SQLite file, or None.
        url: the PostgreSQL URL, which may hold a password, or None.
    """

    location: str
    path: Path | None = None
    url: URL | None = field(default=None, repr=False)


def locate(place: str | Path) -> Database:
    """Read where a registry lives: a path or "sqlite:///PATH", or "postgresql+psycopg://USER@HOST/DATABASE".

    Raises:
        ConfigurationError: if it is neither, has an "@" that ends no user and password, or the driver for PostgreSQL is
            not installed.
    """
    if isinstance(place, Path):
        return Database(location=str(place), path=place)
    try:
        url = make_url(place)
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(
            "a registry's URL must be written sqlite:///PATH or postgresql+psycopg://USER@HOST/DATABASE; "
            "got another text"
        ) from error
    if url.drivername in ("sqlite", "sqlite+pysqlite") and url.database not in (None, "", ":memory:"):
        return locate(Path(str(url.database)))
    if url.drivername not in ("postgresql", "postgresql+psycopg"):
        raise ConfigurationError(
            "a registry is a SQLite file (sqlite:///PATH) or a PostgreSQL database (postgresql+psycopg://USER@HOST/DATABASE)"
            f"; got a URL that starts with {url.drivername!r}"
        )
    if str(place).count("@") > 1:  # or the rest of a password would be taken for the host, and be shown
        raise ConfigurationError(
            "a registry's URL may hold one '@', the one before the host; write %40 for one in a name, a password or an "
            "option"
        )
    if importlib.util.find_spec("psycopg") is None:
        raise ConfigurationError("PostgreSQL needs the package psycopg; pip install 'variegate[postgres]'")
    shown = url.set(drivername="postgresql+psycopg", password=None, query={})
    return Database(location=str(shown), url=url.set(drivername="postgresql+psycopg"))


def open_engine(database: Database, *, create: bool = False, read_only: bool = False) -> Engine:
    """Return an engine; the database is opened at the first use.

    Args:
        database: where it is.
        create: create the SQLite file if it is missing, and give it a write-ahead log, which it keeps.
        read_only: open it without the right to write to it.
    """
    if database.path is None:
        engine = create_engine(database.url or "", pool_pre_ping=True, hide_parameters=True)
        event.listen(engine, "begin", _begin_read_only_postgres if read_only else _begin_postgres)
        return engine
    connect = _connector(database.path, create=create, read_only=read_only)
    engine = create_engine("sqlite+pysqlite://", creator=connect, poolclass=QueuePool, hide_parameters=True)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One consistent view of the database."""
    with engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One transaction that holds the write lock from its start; an exception undoes all of it."""
    with engine.connect().execution_options(variegate_step="write") as connection, connection.begin():
        yield connection


@contextmanager
def counting(engine: Engine) -> Iterator[Connection]:
    """One transaction for one statement that is atomic by itself: on PostgreSQL it does not wait for other writers."""
    with engine.connect().execution_options(variegate_step="count") as connection, connection.begin():
        yield connection


def emptied_log(engine: Engine) -> bool:
    """Take the write-ahead log of a SQLite file in and empty it; return whether that was done.

    Waits for readers and writers, as long as for a lock. Always done on PostgreSQL, which keeps its log to itself.
    """
    if engine.dialect.name != "sqlite":
        return True
    with engine.connect() as connection:
        busy, *_ = connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() or (1,)
    return busy == 0


def _connector(path: Path, *, create: bool, read_only: bool) -> Callable[[], sqlite3.Connection]:
    uri = f"file:{quote(str(path.absolute()))}?mode={'ro' if read_only else 'rwc' if create else 'rw'}"
    if read_only and _is_frozen(path):
        uri += "&immutable=1"  # else SQLite wants to make its shared memory beside the file

    def connect() -> sqlite3.Connection:
        if create:  # SQLite gives its other files the mode of this one
            with contextlib.suppress(OSError):  # what is wrong SQLite says
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
        try:
            for pragma in (
                f"busy_timeout={BUSY_TIMEOUT_MS}",
                "foreign_keys=ON",
                "synchronous=FULL",
                "secure_delete=ON",
            ):
                connection.execute(f"PRAGMA {pragma}")
            if create:
                connection.execute("PRAGMA journal_mode=WAL")
        except BaseException:
            connection.close()
            raise
        return connection

    return connect


def _is_frozen(path: Path) -> bool:
    """Whether nobody can change the file: its file system is mounted read-only, and its log is taken in."""
    try:
        mounted = os.statvfs(path).f_flag & os.ST_RDONLY
        return bool(mounted) and not Path(f"{path}-wal").exists()
    except OSError:
        return False


def _step(connection: Connection) -> str:
    return str(connection.get_execution_options().get("variegate_step", "read"))


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(_SQLITE_BEGIN[_step(connection)])


def _begin_postgres(connection: Connection) -> None:
    step = _step(connection)
    if step == "read":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return
    # Whatever the server's default: what others committed before the lock was had must be seen.
    connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = {BUSY_TIMEOUT_MS}")
    if step == "write":
        connection.exec_driver_sql(_LOCK)


def _begin_read_only_postgres(connection: Connection) -> None:
    connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
