"""Small changes of an input that leave its class alone: noise, or shifts, contrast and JPEG as photographs have them.

An adaptive attacker asks jittered versions of a point and takes the majority of the answers: what depends on a copy's
key changes with the jitter, what the original decides does not (expectation over transformation, Athalye et al., 2018,
applied to labels). A jitter is frozen parameters; draws and their use are apart, so that draws belong to one input and
their use is shared by a batch.
"""

import io
import math
from dataclasses import dataclass
from typing import Protocol, final

import numpy as np
import torch
from torch import Tensor

from variegate.data.decode import require
from variegate.errors import ConfigurationError
from variegate.types import Bounds, require_at_least, require_positive

_HELP = "a jitter is written gaussian:SIGMA or natural:shift=PIXELS,contrast=SHARE,jpeg=QUALITY"


class Jitter(Protocol):
    """A random change of inputs that keeps shape and bounds."""

    def check(self, input_shape: tuple[int, ...]) -> None:
        """Raise `ConfigurationError` where inputs of this shape cannot be jittered so."""
        ...

    def draw(self, count: int, input_shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Return float32 (count, k): what decides `count` changes."""
        ...

    def apply(self, x: Tensor, drawn: Tensor, bounds: Bounds) -> Tensor:
        """Return float32 (M, *input_shape): each row of `x` changed as its row of `drawn` (M, k) says, clipped."""
        ...


@final
@dataclass(frozen=True, slots=True)
class GaussianJitter:
    """White Gaussian noise on every value, for inputs of any rank.

    Args:
        sigma: its standard deviation as a share of the bounds' range.
    """

    sigma: float

    def __post_init__(self) -> None:
        require_positive("the jitter's sigma", self.sigma, at_most=1.0)

    def check(self, input_shape: tuple[int, ...]) -> None:
        """Accept any shape."""
        del input_shape

    def draw(self, count: int, input_shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Return float32 (count, d), standard normal."""
        return torch.randn((count, math.prod(input_shape)), generator=generator, device=generator.device)

    def apply(self, x: Tensor, drawn: Tensor, bounds: Bounds) -> Tensor:
        """Add sigma times the draws and clip."""
        return (x + (self.sigma * bounds.range) * drawn.view_as(x)).clamp_(bounds.lower, bounds.upper)

    def __str__(self) -> str:
        return f"gaussian:{self.sigma:g}"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class NaturalJitter:
    """A shift by whole pixels, then another contrast, then JPEG: for images (H, W) or (C, H, W).

    Pixels that a shift uncovers repeat the edge. Contrast is changed about the image's mean over all channels.

    Args:
        shift: pixels at most, up or down and left or right, each whole number as likely.
        contrast: the factor is uniform on 1 - contrast to 1 + contrast.
        jpeg: quality of a JPEG round trip, 1 to 100, or None for none; one or three channels, read as grey or RGB, with
            the bounds as 0 and 255. It needs Pillow and runs image by image on the CPU.
    """

    shift: int = 1
    contrast: float = 0.04
    jpeg: int | None = None

    def __post_init__(self) -> None:
        require_at_least("the jitter's shift", self.shift, 0)
        if not 0.0 <= self.contrast < 1.0:
            raise ConfigurationError(f"the jitter's contrast must be from 0 to below 1; got {self.contrast}")
        if self.jpeg is not None and not 1 <= self.jpeg <= 100:
            raise ConfigurationError(f"the jitter's JPEG quality must be from 1 to 100; got {self.jpeg}")
        if self.shift == 0 and self.contrast == 0.0:
            raise ConfigurationError("a natural jitter needs a shift or a contrast above 0: else all votes are equal")

    def check(self, input_shape: tuple[int, ...]) -> None:
        """Accept images.

        Raises:
            ConfigurationError: inputs are not of shape (H, W) or (C, H, W), or JPEG does not know their channels or
                Pillow is missing.
        """
        if len(input_shape) not in (2, 3):
            raise ConfigurationError(
                f"natural jitter takes images of shape (H, W) or (C, H, W); got {input_shape}; use a Gaussian jitter"
            )
        if self.jpeg is None:
            return
        if len(input_shape) == 3 and input_shape[0] not in (1, 3):
            raise ConfigurationError(f"JPEG takes images of 1 or 3 channels; got {input_shape[0]}; leave jpeg out")
        require("PIL.Image", purpose="jitter with JPEG")

    def draw(self, count: int, input_shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Return float32 (count, 3), uniform on [0, 1): for rows, columns and contrast."""
        del input_shape
        return torch.rand((count, 3), generator=generator, device=generator.device)

    def apply(self, x: Tensor, drawn: Tensor, bounds: Bounds) -> Tensor:
        """Shift, change the contrast, clip and compress."""
        images = x.reshape(x.shape[0], -1, *x.shape[-2:])
        if self.shift:
            offset = (drawn[:, :2] * (2 * self.shift + 1)).floor().clamp_max(2 * self.shift).long() - self.shift
            for axis in (2, 3):
                images = _shifted(images, offset[:, axis - 2], axis)
        if self.contrast:
            # A mean in float64, so that the order of the sum, which may depend on the batch, rounds away.
            mean = images.double().mean((1, 2, 3), keepdim=True).float()
            factor = (1.0 + self.contrast * (2.0 * drawn[:, 2] - 1.0)).view(-1, 1, 1, 1)
            images = (images - mean) * factor + mean
        images = images.clamp(bounds.lower, bounds.upper)
        if self.jpeg is not None:
            images = _through_jpeg(images, self.jpeg, bounds)
        return images.reshape(x.shape)

    def __str__(self) -> str:
        end = "" if self.jpeg is None else f",jpeg={self.jpeg}"
        return f"natural:shift={self.shift},contrast={self.contrast:g}{end}"


def parse_jitter(text: str) -> Jitter:
    """Read "gaussian:SIGMA" or "natural:shift=PIXELS,contrast=SHARE,jpeg=QUALITY".

    Of the latter any part may be left out and has its default then: one pixel, 0.04, no JPEG.

    Raises:
        ConfigurationError: it is neither, or a value does not fit.
    """
    kind, _, rest = text.partition(":")
    try:
        if kind == "gaussian":
            return GaussianJitter(float(rest))
        if kind == "natural":
            return _parse_natural(rest)
    except ValueError:
        pass
    raise ConfigurationError(f"{_HELP}, such as gaussian:0.03 or natural:shift=1,jpeg=90; got {text!r}")


def _parse_natural(text: str) -> NaturalJitter:
    """Read the parts; ValueError where they are not as they should be."""
    parts = [part.partition("=") for part in text.split(",")] if text else []
    values = {name: value for name, _, value in parts}
    if len(values) != len(parts) or not values.keys() <= {"shift", "contrast", "jpeg"}:
        raise ValueError
    default = NaturalJitter()
    return NaturalJitter(
        shift=int(values.get("shift", default.shift)),
        contrast=float(values.get("contrast", default.contrast)),
        jpeg=int(values["jpeg"]) if "jpeg" in values else None,
    )


def _shifted(images: Tensor, offset: Tensor, axis: int) -> Tensor:
    """Move each image by its offset (int64 (M,)) along the axis, repeating the edge."""
    extent = images.shape[axis]
    source = (torch.arange(extent, device=images.device) - offset[:, None]).clamp_(0, extent - 1)
    shape = [1, 1, 1, 1]
    shape[0], shape[axis] = images.shape[0], extent
    return images.gather(axis, source.view(shape).expand_as(images))


def _through_jpeg(images: Tensor, quality: int, bounds: Bounds) -> Tensor:
    """Write each image (M, C, H, W) as JPEG and read it back."""
    pil = require("PIL.Image", purpose="jitter with JPEG")
    pixels = ((images - bounds.lower) / bounds.range * 255.0).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    found = np.empty_like(pixels)
    for source, target in zip(pixels, found, strict=True):
        file = io.BytesIO()
        pil.fromarray(source if source.shape[2] == 3 else source[:, :, 0]).save(file, format="JPEG", quality=quality)
        with pil.open(file, formats=("JPEG",)) as image:
            target[:] = np.asarray(image).reshape(target.shape)
    back = torch.from_numpy(found).to(images.device).permute(0, 3, 1, 2).float() / 255.0
    return (bounds.lower + bounds.range * back).clamp_(bounds.lower, bounds.upper)
