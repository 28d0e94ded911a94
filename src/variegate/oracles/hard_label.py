"""The attacker's view of a copy: hard labels, and a meter that counts every one of them.

One query is one input labelled once. The meter sits at the model's boundary, so any attack, ours or a third party's,
is counted by the same rule; the budget is per input under attack and is enforced before anything is labelled.

A criterion says when a label counts as adversarial.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, final

import torch
from torch import Tensor

from variegate.errors import BudgetError, ConfigurationError, InputError, OracleError
from variegate.models.classifier import check_inputs, question_rows
from variegate.types import Bounds, InputSpec, TakesInputs


@final
class QueryMeter:
    """Counts queries per input under attack."""

    def __init__(self, samples: int) -> None:
        self.per_sample = torch.zeros(samples, dtype=torch.int64)

    @property
    def total(self) -> int:
        """All queries so far."""
        return int(self.per_sample.sum())

    def add(self, samples: Tensor) -> None:
        """Count one query for each entry of `samples` (int64 positions, repeats allowed)."""
        self.per_sample += torch.bincount(samples, minlength=self.per_sample.shape[0])


class Oracle(Protocol):
    """What an attack queries: a `HardLabelOracle`, or one that answers through another (`variegate.oracles`).

    Attributes:
        input_spec: what one input is.
        budget: queries allowed per input under attack; None for no limit.
        device: where questions are made and answers come back.
        input_shape, bounds: the parts of `input_spec`.
        meter: counts the model's labels; an oracle that asks several for one answer counts them all.
        num_classes: labels are from 0 up to this.
        preferred_rows: how many rows an attack should send at once.
    """

    input_spec: InputSpec
    budget: int | None
    device: torch.device
    meter: QueryMeter
    num_classes: int
    preferred_rows: int

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        ...

    @property
    def bounds(self) -> Bounds:
        """The interval of valid input values."""
        ...

    def remaining(self) -> Tensor:
        """Return int64 (samples,): answers that each input can still have."""
        ...

    def label(self, x: Tensor, samples: Tensor) -> Tensor:
        """Return int64 (M,): the answer to each row of `x`, asked for the input at `samples` (int64 (M,), CPU)."""
        ...


@final
class HardLabelOracle(TakesInputs):
    """Labels inputs and says nothing else.

    Args:
        predict: float32 (M, *input_shape) -> int64 (M,) labels; `Classifier.predict`, a copy's, or a remote service.
        num_classes: labels are from 0 up to this.
        samples: how many inputs are under attack; queries are counted for each of them.
        input_shape, bounds: shape and interval of one input; [0, 1] where no bounds are given.
        input_spec: both in one, such as a classifier's `input_spec`.
        budget: queries allowed per input under attack; None for no limit.
        device: where labels are computed.
        preferred_rows: how many rows an attack should send at once to keep the model busy in bounded memory; by default
            as many as `variegate.models.classifier.question_rows` says.
    """

    def __init__(
        self,
        predict: Callable[[Tensor], Tensor],
        *,
        num_classes: int,
        samples: int,
        input_shape: tuple[int, ...] | None = None,
        bounds: Bounds | None = None,
        input_spec: InputSpec | None = None,
        budget: int | None = None,
        device: torch.device | str = "cpu",
        preferred_rows: int | None = None,
    ) -> None:
        if budget is not None and budget < 1:
            raise ConfigurationError(f"the query budget must be at least 1 per input; got {budget}")
        if samples < 0:
            raise ConfigurationError(f"an oracle answers for 0 or more inputs; got {samples}")
        self._predict = predict
        self.input_spec = InputSpec.resolve(input_spec, input_shape, bounds)
        self.num_classes = num_classes
        self.budget = budget
        self.device = torch.device(device)
        self.preferred_rows = preferred_rows or question_rows(self.input_shape, self.device)
        self.meter = QueryMeter(samples)

    def remaining(self) -> Tensor:
        """Return int64 (samples,): queries left for each input; a very large number where there is no limit."""
        limit = self.budget if self.budget is not None else 2**62
        return (limit - self.meter.per_sample).clamp_min(0)

    @torch.no_grad()
    def label(self, x: Tensor, samples: Tensor) -> Tensor:
        """Return int64 (M,) labels of `x` and count one query per row against the input `samples[row]`.

        Args:
            x: float32 (M, *input_shape), finite and within the bounds (a rounding slack of 1e-5 of the range).
            samples: int64 (M,) on the CPU: for which input under attack each row is asked.

        Raises:
            BudgetError: some input has fewer queries left than rows here; nothing is labelled or counted.
            InputError: shapes or positions do not fit, or a value is NaN, infinite or outside the bounds: the answer
                to such an input would count as an adversarial; nothing is labelled or counted.
            OracleError: the model raised, or answered with something that is not one label per row.
        """
        if tuple(x.shape[1:]) != self.input_shape or samples.shape != (x.shape[0],):
            raise InputError(
                f"an oracle takes inputs of shape (M, {', '.join(map(str, self.input_shape))}) and M sample positions; "
                f"got {tuple(x.shape)} and {tuple(samples.shape)}"
            )
        if samples.dtype != torch.int64:
            raise InputError(f"sample positions must be int64; got {samples.dtype}")
        if x.shape[0] == 0:
            return torch.empty(0, dtype=torch.int64, device=x.device)
        first, last = (int(value) for value in torch.aminmax(samples))
        if first < 0 or last >= self.meter.per_sample.shape[0]:
            raise InputError(
                f"sample positions must be from 0 to {self.meter.per_sample.shape[0] - 1}; got {first} to {last}"
            )
        x = check_inputs(x, self.input_spec, what="the inputs that an oracle labels")
        if self.budget is not None:
            asked = torch.bincount(samples, minlength=self.meter.per_sample.shape[0])
            if bool((asked > self.remaining()).any()):
                worst = int((asked - self.remaining()).argmax())
                raise BudgetError(
                    f"input {worst} has {int(self.remaining()[worst])} of {self.budget} queries left; "
                    f"{int(asked[worst])} were asked for; nothing was labelled"
                )
        try:
            labels = self._predict(x)
        except Exception as error:
            raise OracleError(f"the model behind the oracle failed on {x.shape[0]} inputs: {error}") from error
        if not isinstance(labels, Tensor) or labels.shape != (x.shape[0],) or labels.dtype != torch.int64:
            got = (
                f"{labels.dtype} {tuple(labels.shape)}" if isinstance(labels, Tensor) else f"a {type(labels).__name__}"
            )
            raise OracleError(
                f"the model behind the oracle must return int64 labels of shape ({x.shape[0]},); got {got}"
            )
        first, last = (int(value) for value in torch.aminmax(labels))
        if first < 0 or last >= self.num_classes:
            raise OracleError(
                f"the model behind the oracle must return labels from 0 to {self.num_classes - 1}; "
                f"got {first} to {last}"
            )
        self.meter.add(samples)
        return labels


class Criterion(Protocol):
    """Decides per row; `rows` are positions of the inputs under attack."""

    def is_adversarial(self, predicted: Tensor, rows: Tensor) -> Tensor:
        """Return bool (M,) for int64 labels (M,) given to inputs `rows` (M,)."""
        ...

    @property
    def targeted(self) -> bool:
        """Whether one certain wrong label is wanted."""
        ...


@final
@dataclass(frozen=True, slots=True, eq=False)
class Misclassified:
    """Untargeted: any label but the correct one (int64 (N,))."""

    labels: Tensor

    @property
    def targeted(self) -> bool:
        """Always False."""
        return False

    def is_adversarial(self, predicted: Tensor, rows: Tensor) -> Tensor:
        """Return where the label differs from the correct one."""
        return predicted != self.labels[rows]


@final
@dataclass(frozen=True, slots=True, eq=False)
class MisclassifiedAs:
    """Targeted: exactly the target label (int64 (N,))."""

    targets: Tensor

    @property
    def targeted(self) -> bool:
        """Always True."""
        return True

    def is_adversarial(self, predicted: Tensor, rows: Tensor) -> Tensor:
        """Return where the label is the target."""
        return predicted == self.targets[rows]
