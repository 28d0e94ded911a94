"""When a label counts as adversarial."""

from dataclasses import dataclass
from typing import Protocol, final

from torch import Tensor


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
