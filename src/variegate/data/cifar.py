"""The binary version of CIFAR-10 and CIFAR-100: fixed-size records of label bytes and 3 x 32 x 32 pixel bytes.

Source: https://www.cs.toronto.edu/~kriz/cifar.html (Krizhevsky, "Learning Multiple Layers of Features from Tiny
Images", 2009). CIFAR-10 records have one label byte; CIFAR-100 records have a coarse and then a fine one, and the fine
one is the label here. The Python version of both consists of pickles and is refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from variegate.data.decode import pixels_to_float, resize_arrays
from variegate.data.images import LabelledImages, ReadRequest, default_class_names
from variegate.errors import FormatError, InputError, NotFoundError, UnsafeFormatError

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_PIXELS = 3 * 32 * 32


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    label_bytes: int
    num_classes: int
    files: dict[str, tuple[str, ...]]
    names_file: str

    @property
    def record(self) -> int:
        return self.label_bytes + _PIXELS


_CIFAR10 = _Layout(
    label_bytes=1,
    num_classes=10,
    files={"train": tuple(f"data_batch_{index}.bin" for index in range(1, 6)), "test": ("test_batch.bin",)},
    names_file="batches.meta.txt",
)
_CIFAR100 = _Layout(
    label_bytes=2,
    num_classes=100,
    files={"train": ("train.bin",), "test": ("test.bin",)},
    names_file="fine_label_names.txt",
)
_PICKLES = ("data_batch_1", "test_batch", "batches.meta")


def recognises_cifar(path: Path) -> bool:
    """Say whether `path` is a .bin file, or a folder with the files of either version of CIFAR."""
    if path.is_file():
        return path.suffix == ".bin"
    return _layout_of_folder(path) is not None or any((path / name).is_file() for name in _PICKLES)


def read_cifar(path: Path, request: ReadRequest) -> LabelledImages:
    """Read the wanted records, and no others, of a folder or of one .bin file.

    Raises:
        FormatError: if a file is not a whole number of records.
        InputError: if there are no records or a label has no class.
        NotFoundError: if the folder lacks a file of the split.
        UnsafeFormatError: if the folder holds the Python version, which is pickles.
    """
    folder = path.parent if path.is_file() else path
    if path.is_file():
        layout, files = _layout_of_file(path), [path]
    else:
        found = _layout_of_folder(path)
        if found is None:
            raise UnsafeFormatError(
                f"{path} holds the Python version of CIFAR-10, which is pickles and could run code; use the "
                "binary version (cifar-10-batches-bin) or convert it to .npz"
            )
        layout, files = found, [path / name for name in found.files[request.split]]
        missing = next((file for file in files if not file.is_file()), None)
        if missing is not None:
            raise NotFoundError(f"{missing} does not exist; the {request.split} split needs it")
    counts = [_count(file, layout.record) for file in files]
    window = request.window(sum(counts), str(path))
    records = np.concatenate(list(_records(files, counts, window, layout.record)))
    pixels = records[:, layout.label_bytes :].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return LabelledImages(
        images=resize_arrays(pixels_to_float(pixels), request),
        labels=records[:, layout.label_bytes - 1].astype(np.int64),
        class_names=_class_names(folder, layout),
        name=path.stem if path.is_file() else path.resolve().name,
    )


def _layout_of_folder(path: Path) -> _Layout | None:
    for layout in (_CIFAR10, _CIFAR100):
        if any((path / name).is_file() for names in layout.files.values() for name in names):
            return layout
    return None


def _layout_of_file(path: Path) -> _Layout:
    if path.name in ("train.bin", "test.bin"):
        return _CIFAR100
    return _CIFAR10 if path.stat().st_size % _CIFAR10.record == 0 else _CIFAR100


def _count(path: Path, record: int) -> int:
    size = path.stat().st_size
    if size % record:
        raise FormatError(
            f"{path} has {size} bytes, not a whole number of CIFAR records ({_CIFAR10.record} bytes in "
            f"CIFAR-10, {_CIFAR100.record} in CIFAR-100); it is truncated or another file"
        )
    return size // record


def _records(files: list[Path], counts: list[int], window: range, record: int) -> Iterator[NDArray[np.uint8]]:
    start = 0
    for path, count in zip(files, counts, strict=True):
        first, stop = max(window.start - start, 0), min(window.stop - start, count)
        start += count
        if first < stop:
            try:
                data = np.fromfile(path, dtype=np.uint8, count=(stop - first) * record, offset=first * record)
            except OSError as error:
                raise InputError(f"{path} cannot be read: {error.strerror}") from error
            yield data.reshape(-1, record)


def _class_names(folder: Path, layout: _Layout) -> tuple[str, ...]:
    file = folder / layout.names_file
    if file.is_file() and file.stat().st_size < 2**16:
        names = tuple(line.strip() for line in file.read_text("utf-8", errors="replace").splitlines() if line.strip())
        if len(names) == layout.num_classes:
            return names
    return CIFAR10_CLASSES if layout is _CIFAR10 else default_class_names(layout.num_classes)
