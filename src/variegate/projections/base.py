"""What every keyed projection is."""

from abc import abstractmethod
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from variegate.errors import ConfigurationError, InputError

MAX_MATRIX_ELEMENTS: Final = 1 << 28


class Projection(nn.Module):
    """A linear map y = M x whose matrix M is drawn from a copy's key; abstract.

    The rows of M, the messages, have Euclidean norm 1 and, with `zero_mean`, sum to 0, so that a change of
    brightness moves no y (science: a message with a mean makes y follow the image's mean). What is drawn is computed
    from integers; a scale is computed in float64 and rounded once to float32.

    All tensors are buffers that are not saved (the key makes them again), so that `.to(device)` moves them. The
    forward pass uses reshape, matmul, mul, add, pad and indexing only, and so exports to ONNX. Run it in float32:
    under autocast or TF32 the products are rounded to 8 to 11 bits, which moves y by more than a small step.

    Attributes:
        rows: number of messages.
        dim: length of a flattened input.
        zero_mean: whether the rows sum to 0.

    Raises:
        ConfigurationError: if `rows` or `dim` is below 1, or `dim` is 1 with `zero_mean`.
    """

    def __init__(self, *, rows: int, dim: int, zero_mean: bool) -> None:
        super().__init__()
        for name, value in (("rows", rows), ("dim", dim)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigurationError(f"a projection's {name} must be a whole number from 1 up; got {value!r}")
        if zero_mean and dim < 2:
            raise ConfigurationError(f"rows that sum to 0 need a dim of 2 or more; got {dim}: set zero_mean to False")
        self.rows = rows
        self.dim = dim
        self.zero_mean = zero_mean

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Map x (N, dim) float32 to M x, (N, rows) float32; N may be 0. Differentiable in x.

        Raises:
            InputError: if x has another shape or dtype.
        """

    @abstractmethod
    def matrix(self) -> Tensor:
        """M itself, (rows, dim) float32, for tests and small cases.

        Raises:
            ConfigurationError: if it has more than 2**28 elements.
        """

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the buffers take."""
        return sum(buffer.numel() * buffer.element_size() for buffer in self.buffers())

    def extra_repr(self) -> str:
        """What `print` shows; nothing of the key."""
        return f"rows={self.rows}, dim={self.dim}, zero_mean={self.zero_mean}"

    def _keep(self, name: str, values: npt.NDArray[np.generic]) -> None:
        self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(values)), persistent=False)

    def _check(self, x: Tensor, dtype: torch.dtype) -> None:
        if x.ndim != 2 or x.shape[1] != self.dim or x.dtype != dtype:
            raise InputError(
                f"a projection's input must have shape (N, {self.dim}) and dtype {dtype}; "
                f"got shape {tuple(x.shape)} and dtype {x.dtype}"
            )

    def _check_matrix(self) -> None:
        if self.rows * self.dim > MAX_MATRIX_ELEMENTS:
            raise ConfigurationError(
                f"a projection's matrix may have at most {MAX_MATRIX_ELEMENTS} elements; this one has {self.rows} rows "
                f"of {self.dim}: use forward, or the kind 'hadamard'"
            )
