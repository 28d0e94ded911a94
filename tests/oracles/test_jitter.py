"""Jitters: what they change and by how much, alone as in a batch, and how they are written."""

import io
import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from variegate.errors import ConfigurationError
from variegate.oracles.jitter import GaussianJitter, NaturalJitter, parse_jitter
from variegate.types import Bounds

WIDE = Bounds(0.0, 255.0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(count=6, shape=(3, 5, 7), bounds=WIDE):
    return bounds.lower + bounds.range * (0.2 + 0.6 * torch.rand((count, *shape), generator=generator(1)))


@pytest.mark.parametrize("bounds", [Bounds(), WIDE, Bounds(-1.0, 1.0)])
def test_gaussian_noise_has_its_sigma_and_stays_in_bounds(bounds):
    jitter = GaussianJitter(0.05)
    x = images(shape=(40, 50), bounds=bounds)
    changed = jitter.apply(x, jitter.draw(6, (40, 50), generator()), bounds)
    noise = (changed - x) / bounds.range
    assert float(noise.std()) == pytest.approx(0.05, rel=0.03)
    assert abs(float(noise.mean())) < 4 * 0.05 / math.sqrt(noise.numel())
    edge = torch.full((6, 40, 50), bounds.upper)
    low, high = torch.aminmax(jitter.apply(edge, jitter.draw(6, (40, 50), generator()), bounds))
    assert bounds.lower <= float(low) < float(high) == bounds.upper


def reference(image, drawn, *, shift, contrast):
    """One image (C, H, W), with NumPy's own padding in place of clipped indices."""
    down, right = (math.floor(float(value) * (2 * shift + 1)) - shift for value in drawn[:2])
    padded = np.pad(image.double().numpy(), ((0, 0), (shift, shift), (shift, shift)), mode="edge")
    height, width = image.shape[1:]
    moved = padded[:, shift - down : shift - down + height, shift - right : shift - right + width]
    factor = 1.0 + contrast * (2.0 * float(drawn[2]) - 1.0)
    return (moved - moved.mean()) * factor + moved.mean()


@pytest.mark.parametrize(("shift", "contrast"), [(1, 0.0), (0, 0.1), (2, 0.3), (20, 0.04)])
def test_natural_jitter_shifts_and_changes_contrast(shift, contrast):
    jitter = NaturalJitter(shift=shift, contrast=contrast)
    x = images(40)
    drawn = jitter.draw(40, (3, 5, 7), generator())
    changed = jitter.apply(x, drawn, WIDE)
    for row in range(40):
        expected = reference(x[row], drawn[row], shift=shift, contrast=contrast)
        np.testing.assert_allclose(changed[row].numpy(), expected.clip(0.0, 255.0), rtol=1e-5, atol=1e-4)
    assert not torch.equal(changed, x)


def test_every_shift_is_as_likely():
    jitter = NaturalJitter(shift=1, contrast=0.0)
    x = torch.zeros((1, 5, 5))
    x[0, 2, 2] = 1.0
    drawn = jitter.draw(9000, (5, 5), generator())
    places = jitter.apply(x.expand(9000, 5, 5), drawn, Bounds()).flatten(1).argmax(1)
    found, counts = places.unique(return_counts=True)
    assert found.tolist() == [6, 7, 8, 11, 12, 13, 16, 17, 18]
    assert int((counts - 1000).abs().max()) < 5 * math.sqrt(1000)


def test_the_largest_draw_is_the_largest_shift_and_none_more():
    jitter = NaturalJitter(shift=1, contrast=0.0)
    x = torch.arange(5.0).expand(1, 5, 5) / 4.0
    almost_one = torch.tensor([[0.5, 1.0 - 2.0**-24, 0.5], [0.5, 0.0, 0.5]])
    right, left = jitter.apply(x.expand(2, 5, 5), almost_one, Bounds())
    assert right[0].tolist() == [0.0, 0.0, 0.25, 0.5, 0.75]
    assert left[0].tolist() == [0.25, 0.5, 0.75, 1.0, 1.0]


@pytest.mark.parametrize("shape", [(5, 7), (1, 16, 16), (3, 16, 16)])
@pytest.mark.parametrize("bounds", [Bounds(), Bounds(-1.0, 1.0)])
def test_jpeg_is_pillows(shape, bounds):
    image_module = pytest.importorskip("PIL.Image")
    jitter = NaturalJitter(shift=1, jpeg=40)
    x = images(2, shape, bounds)
    drawn = jitter.draw(2, shape, generator())
    before = NaturalJitter(shift=1).apply(x, drawn, bounds)
    after = jitter.apply(x, drawn, bounds)
    assert not torch.equal(before, after)
    for row in range(2):
        pixels = ((before[row] - bounds.lower) / bounds.range * 255).round().to(torch.uint8)
        pixels = pixels.permute(1, 2, 0).squeeze(2).numpy() if len(shape) == 3 else pixels.numpy()
        file = io.BytesIO()
        image_module.fromarray(pixels).save(file, format="JPEG", quality=40)
        back = np.asarray(image_module.open(file)).reshape(*shape[-2:], -1).transpose(2, 0, 1)
        expected = torch.from_numpy(back.copy()).float().reshape(shape) / 255 * bounds.range + bounds.lower
        assert torch.allclose(after[row], expected, atol=1e-6)


@pytest.mark.parametrize("jitter", [GaussianJitter(0.1), NaturalJitter(shift=2, contrast=0.2)])
def test_a_row_is_changed_alike_in_any_batch(jitter):
    x, drawn = images(), jitter.draw(6, (3, 5, 7), generator())
    whole = jitter.apply(x, drawn, WIDE)
    for row in range(6):
        assert torch.equal(jitter.apply(x[row : row + 1], drawn[row : row + 1], WIDE)[0], whole[row])
    assert torch.equal(jitter.apply(x.flip(0), drawn.flip(0), WIDE).flip(0), whole)
    assert torch.equal(x, images()), "the input was changed"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianJitter(0.0), "the jitter's sigma must be above 0 and at most 1; got 0.0"),
        (lambda: GaussianJitter(math.nan), "sigma must be above 0 and at most 1; got nan"),
        (lambda: NaturalJitter(shift=-1), "the jitter's shift must be at least 0; got -1"),
        (lambda: NaturalJitter(contrast=1.0), "contrast must be from 0 to below 1; got 1.0"),
        (lambda: NaturalJitter(contrast=math.nan), "contrast must be from 0 to below 1; got nan"),
        (lambda: NaturalJitter(jpeg=0), "JPEG quality must be from 1 to 100; got 0"),
        (lambda: NaturalJitter(shift=0, contrast=0.0, jpeg=90), "needs a shift or a contrast above 0"),
        (lambda: NaturalJitter().check((30,)), r"takes images of shape \(H, W\) or \(C, H, W\); got \(30,\)"),
        (lambda: NaturalJitter().check((2, 3, 4, 5)), r"got \(2, 3, 4, 5\); use a Gaussian jitter"),
        (lambda: NaturalJitter(jpeg=90).check((4, 8, 8)), "JPEG takes images of 1 or 3 channels; got 4"),
    ],
)
def test_mistakes(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()


def test_without_pillow_jpeg_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    NaturalJitter().check((3, 8, 8))
    with pytest.raises(ConfigurationError, match=r'jitter with JPEG needs PIL.*pip install "variegate\[data\]"'):
        NaturalJitter(jpeg=90).check((3, 8, 8))


JITTERS = st.one_of(
    st.builds(GaussianJitter, st.integers(1, 1000).map(lambda value: value / 1000)),
    st.builds(
        NaturalJitter,
        shift=st.integers(1, 9),
        contrast=st.integers(0, 99).map(lambda value: value / 100),
        jpeg=st.none() | st.integers(1, 100),
    ),
)


@given(JITTERS)
def test_a_jitter_is_read_as_it_is_written(jitter):
    assert parse_jitter(str(jitter)) == jitter


def test_parts_left_out_have_their_defaults():
    assert parse_jitter("natural") == NaturalJitter()
    assert parse_jitter("natural:jpeg=90,shift=2") == NaturalJitter(shift=2, jpeg=90)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gaussian",
        "gaussian:",
        "gaussian:x",
        "uniform:3",
        "natural:1",
        "natural:shift",
        "natural:zoom=1",
        "natural:shift=1,shift=2",
        "natural:shift=1.5",
        "natural:,",
        "natural:jpeg=",
    ],
)
def test_what_is_no_jitter_is_refused(text):
    with pytest.raises(ConfigurationError, match="a jitter is written gaussian:SIGMA or natural:shift=PIXELS"):
        parse_jitter(text)


def test_a_value_that_does_not_fit_keeps_its_own_sentence():
    with pytest.raises(ConfigurationError, match="sigma must be above 0 and at most 1; got 3"):
        parse_jitter("gaussian:3")
