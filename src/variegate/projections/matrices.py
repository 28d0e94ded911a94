"""Keyed projections by a matrix: dense, with random signs, and sparse."""

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

_REDRAWS: Final = 4096


class DenseSigns(Projection):
    """Row r is the signs of the key's stream (MESSAGE, class index r, index 0), centred if asked, over its norm.

    With signs s, S = sum(s) and d = dim, the entries are s / sqrt(d), or with `zero_mean`
    (d s - S) / sqrt(d (d^2 - S^2)); so a row has two values at most. A row whose signs are all equal cannot be
    centred and is drawn again with index 1, 2, ... (chance 2^(1-d)).

    Cost: rows * dim multiply-adds for each input, 4 * rows * dim bytes held, about 2 microseconds for each thousand
    entries to build. CIFAR-10 with 16 messages for each of 10 classes: 0.5 million and 2 MB; ImageNet with 16 for
    each of 1000: 2.4 thousand million and 9.6 GB, which is refused: use `RandomizedHadamard`.

    Raises:
        ConfigurationError: if the sizes are invalid (see `Projection`) or there are more than 2**28 elements.
    """

    weight: Tensor

    def __init__(self, key: CopyKey, *, rows: int, dim: int, zero_mean: bool = True) -> None:
        super().__init__(rows=rows, dim=dim, zero_mean=zero_mean)
        self._check_matrix()
        weight = np.empty((rows, dim), dtype=np.float32)
        for row in range(rows):
            weight[row] = _message(key, row, dim, zero_mean=zero_mean)
        self._keep("weight", weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (N, dim) float32 to (N, rows) float32: one matrix product."""
        self._check(x, self.weight.dtype)
        return F.linear(x, self.weight)

    def matrix(self) -> Tensor:
        """The matrix, (rows, dim) float32; the buffer itself, not to be changed."""
        return self.weight


def _message(key: CopyKey, row: int, dim: int, *, zero_mean: bool) -> npt.NDArray[np.float32]:
    for index in range(_REDRAWS):
        drawn = signs(key, Purpose.MESSAGE, row, index, dim)
        total = int(drawn.sum(dtype=np.int64)) if zero_mean else 0
        if abs(total) < dim:
            norm = math.sqrt(dim * (dim * dim - total * total))
            plus, minus = np.float32((dim - total) / norm), np.float32((-dim - total) / norm)
            return np.where(drawn > 0, plus, minus)
    raise ConfigurationError(f"no row of {dim} signs with both signs in {_REDRAWS} draws; the key must be broken")


DEFAULT_PLACES: Final = 64

_GATHER: Final = 1 << 16


class SparseSigns(Projection):
    """Row r is +-1 / sqrt(places) at `places` different places, 0 elsewhere.

    The places come from the key's stream (SPARSE, class index r, index 0), in random order. With `zero_mean` the first
    half of them is positive and the second negative (`places` is even), so that a row sums to 0 and stays sparse;
    else the signs come from (SPARSE, r, 1).

    A change of few inputs can leave a sparse message untouched or move it far, so its y is less even over inputs than
    a dense message's: prefer the other kinds unless cost decides.

    Cost: rows * places multiply-adds for each input, 8 * rows * places bytes held, work memory of about
    max(2**16, rows) * 4 bytes for each input. CIFAR-10 with 160 rows: 10 thousand and 82 KB; ImageNet with 16,000
    rows: 1 million and 8 MB. About 1 microsecond for each place to build.

    Args:
        key: the copy's key.
        rows: number of messages.
        dim: length of a flattened input.
        zero_mean: make rows sum to 0.
        places: places of a row, at most `dim`; None for 64 or, if less, all (made even with `zero_mean`).

    Raises:
        ConfigurationError: if the sizes are invalid (see `Projection`), or `places` is not in 1..dim or is odd with
            `zero_mean`.
    """

    places: Tensor
    weight: Tensor

    def __init__(self, key: CopyKey, *, rows: int, dim: int, zero_mean: bool = True, places: int | None = None) -> None:
        super().__init__(rows=rows, dim=dim, zero_mean=zero_mean)
        step = 2 if zero_mean else 1
        count = min(DEFAULT_PLACES, dim - dim % step) if places is None else places
        if not 1 <= count <= dim or count % step:
            raise ConfigurationError(
                f"a sparse projection's places must be {'even and ' if zero_mean else ''}in 1..{dim}; got {count}"
            )
        chosen = np.empty((rows, count), dtype=np.int32)
        values = np.ones((rows, count), dtype=np.int8)
        values[:, count // 2 :] = -1
        for row in range(rows):
            chosen[row] = distinct_below(key, Purpose.SPARSE, row, 0, dim, count)
            if not zero_mean:
                values[row] = signs(key, Purpose.SPARSE, row, 1, count)
        self._keep("places", chosen.T)
        self._keep("weight", values.T.astype(np.float32) * np.float32(1.0 / math.sqrt(count)))

    def forward(self, x: Tensor) -> Tensor:
        """Map x (N, dim) float32 to (N, rows) float32: gathers of a few places of all rows at a time, summed."""
        self._check(x, self.weight.dtype)
        step = max(1, _GATHER // self.rows)
        y = x.new_zeros(1)
        for places, weight in zip(torch.split(self.places, step), torch.split(self.weight, step), strict=True):
            gathered = x.index_select(1, places.reshape(-1)).reshape(-1, *places.shape)
            y = y + (gathered * weight).sum(dim=1)
        return y

    def matrix(self) -> Tensor:
        """The matrix, (rows, dim) float32."""
        self._check_matrix()
        return self.weight.new_zeros(self.rows, self.dim).scatter_(1, self.places.long().T, self.weight.T)
