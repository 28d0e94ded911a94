"""Muon: convolution kernels move along an orthogonalised momentum, everything else as in SGD.

After Keller Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024), with the settings of the
CIFAR-10 experiments that introduced it: a kernel of n outputs is kept at norm sqrt(n), which the normalisation behind
it makes meaningless, and moves by a matrix whose singular values are all close to 1. Differences: written anew from the
description; `torch.optim.Muon` (PyTorch 2.9 and later) takes matrices only, so no kernels.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final, final, overload

import torch
from torch import Tensor, nn

_TURN: Final = 0.32  # a kernel's rate over the learning rate
_KERNEL_MOMENTUM: Final = 0.6
_STEPS: Final = 3
_COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)  # of the quintic whose iterates lift small singular values fastest


@final
class Muon(torch.optim.Optimizer):
    """Orthogonalised momentum for parameters of three dimensions or more, Nesterov's SGD for the rest.

    It fits networks that normalise behind each convolution; in others the fixed norm of the kernels changes what the
    network can express.

    Args:
        groups: parameters, or groups of them with their own "weight_decay", which kernels have no use for.
        lr: learning rate of the rest; kernels move at 0.32 times this rate.
        momentum: of the rest; that of kernels is 0.6.
    """

    def __init__(self, groups: Iterable[Any], *, lr: float, momentum: float) -> None:
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": 0.0})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step with the gradients that are there; return what the closure returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            rate, momentum, decay = group["lr"], group["momentum"], group["weight_decay"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if parameter.ndim > 2:
                    self._turn(parameter, rate)
                else:
                    gradient = parameter.grad.add(parameter, alpha=decay)
                    parameter.add_(self._nesterov(parameter, gradient, momentum), alpha=-rate)
        return loss

    def _turn(self, kernel: nn.Parameter, rate: float) -> None:
        """Move a kernel (outputs, inputs, ...)."""
        gradient = kernel.grad if kernel.grad is not None else torch.zeros_like(kernel)
        step = self._nesterov(kernel, gradient, _KERNEL_MOMENTUM)
        outermost = step.movedim(1, -1)  # contiguous where channels lie innermost; the order of columns is free
        turned = orthogonalised(outermost.reshape(len(step), -1)).view(outermost.shape).movedim(-1, 1)
        kernel.mul_(len(kernel) ** 0.5 / kernel.norm().clamp(min=1e-12))
        kernel.add_(turned, alpha=-_TURN * rate)

    def _nesterov(self, parameter: nn.Parameter, gradient: Tensor, momentum: float) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum_buffer"]
        buffer.mul_(momentum).add_(gradient)
        ahead: Tensor = gradient.add(buffer, alpha=momentum)
        return ahead


def orthogonalised(matrix: Tensor) -> Tensor:
    """Return float32 (m, n) with the singular vectors of the matrix and singular values near 1, but for tiny ones.

    Three steps of a Newton-Schulz iteration in bfloat16, as Muon has it: values come out between about 0.3 and 1.2.
    """
    first, third, fifth = _COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.to(torch.bfloat16)
    x = x / (x.norm() + 1e-7)
    x = x.T if tall else x
    for _ in range(_STEPS):
        product = x @ x.T
        x = first * x + (third * product + fifth * (product @ product)) @ x
    found: Tensor = (x.T if tall else x).float()
    return found
