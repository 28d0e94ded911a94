"""The predictions that calibration starts from, against simulation with real heads."""

import math

import numpy as np
import pytest
import torch

from variegate.errors import ConfigurationError, InputError
from variegate.rewriters.base import OriginalShape
from variegate.rewriters.calibrate import (
    flip_reach,
    most_messages,
    predicted_change_permutation,
    predicted_change_qim,
    predicted_change_spread_spectrum,
    smallest_messages,
    step_for_distance,
)
from variegate.rewriters.permutation import PermutationSpec
from variegate.rewriters.qim import QimSpec
from variegate.rewriters.spread_spectrum import SpreadSpectrumSpec
from variegate.testing.seller import known_key
from variegate.types import InputSpec

N, CLASSES, DIM = 400, 6, 400
SHAPE = OriginalShape(num_classes=CLASSES, input_spec=InputSpec((DIM,)))


@pytest.fixture(scope="module")
def scores():
    logits = torch.randn((N, CLASSES), generator=torch.Generator().manual_seed(0))
    sharpness = torch.linspace(0.5, 12.0, N)[:, None]
    return (sharpness * logits).softmax(1)


@pytest.fixture(scope="module")
def inputs():
    spread = torch.linspace(0.2, 1.0, N)[:, None]
    return 0.5 + spread * (torch.rand((N, DIM), generator=torch.Generator().manual_seed(1)) - 0.5)


def simulated(spec, scores, inputs, keys):
    label = scores.argmax(1)
    changed = [
        (spec.build(known_key(k), SHAPE)(inputs, scores, {}).argmax(1) != label).double().mean() for k in range(keys)
    ]
    return float(torch.stack(changed).mean())


@pytest.mark.parametrize(("B", "strength"), [(4, 1.0), (16, 1.0), (16, 2.0), (32, 4.0)])
@pytest.mark.parametrize("step", [0.03, 0.2])
def test_qim_prediction(scores, inputs, B, strength, step):
    spec = QimSpec(messages_per_class=B, quantization_step=step, strength=strength)
    predicted = predicted_change_qim(scores, messages_per_class=B, strength=strength)
    assert predicted == pytest.approx(simulated(spec, scores, inputs, 12), rel=0.12)


@pytest.mark.parametrize("strength", [0.3, 1.0, 3.0])
def test_spread_spectrum_prediction(scores, inputs, strength):
    spec = SpreadSpectrumSpec(strength=strength)
    predicted = predicted_change_spread_spectrum(scores, inputs, strength=strength)
    assert predicted == pytest.approx(simulated(spec, scores, inputs, 40), rel=0.12)


@pytest.mark.parametrize("alpha", [0.3, 0.8, 0.95])
def test_permutation_prediction(scores, inputs, alpha):
    predicted = predicted_change_permutation(scores, alpha=alpha, draws=256)
    assert predicted == pytest.approx(simulated(PermutationSpec(alpha=alpha), scores, inputs, 256), rel=0.1)


def test_predictions_grow_with_strength_and_shrink_with_messages(scores, inputs):
    by_strength = [predicted_change_qim(scores, messages_per_class=8, strength=s) for s in (0.0, 0.5, 1.0, 2.0, 8.0)]
    by_messages = [predicted_change_qim(scores, messages_per_class=b, strength=2.0) for b in (1, 2, 8, 64, 4096)]
    assert by_strength == sorted(by_strength)
    assert by_strength[0] == pytest.approx(0.0, abs=1e-9)
    assert by_strength[-1] < (CLASSES - 1) / CLASSES + 1e-9
    assert by_messages == sorted(by_messages, reverse=True)
    assert predicted_change_spread_spectrum(scores, inputs, strength=0.0) == pytest.approx(0.0, abs=1e-9)
    assert predicted_change_permutation(scores, alpha=0.0) == 0.0


def test_two_classes_have_a_closed_form():
    """P(change) = Q(gap / (sigma sqrt 2)) for two classes, gap = p_1 - p_2, sigma = strength / sqrt(12 B)."""
    gap, B, strength = 0.2, 16, 2.0
    scores = torch.tensor([[0.5 + gap / 2, 0.5 - gap / 2]])
    sigma = strength / math.sqrt(12 * B)
    expected = 0.5 * math.erfc(gap / (sigma * math.sqrt(2)) / math.sqrt(2))
    assert predicted_change_qim(scores, messages_per_class=B, strength=strength) == pytest.approx(expected, rel=1e-4)


def test_smallest_messages_is_the_smallest(scores):
    for budget in (0.2, 0.1, 0.06):
        found = smallest_messages(scores, strength=2.0, max_change=budget, most=4096)
        assert found is not None
        assert predicted_change_qim(scores, messages_per_class=found, strength=2.0) <= budget
        assert predicted_change_qim(scores, messages_per_class=found - 1, strength=2.0) > budget
    assert smallest_messages(scores, strength=2.0, max_change=1e-6, most=64) is None
    assert smallest_messages(scores, strength=0.0, max_change=0.01, most=64) == 1


def test_most_messages():
    def most(num_classes, *input_shape):
        return most_messages(OriginalShape(num_classes=num_classes, input_spec=InputSpec(input_shape)))

    assert most(10, 3, 32, 32) == 2**24 // 3072 // 10  # what a dense projection may hold
    assert most(1000, 3, 224, 224) == 2**18 // 1000  # the rows of a Hadamard projection
    assert most(10, 1, 8, 8) == 12  # twice the dimensions
    assert most(100, 8) == 1


def test_a_spec_with_the_most_messages_can_be_built():
    shape = OriginalShape(num_classes=10, input_spec=InputSpec((3, 32, 32)))
    head = QimSpec(messages_per_class=most_messages(shape)).build(known_key(), shape)
    assert head.phase.shape == (10 * most_messages(shape),)


@pytest.mark.parametrize("share", [0.05, 0.4, 0.8, 1.0])
def test_flip_reach_is_the_cost_of_water_filling(share):
    """Equal moves, each as far as its phase allows, found by bisection over a million uniform phases."""
    room = (np.arange(10**5) + 0.5) / 10**5 / 2  # steps that a phase can still move: uniform on [0, 1/2]
    low, high = 0.0, 0.5
    for _ in range(40):
        move = 0.5 * (low + high)
        low, high = (move, high) if 4 * np.minimum(move, room).mean() < share else (low, move)
    cost = math.sqrt(2 * (np.minimum(high, room) ** 2).mean())
    assert flip_reach(share) == pytest.approx(cost, rel=1e-3)


def test_flip_reach_limits():
    assert flip_reach(0.0) == 0.0
    assert flip_reach(1.0) == pytest.approx(1 / math.sqrt(6))
    assert flip_reach(0.01) == pytest.approx(0.354 * 0.01, rel=0.01)
    for share in (-0.1, 1.1, math.nan):
        with pytest.raises(ConfigurationError, match=f"share must be from 0 to 1; got {share}"):
            flip_reach(share)


def test_step_for_distance():
    scores = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.99, 0.01]])  # median gap 0.8
    distances = [0.5, math.inf, 0.2, 0.3, 0.0]  # median of the finite, positive ones: 0.3
    step = step_for_distance(scores, distances, messages_per_class=16, strength=2.0, share=0.5)
    assert step * math.sqrt(16) * flip_reach(0.8 / 2.0) == pytest.approx(0.5 * 0.3)
    weak = step_for_distance(scores, distances, messages_per_class=16, strength=0.5, share=0.5)
    assert weak * math.sqrt(16) * flip_reach(1.0) == pytest.approx(0.15)


def test_step_for_distance_refuses():
    scores = torch.tensor([[0.9, 0.1]])
    with pytest.raises(InputError, match="no boundary distance could be measured"):
        step_for_distance(scores, [math.inf, math.nan], messages_per_class=4, strength=1.0, share=0.5)
    with pytest.raises(ConfigurationError, match="strength 0.0 cannot flip a label"):
        step_for_distance(scores, [0.5], messages_per_class=4, strength=0.0, share=0.5)


def test_no_scores_are_an_error():
    for bad in (torch.zeros((0, 4)), torch.zeros(4)):
        with pytest.raises(InputError, match=r"scores must have shape \(N, n\) with N > 0; got"):
            predicted_change_qim(bad, messages_per_class=4, strength=1.0)
        with pytest.raises(InputError, match=r"scores must have shape \(N, n\) with N > 0; got"):
            predicted_change_permutation(bad, alpha=0.5)
