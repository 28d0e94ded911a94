"""Calibration: how many labels a rewriter will change, predicted from the original's scores, and the candidates to try.

Let an input have scores p, label y and gaps g_k = p_y - p_k.

- QIM: the e_j of equal weights have mean 1/2 and standard deviation 1/sqrt(12 B) whatever the step, once phases are
  uniform; the label survives with probability E_z[prod_k Phi(z + g_k / (strength sigma_e))].
- Spread spectrum: the correlations have standard deviation A rms(x - mean x) (unit-norm, zero-mean messages); the same
  formula with that sigma.
- Permutation: the label survives if p_y + alpha p_pi(y) stays the largest; averaged over random permutations.

The quantization step follows from the original's boundary distance: the smallest perturbation that flips a copy through
QIM alone is rho = step sqrt(B) r(gap / strength), and a share of the original's own distance is asked for.
Source of the formulas: derived for this project from the triangle wave's moments; checked by simulation in the tests.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from variegate.errors import ConfigurationError, InputError
from variegate.projections.catalog import AUTO_DENSE_ELEMENTS
from variegate.rewriters.base import AbstractSpec, OriginalShape

_NODES = 48
MAX_REPAIRS = 4
"""How often a candidate is weakened and measured again."""


def predicted_change_qim(scores: Tensor, *, messages_per_class: int, strength: float) -> float:
    """Return the expected share of labels that a QIM copy changes.

    Args:
        scores: float32 (N, n), the original's softmax scores.
    """
    return _change_by_noise(scores, torch.full((scores.shape[0],), strength / math.sqrt(12.0 * messages_per_class)))


def predicted_change_spread_spectrum(scores: Tensor, inputs: Tensor, *, strength: float) -> float:
    """Return the expected share of labels that a spread-spectrum copy changes.

    Args:
        scores: float32 (N, n).
        inputs: float32 (N, *input_shape) in units of the input range.
    """
    return _change_by_noise(scores, strength * inputs.flatten(1).std(dim=1, correction=0))


def predicted_change_permutation(scores: Tensor, *, alpha: float, seed: int = 0, draws: int = 64) -> float:
    """Return the share of labels that a permutation copy changes, mean over `draws` random derangements."""
    _check_scores(scores)
    generator = np.random.default_rng(seed)
    label, changed, n = scores.argmax(1), 0.0, scores.shape[1]
    for _ in range(draws):
        partners = torch.from_numpy(_random_derangement(generator, n))
        changed += float(((scores + alpha * scores[:, partners]).argmax(1) != label).double().mean())
    return changed / draws


def smallest_messages(scores: Tensor, *, strength: float, max_change: float, most: int) -> int | None:
    """Return the smallest B up to `most` whose predicted change is within `max_change`, or None."""
    if predicted_change_qim(scores, messages_per_class=most, strength=strength) > max_change:
        return None
    low, high = 0, most  # high always fits
    while high - low > 1:
        middle = (low + high) // 2
        if predicted_change_qim(scores, messages_per_class=middle, strength=strength) <= max_change:
            high = middle
        else:
            low = middle
    return high


def most_messages(shape: OriginalShape) -> int:
    """Return the largest B worth trying: n B rows that a dense or a Hadamard projection can hold.

    More than twice as many rows as the input has dimensions add cost and little else.
    """
    dense = min(2 * shape.input_size, AUTO_DENSE_ELEMENTS // shape.input_size)
    hadamard = 1 << (shape.input_size - 1).bit_length()
    return max(1, max(dense, hadamard) // shape.num_classes)


def flip_reach(share: float) -> float:
    """Return r: the L2 length, in units of step sqrt(B), that moves e_k - e_y by `share` of its whole swing.

    From zero error, moving both classes' B phases by a steps each costs sqrt(2 B) a step; water-filling over phases
    that are uniform gives sqrt(2 (a^2 - 4 a^3 / 3)) with a = (1 - sqrt(1 - share)) / 2.
    """
    if not 0.0 <= share <= 1.0:
        raise ConfigurationError(f"share must be from 0 to 1; got {share}")
    a = (1.0 - math.sqrt(1.0 - share)) / 2.0
    return math.sqrt(2.0 * (a * a - 4.0 * a**3 / 3.0))


def step_for_distance(
    scores: Tensor, distances: Sequence[float] | Tensor, *, messages_per_class: int, strength: float, share: float
) -> float:
    """Return the quantization step at which QIM alone flips a median input within `share` of its boundary distance.

    Args:
        scores: float32 (N, n).
        distances: the original's boundary distances, L2 in units of the input range; infinite ones are left out.
        share: how much closer than the original's boundary the copy's own pockets shall be, in (0, 1].

    Raises:
        InputError: no finite distance was given.
    """
    known = [float(value) for value in distances if math.isfinite(float(value)) and float(value) > 0]
    if not known:
        raise InputError("no boundary distance could be measured; give more or other inputs")
    ordered = scores.topk(2, 1).values
    gap = float((ordered[:, 0] - ordered[:, 1]).median())
    reach = flip_reach(min(1.0, gap / strength)) if strength else 0.0
    if reach <= 0.0:
        raise ConfigurationError(f"a decoder of strength {strength} cannot flip a label; choose a positive strength")
    return share * float(np.median(known)) / (math.sqrt(messages_per_class) * reach)


def _check_scores(scores: Tensor) -> None:
    if scores.ndim != 2 or scores.shape[0] == 0:
        raise InputError(f"scores must have shape (N, n) with N > 0; got {tuple(scores.shape)}")


def _change_by_noise(scores: Tensor, sigma: Tensor) -> float:
    """Return the expected share of argmax changes under independent Gaussian noise of deviation `sigma` (N,)."""
    _check_scores(scores)
    points, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    z, weight = torch.from_numpy(points), torch.from_numpy(weights / weights.sum())
    scores, sigma = scores.double().cpu(), sigma.double().cpu().clamp_min(1e-12)
    label = scores.argmax(1, keepdim=True)
    gaps = (scores.gather(1, label) - scores) / sigma[:, None]
    survive = torch.zeros(scores.shape[0], dtype=torch.float64)
    for point, share in zip(z, weight, strict=True):
        log = torch.special.log_ndtr(gaps + point).scatter(1, label, 0.0)
        survive += share * log.sum(1).exp()
    return float((1.0 - survive).clamp(0.0, 1.0).mean())


def _random_derangement(generator: np.random.Generator, n: int) -> npt.NDArray[np.int64]:
    while True:
        order = generator.permutation(n)
        if not bool((order == np.arange(n)).any()):
            return order


class Trial(Protocol):
    """One original on trial, as far as proposing specs needs it.

    Attributes:
        scores: float32 (N, n), the original's softmax scores on jittered inputs.
        distances: the original's boundary distances, L2 in units of the input range.
        shape: of the original.
        seed: of everything random.
    """

    scores: Tensor
    distances: list[float]
    shape: OriginalShape
    seed: int

    def unit_inputs(self) -> Tensor:
        """Return the jittered inputs in units of their range."""
        ...

    def measure_change(self, spec: AbstractSpec) -> tuple[float, float]:
        """Return the share of labels that copies of `spec` change, and its one-sided 95 % bound."""
        ...


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


def measured_candidate(
    trial: Trial, spec: AbstractSpec, strength: float, predicted: float, max_change: float
) -> Candidate:
    """Return a candidate whose changed labels were measured."""
    measured, bound = trial.measure_change(spec)
    return Candidate(
        spec=spec,
        strength=strength,
        predicted_change=predicted,
        measured_change=measured,
        change_bound=bound,
        feasible=bound <= max_change,
    )


def scaled_candidates(
    trial: Trial,
    max_change: float,
    build: Callable[[float], AbstractSpec],
    predict: Callable[[float], float],
    *,
    most: float,
) -> list[Candidate]:
    """Bisect the one strength of a rewriter to the budget, repair it by measurement, and add half of it.

    Args:
        trial: the original on trial.
        max_change: the budget, a share of labels.
        build: the spec of a strength.
        predict: the share of labels that a strength changes.
        most: the largest strength worth trying.
    """
    low, high = 0.0, most
    if predict(most) <= max_change:
        low = most
    else:
        for _ in range(20):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if predict(middle) <= max_change else (low, middle)
    strength = three_digits(low)
    for _ in range(2 * MAX_REPAIRS):
        if trial.measure_change(build(strength))[1] <= max_change:
            break
        strength = three_digits(0.85 * strength)
    half = three_digits(0.5 * strength)
    return [measured_candidate(trial, build(each), each, predict(each), max_change) for each in (strength, half)]


def three_digits(value: float) -> float:
    """Return three significant digits: a spec is written down and typed by people."""
    return float(f"{value:.3g}")
