import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from variegate.errors import ConfigurationError
from variegate.keys import CopyKey, Purpose, distinct_below, signs
from variegate.projections import SparseSigns, matrices

KEY = CopyKey.from_bytes(bytes(range(32)))


@given(dim=st.integers(2, 100), zero_mean=st.booleans(), data=st.data())
def test_rows_have_that_many_places_of_one_size(dim, zero_mean, data):
    places = data.draw(st.integers(1, dim // 2)) * 2 if zero_mean else data.draw(st.integers(1, dim))
    matrix = SparseSigns(KEY, rows=5, dim=dim, zero_mean=zero_mean, places=places).matrix()
    assert (matrix != 0).sum(dim=1).tolist() == [places] * 5
    assert set(matrix.abs().unique().tolist()) <= {0.0, float(np.float32(places**-0.5))}
    if zero_mean:
        assert (matrix > 0).sum(dim=1).tolist() == [places // 2] * 5


def test_a_row_is_what_its_streams_say():
    centred = SparseSigns(KEY, rows=3, dim=50, places=8).matrix()
    free = SparseSigns(KEY, rows=3, dim=50, places=7, zero_mean=False).matrix()
    for row in range(3):
        at = distinct_below(KEY, Purpose.SPARSE, row, 0, 50, 8)
        assert centred[row, at].sign().tolist() == [1.0] * 4 + [-1.0] * 4
        assert free[row, at[:7]].sign().tolist() == signs(KEY, Purpose.SPARSE, row, 1, 7).tolist()


def test_the_default_is_64_places_or_what_there_is():
    for dim, zero_mean, places in [(3072, True, 64), (64, False, 64), (63, False, 63), (63, True, 62), (2, True, 2)]:
        matrix = SparseSigns(KEY, rows=1, dim=dim, zero_mean=zero_mean).matrix()
        assert int((matrix != 0).sum()) == places


@pytest.mark.parametrize(
    ("places", "zero_mean", "message"),
    [
        (3, True, r"places must be even and in 1\.\.10; got 3"),
        (12, True, r"places must be even and in 1\.\.10; got 12"),
        (0, False, r"places must be in 1\.\.10; got 0"),
        (11, False, r"places must be in 1\.\.10; got 11"),
    ],
)
def test_bad_places_are_refused(places, zero_mean, message):
    with pytest.raises(ConfigurationError, match=message):
        SparseSigns(KEY, rows=1, dim=10, places=places, zero_mean=zero_mean)


@pytest.mark.parametrize("gather", [1, 10, 25, 1000])
def test_how_many_places_are_gathered_at_once_does_not_matter(monkeypatch, gather):
    projection = SparseSigns(KEY, rows=5, dim=100)
    x = torch.rand(3, 100, generator=torch.Generator().manual_seed(0))
    expected = x @ projection.matrix().T
    monkeypatch.setattr(matrices, "_GATHER", gather)
    torch.testing.assert_close(projection(x), expected, rtol=0, atol=1e-5)
    assert projection(x[:0]).shape == (0, 5)


def test_costs_are_as_documented():
    assert SparseSigns(KEY, rows=160, dim=3072).nbytes == 160 * 64 * 8
