"""What gradients are taken of: functions of a model's scores, one value a row.

All of them work on log scores. Of a softmax they are the logits up to a constant a row, so that differences of classes,
and their gradients, do not vanish where the softmax saturates; L1-normalised scores of rewritten copies need no logits.

Steps stay within a ball: the direction of a gradient in a norm, and the projection back.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from variegate.attacks.white_box.base import Aim
from variegate.errors import ConfigurationError
from variegate.models.geometry import as_rows
from variegate.types import Bounds, Norm

Loss = Literal["cross_entropy", "margin"]


def log_scores(scores: Tensor) -> Tensor:
    """Return log(scores), float32 (M, n); a score below 1.2e-38, a negative one too, counts as that, without gradient.

    Scores are L1-normalised already, so that is all there is to do.
    """
    return scores.clamp_min(torch.finfo(scores.dtype).tiny).log()


def margin(scores: Tensor, aim: Aim) -> Tensor:
    """Return float32 (M,): by how much the log scores are adversarial; negative where they are not.

    Untargeted: the best other label's minus the correct one's. Targeted: the target's minus the best other label's.

    Args:
        scores: float32 (M, n).
        aim: of the same M rows.
    """
    logs = log_scores(scores)
    own = logs.gather(1, aim.labels[:, None])[:, 0]
    best = logs.scatter(1, aim.labels[:, None], float("-inf")).amax(1)
    return own - best if aim.targeted else best - own


def objective(loss: Loss, aim: Aim) -> Callable[[Tensor, slice], Tensor]:
    """Return what an attack makes large, as `GradientOracle.pull` takes it.

    "cross_entropy": -log s_y, or log s_t if targeted. Its gradient holds the rest of the scores as a factor: it is
    small, but has a direction, where the model is sure, and is 0 where all other scores are 0 in float32.
    "margin": see `margin`.

    Raises:
        ConfigurationError: another name.
    """

    def cross_entropy(scores: Tensor, part: slice) -> Tensor:
        own = log_scores(scores).gather(1, aim.labels[part, None])[:, 0]
        return own if aim.targeted else -own

    def by_margin(scores: Tensor, part: slice) -> Tensor:
        return margin(scores, Aim(aim.labels[part], targeted=aim.targeted))

    if loss == "cross_entropy":
        return cross_entropy
    if loss == "margin":
        return by_margin
    raise ConfigurationError(f"loss must be 'cross_entropy' or 'margin'; got {loss!r}")


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
