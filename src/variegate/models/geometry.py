"""How far inputs lie from the original's decision boundary: the seller's own, white-box measure for calibration.

Not an attack on a copy: the seller uses it on his original to choose a quantization step (see
`variegate.rewriters.calibrate`). It repeats the linear step to the nearest of the leading classes, as DeepFool
(Moosavi-Dezfooli et al., 2016) does, and then bisects back to the boundary, so the result is an upper bound of the
true distance that is close to it for smooth networks.
"""

import torch
from torch import Tensor

from variegate.models.classifier import Classifier
from variegate.models.forward_pass import full_precision, gradient_rows


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
