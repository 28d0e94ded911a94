"""How far past the boundary an attack stopped: the fraction of its perturbation that bisection takes back.

An attack that stops far past the boundary replicates more, so a replication rate means little without this. The
measurement is the lab's, not the attacker's: its labels count against nobody's budget.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from variegate.errors import InputError
from variegate.models.geometry import as_rows
from variegate.types import require_at_least

_ROUNDS = 24  # to 2**-24: no finer share of a perturbation survives float32


def overshoot(
    predict: Callable[[Tensor], Tensor],
    clean: Tensor,
    adversarial: Tensor,
    labels: Tensor,
    *,
    targeted: bool = False,
    rounds: int = _ROUNDS,
) -> Tensor:
    """Return float32 (N,): 1 - s for the smallest s found with x + s (x' - x) adversarial; NaN where x' is not.

    Args:
        predict: float32 (M, *input_shape) -> int64 (M,), the attacked model; it is asked `rounds` + 1 times.
        clean, adversarial: float32 (N, *input_shape).
        labels: int64 (N,): the correct labels, or the labels aimed at.
        targeted: which of both.
        rounds: bisections; the share is known to 2^-rounds, or to 2^-24 if that is more.

    Raises:
        ConfigurationError: no round.
        InputError: shapes do not fit.
    """
    require_at_least("rounds", rounds, 1)
    if clean.shape != adversarial.shape or labels.shape != clean.shape[:1]:
        raise InputError(
            "overshoot takes clean inputs, as many adversarials and a label each; got "
            f"{tuple(clean.shape)}, {tuple(adversarial.shape)} and {tuple(labels.shape)}"
        )

    def is_adversarial(points: Tensor) -> Tensor:
        found = predict(points).to(labels.device)
        return found == labels if targeted else found != labels

    if clean.shape[0] == 0:
        return torch.empty(0)
    starts = is_adversarial(adversarial)
    low, high = torch.zeros(clean.shape[0]), torch.ones(clean.shape[0])
    change = adversarial - clean
    for _ in range(rounds):
        middle = 0.5 * (low + high)
        hit = is_adversarial(clean + as_rows(middle, clean).to(clean.device) * change).cpu()
        low, high = torch.where(hit, low, middle), torch.where(hit, middle, high)
    return torch.where(starts.cpu(), 1.0 - high, torch.full_like(high, float("nan")))
