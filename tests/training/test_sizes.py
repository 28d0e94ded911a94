"""Smaller images in the first epochs."""

import pytest
import torch

from variegate.errors import ConfigurationError
from variegate.training.augmentations import parse_size, shrink, side_in_epoch


def test_which_epoch_sees_which_side() -> None:
    sizes = ("16x2", "24x1")
    assert [side_in_epoch(sizes, epoch) for epoch in range(5)] == [16, 16, 24, None, None]
    assert side_in_epoch((), 0) is None


@pytest.mark.parametrize("text", ["", "24", "24x", "x3", "0x3", "24x0", "24 x 3", "-1x2", "24x1.5", "24x3x2", "²4x1"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ConfigurationError, match="sizes are SIDExEPOCHS, such as 24x10 for ten epochs"):
        parse_size(text)


def test_a_flat_image_stays_flat_and_means_are_kept() -> None:
    assert torch.allclose(shrink(torch.full((2, 3, 32, 32), 0.3), 24), torch.full((2, 3, 24, 24), 0.3))
    images = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(shrink(images, 16).mean((1, 2, 3)), images.mean((1, 2, 3)), atol=0.01)


def test_fine_stripes_become_grey_instead_of_other_stripes() -> None:
    stripes = (torch.arange(32) % 2).float().expand(1, 1, 32, 32)
    assert float((shrink(stripes, 12)[..., 2:-2] - 0.5).abs().max()) < 0.2


def test_columns_follow_in_proportion() -> None:
    assert shrink(torch.zeros(1, 2, 30, 45), 20).shape == (1, 2, 20, 30)
    assert shrink(torch.zeros(1, 1, 30, 1), 3).shape == (1, 1, 3, 1)
