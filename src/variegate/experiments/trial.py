"""One original on trial: its scores and distances, and how a candidate spec does on it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from variegate.attacks.base import AttackResult
from variegate.attacks.driver import run_attack
from variegate.attacks.hopskipjump import HopSkipJump
from variegate.evaluation.copies import experiment_heads
from variegate.evaluation.jitter import natural_jitter
from variegate.evaluation.replication import AttackerOutcome, measure_replication
from variegate.evaluation.stats import upper_bound
from variegate.models.bank import CopyBank
from variegate.models.classifier import Classifier
from variegate.models.geometry import boundary_distance
from variegate.oracles.hard_label import HardLabelOracle
from variegate.rewriters.base import AbstractHead, AbstractSpec, RewrittenCopy, original_shape
from variegate.types import Norm, Status

OBJECTIVE_SCALES = (1.0, 1.25, 1.5, 2.0)
COPIES = 4

_DISTANCES = 128
_MASKING = 1.3  # own norm over the original's, above which an attack has lost its way
_ONE_SIDED = 1.645
_BLOCK = 256


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How hard a candidate is attacked: images, and queries for each."""

    images: int
    queries: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an attack on one copy of a candidate showed.

    Attributes:
        effort: of the attack.
        replication: rate by scale, over ordered pairs of copies.
        intervals: its 95 % intervals.
        pairs: how many pairs of an adversarial and a victim were counted.
        median_distance: of the attack's own successes.
        original_median_distance: of the same attack on the original.
    """

    effort: Effort
    replication: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    pairs: int
    median_distance: float | None
    original_median_distance: float | None

    @property
    def objective(self) -> float:
        """Mean replication over the scales: lower is better."""
        return sum(self.replication.values()) / len(self.replication)

    @property
    def masks(self) -> bool:
        """Whether the attack lost its way, so that a low rate says nothing about protection."""
        own, original = self.median_distance, self.original_median_distance
        return own is None or (original is not None and own > _MASKING * original)


@final
class Trial:
    """Measures candidates on unlabelled inputs; an attack succeeds where the copy leaves the original's label."""

    def __init__(self, original: Classifier, inputs: Tensor, *, seed: int) -> None:
        self.original, self.inputs, self.seed = original, inputs, seed
        self.shape = original_shape(original)
        self.jittered = natural_jitter(inputs, bounds=original.bounds, seed=seed)
        self.scores = original.scores(self.jittered).cpu()
        self._jittered_labels = self.scores.argmax(1)
        self._labels = original.predict(inputs).cpu()
        self.distances = (boundary_distance(original, inputs[:_DISTANCES]) / original.bounds.range).tolist()
        self._original_medians: dict[Effort, float | None] = {}

    @property
    def median_boundary_distance(self) -> float | None:
        """Median distance to the original's boundary, L2 in units of the input range; None if none was found."""
        finite = [value for value in self.distances if math.isfinite(value)]
        return float(np.median(finite)) if finite else None

    def unit_inputs(self) -> Tensor:
        """Return the jittered inputs in units of their range."""
        return (self.jittered - self.original.bounds.lower) / self.original.bounds.range

    def measure_change(self, spec: AbstractSpec) -> tuple[float, float]:
        """Return the share of labels that copies of `spec` change on jittered inputs, and its one-sided 95 % bound."""
        heads = self._heads(spec)
        if any(head.layers for head in heads):
            predicted = CopyBank(self.original, heads).predict_all(self.jittered).cpu()
        else:  # the original's scores are known already
            device = self.original.device
            blocks = zip(self.jittered.split(_BLOCK), self.scores.split(_BLOCK), strict=True)
            predicted = torch.cat(
                [torch.stack([head(x.to(device), p.to(device), {}).argmax(1) for head in heads], 1) for x, p in blocks]
            ).cpu()
        changed = (predicted != self._jittered_labels[:, None]).double().mean(1)  # (N,), over copies
        share, count = float(changed.mean()), changed.shape[0]
        spread = share + _ONE_SIDED * float(changed.std()) / math.sqrt(count)
        return share, max(spread, upper_bound(share, count))  # the spread of few changes is not to be trusted

    def attack(self, spec: AbstractSpec, effort: Effort) -> Outcome | None:
        """Attack the copies of `spec`, an equal share of the images from each, and replay on the other copies.

        Returns None if the attack found nothing to replay.
        """
        if effort not in self._original_medians:
            self._original_medians[effort] = _median([self._run(self.original.predict, effort, slice(effort.images))])
        heads = self._heads(spec)
        shares = [slice(copy, effort.images, COPIES) for copy in range(min(COPIES, effort.images))]
        results = [self._run(RewrittenCopy(self.original, heads[i]).predict, effort, s) for i, s in enumerate(shares)]
        outcome = measure_replication(
            CopyBank(self.original, heads).predict_all,
            self.inputs[: effort.images],
            self._labels[: effort.images],
            [self._outcome(copy, effort, shares[copy], result) for copy, result in enumerate(results)],
            norm=Norm.L2,
            bounds=self.original.bounds,
            seed=self.seed,
            scales=OBJECTIVE_SCALES,
            norms=(self.original.bounds.range,),
        )
        points = outcome.replication_at()
        measured = [
            (str(point.s), point.rate.rate, (point.rate.low, point.rate.high))
            for point in points
            if point.rate.rate is not None and point.rate.low is not None and point.rate.high is not None
        ]
        if len(measured) < len(points):
            return None
        return Outcome(
            effort=effort,
            replication={s: rate for s, rate, _ in measured},
            intervals={s: (low, high) for s, _, (low, high) in measured},
            pairs=points[0].rate.n,
            median_distance=_median(results),
            original_median_distance=self._original_medians[effort],
        )

    def _heads(self, spec: AbstractSpec) -> list[AbstractHead]:
        return experiment_heads(self.original, spec, copies=COPIES, seed=self.seed, purpose="calibration")

    def _outcome(self, copy: int, effort: Effort, share: slice, result: AttackResult) -> AttackerOutcome:
        adversarials = self.inputs[: effort.images].clone()
        adversarials[share] = result.adversarials
        attempted, succeeded = (torch.zeros(effort.images, dtype=torch.bool) for _ in range(2))
        attempted[share] = torch.tensor([status is not Status.ALREADY_MISCLASSIFIED for status in result.status])
        succeeded[share] = result.success
        return AttackerOutcome(copy=copy, adversarials=adversarials, attempted=attempted, succeeded=succeeded)

    def _run(self, predict: Callable[[Tensor], Tensor], effort: Effort, share: slice) -> AttackResult:
        rows = range(effort.images)[share]
        oracle = HardLabelOracle(
            predict,
            input_spec=self.original.input_spec,
            num_classes=self.original.num_classes,
            samples=len(rows),
            budget=effort.queries,
            device=self.original.device,
        )
        return run_attack(
            HopSkipJump(), oracle, self.inputs[share], self._labels[share], seed=self.seed, identities=rows
        )


def _median(results: Sequence[AttackResult]) -> float | None:
    sizes = torch.cat([result.distances[result.success] for result in results])
    return float(sizes.median()) if sizes.numel() else None
