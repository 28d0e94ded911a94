"""What a rewriter adds to the original: a head that turns the original's scores into the copy's.

A head is a small module: `head(x, scores, features)` with x float32 (N, *input_shape), scores float32 (N, n) the
original's softmax scores, features the flattened outputs of the layers that the head names; it returns the copy's
scores, float32 (N, n), L1-normalised (paper, equations 2 and 3).
"""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor


class ScoreHead(Protocol):
    """The one thing that a bank of copies needs to know of a rewriter."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the original's layers whose outputs the head reads; mostly none."""
        ...

    def __call__(self, x: Tensor, scores: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """Return the copy's scores (N, n)."""
        ...
