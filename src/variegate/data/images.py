"""`LabelledImages`, what every reader returns, and `ReadRequest`, which images a caller wants and in what size."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from variegate.errors import ConfigurationError, InputError
from variegate.types import Bounds, InputSpec


def default_class_names(count: int) -> tuple[str, ...]:
    """Return "class 0", "class 1", ... for data that name no classes."""
    return tuple(f"class {index}" for index in range(count))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelledImages:
    """Images with one label each.

    Attributes:
        images: float32 (N, C, H, W), every value in [0, 1], C is 1 or 3, N at least 1.
        labels: int64 (N,), every value below `len(class_names)`.
        class_names: one name per class, in the order of the labels.
        name: what to call the data in records and figures.

    Raises:
        InputError: if a shape, a type or a value is not as above; the sentence names the first row at fault.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    name: str

    def __post_init__(self) -> None:
        _check_images(self.images, self.name)
        _check_labels(self.labels, len(self.images), len(self.class_names), self.name)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        """How many classes the data name; some may have no image here."""
        return len(self.class_names)

    @property
    def input_spec(self) -> InputSpec:
        """One image: (C, H, W) in [0, 1]."""
        return InputSpec(self.image_shape, Bounds(), layout="CHW", kind="image")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    def select(self, indices: Sequence[int] | NDArray[np.int64]) -> Self:
        """Return the images at `indices`, in that order.

        Raises:
            InputError: if there are no indices or one is outside 0 .. N-1.
        """
        chosen = np.asarray(indices, dtype=np.int64)
        if chosen.ndim != 1 or not chosen.size or chosen.min() < 0 or chosen.max() >= len(self):
            raise InputError(f"{self.name}: indices must be a list of numbers from 0 to {len(self) - 1}, not empty")
        return replace(self, images=self.images[chosen], labels=self.labels[chosen])


def _check_images(images: NDArray[Any], name: str) -> None:
    if images.dtype != np.float32 or images.ndim != 4:
        raise InputError(
            f"{name}: images must be float32 of shape (N, C, H, W); got {images.dtype} of shape {images.shape}"
        )
    if not len(images):
        raise InputError(f"{name}: expected at least one image; got none")
    if images.shape[1] not in (1, 3) or not images.size:
        raise InputError(f"{name}: images must have 1 or 3 channels and at least one pixel; got shape {images.shape}")
    lowest, highest = float(images.min()), float(images.max())  # NaN wins both, so two passes find everything
    if not (lowest >= 0.0 and highest <= 1.0):
        row = next(r for r, image in enumerate(images) if not (image.min() >= 0.0 and image.max() <= 1.0))
        found = "NaN" if np.isnan(images[row]).any() else f"values from {images[row].min():g} to {images[row].max():g}"
        raise InputError(f"{name}: image values must lie in [0, 1]; image {row} holds {found}")


def _check_labels(labels: NDArray[Any], count: int, num_classes: int, name: str) -> None:
    if labels.dtype != np.int64 or labels.shape != (count,):
        raise InputError(
            f"{name}: expected one int64 label for each of {count} images; got {labels.dtype} of shape {labels.shape}"
        )
    if num_classes < 1:
        raise InputError(f"{name}: the data name no classes; expected at least one class name")
    outside = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if outside.size:
        row = int(outside[0])
        raise InputError(f"{name}: labels must lie in 0 .. {num_classes - 1}; image {row} has label {labels[row]}")


Split = Literal["train", "test"]

MAX_TOTAL_BYTES = 2**33
"""The most bytes of float32 pixels that one call returns (8 GiB)."""

MAX_IMAGE_BYTES = 2**26
"""The most bytes of one encoded image file (64 MiB)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRequest:
    """What to read: at most `limit` images of `split`, from image `offset` on.

    Attributes:
        split: "train" or "test"; formats that hold one split ignore it.
        limit: the most images to return; None for all.
        offset: how many images to pass over first.
        resize: (height, width) in pixels to bring every image to, bilinear with antialiasing; None keeps the size.
        channels: 1 (grey) or 3 (RGB) to convert to; None keeps grey images grey unless some image has colour.

    Raises:
        ConfigurationError: if an option is out of range.
    """

    split: Split = "test"
    limit: int | None = None
    offset: int = 0
    resize: tuple[int, int] | None = None
    channels: Literal[1, 3] | None = None

    def __post_init__(self) -> None:
        if self.split not in ("train", "test"):
            raise ConfigurationError(f'split must be "train" or "test"; got {self.split!r}')
        if self.limit is not None and self.limit < 1:
            raise ConfigurationError(f"limit must be at least 1, or None for all images; got {self.limit}")
        if self.offset < 0:
            raise ConfigurationError(f"offset must be 0 or more; got {self.offset}")
        if self.resize is not None and (len(self.resize) != 2 or not all(1 <= side <= 2**14 for side in self.resize)):
            raise ConfigurationError(f"resize must be (height, width), each 1 to {2**14} pixels; got {self.resize}")
        if self.channels not in (None, 1, 3):
            raise ConfigurationError(f"channels must be 1, 3 or None; got {self.channels}")

    def window(self, total: int, what: str) -> range:
        """Return the rows to read out of `total`.

        Raises:
            InputError: if there are no rows, or all of them come before the offset.
        """
        if total < 1:
            raise InputError(f"{what} holds no images; expected at least one")
        if self.offset >= total:
            raise InputError(f"{what} holds {total} images; offset {self.offset} leaves none, so give a smaller one")
        return range(self.offset, total if self.limit is None else min(total, self.offset + self.limit))


def check_total(count: int, channels: int, height: int, width: int, what: str) -> None:
    """Refuse a result that would not fit in memory.

    Raises:
        InputError: if float32 (count, channels, height, width) takes more than `MAX_TOTAL_BYTES`.
    """
    need = 4 * count * channels * height * width
    if need > MAX_TOTAL_BYTES:
        raise InputError(
            f"{what}: {count} images of {channels} x {height} x {width} take {need / 2**30:.1f} GiB, more than "
            f"{MAX_TOTAL_BYTES / 2**30:.0f} GiB; give a limit or a smaller resize"
        )
