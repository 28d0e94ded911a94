"""The Walsh-Hadamard transform: exact on integers (NumPy), and as a few small matrix products (torch)."""

from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

MAX_RADIX_BITS: Final = 6


def hadamard_matrix(bits: int) -> npt.NDArray[np.float32]:
    """The matrix H[i, j] = (-1)^(number of ones in i & j), (2**bits, 2**bits) float32; H H = 2**bits I."""
    size = 1 << bits
    return transform_integers(np.eye(size, dtype=np.int64)).astype(np.float32)


def radix_bits(bits: int) -> tuple[int, ...]:
    """`bits` split into the fewest parts of at most 6, as equal as can be, the larger first; () for 0.

    The Hadamard matrix of size 2**bits is the Kronecker product of those of the parts.
    """
    parts = -(-bits // MAX_RADIX_BITS)
    return tuple((bits + parts - 1 - i) // parts for i in range(parts))


def transform(x: Tensor, factors: list[Tensor]) -> Tensor:
    """Map x (N, P) to x H, (N, P), with H the Kronecker product of `factors` (sizes multiply to P), not normalised.

    Cost: P times the sum of the factors' sizes multiply-adds for each row: 192 P for P = 2**18, as three products of
    size 64. That is more additions than the butterflies' P log2 P, but fewer passes over memory, and faster.
    """
    size = x.shape[1]
    after = size
    for factor in factors:
        radix = factor.shape[0]
        after //= radix
        x = x.reshape(-1, radix) @ factor if after == 1 else torch.matmul(factor, x.reshape(-1, radix, after))
    return x.reshape(-1, size)


def transform_integers(x: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Map x (..., P) int64, P a power of two, to x H, exactly, by butterflies: P log2 P additions for each row."""
    shape = x.shape
    size = shape[-1]
    half = 1
    while half < size:
        pairs = x.reshape(-1, size // (2 * half), 2, half)
        x = np.stack((pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]), axis=2)
        half *= 2
    return x.reshape(shape)
