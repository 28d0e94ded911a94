"""Sums over rows are the same in any batch, with any number of threads."""

import pytest
import torch

from variegate.attacks.boundary import _around
from variegate.models.geometry import row_dots


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def normal(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


def test_row_dots():
    x, y = normal(3, 2, 40_000), normal(3, 1, 40_000)
    exact = (x.double() * y.double()).sum(-1)
    assert torch.allclose(row_dots(x, y).double(), exact, atol=1e-2)
    short = slice(0, 16_384)  # one piece: PyTorch's own sum, bit for bit
    assert torch.equal(row_dots(x[..., short], y[..., short]), (x[..., short] * y[..., short]).sum(-1))


@pytest.mark.usefixtures("two_threads")
def test_a_long_row_alone_has_the_sum_that_it_has_in_a_batch():
    x, y = normal(4, 1, 50_000), normal(4, 50_000)[:, None]
    whole = row_dots(x, y)
    for row in range(4):
        assert torch.equal(row_dots(x[row : row + 1], y[row : row + 1])[0], whole[row])


@pytest.mark.usefixtures("two_threads")
def test_steps_along_the_sphere_do_not_depend_on_the_batch():
    clean, points, step = normal(3, 50_000), normal(50_000).expand(3, -1) * 0.5, torch.full((3,), 1000.0)
    size = (points - clean).norm(dim=1)
    noise = normal(3, 1, 50_000)
    whole = _around(noise.clone(), clean, points, size, step, rescale=True)
    for row in range(3):
        one = slice(row, row + 1)
        alone = _around(noise[one].clone(), clean[one], points[one], size[one], step[one], rescale=True)
        assert torch.equal(alone, whole[one])
