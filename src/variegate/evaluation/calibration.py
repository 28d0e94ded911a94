"""Chooses a rewriter's parameters for one original, to a stated budget of changed labels.

Steps:

1. from the original's scores on unlabelled inputs (images are jittered first, `variegate.evaluation.jitter`, because
   a network is surer of images it was trained on than of new ones), predict for each strength how many messages (QIM),
   which amplitude (spread spectrum) or which alpha (permutation) keeps the changed labels within the budget
   (`variegate.rewriters.calibrate`); for QIM, the quantization step follows from the original's boundary distance;
2. make a few experimental copies of each candidate and measure the changed labels; a candidate above the budget is
   weakened and measured again;
3. attack one copy of each candidate with HopSkipJump and replay on the others, at s = 1 to 2: the best candidate has
   the lowest mean replication over these, because a small step past the own boundary costs an attacker nothing;
4. report the candidates as a trade-off: changed labels, replication, and how much closer the own boundary has come.

Inputs need no labels: an attack counts as successful where the copy leaves the original's label.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import variegate
from variegate.attacks.driver import run_attack
from variegate.attacks.hopskipjump import HopSkipJump
from variegate.attacks.result import AttackResult
from variegate.errors import ConfigurationError, InputError
from variegate.evaluation.copies import experiment_heads
from variegate.evaluation.jitter import natural_jitter
from variegate.evaluation.progress import Progress, silent
from variegate.evaluation.replication import AttackerOutcome, measure_replication
from variegate.models.bank import CopyBank
from variegate.models.classifier import Classifier, check_inputs
from variegate.models.geometry import boundary_distance
from variegate.models.oracle import HardLabelOracle
from variegate.rewriters.base import AbstractSpec, RewrittenCopy, original_shape
from variegate.rewriters.calibrate import (
    most_messages,
    predicted_change_permutation,
    predicted_change_qim,
    predicted_change_spread_spectrum,
    smallest_messages,
    step_for_distance,
)
from variegate.rewriters.permutation import PermutationSpec
from variegate.rewriters.qim import QimSpec
from variegate.rewriters.spread_spectrum import SpreadSpectrumSpec
from variegate.types import Norm, Status

__all__ = ["OBJECTIVE_SCALES", "CalibrationResult", "calibrate_spec"]

OBJECTIVE_SCALES = (1.0, 1.25, 1.5, 2.0)

_STRENGTHS = (1.0, 2.0, 4.0, 8.0)
_SHARES = (0.35, 0.7)  # of the original's boundary distance
_COPIES = 4
_FEWEST_INPUTS = 50
_REPAIRS = 4


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationResult:
    """The chosen spec and the record of how it was chosen (kind "calibration")."""

    spec: AbstractSpec
    record: dict[str, Any]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    spec: AbstractSpec
    strength: float
    predicted_change: float
    measured_change: float
    feasible: bool


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
        rewriter: "qim", "spread_spectrum" or "permutation".
        max_change: largest share of labels that a copy may change, in (0, 1).
        seed: of the experimental copies and of the attack.
        attack_images, attack_queries: size of the attack on each candidate; 0 images for no attack, and then the
            weakest change is not traded: the first feasible candidate of the largest strength is taken.

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
    inputs = check_inputs(torch.from_numpy(np.asarray(images)), original.input_shape, original.bounds)
    if inputs.shape[0] < _FEWEST_INPUTS:
        raise InputError(f"calibration needs at least {_FEWEST_INPUTS} inputs; got {inputs.shape[0]}")
    if rewriter not in _PROPOSERS:
        raise ConfigurationError(f"rewriter {rewriter!r} cannot be calibrated; choose from {', '.join(_PROPOSERS)}")
    bench = _Bench(original, inputs, max_change, seed, attack_images, attack_queries, progress or silent)
    candidates = _PROPOSERS[rewriter](bench)
    usable = [candidate for candidate in candidates if candidate.feasible]
    if not usable:
        closest = min(candidates, key=lambda candidate: candidate.measured_change)
        raise ConfigurationError(
            f"no {rewriter} candidate changes at most {max_change:.2%} of labels; the closest changes "
            f"{closest.measured_change:.2%}; allow more or use another rewriter"
        )
    own = bench.attack_original()
    rows, scored = [], []
    for number, candidate in enumerate(candidates):
        bench.say(f"{rewriter}: attacking candidate {number + 1} of {len(candidates)}", number, len(candidates))
        replication, median = bench.replicate(candidate.spec) if candidate.feasible and own else (None, None)
        if replication is not None:
            scored.append((sum(replication.values()) / len(replication), number))
        rows.append(_row(candidate, replication, median, own))
    chosen = min(scored)[1] if scored else candidates.index(max(usable, key=lambda candidate: candidate.strength))
    rows[chosen]["chosen"] = True
    record = {
        "format": 1,
        "kind": "calibration",
        "variegate": variegate.__version__,
        "rewriter": rewriter,
        "model_digest": original.digest,
        "inputs": int(inputs.shape[0]),
        "max_change": max_change,
        "seed": seed,
        "attack": {"name": "hopskipjump", "images": bench.attacked, "queries": attack_queries, "copies": _COPIES},
        "boundary_distance": bench.median_distance,
        "objective": f"lowest mean replication over s in {', '.join(map(str, OBJECTIVE_SCALES))}",
        "candidates": rows,
        "chosen": candidates[chosen].spec.to_dict(),
    }
    return CalibrationResult(spec=candidates[chosen].spec, record=record)


def _row(
    candidate: _Candidate, replication: dict[str, float] | None, median: float | None, own: float | None
) -> dict[str, Any]:
    spec = candidate.spec
    return {
        "spec": spec.to_dict(),
        "strength": candidate.strength,
        "messages_per_class": spec.messages_per_class if isinstance(spec, QimSpec) else None,
        "quantization_step": spec.quantization_step if isinstance(spec, QimSpec) else None,
        "predicted_change": candidate.predicted_change,
        "measured_change": candidate.measured_change,
        "replication": replication,
        "median_distance": median,
        "original_median_distance": own,
        "feasible": candidate.feasible,
        "chosen": False,
    }


@final
class _Bench:
    """One original on the bench: its scores, its distances, and how candidates do on it."""

    def __init__(
        self,
        original: Classifier,
        inputs: Tensor,
        max_change: float,
        seed: int,
        attack_images: int,
        queries: int,
        say: Progress,
    ) -> None:
        self.original, self.inputs, self.max_change, self.seed, self.say = original, inputs, max_change, seed, say
        self.jittered = natural_jitter(inputs, bounds=original.bounds, seed=seed)
        self.shape = original_shape(original)
        say("scoring the inputs", 0, 0)
        self.scores = original.scores(self.jittered).cpu()
        self.labels = self.scores.argmax(1)
        self.clean_labels = original.predict(inputs).cpu()
        self.attacked = min(attack_images, inputs.shape[0])
        self._queries = queries
        sample = inputs[: min(128, inputs.shape[0])]
        self.distances = (boundary_distance(original, sample) / original.bounds.range).tolist()
        finite = [value for value in self.distances if math.isfinite(value)]
        self.median_distance = float(np.median(finite)) if finite else None

    def unit_inputs(self) -> Tensor:
        """Return the jittered inputs in units of their range."""
        return (self.jittered - self.original.bounds.lower) / self.original.bounds.range

    def measure_change(self, spec: AbstractSpec) -> float:
        """Return the share of labels that copies of `spec` change, mean over experimental copies."""
        bank = CopyBank(self.original, experiment_heads(self.original, spec, copies=_COPIES, seed=self.seed))
        return float((bank.predict_all(self.jittered).cpu() != self.labels[:, None]).double().mean())

    def attack_original(self) -> float | None:
        """Return the median norm of the attack on the original itself, or None without an attack."""
        if self.attacked == 0:
            return None
        self.say("attacking the original", 0, 0)
        return _median(self._attack(self.original.predict))

    def replicate(self, spec: AbstractSpec) -> tuple[dict[str, float] | None, float | None]:
        """Return replication by scale from copy 0 to the others, and the attack's median norm."""
        heads = experiment_heads(self.original, spec, copies=_COPIES, seed=self.seed)
        result = self._attack(RewrittenCopy(self.original, heads[0]).predict)
        attempted = torch.tensor([status is not Status.ALREADY_MISCLASSIFIED for status in result.status])
        outcome = measure_replication(
            CopyBank(self.original, heads).predict_all,
            self.inputs[: self.attacked],
            self.clean_labels[: self.attacked],
            [AttackerOutcome(copy=0, adversarials=result.adversarials, attempted=attempted, succeeded=result.success)],
            norm=Norm.L2,
            bounds=self.original.bounds,
            seed=self.seed,
            scales=OBJECTIVE_SCALES,
            norms=(1.0,),
        )
        found = {str(point["s"]): point["rate"]["rate"] for point in outcome.replication_at()}
        return (None if None in found.values() else found), _median(result)

    def _attack(self, predict: Callable[[Tensor], Tensor]) -> AttackResult:
        oracle = HardLabelOracle(
            predict,
            input_shape=self.original.input_shape,
            bounds=self.original.bounds,
            num_classes=self.original.num_classes,
            samples=self.attacked,
            budget=self._queries,
            device=self.original.device,
        )
        return run_attack(
            HopSkipJump(), oracle, self.inputs[: self.attacked], self.clean_labels[: self.attacked], seed=self.seed
        )


def _median(result: AttackResult) -> float | None:
    sizes = result.distances[result.success]
    return float(sizes.median()) if sizes.numel() else None


def _propose_qim(bench: _Bench) -> list[_Candidate]:
    most = most_messages(bench.shape)
    candidates: list[_Candidate] = []
    for strength in _STRENGTHS:
        messages = smallest_messages(bench.scores, strength=strength, max_change=bench.max_change, most=most) or most
        for share in _SHARES:

            def build(count: int, strength: float = strength, share: float = share) -> QimSpec:
                step = step_for_distance(
                    bench.scores, bench.distances, messages_per_class=count, strength=strength, share=share
                )
                return QimSpec(messages_per_class=count, quantization_step=_round(step), strength=strength)

            spec, measured = build(messages), math.inf
            for _ in range(_REPAIRS):
                measured = bench.measure_change(spec)
                if measured <= bench.max_change or spec.messages_per_class >= most:
                    break
                more = math.ceil(spec.messages_per_class * max(1.25, (measured / bench.max_change) ** 2))
                spec = build(min(most, more))
            predicted = predicted_change_qim(
                bench.scores, messages_per_class=spec.messages_per_class, strength=spec.strength
            )
            candidates.append(_candidate(bench, spec, strength, predicted, measured))
    return candidates


def _propose_spread_spectrum(bench: _Bench) -> list[_Candidate]:
    unit = bench.unit_inputs()

    def predict(strength: float) -> float:
        return predicted_change_spread_spectrum(bench.scores, unit, strength=strength)

    def build(strength: float) -> SpreadSpectrumSpec:
        return SpreadSpectrumSpec(strength=strength)

    return _scaled_candidates(bench, build, predict, most=16.0)


def _propose_permutation(bench: _Bench) -> list[_Candidate]:
    def predict(alpha: float) -> float:
        return predicted_change_permutation(bench.scores, alpha=alpha, seed=bench.seed)

    def build(alpha: float) -> PermutationSpec:
        return PermutationSpec(alpha=alpha)

    return _scaled_candidates(bench, build, predict, most=0.95)


def _scaled_candidates(
    bench: _Bench, build: Callable[[float], AbstractSpec], predict: Callable[[float], float], *, most: float
) -> list[_Candidate]:
    """Bisect the one strength of a rewriter to the budget, repair it by measurement, and add a weaker one."""
    low, high = 0.0, most
    if predict(most) <= bench.max_change:
        low = most
    else:
        for _ in range(20):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if predict(middle) <= bench.max_change else (low, middle)
    strength = _round(low)
    measured = bench.measure_change(build(strength))
    for _ in range(2 * _REPAIRS):
        if measured <= bench.max_change:
            break
        strength = _round(0.8 * strength)
        measured = bench.measure_change(build(strength))
    found = [_candidate(bench, build(strength), strength, predict(strength), measured)]
    half = _round(0.5 * strength)
    return [*found, _candidate(bench, build(half), half, predict(half), bench.measure_change(build(half)))]


def _candidate(bench: _Bench, spec: AbstractSpec, strength: float, predicted: float, measured: float) -> _Candidate:
    return _Candidate(
        spec=spec,
        strength=strength,
        predicted_change=predicted,
        measured_change=measured,
        feasible=measured <= bench.max_change,
    )


def _round(value: float) -> float:
    """Return three significant digits: a spec is written down and typed by people."""
    return float(f"{value:.3g}")


_PROPOSERS: dict[str, Callable[[_Bench], list[_Candidate]]] = {
    "qim": _propose_qim,
    "spread_spectrum": _propose_spread_spectrum,
    "permutation": _propose_permutation,
}
