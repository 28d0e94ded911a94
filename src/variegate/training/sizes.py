"""Progressive resizing: the first epochs see smaller images, which cost less, in the order that a recipe names."""

import re
from collections.abc import Sequence
from typing import Final

from torch import Tensor, nn

from variegate.errors import ConfigurationError

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
