"""Filling a folder that exists already, whole or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from variegate.errors import ConflictError
from variegate.files import file_error

PREFIX: Final = ".variegate-"
"""How the names of the private folders begin in which things are made ready; a kill leaves one behind."""


@contextmanager
def parts_of(place: Path) -> Iterator[Path]:
    """Give a private folder inside the existing `place` to fill; when the block ends well, its parts move to `place`.

    The registry moves last. Whatever fails, `place` is left as it was.

    Raises:
        ConflictError: if `place` holds files by then.
        InputError: if the folder may not be written.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
    except OSError as error:
        raise file_error(error, place, "write") from error
    moved: list[Path] = []
    try:
        yield folder
        _require_only(place, folder)
        for part in sorted(folder.iterdir(), key=lambda path: path.name.startswith("registry.")):
            part.rename(place / part.name)
            moved.append(place / part.name)
    except BaseException as error:
        for part in moved:
            shutil.rmtree(part) if part.is_dir() else part.unlink()
        if isinstance(error, OSError):
            raise file_error(error, place, "write") from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _require_only(place: Path, folder: Path) -> None:
    if any(other != folder for other in place.iterdir()):
        raise ConflictError(f"{place} holds other files by now; choose an empty folder")
