"""The registry of a home, from a backup: a private file, or a database that may hold it already."""

import gzip
import hashlib
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

from variegate.authority.filling import PREFIX
from variegate.errors import ConflictError
from variegate.files import file_error, flush_folder
from variegate.registry.backup import restore_backup
from variegate.registry.backup_format import MOST_LINE
from variegate.registry.log import iterate_events, log_head
from variegate.registry.registry import Registry
from variegate.registry.rows import LogHead


def restore_file(registry: Path, file: Path, progress: Callable[[int, int], None] | None) -> LogHead:
    """Make the file `registry` from a backup, readable by its owner only, and return the end of its log.

    It is built in a private folder beside its place, for it holds salts, and gets its name if no other file has it by
    then.

    Raises:
        VariegateError: as `restore_backup`; also if there is a registry by then, or the folder may not be written.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=registry.parent))
    except OSError as error:
        raise file_error(error, registry.parent, "write") from error
    try:
        part = folder / registry.name
        restored = restore_backup(file, part, progress=progress)
        part.chmod(0o600)
        os.link(part, registry)
        flush_folder(registry.parent)
    except FileExistsError as error:
        raise ConflictError(f"{registry.parent} has a registry by now; restore into a new home") from error
    except OSError as error:
        raise file_error(error, registry, "write") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return restored


def restored_already(database_url: str, file: Path) -> LogHead | None:
    """Return the log's end if the database holds this backup and nothing since; None otherwise.

    So a restore goes on that was killed after the database was written.
    """
    try:
        with gzip.open(file) as lines:
            backup = "sha256:" + hashlib.sha256(lines.readline(MOST_LINE)).hexdigest()
    except (OSError, EOFError, zlib.error):
        return None
    with Registry(database_url, read_only=True) as store:
        head = store.read(log_head)
        last = next(iterate_events(store, after=head.seq - 1), None) if head.seq else None
    done = last is not None and last.kind == "restored" and last.body.get("backup") == backup
    return head if done else None
