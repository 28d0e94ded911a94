"""`LabelledImages`: what every reader returns, checked once here."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from variegate.errors import InputError
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
