"""Sizes of perturbations, one number a row."""

import torch
from torch import Tensor

from variegate.types import Norm

__all__ = ["all_finite", "as_rows", "distance"]


def distance(x: Tensor, y: Tensor, norm: Norm) -> Tensor:
    """Return float32 (N,): the norm of x - y per row, in the units of the input."""
    difference = (x - y).flatten(1)
    return difference.norm(dim=1) if norm is Norm.L2 else difference.abs().amax(1)


def as_rows(value: Tensor, like: Tensor) -> Tensor:
    """Reshape (N,) so that it broadcasts over the rows of `like` (N, ...)."""
    return value.reshape(-1, *([1] * (like.ndim - 1))).to(like.dtype if value.is_floating_point() else value.dtype)


def all_finite(x: Tensor) -> Tensor:
    """Return bool (N,): rows without NaN or infinity."""
    return torch.isfinite(x.flatten(1)).all(1)
