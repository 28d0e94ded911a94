"""An image folder: one subfolder per class, image files in it; optionally below `train` and `test`."""

from pathlib import Path
from typing import TypeVar

import numpy as np

from variegate.data.decode import decode_images
from variegate.data.images import LabelledImages
from variegate.data.paths import describe, is_image, list_images, read_image_file
from variegate.data.request import ReadRequest
from variegate.errors import InputError, NotFoundError

T = TypeVar("T")


def recognises_folder(path: Path) -> bool:
    """Say whether `path` is a folder of class folders, directly or below `train` or `test`."""
    return path.is_dir() and any(_has_classes(root) for root in (path, path / "train", path / "test"))


def read_folder(path: Path, request: ReadRequest) -> LabelledImages:
    """Read images; classes are the subfolders in order of their names.

    The images come class by class in turn (the first of each class, then the second of each, ...), so that a `limit`
    takes all classes alike. Files without an image suffix are passed over; an empty class folder keeps its label.

    Raises:
        ConfigurationError: if Pillow is missing.
        FormatError: if an image cannot be decoded.
        InputError: if there are no images, or they differ in size and no `resize` was asked for.
        NotFoundError: if the folder has splits but not the one asked for.
    """
    root = _root(path, request.split)
    classes = _class_folders(root)
    rows = interleave([[(file, label) for file in list_images(folder)] for label, folder in enumerate(classes)])
    window = request.window(len(rows), describe(root))
    chosen = rows[window.start : window.stop]
    encoded = ((str(file.relative_to(path)), read_image_file(file)) for file, _ in chosen)
    images = decode_images(encoded, len(chosen), request)
    return LabelledImages(
        images=images,
        labels=np.asarray([label for _, label in chosen], dtype=np.int64),
        class_names=tuple(folder.name for folder in classes),
        name=path.resolve().name,
    )


def interleave(groups: list[list[T]]) -> list[T]:
    """Take the first of each group, then the second of each, and so on until all are taken."""
    longest = max(map(len, groups), default=0)
    return [group[turn] for turn in range(longest) for group in groups if turn < len(group)]


def _root(path: Path, split: str) -> Path:
    present = [name for name in ("train", "test") if _has_classes(path / name)]
    if not present:
        return path
    if split not in present:
        raise NotFoundError(f"{describe(path)} has no folder {split!r} with classes; it has {', '.join(present)}")
    return path / split


def _class_folders(root: Path) -> list[Path]:
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith((".", "__")))
    if not folders:
        raise InputError(f"{describe(root)} has no class folders; expected one subfolder per class")
    return folders


def _has_classes(root: Path) -> bool:
    return root.is_dir() and any(
        any(is_image(file) for file in entry.iterdir())
        for entry in root.iterdir()
        if entry.is_dir() and not entry.name.startswith((".", "__"))
    )
