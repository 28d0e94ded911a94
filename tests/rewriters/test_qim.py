"""The QIM decoder against a slow reference from the paper's two steps, and the identities of its triangle wave."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from variegate.keys import Purpose, uniform24
from variegate.rewriters.base import OriginalShape
from variegate.rewriters.qim import QimSpec
from variegate.testing.seller import known_key
from variegate.types import Bounds, InputSpec


def reference(x, head, spec, key, n, bounds):
    """Steps 1 and 2 of the paper's section 4.3 in float64, one number at a time, and the fixed map to [0, 1]."""
    messages = head.projection.matrix().double().numpy()
    delta, B = spec.quantization_step, spec.messages_per_class
    alpha = spec.weights or (1.0,) * B
    dither = uniform24(key, Purpose.DITHER, 0, 0, n * B).astype(np.float64) * delta if spec.dither else np.zeros(n * B)
    image = (x.double().numpy().ravel() - bounds.lower) / (bounds.upper - bounds.lower)
    if spec.normalise_input:
        image = 0.25 * (image - image.mean()) / image.std()
    result = []
    for j in range(n):
        distance = 0.0
        for h in range(B):
            y = float(messages[j * B + h] @ image) + dither[j * B + h]
            distance += alpha[h] * abs(y + delta / 2 - round(y / delta + 0.5) * delta)
        largest = delta / 2 * sum(alpha)
        result.append(spec.strength * (1.0 - distance / largest))
    return np.array(result)


@st.composite
def settings_of_qim(draw):
    B = draw(st.integers(1, 6))
    weights = draw(st.sampled_from([(), tuple(draw(st.lists(st.floats(0.1, 3.0), min_size=B, max_size=B)))]))
    spec = QimSpec(
        messages_per_class=B,
        quantization_step=draw(st.floats(0.02, 2.0)),
        strength=draw(st.sampled_from([0.0, 0.5, 1.0, 4.0])),
        weights=weights,
        dither=draw(st.booleans()),
        zero_mean=draw(st.booleans()),
        normalise_input=draw(st.booleans()),
        projection=draw(st.sampled_from(["dense", "hadamard", "sparse"])),
    )
    shape = draw(st.sampled_from([(40,), (6, 7), (2, 4, 5), (1, 8, 8)]))
    bounds = draw(st.sampled_from([Bounds(), Bounds(-1.0, 1.0), Bounds(0.0, 255.0)]))
    return spec, shape, bounds, draw(st.integers(2, 5)), draw(st.integers(0, 2**20))


@given(settings_of_qim())
@settings(max_examples=80)
def test_slow_reference(case):
    spec, shape, bounds, n, number = case
    key = known_key(number)
    head = spec.build(key, OriginalShape(num_classes=n, input_spec=InputSpec(shape, bounds)))
    unit = torch.rand((3, *shape), generator=torch.Generator().manual_seed(number))
    x = (bounds.lower + bounds.range * unit).float()
    decoded = head.decode(x, torch.full((3, n), 1 / n), {})
    expected = np.stack([reference(row, head, spec, key, n, bounds) for row in x])
    # y carries the rounding of float32 sums; it is divided by the step before the error is taken
    tolerance = 1e-5 * spec.strength * (1.0 + 1.0 / spec.quantization_step) + 1e-7
    assert np.abs(decoded.double().numpy() - expected).max() < tolerance


def qim_head(spec, *, n=8, dim=256, number=0):
    return spec.build(known_key(number), OriginalShape(num_classes=n, input_spec=InputSpec((dim,))))


def errors(spec, x, **kwargs):
    """Return e (N, n): the decoder's output without its strength."""
    head = qim_head(spec, **kwargs)
    n = kwargs.get("n", 8)
    return head.decode(x, torch.full((x.shape[0], n), 1 / n), {}) / spec.strength


@given(st.integers(0, 10**6), st.integers(1, 8), st.floats(0.01, 1.0))
@settings(max_examples=40)
def test_errors_lie_in_the_unit_interval(number, B, step):
    spec = QimSpec(messages_per_class=B, quantization_step=step, strength=1.0)
    x = torch.rand((16, 64), generator=torch.Generator().manual_seed(number))
    e = errors(spec, x, dim=64, number=number)
    assert float(e.min()) >= -1e-6
    assert float(e.max()) <= 1.0 + 1e-6


@pytest.mark.parametrize("step", [0.05, 0.2])
def test_period_is_the_step_and_half_a_period_mirrors(step):
    spec = QimSpec(messages_per_class=1, quantization_step=step, strength=1.0)
    x = torch.rand((4, 256), generator=torch.Generator().manual_seed(3))
    head = qim_head(spec)
    for j in range(8):
        message = head.projection.matrix()[j]
        assert float(message.norm()) == pytest.approx(1.0, abs=1e-5)
        e = [errors(spec, x + shift * step * message)[:, j] for shift in (0.0, 1.0, -3.0, 0.5)]
        torch.testing.assert_close(e[1], e[0], atol=1e-4, rtol=0)
        torch.testing.assert_close(e[2], e[0], atol=1e-4, rtol=0)
        torch.testing.assert_close(e[3], 1.0 - e[0], atol=1e-4, rtol=0)  # the triangle wave's other half


@pytest.mark.parametrize("B", [1, 4, 16])
@pytest.mark.parametrize("dither", [True, False])
def test_mean_and_deviation(B, dither):
    """Science, section 5: mean 1/2 and deviation 1/sqrt(12 B), whatever the step, once phases are uniform."""
    x = torch.rand((3000, 256), generator=torch.Generator().manual_seed(4))
    for step in (0.02, 0.3):
        spec = QimSpec(messages_per_class=B, quantization_step=step, strength=1.0, dither=dither)
        e = torch.cat([errors(spec, x, number=number) for number in range(2)])
        assert float(e.mean()) == pytest.approx(0.5, abs=0.012 / math.sqrt(B))
        assert float(e.std()) == pytest.approx(1 / math.sqrt(12 * B), rel=0.03)


def test_unequal_weights_deviation():
    """For general weights 1/sqrt(B) becomes |alpha|_2 / |alpha|_1."""
    weights = (4.0, 1.0, 1.0, 0.5)
    spec = QimSpec(messages_per_class=4, quantization_step=0.05, strength=1.0, weights=weights)
    x = torch.rand((3000, 256), generator=torch.Generator().manual_seed(4))
    expected = math.sqrt(sum(w * w for w in weights)) / sum(weights) / math.sqrt(12)
    assert float(errors(spec, x).std()) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(("B", "step"), [(1, 0.1), (4, 0.1), (16, 0.02)])
def test_slope(B, step):
    """Science, section 5: |grad e_j| = 2 / (kappa sqrt(B)) for orthogonal messages."""
    spec = QimSpec(messages_per_class=B, quantization_step=step, strength=1.0)
    head = qim_head(spec, dim=1024)
    x = torch.rand((16, 1024), generator=torch.Generator().manual_seed(5)).requires_grad_()
    e = head.decode(x, torch.full((16, 8), 0.125), {})
    norms = [torch.autograd.grad(e[:, j].sum(), x, retain_graph=True)[0].norm(dim=1) for j in range(8)]
    assert float(torch.stack(norms).mean()) == pytest.approx(2 / (step * math.sqrt(B)), rel=0.05)


def test_dither_makes_phases_uniform_over_copies_for_one_input():
    """Without dither the phase of a constant image is the same in every copy (zero-mean messages); with it, uniform."""
    x = torch.full((1, 64), 0.5)
    spec = QimSpec(messages_per_class=1, quantization_step=0.5, strength=1.0)
    with_dither = torch.cat([errors(spec, x, dim=64, number=number) for number in range(200)]).flatten()
    plain = QimSpec(messages_per_class=1, quantization_step=0.5, strength=1.0, dither=False)
    without = torch.cat([errors(plain, x, dim=64, number=number) for number in range(20)])
    counts = torch.histc(with_dither, bins=10, min=0.0, max=1.0)
    assert float(((counts - 160) ** 2 / 160).sum()) < 40  # chi-squared, 9 degrees of freedom: chance below 1e-5
    assert float(without.std()) < 1e-4


def test_normalised_input_cancels_contrast_and_brightness():
    spec = QimSpec(messages_per_class=8, quantization_step=0.05, strength=1.0, normalise_input=True)
    x = 0.2 + 0.5 * torch.rand((8, 256), generator=torch.Generator().manual_seed(6))
    torch.testing.assert_close(errors(spec, 0.8 * x + 0.1), errors(spec, x), atol=2e-3, rtol=0)
    plain = QimSpec(messages_per_class=8, quantization_step=0.05, strength=1.0)
    assert float((errors(plain, 0.8 * x + 0.1) - errors(plain, x)).abs().mean()) > 0.05
    torch.testing.assert_close(errors(plain, x + 0.1), errors(plain, x), atol=1e-3, rtol=0)  # zero-mean messages


def test_zero_mean_messages():
    for projection in ("dense", "hadamard", "sparse"):
        head = qim_head(QimSpec(messages_per_class=2, projection=projection))
        assert float(head.projection.matrix().sum(1).abs().max()) < 1e-4


def test_the_least_step_is_far_above_rounding():
    """Scores, and so labels, must not follow the order of float32 sums: at a step of 1e-6 most labels did."""
    spec = QimSpec(messages_per_class=16, quantization_step=1e-3, strength=2.0, projection="dense")
    head = qim_head(spec, n=10, dim=3072)
    x = torch.rand((64, 3072), generator=torch.Generator().manual_seed(7))
    scores = torch.full((64, 10), 0.1)
    together = head.decode(x, scores, {})
    alone = torch.cat([head.decode(x[i : i + 1], scores[:1], {}) for i in range(64)])
    y = head.projection(x).double()
    exact = x.double() @ head.projection.matrix().double().T
    assert float((y - exact).abs().max()) / spec.quantization_step < 0.01  # of a phase, which is 1 around
    assert float((together - alone).abs().max()) < 0.01 * spec.strength
    leading = together.topk(2, 1).values
    clear = leading[:, 0] - leading[:, 1] > 0.02 * spec.strength
    assert torch.equal(together.argmax(1)[clear], alone.argmax(1)[clear])
    assert int(clear.sum()) > 32
