"""Random changes of training images, whole batches at once; each takes its randomness from the generator it is given.

In a recipe an augmentation is text: "flip", "crop" with its usual size, or "crop:2" with another one.
"""

import math
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from variegate.errors import ConfigurationError

Augmentation: TypeAlias = Callable[[Tensor, torch.Generator], Tensor]
"""(images, generator) -> images of the same shape."""

_GREY = 0.5
_ASPECT = 4 / 3  # the longest side of a resized crop over the shortest


def flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each image left to right with probability 1/2; (N, C, H, W) in and out.

    Not for images whose meaning changes in a mirror, such as traffic signs and digits.
    """
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(mirrored.to(images.device, non_blocking=True).view(-1, 1, 1, 1), images.flip(3), images)


def shift(images: Tensor, generator: torch.Generator, *, pixels: int = 4) -> Tensor:
    """Move each image by up to `pixels` in both directions, zeros coming in; (N, C, H, W) in and out."""
    return _cut(nn.functional.pad(images, (pixels,) * 4), images.shape, generator)


def crop(images: Tensor, generator: torch.Generator, *, pixels: int = 4) -> Tensor:
    """Move each image by up to `pixels` in both directions, its mirrored border coming in; (N, C, H, W) in and out.

    Raises:
        ConfigurationError: if the images are not larger than `pixels`.
    """
    if pixels >= min(images.shape[2:]):
        raise ConfigurationError(
            f"crop:{pixels} needs images of more than {pixels} pixels a side; got {tuple(images.shape[2:])}"
        )
    return _cut(nn.functional.pad(images, (pixels,) * 4, mode="reflect"), images.shape, generator)


def cutout(images: Tensor, generator: torch.Generator, *, side: int = 8) -> Tensor:
    """Paint a grey square of `side` pixels into each image; (N, C, H, W) in and out.

    The middle of the square is uniform over the image, so that a part of it may fall outside, as DeVries and Taylor
    ("Improved Regularization of Convolutional Neural Networks with Cutout", 2017) have it. Grey is 0.5.
    """
    count, _, height, width = images.shape
    middle = torch.rand((2, count, 1), generator=generator).to(images.device, non_blocking=True)
    rows = _within(torch.arange(height, device=images.device), middle[0] * height, side)
    columns = _within(torch.arange(width, device=images.device), middle[1] * width, side)
    hidden = (rows[:, :, None] & columns[:, None, :])[:, None]
    return torch.where(hidden, _GREY, images)


def resized_crop(images: Tensor, generator: torch.Generator, *, area: float = 0.5) -> Tensor:
    """Cut a random rectangle out of each image and stretch it to the image's size; (N, C, H, W) in and out.

    The rectangle has a share of the image's area that is uniform from `area` to 1 and an aspect ratio that is
    log-uniform from 3/4 to 4/3 (Szegedy et al., "Going Deeper with Convolutions", 2015, section 6, who let the area
    start at 0.08); a side that would be longer than the image's is as long. Bilinear.
    """
    count = len(images)
    share, aspect, down, right = torch.rand((4, count), generator=generator)
    share = area + (1 - area) * share
    ratio = torch.exp((2 * aspect - 1) * (0.5 * math.log(_ASPECT)))
    tall = (share.sqrt() / ratio).clamp(max=1.0)
    wide = (share.sqrt() * ratio).clamp(max=1.0)
    theta = torch.zeros((count, 2, 3))
    theta[:, 0, 0], theta[:, 1, 1] = wide, tall
    theta[:, 0, 2], theta[:, 1, 2] = (2 * right - 1) * (1 - wide), (2 * down - 1) * (1 - tall)
    grid = nn.functional.affine_grid(theta.to(images, non_blocking=True), list(images.shape), align_corners=False)
    cut = nn.functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return cut.clamp(0.0, 1.0)


class _Kind(NamedTuple):
    function: Callable[..., Tensor]
    option: str | None
    takes: str
    read: Callable[[str], float]
    allowed: Callable[[float], bool]


def _is_size(value: float) -> bool:
    return 1 <= value <= 1024


def _is_share(value: float) -> bool:
    return 0.0 < value <= 1.0


AUGMENTATIONS: dict[str, _Kind] = {
    "crop": _Kind(crop, "pixels", "a whole number of pixels", int, _is_size),
    "cutout": _Kind(cutout, "side", "a whole number of pixels", int, _is_size),
    "flip": _Kind(flip, None, "no number", int, _is_size),
    "resized_crop": _Kind(resized_crop, "area", "a share above 0 and up to 1", float, _is_share),
    "shift": _Kind(shift, "pixels", "a whole number of pixels", int, _is_size),
}
"""Name -> function and what may stand behind the colon."""


def parse_augmentation(text: str) -> Augmentation:
    """Return the augmentation that "NAME" or "NAME:NUMBER" means.

    Raises:
        ConfigurationError: if there is none of that name, or the number is not what it takes.
    """
    name, colon, number = text.partition(":")
    kind = AUGMENTATIONS.get(name)
    if kind is None:
        raise ConfigurationError(f"there is no augmentation {name!r}; choose from {', '.join(AUGMENTATIONS)}")
    if not colon:
        return kind.function
    try:
        value = kind.read(number)
    except ValueError:
        value = None
    if kind.option is None or value is None or not kind.allowed(value):
        raise ConfigurationError(f"the augmentation {name} takes {kind.takes} after a colon; got {text!r}")
    return partial(kind.function, **{kind.option: value})


def _cut(padded: Tensor, shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Return a window of `shape` from each padded image, its corner uniform over all that fit."""
    count, channels, height, width = shape
    places = padded.shape[2] - height + 1
    corner = torch.randint(0, places, (2, count, 1), generator=generator).to(padded.device, non_blocking=True)
    rows = (corner[0] + torch.arange(height, device=padded.device)).view(count, 1, height, 1)
    columns = (corner[1] + torch.arange(width, device=padded.device)).view(count, 1, 1, width)
    sample = torch.arange(count, device=padded.device).view(count, 1, 1, 1)
    channel = torch.arange(channels, device=padded.device).view(1, channels, 1, 1)
    return padded[sample, channel, rows, columns]


def _within(positions: Tensor, middle: Tensor, side: int) -> Tensor:
    """Say for each image which positions a square around the middle covers: (N, positions)."""
    first = torch.floor(middle - 0.5 * side + 0.5)
    return (positions >= first) & (positions < first + side)


_SIZE: Final = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,5})", re.ASCII)


def parse_size(text: str) -> tuple[int, int]:
    """Return (side in pixels, epochs) of "SIDExEPOCHS".

    Raises:
        ConfigurationError: if the text is not of this form.
    """
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ConfigurationError(f"sizes are SIDExEPOCHS, such as 24x10 for ten epochs at 24 pixels; got {text!r}")
    return int(found[1]), int(found[2])


def side_in_epoch(sizes: Sequence[str], epoch: int) -> int | None:
    """Return the side of the images in an epoch, counted from 0; None for the full side, which follows all sizes."""
    for text in sizes:
        side, epochs = parse_size(text)
        if epoch < epochs:
            return side
        epoch -= epochs
    return None


def shrink(images: Tensor, side: int) -> Tensor:
    """Return the images with `side` rows and as many columns in proportion; (N, C, H, W) in and out.

    Bilinear with a filter against aliasing.
    """
    _, _, height, width = images.shape
    columns = max(1, round(width * side / height))
    return nn.functional.interpolate(images, (side, columns), mode="bilinear", antialias=True, align_corners=False)
