"""Folders of images: one subfolder per class, or the German Traffic Sign Recognition Benchmark with its CSV files.

An image folder has one subfolder per class with image files in it, optionally below `train` and `test`.

GTSRB is read as its archives unpack. Source: Stallkamp et al., "Man vs. computer", Neural Networks 32 (2012),
https://benchmark.ini.rub.de. Two layouts are known, each with the columns Filename or Path, and ClassId:

- the official one: `Final_Training/Images/<class>/GT-<class>.csv`, and `GT-final_test.csv` next to, or above, the
  images of `Final_Test/Images`;
- the one of the Kaggle copy: `Train.csv` and `Test.csv` with paths from the top.

The frames are used whole, not cropped to the sign. They differ in size, so ask for a resize, such as (32, 32).
"""

import csv
import io
from pathlib import Path
from typing import TypeVar

import numpy as np

from variegate.data.decode import decode_images, inside, is_image, list_images, read_image_file
from variegate.data.images import LabelledImages, ReadRequest
from variegate.errors import FormatError, InputError, NotFoundError
from variegate.files import read_bounded

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
    window = request.window(len(rows), str(root))
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
        raise NotFoundError(f"{path} has no folder {split!r} with classes; it has {', '.join(present)}")
    return path / split


def _class_folders(root: Path) -> list[Path]:
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith((".", "__")))
    if not folders:
        raise InputError(f"{root} has no class folders; expected one subfolder per class")
    return folders


def _has_classes(root: Path) -> bool:
    return root.is_dir() and any(
        any(is_image(file) for file in entry.iterdir())
        for entry in root.iterdir()
        if entry.is_dir() and not entry.name.startswith((".", "__"))
    )


# The class names of the benchmark, in the order of ClassId.
GTSRB_CLASSES = (
    "Speed limit (20km/h)", "Speed limit (30km/h)", "Speed limit (50km/h)", "Speed limit (60km/h)",
    "Speed limit (70km/h)", "Speed limit (80km/h)", "End of speed limit (80km/h)", "Speed limit (100km/h)",
    "Speed limit (120km/h)", "No passing", "No passing for vehicles over 3.5 metric tons",
    "Right-of-way at the next intersection", "Priority road", "Yield", "Stop", "No vehicles",
    "Vehicles over 3.5 metric tons prohibited", "No entry", "General caution", "Dangerous curve to the left",
    "Dangerous curve to the right", "Double curve", "Bumpy road", "Slippery road", "Road narrows on the right",
    "Road work", "Traffic signals", "Pedestrians", "Children crossing", "Bicycles crossing", "Beware of ice/snow",
    "Wild animals crossing", "End of all speed and passing limits", "Turn right ahead", "Turn left ahead",
    "Ahead only", "Go straight or right", "Go straight or left", "Keep right", "Keep left", "Roundabout mandatory",
    "End of no passing", "End of no passing by vehicles over 3.5 metric tons",
)  # fmt: skip

_MAX_CSV_BYTES = 2**26


def recognises_gtsrb(path: Path) -> bool:
    """Say whether `path` is a folder in one of the two layouts."""
    return path.is_dir() and any(_tables(path, split) for split in ("train", "test"))


def read_gtsrb(path: Path, request: ReadRequest) -> LabelledImages:
    """Read the images that the CSV files of the split name.

    Training images come class by class in turn, test images in the order of their table.

    Raises:
        ConfigurationError: if Pillow is missing.
        FormatError: if a table lacks a column or has a bad row, or an image cannot be decoded.
        InputError: if there are no images, a ClassId is not 0 .. 42, or sizes differ and no `resize` was asked for.
        NotFoundError: if the split's tables or an image are missing.
    """
    tables = _tables(path, request.split)
    if not tables:
        raise NotFoundError(f"{path} has no CSV table for the {request.split} split of GTSRB")
    rows = [row for table, folder in tables for row in _read_table(table, folder)]
    if request.split == "train":
        groups: dict[int, list[tuple[Path, int]]] = {}
        for row in rows:
            groups.setdefault(row[1], []).append(row)
        rows = interleave([groups[label] for label in sorted(groups)])
    window = request.window(len(rows), str(path))
    chosen = rows[window.start : window.stop]
    images = decode_images(((file.name, read_image_file(file)) for file, _ in chosen), len(chosen), request)
    return LabelledImages(
        images=images,
        labels=np.asarray([label for _, label in chosen], dtype=np.int64),
        class_names=GTSRB_CLASSES,
        name=path.resolve().name,
    )


def _tables(path: Path, split: str) -> list[tuple[Path, Path]]:
    """Return (table, folder that its file names start from) pairs."""
    for root in (path, path / "GTSRB"):
        kaggle = root / f"{split.capitalize()}.csv"
        if kaggle.is_file():
            return [(kaggle, root)]
        if split == "train":
            for base in (root / "Final_Training" / "Images", root / "Training"):
                tables = sorted(base.glob("[0-9][0-9][0-9][0-9][0-9]/GT-*.csv"))
                if tables:
                    return [(table, table.parent) for table in tables]
        else:
            images = root / "Final_Test" / "Images"
            for table in (images / "GT-final_test.csv", root / "GT-final_test.csv", path / "GT-final_test.csv"):
                if table.is_file():
                    return [(table, images if images.is_dir() else table.parent)]
    return []


def _read_table(table: Path, folder: Path) -> list[tuple[Path, int]]:
    try:
        text = read_bounded(table, _MAX_CSV_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"{table} is not UTF-8 text; expected a CSV table") from error
    first_line = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text), delimiter=";" if ";" in first_line else ",")
    columns = reader.fieldnames or []
    name_column = next((column for column in ("Path", "Filename") if column in columns), None)
    if name_column is None or "ClassId" not in columns:
        raise FormatError(
            f"{table} must have the columns Filename (or Path) and ClassId; it has {', '.join(columns)[:160] or 'none'}"
        )
    rows = []
    for row in reader:
        where = f"line {reader.line_num} of {table.name}"
        name, label = row[name_column], row["ClassId"]
        if not name or not label or not label.strip().isdecimal():
            raise FormatError(f"{where} must name a file and an integer ClassId; got {name!r} and {label!r}")
        if int(label) >= len(GTSRB_CLASSES):
            raise InputError(f"{where} has ClassId {int(label)}; expected 0 .. {len(GTSRB_CLASSES) - 1}")
        rows.append((inside(folder, name, where), int(label)))
    return rows
