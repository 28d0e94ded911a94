"""What a database says when it fails, turned into the one sentence that a person needs."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from variegate.errors import ConflictError, FormatError, InputError, VariegateError

__all__ = ["clear_failures"]

_READ_ONLY = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}


@contextmanager
def clear_failures(path: Path) -> Iterator[None]:
    """Run a block of database work on `path`; raise a `VariegateError` for whatever the database refuses."""
    try:
        yield
    except DBAPIError as error:
        raise _explain(path, error.orig) from error
    except sqlite3.Error as error:  # raised while a new connection was set up
        raise _explain(path, error) from error


def _explain(path: Path, error: BaseException | None) -> VariegateError:
    """The sentence for one failure; statements and their values stay out of it."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary result code
    if code in _READ_ONLY:
        return InputError(
            f"the registry {path} is read-only; nothing was recorded: make the file and its folder writable"
        )
    if code == sqlite3.SQLITE_FULL:
        return InputError(
            f"the disk under the registry {path} is full; nothing was recorded: free some space, try again"
        )
    if code in _BUSY:
        return ConflictError(f"the registry {path} is busy: another process is writing to it; try again in a moment")
    if code in _CORRUPT:
        return FormatError(f"{path} is not a readable SQLite registry: it is corrupt or another kind of file")
    if code == sqlite3.SQLITE_CANTOPEN:
        return InputError(f"cannot open the registry {path}: expected a file in a folder that can be read and written")
    if code == sqlite3.SQLITE_IOERR:
        return InputError(f"the disk failed while the registry {path} was in use; nothing was recorded")
    if "no such table" in str(error) or "no such column" in str(error):
        return FormatError(f"{path} is a SQLite file, but its tables are not those of a variegate registry")
    return VariegateError(f"the registry {path} refused the step: {error}")
