import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from variegate.errors import ConfigurationError
from variegate.keys import CopyKey, Purpose, distinct_below, signs
from variegate.projections import RandomizedHadamard
from variegate.projections.hadamard import hadamard_matrix, radix_bits, transform, transform_integers

KEY = CopyKey.from_bytes(bytes(range(32)))


def slow_hadamard(bits):
    size = 1 << bits
    return np.array([[(-1) ** (i & j).bit_count() for j in range(size)] for i in range(size)])


def slow_rows(key, rows, dim, *, zero_mean):
    """S H D2 H D1 as matrices, in float64, with index 0."""
    bits = (dim - 1).bit_length()
    size = 1 << bits
    hadamard = slow_hadamard(bits) / np.sqrt(size)
    first = np.ones(size)
    first[:dim] = signs(key, Purpose.HADAMARD_SIGNS, 0, 0, dim)
    second = signs(key, Purpose.HADAMARD_SIGNS, 1, 0, size)
    matrix = hadamard @ np.diag(second) @ hadamard @ np.diag(first)
    chosen = matrix[distinct_below(key, Purpose.HADAMARD_ROWS, 0, 0, size, rows)][:, :dim]
    if zero_mean:
        chosen = chosen - chosen.mean(axis=1, keepdims=True)
    return chosen / np.linalg.norm(chosen, axis=1, keepdims=True)


@pytest.mark.parametrize("bits", range(8))
def test_the_transforms_are_products_with_the_hadamard_matrix(bits):
    slow = slow_hadamard(bits)
    assert np.array_equal(hadamard_matrix(bits), slow)
    x = np.random.default_rng(0).integers(-1000, 1000, (3, 1 << bits))
    assert np.array_equal(transform_integers(x), x @ slow)
    factors = [torch.from_numpy(hadamard_matrix(part)) for part in radix_bits(bits)]
    assert np.array_equal(transform(torch.from_numpy(x).float(), factors).numpy(), x @ slow)


def test_the_integer_transform_leaves_its_argument():
    x = np.arange(8)
    transform_integers(x)
    assert x.tolist() == list(range(8))


@given(bits=st.integers(0, 40))
def test_radices_are_few_even_and_at_most_64(bits):
    parts = radix_bits(bits)
    assert sum(parts) == bits
    assert len(parts) == -(-bits // 6)
    assert all(1 <= part <= 6 for part in parts)
    assert not parts or max(parts) - min(parts) <= 1


@pytest.mark.parametrize("dim", [9, 16, 48, 100, 128])
@pytest.mark.parametrize("zero_mean", [True, False])
def test_equals_the_slow_reference(dim, zero_mean):
    rows = dim // 2
    projection = RandomizedHadamard(KEY, rows=rows, dim=dim, zero_mean=zero_mean)
    slow = slow_rows(KEY, rows, dim, zero_mean=zero_mean)
    np.testing.assert_allclose(projection.matrix().numpy(), slow, rtol=0, atol=1e-6)
    x = np.random.default_rng(0).random((4, dim))
    y = projection(torch.from_numpy(x).float()).numpy()
    np.testing.assert_allclose(y, x @ slow.T, rtol=0, atol=1e-5)


@given(bits=st.integers(0, 8), seed=st.binary(min_size=32, max_size=32))
def test_all_rows_are_orthogonal_where_nothing_is_padded(bits, seed):
    dim = 1 << bits
    projection = RandomizedHadamard(CopyKey.from_bytes(seed), rows=dim, dim=dim, zero_mean=False)
    matrix = projection.matrix().double()
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(dim, dtype=torch.float64), rtol=0, atol=1e-6)
    # and so the transform keeps norms
    x = torch.rand(2, dim, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(projection(x).norm(dim=1), x.norm(dim=1), rtol=1e-5, atol=0)


@given(dim=st.integers(1, 12), seed=st.binary(min_size=32, max_size=32), zero_mean=st.booleans())
def test_tiny_inputs_have_usable_rows(dim, seed, zero_mean):
    dim += zero_mean
    projection = RandomizedHadamard(CopyKey.from_bytes(seed), rows=dim, dim=dim, zero_mean=zero_mean)
    assert (projection.matrix().norm(dim=1) - 1).abs().max() < 1e-6


def test_an_unusable_draw_is_drawn_again():
    # Rows over 3 of 4 places are 0 when W has its only entry at the fourth: half of the draws are such.
    found = set()
    for i in range(32):
        key = KEY.subkey(str(i))
        second = signs(key, Purpose.HADAMARD_SIGNS, 1, 0, 4)
        projection = RandomizedHadamard(key, rows=4, dim=3, zero_mean=False)
        unusable = np.count_nonzero(slow_hadamard(2) @ second) == 1
        assert not unusable or not np.array_equal(projection.middle_signs.numpy(), second)
        found.add(unusable)
        assert (projection.matrix().norm(dim=1) - 1).abs().max() < 1e-6
    assert found == {True, False}


def test_more_rows_than_there_are_is_refused():
    with pytest.raises(ConfigurationError, match="inputs of 3072 numbers has at most 4096 rows; got 4097: use fewer"):
        RandomizedHadamard(KEY, rows=4097, dim=3072)
    with pytest.raises(ConfigurationError, match="inputs of 3 numbers has no 4 usable rows; use fewer"):
        RandomizedHadamard(KEY, rows=4, dim=3)


def test_imagenet_takes_two_megabytes():
    rows, dim = 1000 * 16, 3 * 224 * 224
    projection = RandomizedHadamard(KEY, rows=rows, dim=dim)
    assert projection.nbytes < 2_000_000
    x = torch.rand(1, dim, generator=torch.Generator().manual_seed(0))
    y = projection(x)
    assert y.shape == (1, rows)
    # Messages of norm 1 see a random image's standard deviation.
    assert 0.95 < float(y.std() / x.std()) < 1.05
    # Some rows, from the formula of their entries.
    chosen = projection.chosen[:3].tolist()
    first = projection.input_signs.numpy().astype(np.int64)
    spectrum = transform_integers(projection.middle_signs.numpy().astype(np.int64))
    for i, row in enumerate(chosen):
        entries = (first * spectrum[np.arange(dim) ^ row]).astype(np.float64)
        entries -= entries.mean()
        entries /= np.linalg.norm(entries)
        assert abs(entries @ x[0].double().numpy() - float(y[0, i])) < 1e-4
