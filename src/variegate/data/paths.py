"""Paths and files that a data set names: described in errors, kept inside the data set's folder, read with a bound."""

from pathlib import Path

from variegate.data.request import MAX_IMAGE_BYTES
from variegate.errors import FormatError
from variegate.files import read_bounded

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})


def describe(path: Path) -> str:
    """Return the path as an error message shows it."""
    return str(path)


def inside(folder: Path, name: str, where: str) -> Path:
    """Return `folder / name`, where `name` was read from a data file.

    Raises:
        FormatError: if the name is absolute or climbs out of the folder.
    """
    target = (folder / name.replace("\\", "/")).resolve()
    if not target.is_relative_to(folder.resolve()):
        raise FormatError(f"{where} names the file {name[:120]!r}; expected a path inside {describe(folder)}")
    return target


def read_image_file(path: Path) -> bytes:
    """Read one encoded image.

    Raises:
        NotFoundError: if there is no such file.
        InputError: if it cannot be read or is larger than 64 MiB.
    """
    return read_bounded(path, MAX_IMAGE_BYTES)


def is_image(path: Path) -> bool:
    """Say whether the name is that of an image file, and not a hidden one."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def list_images(folder: Path) -> list[Path]:
    """Return the image files directly in `folder`, sorted by name; hidden files are passed over."""
    return sorted(entry for entry in folder.iterdir() if is_image(entry))
