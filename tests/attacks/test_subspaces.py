"""Subspaces of inputs: orthonormal where they say so, for inputs of any rank, and what their text forms mean."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from variegate.attacks.subspaces import FullSpace, LowFrequencies, ResizedNoise, parse_subspace
from variegate.errors import ConfigurationError

SHAPES = [(7,), (5, 6), (3, 8, 8), (1, 4, 9), (2, 3, 5, 4)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("side", [1, 3, 8])
def test_low_frequencies_are_orthonormal(shape, side):
    space = LowFrequencies(side)
    size = space.dimension(shape)
    basis = space.lift(torch.eye(size), shape)
    assert basis.shape == (size, math.prod(shape))
    assert torch.allclose(basis @ basis.T, torch.eye(size), atol=1e-5)


@given(st.sampled_from(SHAPES), st.integers(1, 9), st.integers(0, 10**6))
def test_project_is_the_transpose_of_lift(shape, side, seed):
    space, generator = LowFrequencies(side), torch.Generator().manual_seed(seed)
    coefficients = torch.randn((4, space.dimension(shape)), generator=generator)
    values = torch.randn((4, math.prod(shape)), generator=generator)
    one = (space.lift(coefficients, shape).double() * values.double()).sum(1)
    other = (coefficients.double() * space.project(values, shape).double()).sum(1)
    assert torch.allclose(one, other, atol=1e-4)
    assert torch.allclose(space.project(space.lift(coefficients, shape), shape), coefficients, atol=1e-5)


@pytest.mark.parametrize(("shape", "side"), [((7,), 3), ((5, 6), 2), ((2, 3, 5, 4), 2)])
def test_low_frequencies_are_cosines_of_the_last_axes(shape, side):
    """Against the definition, sample by sample; axes before the last two are kept apart."""
    space = LowFrequencies(side)
    basis = space.lift(torch.eye(space.dimension(shape)), shape).view(-1, *shape)
    extents, kept = shape[-2:], shape[:-2]
    for index in range(len(basis)):
        frequencies, rest = [], index
        for extent in reversed(extents):
            rest, frequency = divmod(rest, min(side, extent))
            frequencies.insert(0, frequency)
        expected = torch.ones(())
        for extent, frequency in zip(extents, frequencies, strict=True):
            wave = [math.cos(math.pi * (place + 0.5) * frequency / extent) for place in range(extent)]
            scale = math.sqrt((1.0 if frequency == 0 else 2.0) / extent)
            expected = expected[..., None] * (scale * torch.tensor(wave))
        found = basis[index].view(math.prod(kept), *extents)
        assert torch.allclose(found[rest], expected, atol=1e-6)
        assert float(found.abs().sum()) == pytest.approx(float(expected.abs().sum()), rel=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_all_frequencies_are_the_full_space(shape):
    space = LowFrequencies(99)
    values = torch.rand((3, math.prod(shape)), generator=torch.Generator().manual_seed(0))
    assert space.dimension(shape) == math.prod(shape)
    assert torch.allclose(space.lift(space.project(values, shape), shape), values, atol=1e-5)


def test_the_full_space_keeps_coefficients():
    values = torch.rand((3, 60))
    assert FullSpace().dimension((3, 4, 5)) == 60
    assert FullSpace().lift(values, (3, 4, 5)) is values


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("factor", [1, 2, 3, 20])
def test_resized_noise(shape, factor):
    """Linear, constant where the coefficients are, never beyond them, and with a factor of 1 the full space."""
    space, generator = ResizedNoise(factor), torch.Generator().manual_seed(0)
    size = space.dimension(shape)
    cells = math.prod(math.ceil(extent / factor) for extent in shape[-2:])
    assert size == math.prod(shape[:-2]) * cells
    one, other = torch.randn((2, 3, size), generator=generator)
    wide = space.lift(one, shape)
    assert wide.shape == (3, math.prod(shape))
    assert torch.allclose(space.lift(one + 2.0 * other, shape), wide + 2.0 * space.lift(other, shape), atol=1e-5)
    assert torch.allclose(space.lift(torch.ones((1, size)), shape), torch.ones((1, math.prod(shape))))
    assert float(wide.abs().max()) <= float(one.abs().max()) + 1e-6
    if factor == 1:
        assert torch.equal(wide, one)


def test_text_forms():
    for text, space in (("full", FullSpace()), ("dct:8", LowFrequencies(8)), ("resize:4", ResizedNoise(4))):
        assert parse_subspace(text) == space
        assert str(space) == text


@pytest.mark.parametrize("text", ["", "dct", "dct:", "dct:x", "dct:-3", "dct:1.5", "full:2", "wavelet:3", "DCT:3"])
def test_bad_text(text):
    with pytest.raises(ConfigurationError, match="a subspace is written full, dct:SIDE or resize:FACTOR"):
        parse_subspace(text)


def test_bad_numbers():
    with pytest.raises(ConfigurationError, match="the number of frequencies must be at least 1; got 0"):
        LowFrequencies(0)
    with pytest.raises(ConfigurationError, match="the factor of resized noise must be at least 1; got -2"):
        ResizedNoise(-2)
    with pytest.raises(ConfigurationError, match="the number of frequencies must be at least 1; got 0"):
        parse_subspace("dct:0")
