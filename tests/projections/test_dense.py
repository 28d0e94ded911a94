import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from variegate.errors import ConfigurationError
from variegate.keys import CopyKey, Purpose, signs
from variegate.projections import DenseSigns

KEY = CopyKey.from_bytes(bytes(range(32)))


def test_a_row_is_the_signs_of_its_stream():
    matrix = DenseSigns(KEY, rows=5, dim=100, zero_mean=False).matrix()
    for row in range(5):
        expected = signs(KEY, Purpose.MESSAGE, row, 0, 100).astype(np.float64) / 10
        assert np.array_equal(matrix[row].numpy(), expected.astype(np.float32))


@given(dim=st.integers(2, 500), seed=st.binary(min_size=32, max_size=32))
def test_a_centred_row_is_its_signs_less_their_mean_over_the_norm(dim, seed):
    key = CopyKey.from_bytes(seed)
    row = DenseSigns(key, rows=1, dim=dim).matrix()[0]
    index = 0
    while abs(int(signs(key, Purpose.MESSAGE, 0, index, dim).sum(dtype=np.int64))) == dim:
        index += 1  # a row of equal signs is drawn again
    drawn = signs(key, Purpose.MESSAGE, 0, index, dim).astype(np.float64)
    centred = drawn - drawn.mean()
    np.testing.assert_allclose(row.numpy(), centred / np.linalg.norm(centred), rtol=1e-6, atol=0)
    assert len(set(row.tolist())) == 2


@pytest.mark.parametrize("dim", [2, 3])
def test_rows_of_equal_signs_are_drawn_again(dim):
    # Half (or a quarter) of the first draws have equal signs and cannot be centred.
    matrix = DenseSigns(KEY, rows=64, dim=dim).matrix()
    assert torch.isfinite(matrix).all()
    assert (matrix.norm(dim=1) - 1).abs().max() < 1e-6
    if dim == 2:
        assert matrix.abs().allclose(torch.tensor(math.sqrt(0.5)))
        assert set(matrix[:, 0].sign().tolist()) == {-1.0, 1.0}


def test_cifar_takes_two_megabytes():
    assert DenseSigns(KEY, rows=160, dim=3072).nbytes == 160 * 3072 * 4


def test_a_matrix_of_gigabytes_is_refused():
    with pytest.raises(ConfigurationError, match="at most 268435456 elements; .* 16000 rows of 150528: .* 'hadamard'"):
        DenseSigns(KEY, rows=16_000, dim=150_528)
