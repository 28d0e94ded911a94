"""Quantization-index-modulation attractors (paper, section 4.3).

For each class j and message h the input is projected, y = m_jh . x + dither, and its distance to the lattice
(step delta, offset delta / 2) is taken; the weighted sum of the B distances is mapped linearly to [0, 1], larger
distances to smaller values, and weighted by `strength`:

    q(y)   = | y + delta/2 - delta round(y/delta + 1/2) |                 in [0, delta/2]
    e_j    = 1 - sum_h alpha_h q(y_jh) / (delta/2 sum_h alpha_h)          in [0, 1]
    R_k(x) = strength (e_1, ..., e_n)

q is a triangle wave of slope 1, so e_j changes over a distance of about `quantization_step` in the input.

Differences from the paper: messages have unit norm (so the step is in units of the input range along a unit direction)
and zero mean; each message has a keyed dither, uniform on [0, delta), which makes phases uniform whatever the data
(Chen and Wornell, 2001); `strength` weighs the sum (the paper has 1); the paper's index j in the sum of step 2 is
read as h.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import torch
from torch import Tensor

from variegate.errors import ConfigurationError
from variegate.keys import CopyKey, Purpose, uniform24
from variegate.projections import PROJECTIONS, build_projection
from variegate.projections.base import Projection
from variegate.projections.catalog import ProjectionKind
from variegate.rewriters.base import AbstractHead, AbstractSpec, OriginalShape, check_strength, unit_input
from variegate.rewriters.calibrate import (
    MAX_REPAIRS,
    Candidate,
    Trial,
    measured_candidate,
    most_messages,
    predicted_change_qim,
    smallest_messages,
    step_for_distance,
    three_digits,
)
from variegate.types import Bounds

# A float32 sum y is off by about 1e-6, in another way for another batch size; in steps, by 1e-3 at the least step.
LEAST_STEP = 1e-3
_MOST_STEP = 1e6

_STRENGTHS = (1.0, 2.0, 4.0, 8.0)  # that a calibration tries
_SHARES = (0.1, 0.2, 0.4)  # of the original's boundary distance
_MARGIN = 0.95  # other steps change labels a little differently


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class QimSpec(AbstractSpec):
    """Parameters of the QIM rewriter.

    Args:
        messages_per_class: B.
        quantization_step: delta over the norm of a message (the messages have norm 1), in units of the input range;
            at least 0.001, because labels of a smaller one would depend on rounding, and so on the batch.
        strength: weight of the decoder beside the original's softmax scores.
        weights: alpha_1 ... alpha_B; equal weights if empty.
        dither: whether each message has a keyed offset.
        zero_mean: whether messages sum to zero.
        normalise_input: whether inputs are brought to one contrast first, which cancels gain and offset.
        projection: "dense", "hadamard", "sparse" or "auto" (dense while small, then Hadamard).
    """

    rewriter: ClassVar[str] = "qim"
    title: ClassVar[str] = "QIM"
    colour: ClassVar[str] = "#D55E00"
    marker: ClassVar[str] = "v"
    order: ClassVar[int] = 2
    symbols: ClassVar[Mapping[str, str]] = {
        "messages_per_class": "B",
        "quantization_step": "delta, for messages of norm 1 and a range of 1",
        "strength": "of the errors' sum; 1 in the paper",
    }

    messages_per_class: int = 16
    quantization_step: float = 0.1
    strength: float = 2.0
    weights: tuple[float, ...] = ()
    dither: bool = True
    zero_mean: bool = True
    normalise_input: bool = False
    projection: ProjectionKind = "auto"

    def __post_init__(self) -> None:
        self.check_types()
        if self.messages_per_class < 1:
            raise ConfigurationError(f"messages_per_class must be at least 1; got {self.messages_per_class}")
        if not LEAST_STEP <= self.quantization_step <= _MOST_STEP:
            raise ConfigurationError(
                f"quantization_step must be from {LEAST_STEP:g} to {_MOST_STEP:g}; got {self.quantization_step}"
            )
        check_strength(self.strength)
        if self.weights and (
            len(self.weights) != self.messages_per_class
            or not all(math.isfinite(weight) and weight >= 0 for weight in self.weights)
            or not 0.0 < sum(self.weights) < math.inf
        ):
            raise ConfigurationError(
                f"weights must be {self.messages_per_class} finite numbers of at least 0, one a message and not all 0; "
                f"got {len(self.weights)}"
            )
        if self.projection != "auto" and self.projection not in PROJECTIONS:
            raise ConfigurationError(
                f"projection must be auto, {', '.join(sorted(PROJECTIONS))}; got {self.projection!r}"
            )

    @classmethod
    def propose(cls, trial: Trial, max_change: float) -> list[Candidate]:
        """For each strength: the fewest messages within the budget; steps for a few shares of the boundary distance."""
        most = most_messages(trial.shape)
        found: list[Candidate] = []
        for strength in _STRENGTHS:

            def spec_of(count: int, share: float, strength: float = strength) -> QimSpec:
                step = step_for_distance(
                    trial.scores, trial.distances, messages_per_class=count, strength=strength, share=share
                )
                step = three_digits(max(step, LEAST_STEP))
                return cls(messages_per_class=count, quantization_step=step, strength=strength)

            count = smallest_messages(trial.scores, strength=strength, max_change=max_change, most=most) or most
            for _ in range(MAX_REPAIRS):  # the change hardly depends on the step: one share stands for all
                _, bound = trial.measure_change(spec_of(count, _SHARES[-1]))
                if bound <= _MARGIN * max_change or count >= most:
                    break
                count = min(most, math.ceil(count * max(1.2, (bound / max_change) ** 2)))
            predicted = predicted_change_qim(trial.scores, messages_per_class=count, strength=strength)
            found += [
                measured_candidate(trial, spec_of(count, share), strength, predicted, max_change) for share in _SHARES
            ]
        return found

    def build(self, key: CopyKey, shape: OriginalShape) -> "QimHead":
        """Return the head with B messages a class."""
        rows = shape.num_classes * self.messages_per_class
        projection = build_projection(self.projection, key, rows=rows, dim=shape.input_size, zero_mean=self.zero_mean)
        dither = uniform24(key, Purpose.DITHER, 0, 0, rows) if self.dither else np.zeros(rows, np.float32)
        return QimHead(projection, torch.from_numpy(dither), self, shape.bounds)


@final
class QimHead(AbstractHead):
    """The QIM decoder of one copy. Cost: one projection to n B values and four passes over them."""

    phase: Tensor
    weight: Tensor

    def __init__(self, projection: Projection, dither: Tensor, spec: QimSpec, bounds: Bounds) -> None:
        super().__init__()
        weights = spec.weights or (1.0,) * spec.messages_per_class
        scale = 2.0 * spec.strength / sum(weights)  # the distance in steps is at most 1/2
        self.projection = projection
        self.register_buffer("phase", dither + 0.5, persistent=False)  # (n B,), in steps
        scaled = torch.tensor([weight * scale for weight in weights], dtype=torch.float32)
        self.register_buffer("weight", scaled, persistent=False)  # (B,)
        self.per_step = 1.0 / spec.quantization_step
        self.spec = spec
        self.bounds = bounds

    def decode(self, x: Tensor, scores: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """Return strength times e, float32 (N, n)."""
        y = self.projection(unit_input(x, self.bounds, normalise=self.spec.normalise_input))
        phase = torch.add(self.phase, y, alpha=self.per_step)  # (N, n B), in steps
        distance = (phase - phase.round()).abs()
        error = distance.view(-1, scores.shape[1], self.spec.messages_per_class) @ self.weight  # (N, n)
        return self.spec.strength - error
