"""Messages of independent random signs, held as a matrix."""

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.nn import functional as F

from variegate.errors import ConfigurationError
from variegate.keys import CopyKey, Purpose, signs
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
