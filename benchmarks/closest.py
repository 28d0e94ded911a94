"""One rule for every attack library: each row that the model labels is a query, and the closest adversarial row counts.

ART returns the point after its last step, Foolbox and variegate return points on the boundary. To compare them at equal
queries, this stands between attack and model: it numbers the rows, labels them, remembers the smallest distance of an
adversarial one within the first q queries, and ends the attack when the budget is spent.
"""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from variegate.models.classifier import Classifier

__all__ = ["BudgetSpentError", "ClosestSeen"]


class BudgetSpentError(Exception):
    """The attack asked for more queries than it has."""


@final
class ClosestSeen(nn.Module):
    """A module for any library, over one classifier and one image under attack.

    Args:
        classifier: labels the rows.
        image: float32 (*input_shape).
        label: its correct label; any other is adversarial.
        checkpoints: numbers of queries, ascending; the last is the budget.
    """

    def __init__(self, classifier: Classifier, image: Tensor, label: int, checkpoints: Sequence[int]) -> None:
        super().__init__()
        self._classifier = [classifier]  # in a list, so that its module is not a child of this one
        self._image = image.flatten()
        self._label = label
        self.checkpoints = tuple(checkpoints)
        self.closest = [float("inf")] * len(self.checkpoints)
        self.queries = 0

    def forward(self, x: Tensor) -> Tensor:
        """Map (M, *input_shape) of any float dtype to logits (M, n).

        Raises:
            BudgetSpentError: after labelling the rows that were left.
        """
        left = self.checkpoints[-1] - self.queries
        rows = x[:left].float()
        if len(rows):
            logits = self._classifier[0].logits(rows)
            self._remember(rows, logits.argmax(1))
            self.queries += len(rows)
        if len(x) > left:
            raise BudgetSpentError
        return logits

    def predict(self, x: Tensor) -> Tensor:
        """Return int64 (M,) labels."""
        labels: Tensor = self(x).argmax(1)
        return labels

    def _remember(self, rows: Tensor, labels: Tensor) -> None:
        adversarial = (labels != self._label).nonzero().flatten()
        if len(adversarial) == 0:
            return
        distances = (rows[adversarial].flatten(1) - self._image).norm(dim=1)
        numbers = self.queries + 1 + adversarial
        for place, checkpoint in enumerate(self.checkpoints):
            reached = distances[numbers <= checkpoint]
            if len(reached):
                self.closest[place] = min(self.closest[place], float(torch.min(reached)))
