"""Distances: between inputs, one number per row, and from an input to the original's decision boundary.

`boundary_distance` is the seller's own, white-box measure for calibration, not an attack on a copy: sellers use it on
their original to choose a quantization step (see `variegate.rewriters.calibrate`). It repeats the linear step to the
nearest of the leading classes, as DeepFool (Moosavi-Dezfooli et al., 2016) does, and then bisects back to the boundary,
so the result is an upper bound of the true distance that is close to it for smooth networks.
"""

import torch
from torch import Tensor

from variegate.models.classifier import Classifier, full_precision, gradient_rows
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


def boundary_distance(original: Classifier, x: Tensor, *, steps: int = 8, leading: int = 4) -> Tensor:
    """Return float32 (N,): the L2 norm of a small perturbation that changes the original's label.

    Args:
        x: float32 (N, *input_shape).
        steps: linearised steps, each to the nearest boundary among the `leading` next classes.
        leading: how many runner-up classes are considered in a step.

    Inputs for which no change was found are infinite. Cost: steps x (leading + 1) backward passes.
    """
    device = original.device
    rows = gradient_rows(original.batch_size, device)
    with full_precision(device):  # also of the backward passes
        return torch.cat([_distance(original, part.to(device), steps, leading) for part in x.split(rows)])


def _distance(original: Classifier, x: Tensor, steps: int, leading: int) -> Tensor:
    label = original.predict(x)
    leading = min(leading, original.num_classes - 1)
    ranked = original.logits(x).scatter(1, label[:, None], float("-inf")).topk(leading, 1).indices
    point, done = x.clone(), torch.zeros_like(label, dtype=torch.bool)
    for _ in range(steps):
        step = _linear_step(original, point, label, ranked)
        point = torch.where(
            _rows(done, x), point, (point + 1.05 * step).clamp(original.bounds.lower, original.bounds.upper)
        )
        done |= original.predict(point) != label
        if bool(done.all()):
            break
    low, high = torch.zeros_like(label, dtype=x.dtype), torch.ones_like(label, dtype=x.dtype)
    for _ in range(12):
        middle = 0.5 * (low + high)
        changed = original.predict(x + _rows(middle, x) * (point - x)) != label
        high, low = torch.where(changed, middle, high), torch.where(changed, low, middle)
    distance = high * (point - x).flatten(1).norm(dim=1)
    return torch.where(done, distance, torch.full_like(distance, float("inf")))


def _linear_step(original: Classifier, point: Tensor, label: Tensor, ranked: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = point.detach().clone().requires_grad_(True)
        logits = original.differentiable_logits(leaf)
        own = logits.gather(1, label[:, None])
        gaps = own - logits.gather(1, ranked)  # (N, leading), positive while the label holds
        slopes = torch.stack(
            [torch.autograd.grad(gaps[:, k].sum(), leaf, retain_graph=True)[0] for k in range(gaps.shape[1])], 1
        )
    flat = slopes.flatten(2)
    norm = flat.norm(dim=2).clamp_min(1e-12)
    distance = gaps.detach().clamp_min(0) / norm
    nearest = distance.argmin(1)
    pick = nearest[:, None, None].expand(-1, 1, flat.shape[2])
    direction = flat.gather(1, pick).squeeze(1) / norm.gather(1, nearest[:, None])
    size = distance.gather(1, nearest[:, None]) + 1e-4
    step: Tensor = -size * direction
    return step.view_as(point)


def _rows(value: Tensor, like: Tensor) -> Tensor:
    """Reshape (N,) so that it broadcasts over the rows of `like`."""
    return value.view(-1, *([1] * (like.ndim - 1)))
