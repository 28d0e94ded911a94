"""The whole registry in one file, independent of the database, and back: see `variegate.registry.backup_format`.

A backup is one consistent view, written while others go on issuing. It may hold the salts of copies, so its file is
readable by its owner only, and a salt that is forgotten later is still in it: destroy old backups to forget for good.
"""

import contextlib
import gzip
import hashlib
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast, final

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import IntegrityError

from variegate.errors import ConflictError, FormatError, InputError, VerificationError
from variegate.files import file_error, file_that_appears_whole
from variegate.manifest import canonical_json
from variegate.registry.backup_format import MAX_LINE, PAGE, PAGES, TABLES, Header, read_rows, row_line
from variegate.registry.bulk import insert_rows
from variegate.registry.engine import clear_failures, locate, open_engine, pages, writing
from variegate.registry.log import append, log_head
from variegate.registry.registry import Registry, check_format, create_tables
from variegate.registry.rows import LogHead
from variegate.registry.schema import copies, meta, metadata
from variegate.registry.verify import verify_log

_LEVEL = 6
_DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile)

_Progress = Callable[[int, int], None]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSummary:
    """What a backup holds.

    Attributes:
        head: the end of the log.
        copies: how many copies.
    """

    head: LogHead
    copies: int

    @property
    def seq(self) -> int:
        """The number of the log's last entry."""
        return self.head.seq

    @property
    def hash(self) -> str:
        """The hash of the log's last entry."""
        return self.head.hash


def write_backup(
    registry: Registry,
    path: Path,
    *,
    progress: _Progress | None = None,
    clock: Callable[[], float] = time.time,
) -> BackupSummary:
    """Write the whole registry to a new file, which appears atomically, and return what is in it.

    Args:
        registry: the registry.
        path: the file; there must be none yet. Its mode is 0600.
        progress: called with (rows so far, all rows).
        clock: returns the Unix time in seconds.

    Raises:
        ConflictError: if there is such a file already, also one that appeared meanwhile.
        NotFoundError: if the folder does not exist.
        InputError: if the file may not be written.
        VariegateError: if the disk is full or fails, or the registry cannot be read.
    """
    with registry.reading() as connection, file_that_appears_whole(path) as raw:
        counts = {table.name: int(connection.scalar(select(func.count()).select_from(table)) or 0) for table in TABLES}
        header = Header(at=int(clock()), counts=counts, head=log_head(connection))
        summed, done, total = hashlib.sha256(), 0, sum(counts.values())
        with gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as file:
            for lines in _pieces(connection, header):
                piece = b"".join(line + b"\n" for line in lines)
                summed.update(piece)
                file.write(piece)
                done += len(lines)
                if progress is not None:
                    progress(min(done, total), total)
            file.write(canonical_json({"sha256": summed.hexdigest()}) + b"\n")
    return BackupSummary(head=header.head, copies=counts[copies.name])


def restore_backup(
    path: Path,
    url: str | Path,
    *,
    expect: LogHead | None = None,
    progress: _Progress | None = None,
    clock: Callable[[], float] = time.time,
) -> LogHead:
    """Make a registry from a backup, all or nothing, and return the end of its log: the new entry "restored".

    Args:
        path: the backup.
        url: a new SQLite file, an empty database, or a registry that holds nothing yet.
        expect: a head of the log that was kept elsewhere.
        progress: called with (rows so far, all rows).
        clock: returns the Unix time in seconds.

    Raises:
        NotFoundError: if there is no such backup.
        FormatError: if it is none, is cut off, or is of a version that this variegate does not read.
        VerificationError: if its digest does not match, or its log does not verify.
        ConflictError: if the registry holds something.
        InputError: if a file cannot be read or written.
    """
    database = locate(url)
    if database.path is not None and database.path.is_dir():
        raise InputError(f"the registry must be a file; {database.path} is a folder")
    try:
        source = path.open("rb")
    except OSError as error:
        raise file_error(error, path, "read") from error
    fresh = database.path is not None and not database.path.exists()
    engine = open_engine(database, create=True)
    try:
        with (
            source,
            gzip.GzipFile(fileobj=source, mode="rb") as file,
            clear_failures(database.location),
            writing(engine, at=int(clock())) as connection,
        ):
            _make_empty(connection, database.location)
            with _clear_damage(f"the backup {path}"):
                digest = _load(connection, cast("BinaryIO", file), f"the backup {path}", progress)
            entries = _verify(connection, f"the backup {path}", expect)
            head = append(connection, "restored", {"backup": digest, "entries": entries})
    except BaseException:
        engine.dispose()
        if fresh and database.path is not None:
            for ending in ("", "-wal", "-shm"):
                with contextlib.suppress(OSError):
                    Path(f"{database.path}{ending}").unlink()
        raise
    engine.dispose()
    return head


def _pieces(connection: Connection, header: Header) -> Iterator[list[bytes]]:
    """All lines but the last, in pieces of bounded size; the number of rows may not change meanwhile."""
    yield [header.to_line()]
    for table in TABLES:
        limit = PAGES.get(table.name, PAGE)
        for page in pages(connection, select(table), table.primary_key.columns[0], limit=limit):
            yield [row_line(table, tuple(row.values())) for row in page]


def _make_empty(connection: Connection, location: str) -> None:
    """Create the tables where there are none, and empty `meta`; refuse a registry that holds something."""
    create_tables(connection)
    check_format(connection, location)
    for table in metadata.sorted_tables:
        if table is not meta and connection.execute(select(table).limit(1)).first() is not None:
            raise ConflictError(f"the registry {location} holds something already: restore a backup into a new one")
    connection.execute(meta.delete())


def _verify(connection: Connection, what: str, expect: LogHead | None) -> int:
    """Check the log that was loaded and return its number of entries."""
    report = verify_log(connection, expect=expect)
    if not report.ok:
        raise VerificationError(f"the log in {what} does not verify: {report.problem}; nothing was restored")
    return report.entries


def _load(connection: Connection, file: BinaryIO, what: str, progress: _Progress | None) -> str:
    """Insert all rows and return the digest over the header, which stands for the backup in the log."""
    first = file.readline(MAX_LINE)
    header = Header.from_line(first, what)
    done, total = 0, sum(header.counts.values())
    for table, piece in read_rows(file, header, first, what):
        try:
            insert_rows(connection, table, table.columns.keys(), piece)
        except IntegrityError as error:
            raise VerificationError(
                f"{what} was changed or damaged: rows of the table {table.name} contradict each other; "
                "nothing was restored"
            ) from error
        done += len(piece)
        if progress is not None:
            progress(done, total)
    check_format(connection, what)
    if log_head(connection) != header.head:
        raise VerificationError(f"{what} was changed: its log does not end as its header says; nothing was restored")
    return "sha256:" + hashlib.sha256(first).hexdigest()


@contextmanager
def _clear_damage(what: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise FormatError(f"{what} is cut off or damaged; nothing was restored, use another backup") from error
    except OSError as error:
        raise InputError(f"cannot read {what}: {error.strerror or error}; nothing was restored") from error
