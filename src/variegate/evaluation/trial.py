"""One original on trial: its scores and distances, and how a candidate spec does on it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from variegate.attacks.driver import run_attack
from variegate.attacks.hopskipjump import HopSkipJump
from variegate.attacks.result import AttackResult
from variegate.evaluation.copies import experiment_heads
from variegate.evaluation.jitter import natural_jitter
from variegate.evaluation.replication import AttackerOutcome, measure_replication
from variegate.models.bank import CopyBank
from variegate.models.classifier import Classifier
from variegate.models.geometry import boundary_distance
from variegate.models.oracle import HardLabelOracle
from variegate.rewriters.base import AbstractSpec, RewrittenCopy, original_shape
from variegate.types import Norm, Status

__all__ = ["COPIES", "OBJECTIVE_SCALES", "Effort", "Outcome", "Trial"]

OBJECTIVE_SCALES = (1.0, 1.25, 1.5, 2.0)
COPIES = 4

_DISTANCES = 128


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
        replication: rate by scale, from copy 0 to the others.
        median_distance: of the attack's own successes.
        original_median_distance: of the same attack on the original.
    """

    effort: Effort
    replication: dict[str, float]
    median_distance: float | None
    original_median_distance: float | None

    @property
    def objective(self) -> float:
        """Mean replication over the scales: lower is better."""
        return sum(self.replication.values()) / len(self.replication)


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

    def measure_change(self, spec: AbstractSpec) -> float:
        """Return the share of labels that copies of `spec` change on jittered inputs, mean over copies."""
        bank = CopyBank(self.original, experiment_heads(self.original, spec, copies=COPIES, seed=self.seed))
        return float((bank.predict_all(self.jittered).cpu() != self._jittered_labels[:, None]).double().mean())

    def attack(self, spec: AbstractSpec, effort: Effort) -> Outcome | None:
        """Attack copy 0 of `spec`, replay on the other copies; None if the attack found nothing to replay."""
        if effort not in self._original_medians:
            self._original_medians[effort] = _median(self._run(self.original.predict, effort))
        heads = experiment_heads(self.original, spec, copies=COPIES, seed=self.seed)
        result = self._run(RewrittenCopy(self.original, heads[0]).predict, effort)
        outcome = measure_replication(
            CopyBank(self.original, heads).predict_all,
            self.inputs[: effort.images],
            self._labels[: effort.images],
            [
                AttackerOutcome(
                    copy=0,
                    adversarials=result.adversarials,
                    attempted=torch.tensor([status is not Status.ALREADY_MISCLASSIFIED for status in result.status]),
                    succeeded=result.success,
                )
            ],
            norm=Norm.L2,
            bounds=self.original.bounds,
            seed=self.seed,
            scales=OBJECTIVE_SCALES,
            norms=(self.original.bounds.range,),
        )
        rates = {str(point["s"]): point["rate"]["rate"] for point in outcome.replication_at()}
        if None in rates.values():
            return None
        return Outcome(
            effort=effort,
            replication=rates,
            median_distance=_median(result),
            original_median_distance=self._original_medians[effort],
        )

    def _run(self, predict: Callable[[Tensor], Tensor], effort: Effort) -> AttackResult:
        oracle = HardLabelOracle(
            predict,
            input_shape=self.original.input_shape,
            bounds=self.original.bounds,
            num_classes=self.original.num_classes,
            samples=effort.images,
            budget=effort.queries,
            device=self.original.device,
        )
        return run_attack(
            HopSkipJump(), oracle, self.inputs[: effort.images], self._labels[: effort.images], seed=self.seed
        )


def _median(result: AttackResult) -> float | None:
    sizes = result.distances[result.success]
    return float(sizes.median()) if sizes.numel() else None
