"""A victim who takes q tries: adversarials for one input, asked one after the other until the first success.

A rate of success at the first try understates an attacker who may try again: ten tries of independent chance r succeed
with 1 - (1 - r)^10. The attacker has no copy of the victim's; each try is a query of the victim's hard-label service.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from variegate.errors import ConfigurationError, InputError
from variegate.models.geometry import as_rows
from variegate.oracles.hard_label import Criterion, Misclassified, MisclassifiedAs, Oracle
from variegate.types import Bounds, require_at_least


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VictimTries:
    """How the tries of N inputs went.

    Attributes:
        first_success: int64 (N,), which try fooled the victim first, counted from 1; 0 where none did.
        tries: int64 (N,), how many were made.
    """

    first_success: Tensor
    tries: Tensor

    def success_at(self, tries: int) -> Tensor:
        """Return bool (N,): whether the victim was fooled within this many tries; its mean is success@q.

        Raises:
            ConfigurationError: no try.
        """
        require_at_least("tries", tries, 1)
        return (self.first_success >= 1) & (self.first_success <= tries)


def ladder(clean: Tensor, adversarials: Tensor, factors: Sequence[float], *, bounds: Bounds) -> Tensor:
    """Return float32 (N, K, *input_shape): x + s (x' - x) for each of K factors s, clipped to the bounds.

    Factor 1 is the adversarial itself, bit for bit.

    Args:
        clean, adversarials: float32 (N, *input_shape).
        factors: K finite numbers above 0, in the order of the tries.

    Raises:
        ConfigurationError: no factor, or one that is not above 0.
        InputError: shapes differ.
    """
    if not factors or not all(0.0 < factor < math.inf for factor in factors):
        raise ConfigurationError(f"factors must be one or more positive numbers; got {list(factors)}")
    if clean.shape != adversarials.shape:
        raise InputError(
            f"clean inputs and adversarials must have one shape; got {tuple(clean.shape)} and "
            f"{tuple(adversarials.shape)}"
        )
    # From the adversarial, not from the clean input: x + (x' - x) is not x' in floating point.
    steps = torch.tensor([factor - 1.0 for factor in factors], device=clean.device)
    rungs = adversarials[:, None] + as_rows(steps, clean) * (adversarials - clean)[:, None]
    return rungs.clamp(bounds.lower, bounds.upper)


def try_on_victim(oracle: Oracle, candidates: Tensor, labels: Tensor, *, targeted: bool = False) -> VictimTries:
    """Ask the victim for each input's candidates in order, until one succeeds or the budget of the input is spent.

    Args:
        oracle: the victim's, built for N inputs; its budget is q, or None for all K candidates.
        candidates: float32 (N, K, *input_shape), within the bounds and finite; leave out inputs that have none.
        labels: int64 (N,), the correct labels, or the labels aimed at.
        targeted: which of both; a success is a wrong label, or the label aimed at.

    Raises:
        InputError: shapes do not fit, or a value is not finite or outside the bounds.
        OracleError: the victim's model failed.
    """
    count = oracle.meter.per_sample.shape[0]
    if candidates.ndim < 2 or tuple(candidates.shape[2:]) != oracle.input_shape or candidates.shape[0] != count:
        expected = ", ".join(map(str, (count, "K", *oracle.input_shape)))
        raise InputError(f"candidates must have shape ({expected}); got {tuple(candidates.shape)}")
    if labels.shape != (count,) or labels.dtype != torch.int64:
        raise InputError(f"labels must be int64 of shape ({count},); got {labels.dtype} {tuple(labels.shape)}")
    criterion: Criterion = (MisclassifiedAs if targeted else Misclassified)(labels.cpu())
    first_success, tries = torch.zeros(count, dtype=torch.int64), torch.zeros(count, dtype=torch.int64)
    for attempt in range(candidates.shape[1]):
        open_rows = ((first_success == 0) & (oracle.remaining() > 0)).nonzero().flatten()
        if open_rows.numel() == 0:
            break
        for rows in open_rows.split(oracle.preferred_rows):
            question = candidates[rows.to(candidates.device), attempt].to(oracle.device)
            hit = criterion.is_adversarial(oracle.label(question, rows).cpu(), rows)
            first_success[rows[hit]] = attempt + 1
        tries[open_rows] += 1
    return VictimTries(first_success=first_success, tries=tries)
