"""Messages with a few places each."""

import math
from typing import Final

import numpy as np
import torch
from torch import Tensor

from variegate.errors import ConfigurationError
from variegate.keys import CopyKey, Purpose, distinct_below, signs
from variegate.projections.base import Projection

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
