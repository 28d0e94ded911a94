"""Gradients against closed forms and float64 autograd, also where float32's softmax saturates; what is left out."""

import math

import pytest
import torch
from torch import nn

from variegate.errors import InputError
from variegate.evaluation.gradients import (
    Smoothing,
    boundary_points,
    compare_gradients,
    gradient_cost,
    loss_gradients,
)
from variegate.models.classifier import Classifier
from variegate.rewriters.base import original_shape
from variegate.rewriters.permutation import PermutationSpec
from variegate.rewriters.qim import QimSpec
from variegate.rewriters.spread_spectrum import SpreadSpectrumSpec
from variegate.testing.seller import known_key, small_classifier

SPECS = (
    PermutationSpec(alpha=0.5),
    SpreadSpectrumSpec(strength=0.05),
    QimSpec(messages_per_class=4, quantization_step=0.3, strength=1.0),
)


def linear(weights: torch.Tensor, bias: torch.Tensor | None = None) -> Classifier:
    module = nn.Linear(weights.shape[1], weights.shape[0])
    module.weight.data, module.bias.data = weights, torch.zeros(len(weights)) if bias is None else bias
    return Classifier(module, input_shape=(weights.shape[1],), labels=len(weights))


def random_inputs(original: Classifier, n: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.rand((n, *original.input_shape), generator=torch.Generator().manual_seed(5))
    return x, original.predict(x)


def heads_of(original: Classifier, specs=SPECS, first: int = 0) -> list:
    shape = original_shape(original)
    return [spec.build(known_key(first + i), shape) for i, spec in enumerate(specs)]


def cosine(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a.double() * b.double()).sum(-1) / (a.double().norm(dim=-1) * b.double().norm(dim=-1))


def exact(original: Classifier, head, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The gradient by autograd, all of it in float64."""
    module, head = original.module.double(), head.double() if head is not None else None
    leaf = x.double().requires_grad_()
    scores = module(leaf).softmax(1)
    if head is not None:
        total = scores + head.decode(leaf, scores, {})
        scores = total / total.abs().sum(1, keepdim=True)
    loss = -scores.gather(1, labels[:, None]).log().sum()
    found = torch.autograd.grad(loss, leaf)[0].flatten(1)
    module.float()
    if head is not None:
        head.float()
    return found


def test_a_linear_classifiers_gradient_in_closed_form():
    weights = torch.randn((3, 4), generator=torch.Generator().manual_seed(0))
    original = linear(weights)
    x, labels = torch.rand((5, 4), generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 2, 0, 1])
    found, doubt = loss_gradients(original, [], x, labels)
    scores = original.scores(x)
    expected = (scores - torch.eye(3)[labels]) @ weights
    torch.testing.assert_close(found[0].float(), expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(doubt.float(), 1 - scores[torch.arange(5), labels])


@pytest.mark.parametrize("place", range(len(SPECS)))
def test_copies_gradients_are_those_of_float64_autograd(place):
    original = small_classifier(num_classes=5)
    original.module[3].weight.data.mul_(0.3)  # unsure
    x, labels = random_inputs(original)
    head = heads_of(original)[place]
    found, _ = loss_gradients(original, [head], x, labels)
    for mine, truth in zip(found, (exact(original, None, x, labels), exact(original, head, x, labels)), strict=True):
        assert (cosine(mine, truth) > 1 - 1e-5).all()
        torch.testing.assert_close(mine.norm(dim=1), truth.norm(dim=1), rtol=1e-3, atol=1e-8)


def test_directions_survive_saturation():
    original = small_classifier(num_classes=5)
    x, labels = random_inputs(original, 40)
    original.module[3].weight.data.mul_(6.0)
    head = heads_of(original)[0]
    found, doubt = loss_gradients(original, [head], x, labels)
    sure = (doubt < 2.0**-26) & (doubt > 1e-12)  # beyond float32, within what float64 autograd resolves
    assert sure.sum() >= 3
    truth = exact(original, None, x, labels)
    assert (cosine(found[0], truth)[sure] > 1 - 1e-4).all()
    assert (cosine(found[1], exact(original, head, x, labels))[sure] > 1 - 1e-4).all()
    leaf = x.clone().requires_grad_()
    naive = torch.autograd.grad(
        torch.nn.functional.cross_entropy(original.differentiable_logits(leaf), labels, reduction="sum"), leaf
    )[0].flatten(1)
    assert (cosine(naive, truth)[sure] < 0.99).any()  # what is avoided


def test_directions_beyond_all_floats_of_32_bits():
    bias = torch.tensor([150.0, 1.0, 2.0, 0.5])
    original, alpha = linear(torch.eye(4), bias), 0.5  # so that a gradient is the slopes of the logits
    head = PermutationSpec(alpha=alpha).build(known_key(), original_shape(original))
    found, doubt = loss_gradients(original, [head], torch.zeros((1, 4)), torch.tensor([0]))
    slopes = bias.double().softmax(0)
    assert slopes[1:].max() < 1e-60
    partner = int(head.partners[0])
    for gradient, weight in zip(found[:, 0], (1.0, 1.0 - alpha), strict=True):
        expected = slopes.clone()
        expected[partner] *= weight  # of -log(s_0 + alpha s_partner), where s_0 is 1 but for 1e-60
        expected[0] = -expected[1:].sum()
        torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(doubt[0], slopes[1:].sum(), rtol=1e-9, atol=0)


def test_a_score_below_zero_and_a_network_without_slope_give_zero_gradients():
    original = small_classifier(num_classes=4)
    x, labels = random_inputs(original, 30)
    strong = SpreadSpectrumSpec(strength=50.0).build(known_key(0), original_shape(original))
    raw = strong(x, original.scores(x), {})
    found, _ = loss_gradients(original, [strong], x, labels)
    negative = raw.gather(1, labels[:, None])[:, 0] <= 0
    assert 0 < negative.sum() < 30
    assert torch.equal(found[1].abs().amax(1) == 0, negative)
    result = compare_gradients([(original, [strong])], [(0, 1)], x, labels)
    assert torch.equal(result.cosines[0].isnan(), negative)
    assert torch.equal(result.norms[1] == 0, negative)
    flat = linear(torch.zeros((3, 4)))
    nothing = compare_gradients([(flat, [])], [(0, 0)], torch.rand(2, 4), torch.tensor([0, 1]))
    assert nothing.cosines.isnan().all()


def test_cosines_of_known_pairs():
    a, b = torch.zeros((2, 4)), torch.zeros((2, 4))
    a[0, 0], b[0, 1] = 3.0, 2.0
    x, labels = torch.rand(6, 4), torch.zeros(6, dtype=torch.int64)
    groups = [(linear(a), []), (linear(b), []), (linear(-a), []), (linear(a + b), [])]
    found = compare_gradients(groups, [(0, 0), (0, 1), (0, 2), (0, 3)], x, labels)
    expected = torch.tensor([1.0, 0.0, -1.0, 3 / math.sqrt(13)], dtype=torch.float64)
    torch.testing.assert_close(found.cosines, expected[:, None].expand(4, 6), atol=1e-6, rtol=0)
    torch.testing.assert_close(found.norms[0], 3.0 * found.doubts[0], rtol=1e-5, atol=0)


def test_micro_batches_change_nothing(monkeypatch):
    original = small_classifier(num_classes=5)
    x, labels = random_inputs(original, 9)
    groups, pairs = [(original, heads_of(original)), (small_classifier(num_classes=5, seed=1), [])], [(0, 4), (1, 2)]
    smoothing = Smoothing(sigma=0.05, samples=3, seed=4)
    for kind in (None, smoothing):
        whole = compare_gradients(groups, pairs, x, labels, smoothing=kind, identities=range(10, 19))
        monkeypatch.setattr("variegate.evaluation.gradients._BYTES", 5 * 8 * 64 * 2)  # two rows at once
        parts = compare_gradients(groups, pairs, x, labels, smoothing=kind, identities=range(10, 19))
        monkeypatch.undo()
        torch.testing.assert_close(parts.cosines, whole.cosines, atol=1e-4, rtol=0, equal_nan=True)
        torch.testing.assert_close(parts.norms, whole.norms, rtol=1e-4, atol=1e-12)


def test_smoothing_averages_over_noise_that_all_members_share():
    original = small_classifier(num_classes=5)
    x, labels = random_inputs(original, 4)
    steep = QimSpec(messages_per_class=4, quantization_step=0.02, strength=4.0)
    one, two = heads_of(original, (steep, steep))
    groups, pairs = [(original, [one, two, one])], [(1, 2), (1, 3), (0, 1)]
    at = compare_gradients(groups, pairs, x, labels)
    smoothing = Smoothing(sigma=0.05, samples=48, seed=0)
    smoothed = compare_gradients(groups, pairs, x, labels, smoothing=smoothing)
    torch.testing.assert_close(smoothed.cosines[1], torch.ones(4, dtype=torch.float64))  # the same copy, the same noise
    assert (smoothed.norms[1] < 0.5 * at.norms[1]).all()  # the sawtooth averages out
    again = compare_gradients(groups, pairs, x[2:], labels[2:], smoothing=smoothing, identities=[2, 3])
    torch.testing.assert_close(again.cosines, smoothed.cosines[:, 2:], atol=1e-4, rtol=0)  # noise belongs to the input
    other = compare_gradients(groups, pairs, x[2:], labels[2:], smoothing=smoothing)
    assert (other.cosines[0] - smoothed.cosines[0, 2:]).abs().max() > 1e-3
    with pytest.raises(InputError, match="sigma > 0"):
        Smoothing(sigma=0.0, samples=1, seed=0)


def test_boundary_points_lie_on_the_boundary():
    original = small_classifier(num_classes=5)
    x, labels = random_inputs(original, 12)
    labels[0] = (labels[0] + 1) % 5  # wrong when clean
    points, found = boundary_points(original, x, labels)
    assert not found[0]
    assert torch.equal(points[0], x[0])
    assert found[1:].sum() >= 9
    scores = original.scores(points[found])
    top = scores.topk(2, 1).values
    assert ((top[:, 0] - top[:, 1]).abs() < 1e-3).all()
    own = scores.gather(1, labels[found][:, None])[:, 0]
    assert (own >= top[:, 1] - 1e-6).all()  # of the true class and another
    doubts = compare_gradients([(original, [])], [], points[found], labels[found]).doubts[0]
    assert (doubts > 0.4).all()


def test_what_is_refused_and_what_it_costs():
    original = small_classifier()
    head = heads_of(original)[0]
    type(head).layers, before = property(lambda self: ("1",)), type(head).layers
    try:
        with pytest.raises(InputError, match="reads layers 1"):
            loss_gradients(original, [head], *random_inputs(original, 2))
    finally:
        del type(head).layers
    assert type(head).layers is before
    assert gradient_cost(2, 11) == 24
    assert gradient_cost(2, 11, samples=4) == 96
