import pytest
import torch

from variegate.training.augment import flip, shift


def pictures() -> torch.Tensor:
    return torch.arange(1.0, 200 * 2 * 5 * 4 + 1).view(200, 2, 5, 4)


def test_flip_mirrors_about_half() -> None:
    x = pictures()
    out = flip(x, torch.Generator().manual_seed(0))
    same = (out == x).flatten(1).all(1)
    turned = (out == x.flip(3)).flatten(1).all(1)
    assert bool((same ^ turned).all())
    assert 60 < int(turned.sum()) < 140


def test_shift_moves_and_fills_with_zeros() -> None:
    x = pictures()
    out = shift(x, torch.Generator().manual_seed(0), pixels=2)
    assert out.shape == x.shape
    offsets = set()
    for before, after in zip(x, out, strict=True):
        padded = torch.nn.functional.pad(before, (2, 2, 2, 2))
        matches = [
            (row, column)
            for row in range(5)
            for column in range(5)
            if torch.equal(after, padded[:, row : row + 5, column : column + 4])
        ]
        assert len(matches) == 1
        offsets.add(matches[0])
    assert offsets == {(row, column) for row in range(5) for column in range(5)}


@pytest.mark.parametrize("augmentation", [flip, shift])
def test_the_generator_decides(augmentation: object) -> None:
    before = torch.get_rng_state()
    outs = [augmentation(pictures(), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]  # type: ignore[operator]
    assert torch.equal(outs[0], outs[1])
    assert not torch.equal(outs[0], outs[2])
    assert torch.equal(torch.get_rng_state(), before)
