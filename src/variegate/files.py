"""Files that are written atomically, and read up to a limit. Imports no torch."""

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from variegate.errors import ConflictError, InputError, NotFoundError, VariegateError

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def write_atomic(path: str | Path, data: bytes, *, private: bool = False) -> None:
    """Replace the file at `path` by `data`, so that a reader sees the old bytes or the new ones, never a mixture.

    The data goes to a new file in the same folder, which is flushed to the disk and then renamed. On any failure the
    new file is removed and the target is as it was. A symbolic link at `path` is replaced, not followed.

    Args:
        path: the file; its folder must exist.
        data: the whole content.
        private: make the file readable by its owner only (mode 0600) from its first byte on; else 0666 less the umask.

    Raises:
        NotFoundError: if the folder does not exist.
        InputError: if `path` is a folder or may not be written.
        VariegateError: if the disk is full or fails.
    """
    path = Path(path)
    temporary = path.parent / f".vg-{secrets.token_hex(8)}.tmp"
    try:
        if path.is_dir():
            raise InputError(f"cannot write {path}: it is a folder; give the name of a file")
        try:
            _write_new(temporary, data, 0o600 if private else 0o666)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise file_error(error, path, "write") from error
    except ValueError as error:
        raise InputError(f"cannot write {str(path)!r}: the name is not valid ({error})") from error
    flush_folder(path.parent)


def read_bounded(path: str | Path, limit: int, *, allow_pipe: bool = False) -> bytes:
    """The bytes of a file of at most `limit` bytes; never reads more than one byte beyond the limit.

    Args:
        path: the file; a symbolic link is followed.
        limit: the most bytes to accept.
        allow_pipe: also read pipes and the like, and wait for them; else only regular files are read.

    Raises:
        NotFoundError: if there is no such file.
        InputError: if it is a folder, not a regular file, larger than the limit, or may not be read.
        VariegateError: if the disk fails.
    """
    path = Path(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | (0 if allow_pipe else getattr(os, "O_NONBLOCK", 0)))
        with os.fdopen(descriptor, "rb") as file:
            _check_readable(path, os.fstat(file.fileno()).st_mode, allow_pipe=allow_pipe)
            data = file.read(limit + 1)
    except OSError as error:
        raise file_error(error, path, "read") from error
    except ValueError as error:
        raise InputError(f"cannot read {str(path)!r}: the name is not valid ({error})") from error
    if len(data) > limit:
        raise InputError(f"cannot read {path}: expected at most {limit} bytes, but it is larger; is it the right file?")
    return data


def sha256_file(path: str | Path) -> str:
    """SHA-256 of a regular file's bytes, 64 hexadecimal digits; reads it in pieces, so that its size does not matter.

    Raises:
        NotFoundError: if there is no such file.
        InputError: if it is a folder, not a regular file, or may not be read.
        VariegateError: if the disk fails.
    """
    path = Path(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            _check_readable(path, os.fstat(file.fileno()).st_mode, allow_pipe=False)
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise file_error(error, path, "read") from error
    except ValueError as error:
        raise InputError(f"cannot read {str(path)!r}: the name is not valid ({error})") from error


def make_folder(folder: Path) -> None:
    """Make the folder, unless it is there, and those above it.

    Raises:
        VariegateError: it cannot be made; the sentence says why.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise file_error(error, folder, "make") from error


@contextmanager
def file_that_appears_whole(path: Path) -> Iterator[IO[bytes]]:
    """Give a new private file (mode 0600) to write; when the block ends well, it gets the name `path`, else is removed.

    Raises:
        ConflictError: if something has this name already, or by then.
        NotFoundError: if the folder does not exist.
        InputError: if `path` is a folder or may not be written.
        VariegateError: if the disk is full or fails.
    """
    temporary = path.parent / f".vg-{secrets.token_hex(8)}.tmp"
    try:
        _require_new(path)
        try:
            with os.fdopen(os.open(temporary, _NEW, 0o600), "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            _publish(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()
    except OSError as error:
        raise file_error(error, path, "write") from error
    flush_folder(path.parent)


@contextmanager
def folder_that_appears_whole(place: Path) -> Iterator[Path]:
    """Give an empty private folder to fill; when the block ends well, it is renamed to `place`, else removed.

    The rename lasts through a power cut; files in the folder that are to last are flushed by who writes them.

    Raises:
        ConflictError: if `place` holds files by then.
        InputError: if the folder may not be written.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    except FileExistsError as error:  # a parent is a file
        raise file_error(NotADirectoryError(), place, "write") from error
    except OSError as error:
        raise file_error(error, place, "write") from error
    try:
        yield folder
        flush_folder(folder)
        try:
            folder.rename(place)
        except OSError as error:
            if place.exists():
                raise ConflictError(f"{place} exists already and is not an empty folder") from error
            raise file_error(error, place, "write") from error
        flush_folder(place.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def flush_folder(folder: Path) -> None:
    """Make what was renamed, linked or removed in a folder last through a power cut, where the file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def file_error(error: OSError, path: str | Path, doing: str) -> VariegateError:
    """The error of this project that says in one sentence why `doing` ("read", "write") the path failed."""
    start = f"cannot {doing} {path}"
    if isinstance(error, FileNotFoundError):
        missing = Path(path).parent if doing == "write" else Path(path)
        what = "folder" if doing == "write" else "file"
        return NotFoundError(f"{start}: there is no {what} {missing}; check the path")
    if isinstance(error, IsADirectoryError):
        return InputError(f"{start}: it is a folder; give the name of a file")
    if isinstance(error, NotADirectoryError):
        return InputError(f"{start}: a part of the path is a file, not a folder; check the path")
    if isinstance(error, PermissionError):
        return InputError(f"{start}: permission denied; check the owner and mode of the file and its folder")
    if error.errno in _FULL:
        return VariegateError(
            f"{start}: no space left (disk full, or over a quota); nothing was changed, free some space"
        )
    if error.errno == errno.ENAMETOOLONG:
        return InputError(f"{start}: the name is too long; choose a shorter one")
    return VariegateError(f"{start}: {error.strerror or error}")


def _write_new(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, _NEW, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _require_new(path: Path) -> None:
    if path.is_dir():
        raise InputError(f"cannot write {path}: it is a folder; give the name of a file")
    if os.path.lexists(path):
        raise ConflictError(f"{path} exists already; choose another name")


def _publish(temporary: Path, path: Path) -> None:
    """Give a file its name, unless something has it by now."""
    try:
        os.link(temporary, path, follow_symlinks=False)
    except OSError:  # the name is taken, or the file system has no links
        _require_new(path)
        temporary.replace(path)


def _check_readable(path: Path, mode: int, *, allow_pipe: bool) -> None:
    if stat.S_ISDIR(mode):
        raise InputError(f"cannot read {path}: it is a folder; give the name of a file")
    if not (allow_pipe or stat.S_ISREG(mode)):
        raise InputError(f"cannot read {path}: expected a regular file; got a pipe, socket or device")
