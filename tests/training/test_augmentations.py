import math

import pytest
import torch
from torch import Tensor, nn

from variegate.errors import ConfigurationError
from variegate.training.augmentations import (
    AUGMENTATIONS,
    crop,
    cutout,
    flip,
    parse_augmentation,
    resized_crop,
    shift,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures() -> Tensor:
    return torch.arange(1.0, 200 * 2 * 5 * 4 + 1).view(200, 2, 5, 4)


def noise(count: int = 40, side: int = 16) -> Tensor:
    return torch.rand(count, 3, side, side, generator=seeded(9))


def test_flip_mirrors_about_half() -> None:
    x = pictures()
    out = flip(x, seeded())
    same = (out == x).flatten(1).all(1)
    turned = (out == x.flip(3)).flatten(1).all(1)
    assert bool((same ^ turned).all())
    assert 60 < int(turned.sum()) < 140


@pytest.mark.parametrize(("augmentation", "mode"), [(shift, "constant"), (crop, "reflect")])
def test_windows_of_the_padded_image(augmentation: object, mode: str) -> None:
    """Every place occurs, for each image exactly one fits, and what comes in is zero or the mirrored border."""
    x = pictures()
    out = augmentation(x, seeded(), pixels=2)  # type: ignore[operator]
    assert out.shape == x.shape
    offsets = set()
    for before, after in zip(x, out, strict=True):
        padded = nn.functional.pad(before, (2, 2, 2, 2), mode=mode)
        matches = [
            (row, column)
            for row in range(5)
            for column in range(5)
            if torch.equal(after, padded[:, row : row + 5, column : column + 4])
        ]
        assert len(matches) == 1
        offsets.add(matches[0])
    assert offsets == {(row, column) for row in range(5) for column in range(5)}


def test_crop_of_too_small_an_image_is_said() -> None:
    with pytest.raises(ConfigurationError, match=r"crop:4 needs images of more than 4 pixels a side; got \(5, 4\)"):
        crop(pictures(), seeded())


def test_cutout_hides_one_grey_square_that_may_stick_out() -> None:
    x = noise(300)
    changed = (cutout(x, seeded(), side=6) != x).any(1)
    assert torch.equal(cutout(x, seeded(), side=6)[changed[:, None].expand_as(x)].unique(), torch.tensor([0.5]))
    rows, columns = changed.any(2).sum(1), changed.any(1).sum(1)
    assert torch.equal(changed.sum((1, 2)), rows * columns)
    assert int(rows.min()) >= 3
    assert int(rows.max()) == int(columns.max()) == 6
    middle = ((rows == 6) & (columns == 6)).float().mean()
    assert 0.25 < float(middle) < 0.7
    assert bool(changed[:, 0].any() and changed[:, -1].any() and changed[:, :, 0].any() and changed[:, :, -1].any())


def test_resized_crop_of_the_whole_image_is_the_image_but_for_its_aspect() -> None:
    """A ramp shows the rectangle: it stays a ramp, whose slope is the share of the side that was cut out."""
    side = 16
    ramp = ((torch.arange(side) + 0.5) / side).expand(400, 1, side, side).contiguous()
    wide = resized_crop(ramp, seeded(), area=0.5)
    tall = resized_crop(ramp.transpose(2, 3).contiguous(), seeded(), area=0.5)
    inner = slice(2, -2)
    slopes = [(out[:, 0, inner, inner].diff(dim=dim) * side).flatten(1) for out, dim in ((wide, 2), (tall, 1))]
    for slope in slopes:
        assert float((slope.max(1).values - slope.min(1).values).max()) < 1e-4
    width, height = (slope.mean(1) for slope in slopes)
    area = width * height
    assert 0.49 < float(area.min()) < 0.55
    assert float(area.max()) <= 1.0 + 1e-4
    assert 0.65 < float(area.mean()) < 0.8
    ratio = (width / height).log()
    assert float(ratio.abs().max()) <= math.log(4 / 3) + 1e-3
    assert float(ratio.min()) < -0.2
    assert float(ratio.max()) > 0.2
    assert float(wide.min()) >= 0.0
    assert float(wide.max()) <= 1.0


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_the_generator_decides_and_values_stay_in_bounds(name: str) -> None:
    before = torch.get_rng_state()
    augmentation = parse_augmentation(name)
    x = noise()
    kept = x.clone()
    outs = [augmentation(x, seeded(seed)) for seed in (1, 1, 2)]
    assert torch.equal(outs[0], outs[1])
    assert not torch.equal(outs[0], outs[2])
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(x, kept)
    assert outs[0].shape == x.shape
    assert outs[0].dtype == torch.float32
    assert float(outs[0].min()) >= 0.0
    assert float(outs[0].max()) <= 1.0


@pytest.mark.parametrize("name", sorted(AUGMENTATIONS))
def test_images_of_a_batch_change_differently(name: str) -> None:
    x = noise(1).expand(40, 3, 16, 16).contiguous()
    out = parse_augmentation(name)(x, seeded())
    assert len(out.flatten(1).unique(dim=0)) > 1


def test_the_number_behind_the_colon() -> None:
    x = noise()
    for text, function, options in (
        ("crop:2", crop, {"pixels": 2}),
        ("shift:1", shift, {"pixels": 1}),
        ("cutout:5", cutout, {"side": 5}),
        ("resized_crop:0.8", resized_crop, {"area": 0.8}),
    ):
        assert torch.equal(parse_augmentation(text)(x, seeded()), function(x, seeded(), **options))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rotate", "there is no augmentation 'rotate'; choose from crop, cutout, flip, resized_crop, shift"),
        ("crop:", "the augmentation crop takes a whole number of pixels after a colon; got 'crop:'"),
        ("crop:0", "got 'crop:0'"),
        ("crop:1.5", "got 'crop:1.5'"),
        ("cutout:9999", "got 'cutout:9999'"),
        ("flip:2", "the augmentation flip takes no number after a colon; got 'flip:2'"),
        ("resized_crop:1.5", "takes a share above 0 and up to 1 after a colon; got 'resized_crop:1.5'"),
        ("resized_crop:nan", "got 'resized_crop:nan'"),
    ],
)
def test_wrong_augmentations(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse_augmentation(text)
