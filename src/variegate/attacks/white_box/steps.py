"""Steps within a ball: the direction of a gradient in a norm, and the projection back."""

import torch
from torch import Tensor

from variegate.oracles.distances import as_rows
from variegate.types import Bounds, Norm


def unit_rows(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows scaled to L2 norm 1, float32 (M, ...), and their norms, float32 (M,); zero rows stay zero.

    Each row is divided by its largest entry first, so that no square of a gradient of 1e-30 is lost.
    """
    largest = vectors.flatten(1).abs().amax(1)
    scaled = vectors / as_rows(torch.where(largest > 0, largest, torch.ones_like(largest)), vectors)
    length = scaled.flatten(1).norm(dim=1)
    unit = scaled / as_rows(torch.where(length > 0, length, torch.ones_like(length)), vectors)
    return unit, largest * length


def steepest(gradient: Tensor, norm: Norm) -> Tensor:
    """Return the change of norm 1 along which a gradient rises most: its unit vector (L2) or its signs."""
    return unit_rows(gradient)[0] if norm is Norm.L2 else gradient.sign()


def project(points: Tensor, clean: Tensor, epsilon: float, norm: Norm, bounds: Bounds) -> Tensor:
    """Return the points, moved into the ball of radius `epsilon` around `clean` and into the bounds.

    The bounds come last; as the clean inputs lie within them, clipping never makes a perturbation longer.
    """
    change = points - clean
    if norm is Norm.L2:
        length = change.flatten(1).norm(dim=1).clamp_min(torch.finfo(change.dtype).tiny)
        change = change * as_rows((epsilon / length).clamp_max(1.0), change)
    else:
        change = change.clamp(-epsilon, epsilon)
    return (clean + change).clamp(bounds.lower, bounds.upper)
