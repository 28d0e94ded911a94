"""NumPy archives (.npz): an array of images and an array of labels. Pickled objects are never loaded.

Accepted names, in this order: `images` and `labels`; `x_<split>` and `y_<split>` (Keras); `<split>_images` and
`<split>_labels` (MedMNIST). Optional `class_names`: an array of strings. Images are uint8 in 0 .. 255 or floating point
in [0, 1], of shape (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3; where both fit, (N, C, H, W) is meant.
"""

import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from variegate.data.decode import pixels_to_float, resize_arrays
from variegate.data.images import MAX_TOTAL_BYTES, LabelledImages, ReadRequest, check_total, default_class_names
from variegate.errors import FormatError, InputError

_CHUNK = 2**20
_MAX_SIDE_BYTES = 2**28  # of the labels, and of the class names


def recognises_npz(path: Path) -> bool:
    """Say whether `path` is a .npz file."""
    return path.is_file() and path.suffix == ".npz"


def read_npz(path: Path, request: ReadRequest) -> LabelledImages:
    """Read the wanted rows; of a compressed array the rows before them are unpacked and dropped, never kept.

    Raises:
        FormatError: if the archive is truncated, an array is missing or holds Python objects, or a shape does not fit.
        InputError: if there are no images, or a value or a label is out of range.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive, path, request)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise FormatError(f"{path} is not a whole .npz archive: {str(error)[:120]}") from error


def _read(archive: zipfile.ZipFile, path: Path, request: ReadRequest) -> LabelledImages:
    present = {name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")}
    split = request.split
    pairs = (("images", "labels"), (f"x_{split}", f"y_{split}"), (f"{split}_images", f"{split}_labels"))
    pair = next((pair for pair in pairs if present.issuperset(pair)), None)
    if pair is None:
        wanted = ", or ".join(f"{images} and {labels}" for images, labels in pairs)
        raise FormatError(f"{path} must hold the arrays {wanted}; it holds {', '.join(sorted(present)[:8]) or 'none'}")
    all_labels = _labels(archive, pair[1], path)
    shape = _shape(archive, pair[0], path)
    if not shape or shape[0] != len(all_labels):
        raise FormatError(
            f"{path}: {pair[0]} of shape {shape} and {pair[1]} of shape ({len(all_labels)},) must have as "
            "many images as labels"
        )
    window = request.window(len(all_labels), str(path))
    names = _class_names(archive, path) if "class_names" in present else None
    if names is None:
        names = default_class_names(1 + max(int(all_labels.max()), 0))
    images = resize_arrays(_to_nchw(_rows(archive, pair[0], path, window), pair[0], path), request)
    return LabelledImages(
        images=images, labels=all_labels[window.start : window.stop], class_names=names, name=path.stem
    )


def _header(stream: IO[bytes], name: str, path: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read an array's header: shape, whether it is in Fortran order, dtype."""
    try:
        version = npy.read_magic(stream)  # version 3 is for structured arrays with Unicode names only
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read_header(stream)
    except ValueError as error:
        raise FormatError(f"{path}: {name} is not a plain NumPy array: {str(error)[:120]}") from error
    if dtype.hasobject:
        raise FormatError(
            f"{path}: {name} holds pickled Python objects, which could run code and are never loaded; save "
            "it as an array of numbers"
        )
    return shape, fortran, dtype


def _shape(archive: zipfile.ZipFile, name: str, path: Path) -> tuple[int, ...]:
    with archive.open(f"{name}.npy") as stream:
        return _header(stream, name, path)[0]


def _rows(
    archive: zipfile.ZipFile, name: str, path: Path, window: range | None, *, most: int = MAX_TOTAL_BYTES
) -> NDArray[Any]:
    """Read the rows of `window` (None: all rows) of the array `name`, at most `most` bytes."""
    with archive.open(f"{name}.npy") as stream:
        shape, fortran, dtype = _header(stream, name, path)
        row_bytes = dtype.itemsize * int(np.prod(shape[1:], dtype=object))
        whole = window is None or fortran  # in Fortran order a row's values lie all over the file
        rows = range(shape[0] if shape else 1) if whole or window is None else window
        if len(rows) * row_bytes > most:
            raise InputError(
                f"{path}: {name} takes {len(rows) * row_bytes / 2**20:.0f} MiB; expected at most "
                f"{most / 2**20:.0f} MiB, so give a limit or split the archive"
            )
        _skip(stream, rows.start * row_bytes)
        data = _read_exactly(stream, len(rows) * row_bytes, name, path)
    array = data.view(dtype).reshape((len(rows), *shape[1:]) if shape else (), order="F" if fortran else "C")
    return array[window.start : window.stop] if fortran and window is not None else array


def _skip(stream: IO[bytes], count: int) -> None:
    while count > 0:
        data = stream.read(min(count, _CHUNK))
        if not data:
            return
        count -= len(data)


def _read_exactly(stream: IO[bytes], count: int, name: str, path: Path) -> NDArray[np.uint8]:
    buffer = np.empty(count, dtype=np.uint8)
    view = buffer.data
    done = 0
    while done < count:
        data = stream.read(min(count - done, _CHUNK))
        if not data:
            raise FormatError(f"{path}: {name} ends after {done} of {count} bytes")
        view[done : done + len(data)] = data
        done += len(data)
    return buffer


def _labels(archive: zipfile.ZipFile, name: str, path: Path) -> NDArray[np.int64]:
    labels = _rows(archive, name, path, None, most=_MAX_SIDE_BYTES)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise FormatError(f"{path}: {name} must be integers of shape (N,); got {labels.dtype} of shape {labels.shape}")
    return labels.astype(np.int64)


def _class_names(archive: zipfile.ZipFile, path: Path) -> tuple[str, ...]:
    names = _rows(archive, "class_names", path, None, most=_MAX_SIDE_BYTES)
    if names.ndim != 1 or names.dtype.kind != "U":
        raise FormatError(
            f"{path}: class_names must be an array of strings of shape (n,); got {names.dtype} of shape {names.shape}"
        )
    return tuple(str(name) for name in names)


def _to_nchw(array: NDArray[Any], name: str, path: Path) -> NDArray[np.float32]:
    if array.ndim == 3:
        array = array[:, None]
    elif array.ndim == 4 and array.shape[1] not in (1, 3) and array.shape[3] in (1, 3):
        array = array.transpose(0, 3, 1, 2)
    if array.ndim != 4 or array.shape[1] not in (1, 3):
        raise FormatError(
            f"{path}: {name} must have shape (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or 3 channels; "
            f"got {array.shape}"
        )
    count, channels, height, width = array.shape
    check_total(count, channels, height, width, str(path))
    if array.dtype == np.uint8:
        return pixels_to_float(array.transpose(0, 2, 3, 1))
    if array.dtype.kind != "f":
        raise FormatError(f"{path}: {name} must be uint8 in 0 .. 255 or floating point in [0, 1]; got {array.dtype}")
    with np.errstate(over="ignore"):  # a float64 too large for float32 becomes infinity and is refused as out of range
        return np.ascontiguousarray(array, dtype=np.float32)
