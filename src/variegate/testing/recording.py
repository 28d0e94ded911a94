"""A model that remembers what it was asked, and that can fail on purpose."""

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor


@final
class RecordingModel:
    """Wraps a `predict` and keeps every question and answer.

    Args:
        predict: float32 (M, *input_shape) -> int64 (M,).
        fail_at: which call raises `failure` instead of answering, counted from 1; None for none.
        failure: what it raises.
    """

    def __init__(
        self, predict: Callable[[Tensor], Tensor], *, fail_at: int | None = None, failure: BaseException | None = None
    ) -> None:
        self._predict, self._fail_at = predict, fail_at
        self._failure = failure if failure is not None else RuntimeError("the model is out of order")
        self._questions: list[Tensor] = []
        self._answers: list[Tensor] = []
        self.calls = 0

    def predict(self, x: Tensor) -> Tensor:
        """Answer, or fail."""
        self.calls += 1
        if self.calls == self._fail_at:
            raise self._failure
        labels = self._predict(x)
        self._questions.append(x.clone())
        self._answers.append(labels.clone())
        return labels

    @property
    def rows(self) -> int:
        """How many inputs were labelled."""
        return sum(len(part) for part in self._answers)

    @property
    def questions(self) -> Tensor:
        """All inputs that were labelled, float32 (rows, *input_shape); at least one."""
        return torch.cat(self._questions)

    def answer_to(self, x: Tensor) -> int | None:
        """Return the label that was given to exactly this input, bit for bit, or None if it was never asked."""
        for questions, answers in zip(self._questions, self._answers, strict=True):
            same = (questions == x).flatten(1).all(1).nonzero().flatten()
            if len(same):
                return int(answers[same[0]])
        return None
