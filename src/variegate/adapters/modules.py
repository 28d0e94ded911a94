"""Modules that stand between a library and a model."""

from typing import final

import torch
from torch import Tensor, nn

from variegate.attacks.white_box.gradients import Differentiable
from variegate.types import Bounds


@final
class ToFloat32(nn.Module):
    """ART 1.20 on NumPy 2 sends float64, which a float32 module refuses; this casts first."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, *input_shape) to what the module gives for float32."""
        result: Tensor = self.module(x.float())
        return result


@final
class Scores(nn.Module):
    """The L1-normalised scores of a classifier or a copy, with gradients with respect to the input.

    The target is not a submodule: a library that calls `train()`, moves or changes parameters does not reach it.
    """

    def __init__(self, target: Differentiable) -> None:
        super().__init__()
        self._target = [target]
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, *input_shape) of any float dtype to float32 (N, n)."""
        target = self._target[0]
        return target.differentiable_scores(x.to(target.device, torch.float32))


@final
class UnitInterval(nn.Module):
    """Maps inputs in [0, 1] to the bounds before it asks, because Foolbox's HopSkipJump clips to [0, 1] literally."""

    def __init__(self, module: nn.Module, bounds: Bounds) -> None:
        super().__init__()
        self._module = [module]
        self.bounds = bounds
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, *input_shape) in [0, 1] to what the module gives for the same inputs within the bounds."""
        result: Tensor = self._module[0](self.from_unit(x))
        return result

    def from_unit(self, x: Tensor) -> Tensor:
        """Return inputs in [0, 1] as inputs within the bounds."""
        if self.bounds == Bounds():
            return x
        return (self.bounds.lower + self.bounds.range * x).clamp(self.bounds.lower, self.bounds.upper)

    def to_unit(self, x: Tensor) -> Tensor:
        """Return inputs within the bounds as inputs in [0, 1]."""
        if self.bounds == Bounds():
            return x
        return ((x - self.bounds.lower) / self.bounds.range).clamp(0.0, 1.0)
