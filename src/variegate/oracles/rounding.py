"""Questions on a grid of values: an attacker who sends image files can ask nothing finer than 8 bits."""

from typing import final

import torch
from torch import Tensor

from variegate.models.classifier import check_inputs
from variegate.oracles.hard_label import Oracle
from variegate.types import TakesInputs, require_at_least


@final
class Rounded(TakesInputs):
    """Answers with the label of the question rounded to lower + range * k / (levels - 1).

    An attack goes on in real numbers. What it returns was asked and seen adversarial, and what the model saw then is
    its rounded form: `Rounded.round(result.adversarials)` is the adversarial to hand on, and its distance the honest
    one. A rounded question costs one query of the oracle inside.

    Attributes:
        bounds, budget, device, input_shape, input_spec, meter, num_classes, preferred_rows: those of the oracle inside.
        queries_per_answer: of the model, for one answer.
        description: the grid as text.

    Args:
        oracle: who is asked.
        levels: values between the bounds, both of them included; 256 is 8 bits.

    Raises:
        ConfigurationError: fewer than two levels.
    """

    def __init__(self, oracle: Oracle, *, levels: int = 256) -> None:
        require_at_least("levels", levels, 2)
        self._oracle, self._levels = oracle, levels
        self.queries_per_answer: int = int(getattr(oracle, "queries_per_answer", 1))
        self.input_spec, self.budget, self.device = oracle.input_spec, oracle.budget, oracle.device
        self.num_classes, self.meter = oracle.num_classes, oracle.meter
        self.preferred_rows = oracle.preferred_rows
        inside = getattr(oracle, "description", "")
        self.description = f"rounded to {levels} levels{inside and f', {inside}'}"

    def remaining(self) -> Tensor:
        """Return int64 (samples,): answers that each input can still have."""
        return self._oracle.remaining()

    def round(self, x: Tensor) -> Tensor:
        """Return float32 of the same shape: the nearest values of the grid; halfway to the even one; NaN stays."""
        steps = self._levels - 1
        place = ((x.float() - self.bounds.lower) / self.bounds.range * steps).round().clamp(0, steps)
        return (place / steps * self.bounds.range + self.bounds.lower).clamp(self.bounds.lower, self.bounds.upper)

    @torch.no_grad()
    def label(self, x: Tensor, samples: Tensor) -> Tensor:
        """Return int64 (M,): the label of each row's rounded form.

        Args:
            x: float32 (M, *input_shape), finite and within the bounds.
            samples: int64 (M,) on the CPU: for which input under attack each row is asked.

        Raises:
            BudgetError, InputError, OracleError: as the oracle inside; nothing is labelled or counted then.
        """
        x = check_inputs(x, self.input_spec, what="the inputs that an oracle labels")
        return self._oracle.label(self.round(x), samples)
