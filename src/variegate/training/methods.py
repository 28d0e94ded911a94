"""Ways of training several networks that should not share adversarials: a catalog with one entry a file could hold.

`independent` is the paper's (section 5.1): every network minimises the same loss, and only the seed differs.
"""

from typing import Protocol, final

from torch import Tensor, nn

from variegate.errors import ConfigurationError
from variegate.training.loop import Loss


class TrainingMethod(Protocol):
    """What a method decides: the loss of each network."""

    def loss(self, *, label_smoothing: float) -> Loss:
        """Return what a network minimises.

        Args:
            label_smoothing: the share of the target that is spread over all classes, from 0 to below 1.
        """


@final
class Independent:
    """Each network for itself: cross-entropy."""

    def loss(self, *, label_smoothing: float) -> Loss:
        """Return the mean cross-entropy, computed in float32 whatever the forward pass computes in."""

        def smoothed(module: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
            return nn.functional.cross_entropy(module(images).float(), labels, label_smoothing=label_smoothing)

        return smoothed


METHODS: dict[str, TrainingMethod] = {"independent": Independent()}
"""Name -> method."""


def find_method(name: str) -> TrainingMethod:
    """Return the method of that name.

    Raises:
        ConfigurationError: if there is none.
    """
    if name not in METHODS:
        raise ConfigurationError(f"there is no training method {name!r}; choose from {', '.join(METHODS)}")
    return METHODS[name]
