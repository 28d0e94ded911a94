"""`Registry`: the handle on one SQLite file or PostgreSQL database, which gives transactions to the functions here.

Everything else in this package is a function on a connection. `Registry.read` and `Registry.write` run one such
function in a transaction of its own; `Registry.reading` and `Registry.writing` hold a transaction for several.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar, final

from sqlalchemy import Connection, inspect

from variegate.errors import FormatError, InputError, NotFoundError, VariegateError
from variegate.registry.engine import (
    clear_failures,
    counting,
    emptied_log,
    locate,
    open_engine,
    reading,
    writing,
)
from variegate.registry.schema import FORMAT, stated_format

_P = ParamSpec("_P")
_T = TypeVar("_T")


@final
class Registry:
    """A registry of models, rewriter specs, policies, issued copies, API keys and the log of all that happened.

    Whatever the database refuses (read-only, full, busy, corrupt, another format) becomes a `VariegateError` with one
    sentence, and nothing is half written. Every function that changes something writes its log entry in the same
    transaction. Writers take turns. Safe to use from several threads and processes at once. Example:

        with Registry(Path("registry.db"), create=True) as registry:
            registry.write(add_model, manifest)
            rows = registry.read(list_copies, buyer="acme")

    Args:
        url: the path of a SQLite file, or a URL: "sqlite:///PATH" or "postgresql+psycopg://USER@HOST/DATABASE".
        create: make the file and the tables if they are missing.
        read_only: open without the right to write.
        clock: returns the Unix time in seconds, for what is recorded.

    Attributes:
        location: text for people that says where the registry is, without a password.

    Raises:
        NotFoundError: if the file is missing and `create` is False.
        FormatError: if it is no registry, is corrupt, or was written by an older or newer variegate.
        InputError: if it cannot be opened.
        ConfigurationError: if the URL is of another kind, or its driver is not installed.
    """

    def __init__(
        self,
        url: str | Path,
        *,
        create: bool = False,
        read_only: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        database = locate(url)
        if database.path is not None and database.path.is_dir():
            raise InputError(f"the registry must be a file; {database.path} is a folder")
        if database.path is not None and not create and not database.path.exists():
            raise NotFoundError(f"there is no registry at {database.path}; create one with: variegate init")
        self.location = database.location
        self._clock = clock
        self._engine = open_engine(database, create=create, read_only=read_only)
        try:
            if create:
                self.write(create_tables)
            self.read(check_format, self.location)
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"Registry({self.location!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of files and connections; the registry cannot be used afterwards."""
        self._engine.dispose()

    def reading(self) -> AbstractContextManager[Connection]:
        """Return one consistent view of the registry; it holds up no writer."""
        return self._transaction(reading(self._engine))

    def writing(self) -> AbstractContextManager[Connection]:
        """Return one transaction that holds the write lock; an exception undoes all of it."""
        return self._transaction(writing(self._engine, at=int(self._clock())))

    def read(self, function: Callable[Concatenate[Connection, _P], _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a function in a reading transaction of its own and return its result."""
        with self.reading() as connection:
            return function(connection, *args, **kwargs)

    def write(self, function: Callable[Concatenate[Connection, _P], _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a function in a writing transaction of its own and return its result."""
        with self.writing() as connection:
            return function(connection, *args, **kwargs)

    def count(self, function: Callable[Concatenate[Connection, _P], _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run a function that is one atomic statement, such as `spend_quota`: it need not wait for other writers."""
        with self._transaction(counting(self._engine)) as connection:
            return function(connection, *args, **kwargs)

    def emptied_log(self) -> bool:
        """Empty the write-ahead log of a SQLite file, which may hold erased bytes; return whether that succeeded."""
        try:
            with clear_failures(self.location):
                return emptied_log(self._engine)
        except VariegateError:  # such as a full disk
            return False

    @contextmanager
    def _transaction(self, transaction: AbstractContextManager[Connection]) -> Iterator[Connection]:
        with clear_failures(self.location), transaction as connection:
            yield connection


def create_tables(connection: Connection) -> None:
    """Create the tables in a database that has none; others stay as they are."""
    if not inspect(connection).get_table_names():
        from variegate.registry.migrations import run  # Alembic takes a while to import

        run(connection)


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
