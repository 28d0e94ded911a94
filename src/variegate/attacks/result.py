"""What an attack found, input by input."""

from collections import Counter
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from variegate.types import Norm, Status


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trajectory:
    """The attack's progress: after iteration i, input j had asked `queries[i, j]` and stood at `distances[i, j]`.

    Attributes:
        queries: int64 (T, N).
        distances: float32 (T, N), infinite while there is no adversarial.
    """

    queries: Tensor
    distances: Tensor

    def median_at(self, queries: int) -> float:
        """Return the median over inputs of the smallest norm within `queries` queries; infinite where there is none."""
        reached = torch.where(self.queries <= queries, self.distances, torch.full_like(self.distances, float("inf")))
        return float(reached.amin(0).median()) if reached.numel() else float("nan")


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AttackResult:
    """The outcome of `run_attack`.

    Attributes:
        adversarials: float32 (N, *input_shape); where `success` is false, the clean input (mid-range values for one
            that is not finite).
        status: one `Status` an input.
        queries: int64 (N,), queries asked for each input.
        distances: float32 (N,), norms of the perturbations; NaN where `success` is false.
        trajectory: norms against queries.
        norm: how distances are measured.
        iterations: iterations done.
        seconds: wall-clock seconds, those before a resume included.
        error: what ended the run early, if something did.
        overshoot: float32 (N,), how far past the boundary each ended (`variegate.attacks.overshoot`), NaN without
            success; None where nobody has measured it.
        backward_rows: int64 (N,), how often each input was differentiated; None for attacks that see labels alone.
    """

    adversarials: Tensor
    status: tuple[Status, ...]
    queries: Tensor
    distances: Tensor
    trajectory: Trajectory
    norm: Norm
    iterations: int
    seconds: float
    error: str | None = None
    overshoot: Tensor | None = None
    backward_rows: Tensor | None = None

    @property
    def success(self) -> Tensor:
        """Return bool (N,): inputs with an adversarial, also where the run ended before the attack was done."""
        return torch.isfinite(self.distances)

    @property
    def attempted(self) -> Tensor:
        """Return bool (N,): inputs that were attacked: finite, and right when clean."""
        skipped = (Status.ALREADY_MISCLASSIFIED, Status.NON_FINITE)
        return torch.tensor([status not in skipped for status in self.status], dtype=torch.bool)

    @property
    def status_counts(self) -> dict[str, int]:
        """How many inputs ended with each status."""
        return {status.value: count for status, count in Counter(self.status).items()}
