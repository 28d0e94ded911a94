"""The permutation rewriter (paper, section 4.4): class j is bound to a keyed partner pi(j).

    R_k(x) = alpha pi_k(M(x)),   that is   copy_j ~ M_j + alpha M_pi(j)

Differences from the paper: pi has no fixed point by default (a fixed point leaves its class unbound), and
`dummy_classes` adds classes of score 0 before the permutation and drops them after it, as the paper suggests for few
classes; with alpha < 1 a dummy class can never win.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from variegate.errors import ConfigurationError
from variegate.keys import CopyKey, Purpose, derangement, permutation
from variegate.rewriters.base import AbstractHead, AbstractSpec, OriginalShape
from variegate.rewriters.calibrate import Candidate, Trial, predicted_change_permutation, scaled_candidates

_MAX_ALPHA = 0.95  # that a calibration tries


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PermutationSpec(AbstractSpec):
    """Parameters of the permutation rewriter.

    Args:
        alpha: weight of the partner's score, at least 0 and below 1.
        derangement: whether every class has a partner other than itself.
        dummy_classes: classes of score 0 added before the permutation; more of them, more distinct copies.
    """

    rewriter: ClassVar[str] = "permutation"
    title: ClassVar[str] = "permutation"
    colour: ClassVar[str] = "#009E73"
    marker: ClassVar[str] = "^"
    order: ClassVar[int] = 3

    alpha: float = 0.8
    derangement: bool = True
    dummy_classes: int = 0

    def __post_init__(self) -> None:
        self.check_types()
        if not 0.0 <= self.alpha < 1.0:
            raise ConfigurationError(f"alpha must be at least 0 and below 1, or classes become ties; got {self.alpha}")
        if self.dummy_classes < 0:
            raise ConfigurationError(f"dummy_classes must be at least 0; got {self.dummy_classes}")

    @classmethod
    def propose(cls, trial: Trial, max_change: float) -> list[Candidate]:
        """The largest alpha within the budget, and half of it."""

        def predict(alpha: float) -> float:
            return predicted_change_permutation(trial.scores, alpha=alpha, seed=trial.seed)

        return scaled_candidates(trial, max_change, lambda alpha: cls(alpha=alpha), predict, most=_MAX_ALPHA)

    def build(self, key: CopyKey, shape: OriginalShape) -> "PermutationHead":
        """Return the head with this key's permutation."""
        draw = derangement if self.derangement else permutation
        partners = draw(key, Purpose.PERMUTATION, 0, 0, shape.num_classes + self.dummy_classes)
        return PermutationHead(torch.from_numpy(partners)[: shape.num_classes], self.alpha, self.dummy_classes)


@final
class PermutationHead(AbstractHead):
    """R_k(x) = alpha M_pi(x). Cost: one gather of n scores."""

    partners: Tensor

    def __init__(self, partners: Tensor, alpha: float, dummy_classes: int) -> None:
        super().__init__()
        self.register_buffer("partners", partners, persistent=False)  # (n,), partner of each class
        self.alpha = alpha
        self.dummy_classes = dummy_classes

    def decode(self, x: Tensor, scores: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """Return alpha times the partners' scores, float32 (N, n)."""
        if self.dummy_classes:
            scores = torch.nn.functional.pad(scores, (0, self.dummy_classes))
        return self.alpha * scores.index_select(1, self.partners)
