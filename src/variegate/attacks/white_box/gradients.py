"""Counted passes through a differentiable model, cut into micro-batches, so that memory is bounded for any batch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, final

import torch
from torch import Tensor

from variegate.errors import OracleError, VariegateError
from variegate.models.classifier import forward_rows, full_precision, gradient_rows
from variegate.oracles.hard_label import HardLabelOracle
from variegate.types import Bounds, InputSpec


class Differentiable(Protocol):
    """What a white-box attack needs of a model; a `Classifier` and a `RewrittenCopy` have it.

    Scores are L1-normalised: what the model answers with. A rewriter may make some negative.
    """

    @property
    def num_classes(self) -> int:
        """How many classes there are (n)."""
        ...

    @property
    def input_spec(self) -> InputSpec:
        """What one input is."""
        ...

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        ...

    @property
    def bounds(self) -> Bounds:
        """The interval of valid input values."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        ...

    def scores(self, x: Tensor) -> Tensor:
        """Return float32 (M, n)."""
        ...

    def predict(self, x: Tensor) -> Tensor:
        """Return int64 (M,): the hard labels."""
        ...

    def differentiable_scores(self, x: Tensor) -> Tensor:
        """Return float32 (M, n) with gradients with respect to `x`."""
        ...


@final
@dataclass(frozen=True, slots=True, eq=False)
class ForwardPass:
    """One micro-batch after its forward pass; differentiate it as often as needed.

    Attributes:
        part: which of the rows that were asked for.
        scores: float32 (m, n), with gradients.
    """

    part: slice
    scores: Tensor
    _leaf: Tensor
    _samples: Tensor
    _backward_rows: Tensor

    def gradient(self, values: Tensor, *, more: bool = False) -> Tensor:
        """Return float32 (m, *input_shape): the gradient of each entry of `values` (m,) with respect to its input.

        Zero where the values do not depend on the input.

        Args:
            values: computed from `scores` row by row.
            more: keep the pass for another gradient.
        """
        self._backward_rows.add_(torch.bincount(self._samples, minlength=self._backward_rows.shape[0]))
        if not values.requires_grad:
            return torch.zeros_like(self._leaf)
        try:
            with full_precision(self._leaf.device):
                found: Tensor | None = torch.autograd.grad(
                    values.sum(), self._leaf, retain_graph=more, allow_unused=True
                )[0]
        except RuntimeError as error:
            raise OracleError(f"the model failed in the backward pass of {len(values)} inputs: {error}") from error
        return found if found is not None else torch.zeros_like(self._leaf)


@final
class GradientOracle:
    """Labels, scores and gradients of one model, each pass counted for the input that it was made for.

    Args:
        target: the model.
        samples: how many inputs are under attack.

    Attributes:
        labels: hard labels of the same model; its meter counts all forward rows, those with gradients too.
        backward_rows: int64 (samples,).
        rows: rows of one pass with gradients.
    """

    def __init__(self, target: Differentiable, *, samples: int) -> None:
        self._target = target
        self.labels = HardLabelOracle(
            target.predict,
            input_spec=target.input_spec,
            num_classes=target.num_classes,
            samples=samples,
            device=target.device,
        )
        self.backward_rows = torch.zeros(samples, dtype=torch.int64)
        self.rows = gradient_rows(forward_rows(target.input_shape, target.device), target.device)

    @property
    def bounds(self) -> Bounds:
        """The interval of valid input values."""
        return self.labels.bounds

    def scores(self, points: Tensor, samples: Tensor) -> Tensor:
        """Return float32 (M, n), without gradients; `samples` (int64 (M,)) are the inputs that they are asked for.

        Raises:
            OracleError: the model raised, or answered with another shape.
        """
        parts = [self._asked(self._target.scores, part) for part in points.split(self.rows)]
        self.labels.meter.add(samples.cpu())
        return torch.cat(parts) if parts else points.new_zeros((0, self.labels.num_classes))

    def passes(self, points: Tensor, samples: Tensor) -> Iterator[ForwardPass]:
        """Yield micro-batches of `points` (float32 (M, *input_shape)) after their forward pass, in order.

        Raises:
            OracleError: the model raised, or answered with another shape.
        """
        names = samples.cpu()
        for first in range(0, points.shape[0], self.rows):
            part = slice(first, min(first + self.rows, points.shape[0]))
            with torch.enable_grad():
                leaf = points[part].detach().clone().requires_grad_()
                scores = self._asked(self._target.differentiable_scores, leaf)
                self.labels.meter.add(names[part])
                yield ForwardPass(part, scores, leaf, names[part], self.backward_rows)

    def pull(
        self, points: Tensor, samples: Tensor, objective: Callable[[Tensor, slice], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return the scores, float32 (M, n), and the gradient of an objective, float32 (M, *input_shape).

        Args:
            points: float32 (M, *input_shape).
            samples: int64 (M,): the inputs that they belong to.
            objective: (scores of some rows, which rows) -> one value a row.
        """
        scores = points.new_empty((points.shape[0], self.labels.num_classes))
        gradient = torch.empty_like(points)
        for done in self.passes(points, samples):
            gradient[done.part] = done.gradient(objective(done.scores, done.part))
            scores[done.part] = done.scores.detach()
        return scores, gradient

    def _asked(self, ask: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        try:
            scores = ask(x)
        except VariegateError:
            raise
        except Exception as error:
            raise OracleError(f"the model failed on {x.shape[0]} inputs: {error}") from error
        if not isinstance(scores, Tensor) or scores.shape != (x.shape[0], self.labels.num_classes):
            got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise OracleError(
                f"the model must return scores of shape {(x.shape[0], self.labels.num_classes)}; got {got}"
            )
        return scores
