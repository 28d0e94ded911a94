"""One rule for every attack library: each row that the model labels is a query, and the closest adversarial row counts.

ART returns the point after its last step, Foolbox and variegate return points on the boundary, and none of them returns
anything when its queries run out. To compare them at equal queries, this stands between attack and model: it numbers
the rows, remembers the closest adversarial one within the first q queries, and ends the attack with its budget.

- `ClosestPoints` is what is remembered. `variegate.adapters.closest` keeps it for an attack of variegate's own.
- `OneImage` shows one input of an oracle to a library, as a module whose scores are the labels in one-hot form.
- `ClosestSeen` is that module over a classifier alone, without an oracle around it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, final

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from variegate.attacks.base import AttackResult, Trajectory
from variegate.errors import ConfigurationError
from variegate.models.geometry import as_rows, distance
from variegate.oracles.hard_label import Criterion, HardLabelOracle, Misclassified, Oracle
from variegate.types import Bounds, InputSpec, Norm, Status, TakesInputs

_MARKS = (10, 25, 50, 100, 250, 500, 750, 1000, 1500, 2000, 2500, 3000, 4000, 5000, 7500, 10_000, 15_000, 20_000)


class BudgetSpentError(Exception):
    """The attack asked for more queries than it has: no error of anybody's, this is how a library's attack ends."""


class Labeller(Protocol):
    """What `ClosestSeen` asks: a `Classifier`, a `RewrittenCopy`, an `OnnxLabeler`."""

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        ...

    @property
    def input_spec(self) -> InputSpec:
        """What one input is."""
        ...

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        ...

    @property
    def bounds(self) -> Bounds:
        """The interval of valid input values."""
        ...

    def predict(self, x: Tensor) -> Tensor:
        """Return int64 (N,): hard labels."""
        ...


def query_marks(budget: int) -> tuple[int, ...]:
    """Return numbers of queries at which distances are worth keeping: round ones, and the budget."""
    return (*(mark for mark in _MARKS if mark < budget), budget)


@final
class ClosestPoints:
    """The closest adversarials of N inputs, and how close they were within each number of queries.

    Args:
        inputs: float32 (N, *input_shape), the clean inputs.
        norm: how distances are measured.
        checkpoints: numbers of queries, ascending.

    Attributes:
        points: float32 (N, *input_shape), the closest adversarials; the clean input where there is none.
        sizes: float32 (N,) on the CPU, their distances; infinite where there is none.
    """

    def __init__(self, inputs: Tensor, *, norm: Norm, checkpoints: Sequence[int]) -> None:
        if not checkpoints or checkpoints[0] < 1 or list(checkpoints) != sorted(set(checkpoints)):
            raise ConfigurationError(f"checkpoints must be ascending numbers of queries; got {tuple(checkpoints)}")
        self.checkpoints = tuple(int(checkpoint) for checkpoint in checkpoints)
        self.points = inputs.clone()
        self.sizes = torch.full((inputs.shape[0],), float("inf"))
        self._inputs, self._norm = inputs, norm
        self._marks = torch.tensor(self.checkpoints)
        self._first_within = torch.full((len(self.checkpoints), inputs.shape[0]), float("inf"))

    def add(self, x: Tensor, adversarial: Tensor, samples: Tensor, numbers: Tensor) -> None:
        """Take note of rows that were labelled, in the order of their numbers from call to call.

        Args:
            x: float32 (M, *input_shape).
            adversarial: bool (M,).
            samples: int64 (M,) on the CPU, whose rows they are.
            numbers: int64 (M,) on the CPU, the how-manieth query of its input each row was, from 1 on.
        """
        hits = adversarial.nonzero().flatten()
        if hits.numel() == 0:
            return
        samples, numbers = samples[hits.cpu()], numbers[hits.cpu()]
        sizes = distance(self._inputs[samples.to(x.device)], x[hits], self._norm).cpu()
        closer = (sizes < self.sizes[samples]).nonzero().flatten()
        if closer.numel() == 0:  # nor is it of interest within more queries
            return
        hits, samples, numbers, sizes = hits[closer.to(hits.device)], samples[closer], numbers[closer], sizes[closer]
        places = torch.searchsorted(self._marks, numbers)
        counted = places < len(self.checkpoints)
        cells = places[counted] * self.sizes.shape[0] + samples[counted]
        self._first_within.view(-1).scatter_reduce_(0, cells, sizes[counted], "amin")
        self.sizes = self.sizes.scatter_reduce(0, samples, sizes, "amin")
        best = (sizes == self.sizes[samples]).nonzero().flatten()
        first = samples.new_full(self.sizes.shape, samples.shape[0])
        first.scatter_reduce_(0, samples[best], best, "amin")  # of equals
        winners = first[first < samples.shape[0]]
        self.points[samples[winners].to(x.device)] = x[hits[winners.to(hits.device)]]

    def within(self) -> Tensor:
        """Return float32 (checkpoints, N): the smallest distance within so many queries; infinite where none."""
        return self._first_within.cummin(0).values


class OneImage(nn.Module):
    """One input of an oracle, as a library's attack sees it: a module that maps rows to one-hot labels.

    Rows are cast to float32 (ART on NumPy 2 sends float64) and clipped to the bounds (ART's GeoDA leaves them), as a
    service that takes images would. The attack ends with `BudgetSpentError`, after as many rows as were left.

    Args:
        oracle: is asked for the input at `sample`.
        sample: its position.
        image: float32 (1, *input_shape), on the oracle's device.
        criterion: when a label counts as adversarial for the input at `sample`.
        norm: how distances are measured.
        checkpoints: numbers of queries at which distances are kept.
        keep_back: answers that the attack may not have.

    Attributes:
        seen: the closest adversarial so far (N = 1).
        answers: rows labelled for this attack.
    """

    def __init__(
        self,
        oracle: Oracle,
        sample: int,
        image: Tensor,
        criterion: Criterion,
        *,
        checkpoints: Sequence[int],
        norm: Norm = Norm.L2,
        keep_back: int = 0,
    ) -> None:
        super().__init__()
        self.oracle, self.sample = oracle, sample
        self.seen = ClosestPoints(image, norm=norm, checkpoints=checkpoints)
        self.answers = 0
        self._criterion, self._keep_back = criterion, keep_back
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Map (M, *input_shape) of any float dtype to float32 (M, n), 1 at the label and 0 elsewhere.

        Raises:
            BudgetSpentError: after labelling the rows that were left.
        """
        return one_hot(self.predict(x), self.oracle.num_classes).to(torch.float32)

    def predict(self, x: Tensor) -> Tensor:
        """Return int64 (M,) labels.

        Raises:
            BudgetSpentError: after labelling the rows that were left.
        """
        left = max(0, int(self.oracle.remaining()[self.sample]) - self._keep_back)
        bounds = self.oracle.bounds
        rows = x.detach()[:left].to(self.oracle.device, torch.float32).clamp(bounds.lower, bounds.upper)
        labels = torch.empty(0, dtype=torch.int64, device=rows.device)
        if len(rows):
            positions = torch.full((len(rows),), self.sample)
            before = int(self.oracle.meter.per_sample[self.sample])
            labels = self.oracle.label(rows, positions)
            spent = int(self.oracle.meter.per_sample[self.sample]) - before
            numbers = before + (torch.arange(1, len(rows) + 1) * spent + len(rows) - 1) // len(rows)
            adversarial = self._criterion.is_adversarial(labels, positions.to(labels.device))
            self.seen.add(rows, adversarial, torch.zeros_like(positions), numbers)
            self.answers += len(rows)
        if len(x) > left:
            raise BudgetSpentError
        return labels


@final
class ClosestSeen(OneImage):
    """A module for any library, over one classifier and one image under attack.

    Args:
        target: labels the rows.
        image: float32 (*input_shape).
        label: its correct label; any other is adversarial.
        checkpoints: numbers of queries, ascending; the last is the budget.
        norm: how distances are measured.
    """

    def __init__(
        self, target: Labeller, image: Tensor, label: int, checkpoints: Sequence[int], *, norm: Norm = Norm.L2
    ) -> None:
        oracle = HardLabelOracle(
            target.predict,
            input_spec=target.input_spec,
            num_classes=target.num_classes,
            samples=1,
            budget=checkpoints[-1],
            device=image.device,
        )
        wanted = Misclassified(torch.tensor([label], device=image.device))
        super().__init__(oracle, 0, image[None], wanted, checkpoints=checkpoints, norm=norm)

    @property
    def queries(self) -> int:
        """Rows labelled so far."""
        return self.oracle.meter.total

    @property
    def closest(self) -> list[float]:
        """The smallest distance of an adversarial row within each checkpoint; infinite where there was none."""
        return [float(value) for value in self.seen.within()[:, 0]]


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
