"""DeepFool against closed forms, and what saturated scores do to it."""

import pytest
import torch
from torch import nn

from variegate.attacks.white_box import deepfool
from variegate.attacks.white_box.deepfool import DeepFool
from variegate.models.classifier import Classifier
from variegate.testing.closed_form import LinearClassifier, QuadricClassifier
from variegate.types import Bounds, Norm, Status


def ratios(attack, model, inputs):
    result = attack.run(model.classifier(), inputs, model.predict(inputs), seed=0)
    assert result.status == (Status.SUCCESS,) * len(inputs)
    return result.distances.double() / model.distance(inputs, Norm.L2)


def check_planes(kind):
    """One step, however steep the classifier is: its log scores are linear."""
    for size, bounds in ((2, Bounds()), (64, Bounds(-1.0, 1.0)), (64, Bounds(0.0, 255.0))):
        model = LinearClassifier((size,), bounds=bounds)
        inputs = model.inputs(4, distance=0.15 * bounds.range, norm=Norm.L2)
        for share in (1e-3, 0.005, 0.02):
            found = ratios(kind(overshoot=share), model, inputs)
            assert torch.allclose(found, torch.full_like(found, 1.0 + share), atol=2e-4)
        found = ratios(kind(overshoot=0.0), model, inputs)  # ends on the boundary itself, where rounding decides
        assert float(found.max()) < 1.001


def test_planes():
    check_planes(DeepFool)


def test_the_default_overshoots_are_the_sources():
    model = LinearClassifier((16,))
    inputs = model.inputs(4, distance=0.15, norm=Norm.L2)
    assert torch.allclose(ratios(DeepFool(), model, inputs), torch.tensor(1.02, dtype=torch.float64), atol=2e-4)
    assert repr(DeepFool(semantics="art")._overshoot) == "1e-06"


def test_queries_of_one_step():
    model = LinearClassifier((16,))
    inputs = model.inputs(2, distance=0.15, norm=Norm.L2)
    result = DeepFool().run(model.classifier(), inputs, model.predict(inputs), seed=0)
    assert result.queries.tolist() == [3, 3]  # the clean label, the pass, the label; two classes need no choice


@pytest.mark.parametrize("size", [2, 16, 256])
def test_spheres(size):
    """From outside, Newton's steps converge to the sphere. From inside, one goes past it, by the sphere's curvature."""
    model = QuadricClassifier((size,), radius=0.3)
    assert float(ratios(DeepFool(overshoot=0.005), model, model.inputs(4, length=0.45)).max()) < 1.01
    inputs = model.inputs(4, length=0.25)
    found = ratios(DeepFool(overshoot=0.005), model, inputs)
    once = 1.005 * (0.3 + 0.25) / (2.0 * 0.25)
    assert torch.allclose(found, torch.full_like(found, once), rtol=1e-3)


def test_the_bounds_are_in_the_way():
    """Some values cannot move as far as the linear step wants; further steps make up for it."""
    model = LinearClassifier((16,), offset=1.2)
    inputs = model.inputs(4, distance=1.2, norm=Norm.L2)
    result = DeepFool(overshoot=0.005).run(model.classifier(), inputs, model.predict(inputs), seed=0)
    assert result.iterations > 1
    ratio = result.distances / model.distance(inputs, Norm.L2)
    assert bool(((ratio > 0.999) & (ratio < 1.1)).all())


class Steep(nn.Module):
    def __init__(self, normals, factor):
        super().__init__()
        self.register_buffer("normals", factor * normals)

    def forward(self, x):
        return (x - 0.5) @ self.normals.T


def test_saturated_scores_lead_past_the_boundary():
    """A linear step on p, 1 - p is (2p - 1) / (2p (1 - p)) / slope long: far too long, where p is near 1."""
    normals = torch.zeros(2, 9)
    normals[0, 0] = 1.0
    inputs = torch.full((1, 9), 0.5)
    inputs[0, 0] = 0.6
    found = {}
    for factor in (1.0, 20.0, 50.0):
        classifier = Classifier(Steep(normals, factor), input_shape=(9,), labels=2)
        for scores in ("log", "probabilities"):
            result = DeepFool(scores=scores).run(classifier, inputs, torch.tensor([0]), seed=0)
            found[scores, factor] = float(result.distances)
    assert all(abs(found["log", factor] - 0.102) < 1e-4 for factor in (1.0, 20.0, 50.0))
    assert abs(found["probabilities", 1.0] - 0.102) < 1e-3
    p = 1.0 / (1.0 + torch.tensor(-2.0).exp().item())
    assert abs(found["probabilities", 20.0] - 1.02 * (2 * p - 1) / (2 * p * (1 - p)) / 20.0) < 1e-3  # 0.185
    assert abs(found["probabilities", 50.0] - 0.6) < 1e-6  # at the bounds


def test_gradients_that_vanish_in_float32_find_nothing():
    normals = torch.zeros(2, 9)
    normals[0, 0] = 1.0
    classifier = Classifier(Steep(normals, 1000.0), input_shape=(9,), labels=2)
    inputs = torch.full((1, 9), 0.5)
    inputs[0, 0] = 0.7
    for scores in ("log", "probabilities"):
        for semantics in ("paper", "art"):
            result = DeepFool(scores=scores, semantics=semantics).run(classifier, inputs, torch.tensor([0]), seed=0)
            assert result.status == (Status.NOT_FOUND,)
            assert torch.equal(result.adversarials, inputs)
            assert int(result.queries) <= 4


def check_nearest_class(kind):
    """Of three classes' boundaries the nearest is taken, in distance and not in scores."""
    normals = torch.zeros(4, 9)
    normals[1, 0], normals[2, 1], normals[3, 2] = 1.0, 8.0, 2.0
    classifier = Classifier(Steep(normals, 1.0), input_shape=(9,), labels=4)
    inputs = torch.full((1, 9), 0.5)
    inputs[0, :3] = torch.tensor([0.38, 0.35, 0.40])  # scores of classes 1 to 3: -0.12, -1.2, -0.2
    result = kind(overshoot=0.005).run(classifier, inputs, torch.tensor([0]), seed=0)
    assert classifier.predict(result.adversarials).tolist() == [3]
    assert abs(float(result.distances) - 0.1005) < 1e-4
    few = kind(overshoot=0.005, candidates=2).run(classifier, inputs, torch.tensor([0]), seed=0)
    assert classifier.predict(few.adversarials).tolist() == [1]  # all that it looked at
    assert abs(float(few.distances) - 0.1206) < 1e-4
    aimed = kind(overshoot=0.005).run(classifier, inputs, torch.tensor([0]), seed=0, targets=torch.tensor([2]))
    assert classifier.predict(aimed.adversarials).tolist() == [2]
    assert abs(float(aimed.distances) - 1.005 * 0.15) < 1e-4


def test_the_nearest_class_is_taken():
    check_nearest_class(DeepFool)


@pytest.mark.parametrize(
    ("pattern", "replacement", "check"),
    [
        (r"return away, away\n", "return gap, away\n", check_nearest_class),
        (r"gap / steepness, torch\.full", "gap, torch.full", check_nearest_class),
        (r"\(clean \+ \(1\.0 \+ self\._overshoot\) \* change\)", "(clean + change)", check_planes),
        (r"length\.clamp_max\(diagonal\)\.maximum\(least\)", "0.5 * length", check_planes),
        (r"length\.clamp_max\(diagonal\)\.maximum\(least\)", "length.maximum(0.1 * diagonal + least)", check_planes),
        (r"log_scores\(done\.scores\) if self\.scores == \"log\" else done\.scores", "done.scores", check_planes),
    ],
)
def test_without_an_essential_step_a_check_fails(mutant, pattern, replacement, check):
    with pytest.raises(AssertionError):
        check(mutant(deepfool, pattern, replacement).DeepFool)
