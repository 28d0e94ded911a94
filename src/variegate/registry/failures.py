"""What a database says when it fails, turned into the one sentence that a person needs.

Statements, their values and passwords stay out of it.
"""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from variegate.errors import ConflictError, FormatError, InputError, VariegateError

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
        return InputError("a text for the registry must be valid Unicode; got a lone surrogate in it")
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
            f"the registry {location} holds a text that is none: it is corrupt, or another program changed it; see: "
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
        return InputError(
            start + "the server does not agree to the encryption that is asked for; check sslmode in the URL"
        )
    return InputError(start + "no PostgreSQL server answers there as it should; check the host and the port")


def _full(location: str) -> VariegateError:
    return InputError(
        f"the disk under the registry {location} is full; nothing was recorded: free some space, try again"
    )


def _busy(location: str) -> VariegateError:
    return ConflictError(f"the registry {location} is busy: another process is writing to it; try again in a moment")
