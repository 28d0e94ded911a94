"""The rule of `variegate.adapters.closest` for variegate's own attacks: an oracle that remembers, a result by it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from variegate.adapters.closest import ClosestPoints, query_marks
from variegate.attacks.result import AttackResult, Trajectory
from variegate.errors import ConfigurationError
from variegate.oracles.criteria import Criterion
from variegate.oracles.distances import as_rows
from variegate.oracles.hard_label import Oracle
from variegate.types import Norm, Status, TakesInputs


@final
class WatchedOracle(TakesInputs):
    """An oracle that remembers the closest adversarial of each input; otherwise it answers as the one behind it.

    Args:
        oracle: built for these inputs; its meter goes on counting.
        inputs: float32 (N, *input_shape), the clean inputs, on the oracle's device.
        criterion: when a label counts as adversarial.
        norm: how distances are measured.
        checkpoints: numbers of queries at which distances are kept; round ones up to the budget by default.

    Raises:
        ConfigurationError: the oracle has no budget, and no checkpoints were given.
    """

    def __init__(
        self,
        oracle: Oracle,
        inputs: Tensor,
        criterion: Criterion,
        *,
        norm: Norm = Norm.L2,
        checkpoints: Sequence[int] | None = None,
    ) -> None:
        if checkpoints is None and oracle.budget is None:
            raise ConfigurationError("an oracle without a budget is watched at checkpoints: give some, or a budget")
        marks = checkpoints if checkpoints is not None else query_marks(oracle.budget or 1)
        self.closest = ClosestPoints(inputs, norm=norm, checkpoints=marks)
        self.input_spec = oracle.input_spec
        self.budget = oracle.budget
        self.device = oracle.device
        self.meter = oracle.meter
        self.num_classes = oracle.num_classes
        self.preferred_rows = oracle.preferred_rows
        self._oracle, self._criterion = oracle, criterion

    def remaining(self) -> Tensor:
        """Return int64 (N,): answers that each input can still have."""
        return self._oracle.remaining()

    def label(self, x: Tensor, samples: Tensor) -> Tensor:
        """Return int64 (M,): the answer of the oracle behind; take note of what is adversarial."""
        before = self.meter.per_sample.clone()
        labels = self._oracle.label(x, samples)
        adversarial = self._criterion.is_adversarial(labels, samples.to(labels.device))
        self.closest.add(x, adversarial, samples, _numbers(before, self.meter.per_sample, samples))
        return labels


def with_closest(result: AttackResult, oracle: WatchedOracle) -> AttackResult:
    """Return the result of an attack on the oracle with the closest adversarials it asked for in place of its own.

    Where something adversarial was seen, the status becomes SUCCESS; inputs that were not attacked stay as they are.
    The trajectory is taken at the oracle's checkpoints.
    """
    closest = oracle.closest
    found = torch.isfinite(closest.sizes) & result.attempted
    points = torch.where(as_rows(found, closest.points.cpu()), closest.points.cpu(), result.adversarials)
    marks = torch.tensor(closest.checkpoints)
    return replace(
        result,
        adversarials=points,
        status=tuple(
            Status.SUCCESS if hit else status for hit, status in zip(found.tolist(), result.status, strict=True)
        ),
        distances=torch.where(found, closest.sizes, torch.full_like(closest.sizes, float("nan"))),
        trajectory=Trajectory(
            queries=torch.minimum(marks[:, None], result.queries[None]),
            distances=torch.where(found, closest.within(), torch.full_like(closest.within(), float("inf"))),
        ),
    )


def _numbers(before: Tensor, after: Tensor, samples: Tensor) -> Tensor:
    """Return int64 (M,): after how many of its input's queries each row was answered.

    An oracle that asks several labels for an answer (a vote) spends as many on each row.
    """
    order = samples.argsort(stable=True)
    grouped = samples[order]
    rank = torch.empty_like(samples)
    rank[order] = torch.arange(samples.shape[0]) - torch.searchsorted(grouped, grouped)
    asked = torch.bincount(samples, minlength=before.shape[0]).clamp_min(1)
    spent = after - before
    return before[samples] + ((rank + 1) * spent[samples] + asked[samples] - 1) // asked[samples]
