"""Sizes of perturbations, one number a row."""

import torch
from torch import Tensor

from variegate.types import Norm

_PIECE = 16384  # values that one thread adds: from 32768 on, PyTorch may share a single sum out among threads


def distance(x: Tensor, y: Tensor, norm: Norm) -> Tensor:
    """Return float32 (N,): the norm of x - y per row, in the units of the input."""
    difference = (x - y).flatten(1)
    return difference.norm(dim=1) if norm is Norm.L2 else difference.abs().amax(1)


def row_dots(x: Tensor, y: Tensor) -> Tensor:
    """Return float32 (...,): the sums of x times y over the last dimension, the same in any batch.

    PyTorch's own sum of a long row is rounded otherwise if the row is alone. Norms need no such care.
    """
    pieces = [piece.sum(-1) for piece in (x * y).split(_PIECE, -1)]
    return pieces[0] if len(pieces) == 1 else torch.stack(pieces, -1).sum(-1)


def as_rows(value: Tensor, like: Tensor) -> Tensor:
    """Reshape (N,) so that it broadcasts over the rows of `like` (N, ...)."""
    return value.reshape(-1, *([1] * (like.ndim - 1))).to(like.dtype if value.is_floating_point() else value.dtype)


def all_finite(x: Tensor) -> Tensor:
    """Return bool (N,): rows without NaN or infinity."""
    return torch.isfinite(x.flatten(1)).all(1)
