"""Spread spectrum against a slow reference, and the moments that calibration relies on."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from variegate.rewriters.base import OriginalShape, normalised_sum
from variegate.rewriters.spread_spectrum import SpreadSpectrumSpec
from variegate.testing.seller import known_key
from variegate.types import Bounds, InputSpec


@given(
    number=st.integers(0, 10**6),
    n=st.integers(2, 9),
    strength=st.floats(0.0, 8.0),
    shape=st.sampled_from([(33,), (4, 9), (3, 4, 4)]),
    bounds=st.sampled_from([Bounds(), Bounds(-1.0, 1.0), Bounds(0.0, 255.0)]),
    projection=st.sampled_from(["dense", "hadamard", "sparse"]),
)
def test_slow_reference(number, n, strength, shape, bounds, projection):
    spec = SpreadSpectrumSpec(strength=strength, projection=projection)
    head = spec.build(known_key(number), OriginalShape(num_classes=n, input_spec=InputSpec(shape, bounds)))
    x = bounds.lower + bounds.range * torch.rand((2, *shape), generator=torch.Generator().manual_seed(number))
    scores = torch.rand((2, n), generator=torch.Generator().manual_seed(number + 1)).softmax(1)
    messages = head.projection.matrix().double().numpy()
    expected = []
    for image, p in zip(x, scores, strict=True):
        unit = (image.double().numpy().ravel() - bounds.lower) / (bounds.upper - bounds.lower)
        total = [float(p[j]) + strength * sum(messages[j] * unit) for j in range(n)]
        expected.append([value / sum(abs(value) for value in total) for value in total])
    np.testing.assert_allclose(head(x, scores, {}).double().numpy(), expected, atol=2e-4)


def test_correlations_have_the_deviation_of_the_input():
    """Unit-norm zero-mean messages: the deviation of a correlation over keys is the image's own deviation."""
    x = torch.rand((4, 400), generator=torch.Generator().manual_seed(0)) * torch.tensor([[0.1], [0.3], [0.6], [1.0]])
    shape = OriginalShape(num_classes=20, input_spec=InputSpec((400,)))
    spec = SpreadSpectrumSpec(strength=2.0)
    scores = torch.full((4, 20), 0.05)
    values = torch.cat([spec.build(known_key(k), shape).decode(x, scores, {}) for k in range(60)], 1)
    expected = 2.0 * x.std(dim=1, correction=0)
    torch.testing.assert_close(values.std(dim=1), expected, rtol=0.08, atol=0)
    assert float((values.mean(1) / expected).abs().max()) < 0.1


def test_signed_sums_are_normalised_by_absolute_values():
    total = normalised_sum(torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([[-1.0, 0.5, 0.5]]))
    assert total.tolist() == [pytest.approx([-0.25, 0.5, 0.25])]


def test_a_sum_of_zero_gives_no_nan():
    total = normalised_sum(torch.tensor([[0.5, 0.5]]), torch.tensor([[-0.5, -0.5]]))
    assert total.tolist() == [[0.0, 0.0]]
