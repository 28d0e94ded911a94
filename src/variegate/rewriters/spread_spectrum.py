"""Spread-spectrum attractors (paper, section 4.3): class j is pulled by the correlation of the input with message m_j.

    R_k(x) = A (m_1 . x, ..., m_n . x)

Differences from the paper: messages have unit norm, so `strength` A does not depend on the input's size, and zero mean
by default, because otherwise the brightness of the image biases the classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from variegate.errors import ConfigurationError
from variegate.keys import CopyKey
from variegate.projections import PROJECTIONS, build_projection
from variegate.projections.base import Projection
from variegate.projections.catalog import ProjectionKind
from variegate.rewriters.base import AbstractHead, AbstractSpec, OriginalShape, check_strength, unit_input
from variegate.rewriters.calibrate import Candidate, Trial, predicted_change_spread_spectrum, scaled_candidates
from variegate.types import Bounds

_MAX_AMPLITUDE = 16.0  # that a calibration tries


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SpreadSpectrumSpec(AbstractSpec):
    """Parameters of the spread-spectrum rewriter.

    Args:
        strength: A, the weight of a correlation with a unit-norm message, per unit of the input range.
        zero_mean: whether messages sum to zero.
        normalise_input: whether inputs are brought to one contrast first.
        projection: "dense", "hadamard", "sparse" or "auto".
    """

    rewriter: ClassVar[str] = "spread_spectrum"
    title: ClassVar[str] = "spread spectrum"
    colour: ClassVar[str] = "#E69F00"
    marker: ClassVar[str] = "D"
    order: ClassVar[int] = 1
    symbols: ClassVar[Mapping[str, str]] = {"strength": "A, for messages of norm 1"}

    strength: float = 0.3
    zero_mean: bool = True
    normalise_input: bool = False
    projection: ProjectionKind = "auto"

    def __post_init__(self) -> None:
        self.check_types()
        check_strength(self.strength)
        if self.projection != "auto" and self.projection not in PROJECTIONS:
            raise ConfigurationError(
                f"projection must be auto, {', '.join(sorted(PROJECTIONS))}; got {self.projection!r}"
            )

    @classmethod
    def propose(cls, trial: Trial, max_change: float) -> list[Candidate]:
        """The largest amplitude within the budget, and half of it."""
        unit = trial.unit_inputs()

        def predict(strength: float) -> float:
            return predicted_change_spread_spectrum(trial.scores, unit, strength=strength)

        return scaled_candidates(
            trial, max_change, lambda strength: cls(strength=strength), predict, most=_MAX_AMPLITUDE
        )

    def build(self, key: CopyKey, shape: OriginalShape) -> "SpreadSpectrumHead":
        """Return the head with one message a class."""
        projection = build_projection(
            self.projection, key, rows=shape.num_classes, dim=shape.input_size, zero_mean=self.zero_mean
        )
        return SpreadSpectrumHead(projection, self.strength, shape.bounds, normalise_input=self.normalise_input)


@final
class SpreadSpectrumHead(AbstractHead):
    """R_k(x) = A m . x."""

    def __init__(self, projection: Projection, strength: float, bounds: Bounds, *, normalise_input: bool) -> None:
        super().__init__()
        self.projection = projection
        self.strength = strength
        self.bounds = bounds
        self.normalise_input = normalise_input

    def decode(self, x: Tensor, scores: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """Return the correlations, float32 (N, n)."""
        correlations: Tensor = self.projection(unit_input(x, self.bounds, normalise=self.normalise_input))
        return self.strength * correlations
