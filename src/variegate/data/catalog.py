"""The catalog of data formats, `load_dataset`, which finds the right one, and the digits that need no file.

Digits are the 1,797 handwritten grey images of 8 x 8 pixels that come with scikit-learn. Source: the test part of UCI's
"Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998). Every fifth image (index 4, 9, 14, ...) is the
test split, 359 images; the others are the training split, 1,438. The same writers are in both, so accuracy here says
little about new writers: the set is for demonstrations and tests.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from variegate.data.cifar import read_cifar, recognises_cifar
from variegate.data.decode import require, resize_arrays
from variegate.data.folder import read_folder, read_gtsrb, recognises_folder, recognises_gtsrb
from variegate.data.images import LabelledImages, ReadRequest, Split
from variegate.data.npz import read_npz, recognises_npz
from variegate.data.parquet import read_parquet, recognises_parquet
from variegate.errors import InputError, NotFoundError

_TEST_EVERY = 5


def read_digits(request: ReadRequest) -> LabelledImages:
    """Return float32 (N, 1, 8, 8) in steps of 1/16.

    Raises:
        ConfigurationError: if scikit-learn is missing.
        InputError: if the offset leaves no image.
    """
    install = 'pip install "variegate[quickstart]"'
    datasets = require("sklearn.datasets", purpose='the data set "digits"', install=install)
    pixels, labels = datasets.load_digits(return_X_y=True)
    is_test = np.arange(len(labels)) % _TEST_EVERY == _TEST_EVERY - 1
    chosen = np.flatnonzero(is_test if request.split == "test" else ~is_test)
    window = request.window(len(chosen), f"the {request.split} split of digits")
    chosen = chosen[window.start : window.stop]
    images = (np.asarray(pixels)[chosen] / 16.0).astype(np.float32).reshape(-1, 1, 8, 8)
    return LabelledImages(
        images=resize_arrays(images, request),
        labels=np.asarray(labels)[chosen].astype(np.int64),
        class_names=tuple(str(digit) for digit in range(10)),
        name="digits",
    )


DIGITS = "digits"
"""The name, not a path, of the data set that needs no file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFormat:
    """One format: how it is told apart and read.

    Attributes:
        title: what an error message calls it.
        recognises: says whether a path that exists looks like this format; reads names only, not contents.
        read: reads it.
    """

    title: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path, ReadRequest], LabelledImages]


READERS: dict[str, DataFormat] = {
    "parquet": DataFormat(title="Parquet files", recognises=recognises_parquet, read=read_parquet),
    "npz": DataFormat(title="a .npz archive", recognises=recognises_npz, read=read_npz),
    "cifar": DataFormat(title="binary CIFAR files (.bin)", recognises=recognises_cifar, read=read_cifar),
    "gtsrb": DataFormat(title="a GTSRB folder with CSV tables", recognises=recognises_gtsrb, read=read_gtsrb),
    "folder": DataFormat(
        title="a folder with one subfolder of images per class", recognises=recognises_folder, read=read_folder
    ),
}
"""Format name -> format, asked in this order: the first that recognises a path reads it."""


def load_dataset(
    path: Path | str,
    *,
    split: Split = "test",
    limit: int | None = None,
    offset: int = 0,
    resize: tuple[int, int] | None = None,
    channels: Literal[1, 3] | None = None,
) -> LabelledImages:
    """Read labelled images; only the rows that are asked for are decoded.

    Args:
        path: a file or folder in one of the formats of `READERS`, or "digits" for scikit-learn's digits (to read a
            folder of that name write "./digits").
        split: "train" or "test"; a single file is read whatever the split, unless it holds both.
        limit: the most images to return; None for all.
        offset: how many images to pass over first.
        resize: (height, width) to bring every image to.
        channels: 1 or 3 to convert to; None keeps grey images grey unless some image has colour.

    Returns:
        float32 images (N, C, H, W) in [0, 1], int64 labels, class names.

    Raises:
        ConfigurationError: if an option is out of range or a library is missing.
        FormatError: if a file is truncated, corrupt or not as its format has it.
        InputError: if the format is not known, the set is empty, or a value, a label or a size does not fit.
        NotFoundError: if the path or a file of the split does not exist.
        UnsafeFormatError: if the data are pickles.
    """
    request = ReadRequest(split=split, limit=limit, offset=offset, resize=resize, channels=channels)
    if path == DIGITS:
        return read_digits(request)
    path = Path(path)
    try:
        if not path.exists():
            raise NotFoundError(f'{path} does not exist; give a file or folder of images, or "{DIGITS}"')
        found = next((reader for reader in READERS.values() if reader.recognises(path)), None)
        if found is not None:
            return found.read(path, request)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    known = "; ".join(reader.title for reader in READERS.values())
    raise InputError(f"{path} is not a data set in a known format; expected one of: {known}")
