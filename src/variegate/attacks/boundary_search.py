"""Bisection between a clean input and an adversarial: the closest adversarial point on the path between them."""

import torch
from torch import Tensor

from variegate.attacks.base import Asker
from variegate.oracles.distances import as_rows
from variegate.types import Norm

_MOST_ROUNDS = 64


def blend(clean: Tensor, adversarial: Tensor, share: Tensor, norm: Norm) -> Tensor:
    """Return the point at `share` of the path: the segment for L2, the clipped box of that radius for L-infinity.

    Args:
        clean, adversarial: float32 (M, *input_shape).
        share: float32 (M,), in [0, 1] for L2, a radius for L-infinity.
    """
    share = as_rows(share, clean)
    if norm is Norm.L2:
        return (1.0 - share) * clean + share * adversarial
    return torch.minimum(torch.maximum(adversarial, clean - share), clean + share)


def bisect(
    ask: Asker, clean: Tensor, adversarial: Tensor, rows: Tensor, *, norm: Norm, upper: Tensor, tolerance: Tensor
) -> Tensor:
    """Return float32 (M, *input_shape): adversarial points whose share is within `tolerance` of a non-adversarial one.

    Args:
        ask: the oracle; rows without queries left stay where they are.
        clean, adversarial: float32 (M, *input_shape), the ends of the paths; `adversarial` has been seen adversarial.
        rows: int64 (M,), the inputs' positions.
        upper: float32 (M,), the share of `adversarial` itself: 1 for L2, its radius for L-infinity.
        tolerance: float32 (M,), the share at which a row stops.
    """
    low, high = torch.zeros_like(upper), upper.clone()
    for _ in range(_MOST_ROUNDS):
        middle = 0.5 * (low + high)
        distinct = (low < middle) & (middle < high)  # else float32 holds no share between them
        open_rows = (high - low > tolerance) & distinct & (ask.remaining(rows) > 0)
        chosen = open_rows.nonzero().flatten()
        if chosen.numel() == 0:
            break
        middle = middle[chosen]
        hit = ask(blend(clean[chosen], adversarial[chosen], middle, norm), rows[chosen])
        high[chosen] = torch.where(hit, middle, high[chosen])
        low[chosen] = torch.where(hit, low[chosen], middle)
    # Rounding must not move a point that was never asked for: a share of `upper` is the adversarial itself.
    return torch.where(as_rows(high == upper, clean), adversarial, blend(clean, adversarial, high, norm))
