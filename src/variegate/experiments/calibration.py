"""Chooses a rewriter's parameters for one original, to a stated budget of changed labels.

Steps:

1. from the original's scores on unlabelled inputs (images are jittered first, `variegate.evaluation.subjects`, because
   a network is surer of images it was trained on than of new ones), predict for each strength how many messages (QIM),
   which amplitude (spread spectrum) or which alpha (permutation) keeps the changed labels within the budget
   (`variegate.rewriters.calibrate`); for QIM, the quantization step follows from the original's boundary distance;
2. make a few experimental copies of each candidate and measure the changed labels; a candidate whose one-sided 95 %
   bound is above the budget is weakened and measured again;
3. attack the copies of each candidate with HopSkipJump, an equal share of the images from each, and replay on the
   others, at s = 1 to 2: the best candidate has the lowest mean replication over these, because a small step past the
   own boundary costs an attacker nothing. Candidates on which the attack ends much farther out than on the original
   are passed over: they hide the boundary. Where there are many candidates, a first round with half the images and
   half the queries picks the finalists;
4. report the candidates as a trade-off: changed labels, replication, and how much closer the own boundary has come.

Inputs need no labels: an attack counts as successful where the copy leaves the original's label.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import variegate
from variegate.attacks.base import AttackResult
from variegate.attacks.driver import run_attack
from variegate.attacks.hopskipjump import HopSkipJump
from variegate.data.images import LabelledImages
from variegate.errors import ConfigurationError, InputError
from variegate.evaluation.progress import Progress, silent
from variegate.evaluation.replication import AttackerOutcome, measure_replication
from variegate.evaluation.stats import upper_bound
from variegate.evaluation.subjects import experiment_heads, natural_jitter
from variegate.models.bank import CopyBank
from variegate.models.classifier import Classifier, check_inputs
from variegate.models.geometry import boundary_distance
from variegate.oracles.hard_label import HardLabelOracle
from variegate.records.calibration import CalibrationAttack, CalibrationData, CalibrationRecord
from variegate.records.calibration import Candidate as CandidateRecord
from variegate.rewriters.base import AbstractHead, AbstractSpec, RewrittenCopy, original_shape
from variegate.rewriters.calibrate import Candidate
from variegate.rewriters.catalog import find_spec_class, known_rewriters, spec_class
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


_FEWEST_INPUTS = 50
_FINALISTS = 4


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationResult:
    """The chosen spec and the record of how it was chosen (kind "calibration")."""

    spec: AbstractSpec
    record: CalibrationRecord


def calibration_data(data: LabelledImages, split: str) -> CalibrationData:
    """Return the entry "data" of a calibration's record: what a spec was tuned on.

    `digest` is SHA-256 over the shape, as decimals with commas and a zero byte, and the float32 values in [0, 1] in
    their order; labels, which a calibration does not use, do not count.
    """
    sha = hashlib.sha256(f"{','.join(map(str, data.images.shape))}\0".encode())
    sha.update(np.ascontiguousarray(data.images, dtype="<f4").data)
    return CalibrationData(name=data.name, split=split, images=len(data), digest=f"sha256:{sha.hexdigest()}")


def calibrate_spec(
    original: Classifier,
    images: npt.NDArray[np.float32],
    *,
    rewriter: str,
    max_change: float = 0.01,
    seed: int = 0,
    attack_images: int = 24,
    attack_queries: int = 2000,
    progress: Progress | None = None,
) -> CalibrationResult:
    """Choose the parameters of `rewriter` for `original`.

    Args:
        original: the seller's classifier.
        images: float32 (N, *input_shape), unlabelled, N at least 50; not those of the final evaluation.
        rewriter: a rewriter of the catalog whose class proposes specs, a plug-in's too.
        max_change: largest share of labels that a copy may change, in (0, 1).
        seed: of the experimental copies and of the attack.
        attack_images, attack_queries: size of the attack on each finalist. With 0 images nothing is attacked, and
            the feasible candidate of the largest strength is taken.

    Raises:
        InputError: too few inputs, or they do not fit the original.
        ConfigurationError: an unknown rewriter, or no candidate keeps to the budget.
    """
    if not 0.0 < max_change < 1.0:
        raise ConfigurationError(f"max_change must be above 0 and below 1 (1 % is 0.01); got {max_change}")
    if attack_images < 0 or attack_queries < 1:
        raise ConfigurationError(
            f"attack_images must be at least 0 and attack_queries at least 1; got {attack_images} and {attack_queries}"
        )
    inputs = check_inputs(torch.from_numpy(np.asarray(images)), original.input_spec)
    if inputs.shape[0] < _FEWEST_INPUTS:
        raise InputError(f"calibration needs at least {_FEWEST_INPUTS} inputs; got {inputs.shape[0]}")
    kind = find_spec_class(rewriter)
    if not kind.proposes():
        able = ", ".join(name for name in known_rewriters() if (one := spec_class(name)) is not None and one.proposes())
        raise ConfigurationError(
            f"rewriter {rewriter!r} cannot be calibrated: its class proposes no specs; choose from {able}"
        )
    say = progress or silent
    say(f"{rewriter}: scoring the inputs", 0, 0)
    trial = Trial(original, inputs, seed=seed)
    say(f"{rewriter}: measuring changed labels", 0, 0)
    candidates = kind.propose(trial, max_change)
    usable = [number for number, candidate in enumerate(candidates) if candidate.feasible]
    if not usable:
        closest = min(candidates, key=lambda candidate: candidate.measured_change)
        raise ConfigurationError(
            f"no {rewriter} candidate changes at most {max_change:.2%} of labels; the closest changes "
            f"{closest.measured_change:.2%} (at most {closest.change_bound:.2%}); allow more or use another rewriter"
        )
    full = Effort(images=min(attack_images, inputs.shape[0]), queries=attack_queries)
    outcomes, finalists = _attack(trial, rewriter, candidates, usable, full, say)
    reached = [number for number in finalists if number in outcomes]
    reached = [number for number in reached if not outcomes[number].masks] or reached
    chosen = (
        min(reached, key=lambda number: outcomes[number].objective)
        if reached
        else max(usable, key=lambda number: candidates[number].strength)
    )
    record = CalibrationRecord(
        variegate=variegate.__version__,
        rewriter=rewriter,
        model_digest=original.digest,
        inputs=int(inputs.shape[0]),
        max_change=max_change,
        seed=seed,
        attack=CalibrationAttack(name="hopskipjump", images=full.images, queries=full.queries, copies=COPIES),
        boundary_distance=trial.median_boundary_distance,
        objective=f"lowest mean replication over s in {', '.join(map(str, OBJECTIVE_SCALES))}",
        candidates=tuple(
            _row(candidate, outcomes.get(number), chosen=number == chosen)
            for number, candidate in enumerate(candidates)
        ),
        chosen=candidates[chosen].spec.to_dict(),
    )
    return CalibrationResult(spec=candidates[chosen].spec, record=record)


def _attack(
    trial: Trial, rewriter: str, candidates: Sequence[Candidate], usable: list[int], full: Effort, say: Progress
) -> tuple[dict[int, Outcome], list[int]]:
    """Attack the usable candidates, the finalists with the full effort; return outcomes and finalists by number."""
    outcomes: dict[int, Outcome] = {}
    finalists = usable
    if full.images == 0:
        return outcomes, finalists
    rounds = [(full, usable)]
    if len(usable) > _FINALISTS:
        half = Effort(images=max(1, full.images // 2), queries=max(1, full.queries // 2))
        rounds = [(half, usable), (full, [])]
    for effort, numbers in rounds:
        tried = numbers or sorted(outcomes, key=lambda n: (outcomes[n].masks, outcomes[n].objective))[:_FINALISTS]
        for place, number in enumerate(tried):
            say(f"{rewriter}: attacking candidate {number + 1} of {len(candidates)}", place, len(tried))
            outcome = trial.attack(candidates[number].spec, effort)
            outcomes.pop(number, None)
            if outcome is not None:
                outcomes[number] = outcome
        finalists = tried
    return outcomes, finalists


def _row(candidate: Candidate, outcome: Outcome | None, *, chosen: bool) -> CandidateRecord:
    spec = candidate.spec
    return CandidateRecord(
        spec=spec.to_dict(),
        strength=candidate.strength,
        messages_per_class=getattr(spec, "messages_per_class", None),
        quantization_step=getattr(spec, "quantization_step", None),
        predicted_change=candidate.predicted_change,
        measured_change=candidate.measured_change,
        change_bound=candidate.change_bound,
        attack_images=outcome.effort.images if outcome else None,
        attack_queries=outcome.effort.queries if outcome else None,
        replication=dict(outcome.replication) if outcome else None,
        intervals=outcome.intervals if outcome else None,
        pairs=outcome.pairs if outcome else None,
        masks=outcome.masks if outcome else None,
        median_distance=outcome.median_distance if outcome else None,
        original_median_distance=outcome.original_median_distance if outcome else None,
        feasible=candidate.feasible,
        chosen=chosen,
    )
