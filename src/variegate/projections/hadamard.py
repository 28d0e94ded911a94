"""Messages that are rows of a randomized Hadamard transform: no matrix is held.

The Walsh-Hadamard transform is exact on integers (NumPy), and a few small matrix products in torch.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from variegate.errors import ConfigurationError
from variegate.keys import CopyKey, Purpose, distinct_below, signs
from variegate.projections.base import Projection

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


_Integers = npt.NDArray[np.int64]

_REDRAWS: Final = 64


class RandomizedHadamard(Projection):
    """y = S H D2 H D1 x: x is padded with zeros to P, a power of two; D1, D2 are random signs, S picks and scales rows.

    Before scaling, entry j of row r is D1[j] W[j xor r] with W = H D2, an integer vector; so the norm and the sum of a
    row over its first dim entries are integers, which are computed exactly, and a row is scaled to norm 1 after
    (with `zero_mean`) x is centred. Without `zero_mean` and with dim = P the rows are exactly orthogonal; else two
    rows have a cosine of about 1 / sqrt(dim), as independent messages do. Entries look Gaussian.

    Streams of the key: D1 is (HADAMARD_SIGNS, class index 0), D2 (HADAMARD_SIGNS, 1), the rows are different integers
    below P from (HADAMARD_ROWS, 0), all with index 0. If a row cannot be scaled (it is 0, or constant; seen only with
    dim of a few units), all three are drawn again with index 1, 2, ...

    Cost with t = 64 ceil(log2(P) / 6) or less: 2 t P multiply-adds for each input, whatever the number of rows;
    4 (P + dim) + 12 rows bytes held and at most 20 KB of factors; about 8 P bytes of work memory for each input.
    CIFAR-10 (P = 4096): 1 million and 47 KB. ImageNet, 16,000 rows of 150,528 (P = 262,144): 101 million and 1.9 MB; a
    dense matrix takes 2.4 thousand million and 9.6 GB.

    Raises:
        ConfigurationError: if the sizes are invalid (see `Projection`), or there are more rows than P or than can be
            scaled.
    """

    input_signs: Tensor
    middle_signs: Tensor
    chosen: Tensor
    scale: Tensor

    def __init__(self, key: CopyKey, *, rows: int, dim: int, zero_mean: bool = True) -> None:
        super().__init__(rows=rows, dim=dim, zero_mean=zero_mean)
        bits = (dim - 1).bit_length()
        self.padded = 1 << bits
        if rows > self.padded:
            raise ConfigurationError(
                f"a Hadamard projection of inputs of {dim} numbers has at most {self.padded} rows; got {rows}: use "
                "fewer messages for each class, or the kind 'dense'"
            )
        first, second, chosen, scale = _draw(key, rows, dim, self.padded, zero_mean=zero_mean)
        self._keep("input_signs", first.astype(np.float32))
        self._keep("middle_signs", second.astype(np.float32))
        self._keep("chosen", chosen)
        self._keep("scale", scale)
        self._radices = radix_bits(bits)
        for part in sorted(set(self._radices)):
            self._keep(f"factor{part}", hadamard_matrix(part))

    def forward(self, x: Tensor) -> Tensor:
        """Map x (N, dim) float32 to (N, rows) float32: two fast transforms."""
        self._check(x, self.scale.dtype)
        if self.zero_mean:
            x = x - x.mean(dim=1, keepdim=True)
        factors = [self.get_buffer(f"factor{part}") for part in self._radices]
        x = F.pad(x * self.input_signs, (0, self.padded - self.dim))
        x = transform(transform(x, factors) * self.middle_signs, factors)
        return x.index_select(1, self.chosen) * self.scale

    def matrix(self) -> Tensor:
        """The matrix, (rows, dim) float32, from the formula of its entries and not from `forward`."""
        self._check_matrix()
        first = self.input_signs.cpu().numpy().astype(np.int64)
        spectrum = transform_integers(self.middle_signs.cpu().numpy().astype(np.int64))
        places = np.arange(self.dim)
        scale = self.scale.cpu().numpy().astype(np.float64)
        matrix = np.empty((self.rows, self.dim), dtype=np.float32)
        for i, row in enumerate(self.chosen.tolist()):
            entries = first * spectrum[places ^ row]
            centre = entries.sum() / self.dim if self.zero_mean else 0.0
            matrix[i] = (entries - centre) * scale[i]
        return torch.from_numpy(matrix).to(self.scale)


def _draw(
    key: CopyKey, rows: int, dim: int, padded: int, *, zero_mean: bool
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int8], _Integers, npt.NDArray[np.float32]]:
    for index in range(_REDRAWS):
        first = signs(key, Purpose.HADAMARD_SIGNS, 0, index, dim)
        second = signs(key, Purpose.HADAMARD_SIGNS, 1, index, padded)
        chosen = distinct_below(key, Purpose.HADAMARD_ROWS, 0, index, padded, rows)
        squares = _squared_norms(second, chosen, dim).tolist()
        sums = _sums(first, second)[chosen].tolist() if zero_mean else [0] * rows
        # dim times the squared norm after centring, as exact (unbounded) integers
        norms = [dim * square - total * total for square, total in zip(squares, sums, strict=True)]
        if min(norms) > 0:
            scale = np.array([math.sqrt(dim / norm) for norm in norms], dtype=np.float64)
            return first, second, chosen, scale.astype(np.float32)
    raise ConfigurationError(
        f"a Hadamard projection of inputs of {dim} numbers has no {rows} usable rows; use fewer, or the kind 'dense'"
    )


def _squared_norms(second: npt.NDArray[np.int8], chosen: _Integers, dim: int) -> _Integers:
    """Sum of W[j xor r]^2 over j < dim for each chosen r, W = H D2.

    0..dim-1 is cut into one aligned block for each 1 bit of dim; xor with r maps an aligned block onto another, whose
    sum is a difference of running sums. At most P^2, so exact in int64 for P up to 2^31.
    """
    spectrum = transform_integers(second.astype(np.int64))
    running = np.concatenate(([0], np.cumsum(spectrum * spectrum)))
    found = np.zeros_like(chosen)
    start = 0
    for bit in reversed(range(dim.bit_length())):
        if dim >> bit & 1:
            block = ((start ^ chosen) >> bit) << bit
            found += running[block + (1 << bit)] - running[block]
            start += 1 << bit
    return found


def _sums(first: npt.NDArray[np.int8], second: npt.NDArray[np.int8]) -> _Integers:
    """Sum of D1[j] W[j xor r] over j < dim for every r < P: the transform S = I of a constant image."""
    constant = np.zeros(len(second), dtype=np.int64)
    constant[: len(first)] = first
    return transform_integers(transform_integers(constant) * second)
