"""The German Traffic Sign Recognition Benchmark as its archives unpack: images beside CSV files.

Source: Stallkamp et al., "Man vs. computer", Neural Networks 32 (2012), https://benchmark.ini.rub.de. Two layouts are
known, each with the columns Filename or Path, and ClassId:

- the official one: `Final_Training/Images/<class>/GT-<class>.csv`, and `GT-final_test.csv` next to, or above, the
  images of `Final_Test/Images`;
- the one of the Kaggle copy: `Train.csv` and `Test.csv` with paths from the top.

The frames are used whole, not cropped to the sign. They differ in size, so ask for a resize, such as (32, 32).
"""

import csv
import io
from pathlib import Path

import numpy as np

from variegate.data.decode import decode_images
from variegate.data.folder import interleave
from variegate.data.images import LabelledImages
from variegate.data.paths import describe, inside, read_image_file
from variegate.data.request import ReadRequest
from variegate.errors import FormatError, InputError, NotFoundError
from variegate.files import read_bounded

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
        raise NotFoundError(f"{describe(path)} has no CSV table for the {request.split} split of GTSRB")
    rows = [row for table, folder in tables for row in _read_table(table, folder)]
    if request.split == "train":
        groups: dict[int, list[tuple[Path, int]]] = {}
        for row in rows:
            groups.setdefault(row[1], []).append(row)
        rows = interleave([groups[label] for label in sorted(groups)])
    window = request.window(len(rows), describe(path))
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
        raise FormatError(f"{describe(table)} is not UTF-8 text; expected a CSV table") from error
    first_line = text.partition("\n")[0]
    reader = csv.DictReader(io.StringIO(text), delimiter=";" if ";" in first_line else ",")
    columns = reader.fieldnames or []
    name_column = next((column for column in ("Path", "Filename") if column in columns), None)
    if name_column is None or "ClassId" not in columns:
        raise FormatError(
            f"{describe(table)} must have the columns Filename (or Path) and ClassId; it has "
            f"{', '.join(columns)[:160] or 'none'}"
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
