"""What rewriting costs on clean inputs: accuracy of the original and of each copy, labels that changed (Table 1)."""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from variegate.models.bank import CopyBank
from variegate.records.base import Accuracy
from variegate.records.replication import Accuracies


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyTable:
    """Counts over n clean inputs.

    Attributes:
        n: inputs.
        original: how many the original gets right.
        copies: how many each copy gets right.
        changed: for each copy, on how many inputs its label differs from the original's.
    """

    n: int
    original: int
    copies: tuple[int, ...]
    changed: tuple[int, ...]

    @property
    def change_rate(self) -> float:
        """Share of labels that the copies change, mean over copies."""
        return sum(self.changed) / (self.n * len(self.changed)) if self.n and self.changed else 0.0

    def record(self) -> Accuracies:
        """Return the table as a record holds it."""
        counted = zip(self.copies, self.changed, strict=True)
        return Accuracies(
            original=Accuracy(n=self.n, correct=self.original),
            copies=tuple(Accuracy(n=self.n, correct=right, labels_changed=changed) for right, changed in counted),
        )


def measure_accuracy(bank: CopyBank, inputs: Tensor, labels: Tensor) -> AccuracyTable:
    """Label `inputs` by the original and by every copy of the bank, in one forward of the original for the copies.

    Args:
        inputs: float32 (N, *input_shape).
        labels: int64 (N,).
    """
    original = bank.original.predict(inputs).cpu()
    copies = bank.predict_all(inputs).cpu()
    return AccuracyTable(
        n=int(labels.shape[0]),
        original=int((original == labels).sum()),
        copies=tuple(torch.sum(copies == labels[:, None], 0).tolist()),
        changed=tuple(torch.sum(copies != original[:, None], 0).tolist()),
    )
