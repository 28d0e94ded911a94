"""Where probes are drawn: in all of the input space, among its low frequencies, or as enlarged coarse noise.

A subspace is frozen hyper-parameters; `lift` maps k coefficients linearly into the input space. "Low frequencies" are
those of the orthonormal DCT-II over the last two axes (the last one, for inputs of one axis); axes before them, an
image's channels, are kept whole. Sources: QEBA (Li et al., 2020) for both kinds in HopSkipJump, GeoDA (Rahmati et al.,
2020) and CGBA (Reza et al., 2023) for the DCT.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, final

import torch
from torch import Tensor

from variegate.errors import ConfigurationError
from variegate.types import require_at_least


class Subspace(Protocol):
    """A linear map from coefficients to inputs."""

    def dimension(self, input_shape: tuple[int, ...]) -> int:
        """Return how many coefficients an input of this shape has."""
        ...

    def lift(self, coefficients: Tensor, input_shape: tuple[int, ...]) -> Tensor:
        """Map float32 (M, k) to float32 (M, d)."""
        ...


@final
@dataclass(frozen=True, slots=True)
class FullSpace:
    """All of the input space: coefficients are input values."""

    def dimension(self, input_shape: tuple[int, ...]) -> int:
        """Return d."""
        return math.prod(input_shape)

    def lift(self, coefficients: Tensor, input_shape: tuple[int, ...]) -> Tensor:
        """Return the coefficients as they are."""
        del input_shape
        return coefficients

    def __str__(self) -> str:
        return "full"


@final
@dataclass(frozen=True, slots=True)
class LowFrequencies:
    """The `side` lowest frequencies along each of the last two axes: orthonormal, so lengths are kept.

    Args:
        side: frequencies an axis; an axis shorter than that keeps all of its own.
    """

    side: int

    def __post_init__(self) -> None:
        require_at_least("the number of frequencies", self.side, 1)

    def dimension(self, input_shape: tuple[int, ...]) -> int:
        """Return channels times frequencies."""
        _, extents = _split(input_shape)
        return math.prod(input_shape) // math.prod(extents) * math.prod(min(self.side, e) for e in extents)

    def lift(self, coefficients: Tensor, input_shape: tuple[int, ...]) -> Tensor:
        """Return the inputs with these low frequencies and no others."""
        kept, extents = _split(input_shape)
        sides = [min(self.side, extent) for extent in extents]
        value = coefficients.reshape(-1, *kept, *sides)
        for axis, (extent, side) in enumerate(zip(extents, sides, strict=True), start=1 + len(kept)):
            basis = _dct(extent, side, coefficients.device)
            value = torch.movedim(torch.movedim(value, axis, -1) @ basis, -1, axis)
        return value.reshape(coefficients.shape[0], -1)

    def project(self, values: Tensor, input_shape: tuple[int, ...]) -> Tensor:
        """Return float32 (M, k): the coefficients of float32 (M, d) inputs; the transpose of `lift`."""
        kept, extents = _split(input_shape)
        value = values.reshape(-1, *kept, *extents)
        for axis, extent in enumerate(extents, start=1 + len(kept)):
            basis = _dct(extent, min(self.side, extent), values.device)
            value = torch.movedim(torch.movedim(value, axis, -1) @ basis.T, -1, axis)
        return value.reshape(values.shape[0], -1)

    def __str__(self) -> str:
        return f"dct:{self.side}"


@final
@dataclass(frozen=True, slots=True)
class ResizedNoise:
    """Noise on a grid `factor` times coarser along the last two axes, enlarged with bilinear interpolation.

    Args:
        factor: how many times coarser; 1 is the full space.
    """

    factor: int

    def __post_init__(self) -> None:
        require_at_least("the factor of resized noise", self.factor, 1)

    def _sides(self, extents: tuple[int, ...]) -> list[int]:
        return [max(1, math.ceil(extent / self.factor)) for extent in extents]

    def dimension(self, input_shape: tuple[int, ...]) -> int:
        """Return channels times coarse cells."""
        _, extents = _split(input_shape)
        return math.prod(input_shape) // math.prod(extents) * math.prod(self._sides(extents))

    def lift(self, coefficients: Tensor, input_shape: tuple[int, ...]) -> Tensor:
        """Return the enlarged grids."""
        kept, extents = _split(input_shape)
        value = coefficients.reshape(coefficients.shape[0], math.prod(kept), *self._sides(extents))
        mode = "bilinear" if len(extents) == 2 else "linear"
        wide = torch.nn.functional.interpolate(value, size=extents, mode=mode, align_corners=False)
        return wide.reshape(coefficients.shape[0], -1)

    def __str__(self) -> str:
        return f"resize:{self.factor}"


def parse_subspace(text: str) -> Subspace:
    """Read "full", "dct:SIDE" or "resize:FACTOR".

    Raises:
        ConfigurationError: it is none of these, or its number is not a whole one from 1 up.
    """
    kind, _, number = text.partition(":")
    if text == "full":
        return FullSpace()
    if kind in ("dct", "resize") and number.isdecimal():
        return LowFrequencies(int(number)) if kind == "dct" else ResizedNoise(int(number))
    raise ConfigurationError(f"a subspace is written full, dct:SIDE or resize:FACTOR, such as dct:8; got {text!r}")


def _split(input_shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the axes that are kept whole and the one or two that are transformed."""
    transformed = min(2, len(input_shape))
    return input_shape[:-transformed], input_shape[-transformed:]


@lru_cache(maxsize=32)
def _dct(extent: int, side: int, device: torch.device) -> Tensor:
    """Return float32 (side, extent): the first rows of the orthonormal DCT-II."""
    place = torch.arange(extent, dtype=torch.float64) + 0.5
    frequency = torch.arange(side, dtype=torch.float64)[:, None]
    basis = torch.cos(math.pi / extent * frequency * place) * math.sqrt(2.0 / extent)
    basis[0] *= math.sqrt(0.5)
    return basis.float().to(device)
