"""SQLAlchemy engines on one SQLite file or one PostgreSQL database, with transactions that mean what they say.

Rules, the same on both:

- one writer at a time: a writing transaction takes the registry's write lock as its first step (SQLite: BEGIN
  IMMEDIATE; PostgreSQL: an advisory lock of the schema) and waits for it five seconds at most;
- a reading transaction sees one state of the registry, however long it lasts, and holds up no writer (SQLite: the
  write-ahead log; PostgreSQL: REPEATABLE READ, READ ONLY);
- errors do not show the values of a statement, among which are salts;
- what was committed lasts through a power cut (SQLite: `synchronous=FULL`);
- SQLite: a new file is its owner's alone (mode 0600); write-ahead log, foreign keys on, erased bytes overwritten;
- a database that refuses a step is reported in one sentence (`clear_failures`); statements, their values and passwords
  stay out of it.
"""

import contextlib
import importlib.util
import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final
from urllib.parse import quote

from sqlalchemy import URL, Column, Connection, Engine, QueuePool, RowMapping, Select, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from variegate.errors import ConfigurationError, ConflictError, FormatError, InputError, VariegateError

BUSY_TIMEOUT_MS = 5000
"""How long a statement waits for another writer, in milliseconds."""

_SQLITE_BEGIN = {"read": "BEGIN", "count": "BEGIN IMMEDIATE", "write": "BEGIN IMMEDIATE"}
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('variegate-registry:' || coalesce(current_schema(), ''), 0))"

_READ_ONLY = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}

# PostgreSQL's SQLSTATE codes.
_PG_READ_ONLY = {"25006", "42501"}
_PG_FULL = {"53100"}
_PG_BUSY = {"40001", "40P01", "53200", "53300", "55P03"}
_PG_CORRUPT = {"XX001", "XX002"}
_PG_OTHER_TABLES = {"3F000", "42703", "42P01"}
_PG_LOST = ("08", "57P")
_BAD_OPTION = re.compile(
    r"invalid (URI query parameter|connection option|\w+ value|value for parameter)\b|^bad value for "
    r"|unrecognized configuration parameter"
)
_LOST_WORDS = ("server closed the connection", "connection is closed", "connection is lost", "terminating connection")


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
            "got something else"
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
def writing(engine: Engine, *, at: int = 0) -> Iterator[Connection]:
    """One transaction that holds the write lock from its start; an exception undoes all of it.

    Args:
        engine: on the registry.
        at: Unix time in whole seconds, which all rows and log entries of the transaction carry.
    """
    options = {"variegate_step": "write", "variegate_at": at}
    with engine.connect().execution_options(**options) as connection, connection.begin():
        yield connection


def transaction_time(connection: Connection) -> int:
    """Return the time of a writing transaction: Unix time in whole seconds."""
    return int(connection.get_execution_options().get("variegate_at", 0))


@contextmanager
def counting(engine: Engine) -> Iterator[Connection]:
    """One transaction for one statement that is atomic by itself: on PostgreSQL it does not wait for other writers."""
    with engine.connect().execution_options(variegate_step="count") as connection, connection.begin():
        yield connection


def pages(
    connection: Connection, query: Select[Any], key: Column[Any], *, limit: int
) -> Iterator[Sequence[RowMapping]]:
    """Yield the rows of a query in pages of at most `limit`, in the order of `key`, which is unique and selected."""
    query = query.order_by(key).limit(limit)
    page = connection.execute(query).mappings().all()
    while page:
        yield page
        page = connection.execute(query.where(key > page[-1][key.name])).mappings().all()


def emptied_log(engine: Engine) -> bool:
    """Write the write-ahead log of a SQLite file back and truncate it; return whether that succeeded.

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
        uri += "&immutable=1"  # else SQLite wants to make its shared memory next to the file

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
    """Whether nobody can change the file: its file system is read-only, and its write-ahead log is written back."""
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


@contextmanager
def clear_failures(location: str) -> Iterator[None]:
    """Run a block of database work on `location`; raise a `VariegateError` for whatever the database refuses."""
    try:
        yield
    except DBAPIError as error:
        raise _explain(location, error.orig) from error
    except sqlite3.Error as error:  # raised while a new connection was set up
        raise _explain(location, error) from error
    except PoolTimeoutError as error:
        raise ConflictError(
            f"the registry {location} is busy: this process uses all its connections; try again in a moment"
        ) from error


def _explain(location: str, error: BaseException | None) -> VariegateError:
    if isinstance(error, sqlite3.Error):
        return _explain_sqlite(location, error)
    if isinstance(error, UnicodeError) or "surrogates not allowed" in str(error):
        return InputError("a string for the registry must be valid Unicode; it contains a lone surrogate")
    if _BAD_OPTION.search(str(error)) and not getattr(error, "sqlstate", None):
        return InputError(
            f"cannot open the registry {location}: its URL has an option that PostgreSQL does not take; check what "
            "follows the '?' in it"
        )
    if type(error).__name__ in ("DataError", "ProgrammingError") and not getattr(error, "sqlstate", None):
        return InputError(f"the registry {location} cannot hold such a value; nothing was recorded")
    return _explain_postgres(location, error)


def _explain_sqlite(location: str, error: sqlite3.Error) -> VariegateError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary result code
    if code in _READ_ONLY:
        return InputError(
            f"the registry {location} is read-only; nothing was recorded: make the file and its folder writable "
            "(SQLite needs that to read, too, unless another program has it open)"
        )
    if code == sqlite3.SQLITE_FULL:
        return _full(location)
    if code in _BUSY:
        return _busy(location)
    if code in _CORRUPT:
        return FormatError(f"{location} is not a readable SQLite registry: it is corrupt or another kind of file")
    if code == sqlite3.SQLITE_CANTOPEN:
        return InputError(
            f"cannot open the registry {location}: expected a file in a folder that can be read and written"
        )
    if code == sqlite3.SQLITE_IOERR:
        return InputError(f"the disk failed or is full under the registry {location}; nothing was recorded")
    if "could not decode" in str(error).lower():
        return FormatError(
            f"the registry {location} contains invalid UTF-8: it is corrupt, or another program changed it; see: "
            "variegate log verify"
        )
    if "no such table" in str(error) or "no such column" in str(error):
        return FormatError(f"{location} is a SQLite file, but its tables are not those of a variegate registry")
    return VariegateError(f"the registry {location} refused the step: {error}")


def _explain_postgres(location: str, error: BaseException | None) -> VariegateError:
    state = str(getattr(error, "sqlstate", None) or "")
    text = str(error)
    if state in _PG_READ_ONLY:
        return InputError(
            f"the registry {location} is read-only; nothing was recorded: connect as a user who may write to it"
        )
    if state in _PG_FULL:
        return _full(location)
    if state in _PG_BUSY or "too many clients" in text:
        return _busy(location)
    if state in _PG_CORRUPT:
        return FormatError(f"the tables of the registry {location} are corrupt: restore a backup")
    if state in _PG_OTHER_TABLES:
        return FormatError(
            f"{location} is a database, but its tables are not those of a variegate registry; create them with: "
            "variegate init"
        )
    if (state.startswith(_PG_LOST) and state != "08001") or any(words in text for words in _LOST_WORDS):
        return VariegateError(
            f"the connection to the registry {location} was lost; see what was recorded, then try again"
        )
    if state.startswith(("28", "3D")) or not state:
        return _cannot_open(location, state, text)
    said = getattr(getattr(error, "diag", None), "message_primary", None) or type(error).__name__
    return VariegateError(f"the registry {location} refused the step: {said}")


def _cannot_open(location: str, state: str, text: str) -> VariegateError:
    start = f"cannot open the registry {location}: "
    if state == "28P01" or "password" in text:
        return InputError(start + "the server refused the password; check the URL")
    if state == "3D000" or ("database" in text and "does not exist" in text):
        return InputError(start + "the server has no such database; create it first")
    if state.startswith("28") or "role" in text or "no pg_hba.conf entry" in text:
        return InputError(start + "the server refused the user; check the URL")
    if "SSL" in text:
        return InputError(start + "the server does not agree to the requested encryption; check sslmode in the URL")
    return InputError(start + "no PostgreSQL server answers there as it should; check the host and the port")


def _full(location: str) -> VariegateError:
    return InputError(
        f"the disk under the registry {location} is full; nothing was recorded: free some space, try again"
    )


def _busy(location: str) -> VariegateError:
    return ConflictError(f"the registry {location} is busy: another process is writing to it; try again in a moment")
