"""Which parameters of a rewriter are worth trying on an original, within a budget of changed labels."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

from variegate.experiments.trial import Trial
from variegate.rewriters.base import AbstractSpec
from variegate.rewriters.calibrate import (
    most_messages,
    predicted_change_permutation,
    predicted_change_qim,
    predicted_change_spread_spectrum,
    smallest_messages,
    step_for_distance,
)
from variegate.rewriters.permutation import PermutationSpec
from variegate.rewriters.qim import LEAST_STEP, QimSpec
from variegate.rewriters.spread_spectrum import SpreadSpectrumSpec

_STRENGTHS = (1.0, 2.0, 4.0, 8.0)
_SHARES = (0.1, 0.2, 0.4)  # of the original's boundary distance
_REPAIRS = 4
_MARGIN = 0.95  # other steps change labels a little differently
_MOST_AMPLITUDE = 16.0
_MOST_ALPHA = 0.95


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A spec with its predicted and measured share of changed labels.

    It is feasible if the one-sided 95 % bound of the measured share, `change_bound`, is within the budget.
    """

    spec: AbstractSpec
    strength: float
    predicted_change: float
    measured_change: float
    change_bound: float
    feasible: bool


def _propose_qim(trial: Trial, max_change: float) -> list[Candidate]:
    """For each strength: the fewest messages within the budget, and steps for a few shares of the boundary distance."""
    most = most_messages(trial.shape)
    found: list[Candidate] = []
    for strength in _STRENGTHS:

        def spec_of(count: int, share: float, strength: float = strength) -> QimSpec:
            step = step_for_distance(
                trial.scores, trial.distances, messages_per_class=count, strength=strength, share=share
            )
            return QimSpec(messages_per_class=count, quantization_step=_round(max(step, LEAST_STEP)), strength=strength)

        count = smallest_messages(trial.scores, strength=strength, max_change=max_change, most=most) or most
        for _ in range(_REPAIRS):  # the change hardly depends on the step: one share stands for all
            _, bound = trial.measure_change(spec_of(count, _SHARES[-1]))
            if bound <= _MARGIN * max_change or count >= most:
                break
            count = min(most, math.ceil(count * max(1.2, (bound / max_change) ** 2)))
        predicted = predicted_change_qim(trial.scores, messages_per_class=count, strength=strength)
        for share in _SHARES:
            spec = spec_of(count, share)
            found.append(_candidate(trial, spec, strength, predicted, max_change))
    return found


def _propose_spread_spectrum(trial: Trial, max_change: float) -> list[Candidate]:
    unit = trial.unit_inputs()

    def predict(strength: float) -> float:
        return predicted_change_spread_spectrum(trial.scores, unit, strength=strength)

    return _scaled(
        trial, max_change, lambda strength: SpreadSpectrumSpec(strength=strength), predict, most=_MOST_AMPLITUDE
    )


def _propose_permutation(trial: Trial, max_change: float) -> list[Candidate]:
    def predict(alpha: float) -> float:
        return predicted_change_permutation(trial.scores, alpha=alpha, seed=trial.seed)

    return _scaled(trial, max_change, lambda alpha: PermutationSpec(alpha=alpha), predict, most=_MOST_ALPHA)


def _scaled(
    trial: Trial,
    max_change: float,
    build: Callable[[float], AbstractSpec],
    predict: Callable[[float], float],
    *,
    most: float,
) -> list[Candidate]:
    """Bisect the one strength of a rewriter to the budget, repair it by measurement, and add half of it."""
    low, high = 0.0, most
    if predict(most) <= max_change:
        low = most
    else:
        for _ in range(20):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if predict(middle) <= max_change else (low, middle)
    strength = _round(low)
    for _ in range(2 * _REPAIRS):
        if trial.measure_change(build(strength))[1] <= max_change:
            break
        strength = _round(0.85 * strength)
    half = _round(0.5 * strength)
    return [_candidate(trial, build(each), each, predict(each), max_change) for each in (strength, half)]


def _candidate(trial: Trial, spec: AbstractSpec, strength: float, predicted: float, max_change: float) -> Candidate:
    measured, bound = trial.measure_change(spec)
    return Candidate(
        spec=spec,
        strength=strength,
        predicted_change=predicted,
        measured_change=measured,
        change_bound=bound,
        feasible=bound <= max_change,
    )


def _round(value: float) -> float:
    """Return three significant digits: a spec is written down and typed by people."""
    return float(f"{value:.3g}")


PROPOSERS: Mapping[str, Callable[[Trial, float], list[Candidate]]] = {
    "qim": _propose_qim,
    "spread_spectrum": _propose_spread_spectrum,
    "permutation": _propose_permutation,
}
