"""FGSM and PGD against closed forms: they find an adversarial where there is one within epsilon, and only there."""

import pytest
import torch
from torch import nn

from variegate.attacks.white_box import fgsm, pgd
from variegate.attacks.white_box.fgsm import FastGradient
from variegate.attacks.white_box.pgd import ProjectedGradient
from variegate.models.classifier import Classifier
from variegate.models.geometry import distance
from variegate.testing.closed_form import LinearClassifier, QuadricClassifier
from variegate.types import Bounds, Norm, Status

LOSSES = ("cross_entropy", "margin")


def check_epsilon_decides(kind, norm, loss="cross_entropy"):
    for bounds in (Bounds(), Bounds(-2.0, 6.0)):
        model = LinearClassifier((24,), bounds=bounds)
        inputs = model.inputs(6, distance=0.02 * bounds.range, norm=norm)
        reach = model.distance(inputs, norm)
        for row in range(2):
            for share in (0.99, 1.01):
                epsilon = share * float(reach[row])
                # A random L2 start is off the shortest way, and only decays by epsilon / (epsilon + step) a step.
                start = {"random_start": False} if hasattr(kind, "random_start") and norm is Norm.L2 else {}
                attack = kind(epsilon=epsilon, norm=norm, loss=loss, **start)
                result = attack.run(model.classifier(), inputs, model.predict(inputs), seed=0)
                assert result.success.tolist() == (reach < epsilon).tolist()
                assert result.success[row] == (share > 1.0)
                sizes = result.distances[result.success]
                assert bool((sizes <= epsilon * (1.0 + 1e-5)).all())
                assert bool((sizes >= 0.99 * epsilon).all())  # the last iterate is at the ball's surface


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("norm", Norm)
@pytest.mark.parametrize("kind", [FastGradient, ProjectedGradient])
def test_epsilon_decides_on_a_plane(kind, norm, loss):
    check_epsilon_decides(kind, norm, loss)


@pytest.mark.parametrize("norm", Norm)
def test_epsilon_decides_outside_a_ball(norm):
    """The gradient points to the centre; L-infinity steps have to slide along the cube."""
    model = QuadricClassifier((24,), radius=0.2)
    inputs = model.inputs(4, length=0.35)
    reach = model.distance(inputs, norm)
    for row in range(4):
        for share in (0.98, 1.02):
            attack = ProjectedGradient(epsilon=share * float(reach[row]), norm=norm)
            result = attack.run(model.classifier(), inputs, model.predict(inputs), seed=0)
            assert result.success[row] == (share > 1.0)


def test_counts():
    model = LinearClassifier((24,))
    inputs = model.inputs(3, distance=0.1, norm=Norm.L2)
    for attack, queries in (
        (FastGradient(epsilon=0.05), 3),
        (ProjectedGradient(epsilon=0.05, steps=7), 9),
        (ProjectedGradient(epsilon=0.001, steps=7, stop_early=True), 15),
    ):
        result = attack.run(model.classifier(), inputs, model.predict(inputs), seed=0)
        assert result.queries.tolist() == [queries] * 3


def test_early_stops_are_closer_and_cheaper():
    model = LinearClassifier((24,))
    inputs = model.inputs(4, distance=0.1, norm=Norm.L2)
    options = {"epsilon": 0.3, "norm": Norm.L2, "random_start": False, "step_size": 0.02}
    early, late = (
        ProjectedGradient(stop_early=stop, **options).run(model.classifier(), inputs, model.predict(inputs), seed=0)
        for stop in (True, False)
    )
    assert bool(early.success.all())
    assert bool((early.distances <= model.distance(inputs, Norm.L2) + 0.021).all())
    assert bool((early.queries < late.queries).all())
    assert torch.allclose(late.distances, torch.full((4,), 0.3), rtol=1e-3)


@pytest.mark.parametrize("norm", Norm)
def test_random_starts_fill_the_ball(norm):
    """A model without slopes stays at its start: half of an L-infinity cube's mean, (d + 1)-th root for a ball."""

    class Flat(nn.Module):
        def forward(self, x):
            return torch.stack([0.0 * x.sum(1), x.new_full((len(x),), 1.0) * (x - 0.5).abs().amax(1).gt(0) - 0.5], 1)

    classifier = Classifier(Flat(), input_shape=(3,), labels=2)
    inputs = torch.full((400, 3), 0.5)
    result = ProjectedGradient(epsilon=0.2, norm=norm, steps=3).run(
        classifier, inputs, classifier.predict(inputs), seed=0
    )
    assert bool(result.success.all())
    offsets = result.adversarials - 0.5
    assert float(offsets.mean(0).abs().max()) < 0.02
    share = distance(result.adversarials, inputs, norm) / 0.2
    assert float(share.max()) <= 1.0 + 1e-5
    assert abs(float((share**3).mean()) - 0.5) < 0.05  # volumes are uniform


class Bent(nn.Module):
    """Class 1 beyond a plane at 0.1 in the first value, where the second is at least 0.2 off; the slope bends there."""

    def forward(self, x):
        u, v = x[:, 0] - 0.5, x[:, 1] - 0.5
        gap = torch.minimum(u - 0.1, 4.0 * (v - 0.2))
        return torch.stack([-gap, gap], 1)


def check_many_steps_beat_one(kind):
    classifier = Classifier(Bent(), input_shape=(9,), labels=2)
    inputs = torch.full((1, 9), 0.5)
    options = {"epsilon": 0.24, "norm": Norm.L2}
    one = FastGradient(**options).run(classifier, inputs, torch.tensor([0]), seed=0)
    assert one.status == (Status.NOT_FOUND,)
    many = kind(random_start=False, stop_early=True, steps=60, step_size=0.02, **options)
    assert many.run(classifier, inputs, torch.tensor([0]), seed=0).status == (Status.SUCCESS,)


def test_many_steps_beat_one():
    check_many_steps_beat_one(ProjectedGradient)


def test_a_margin_beyond_float32_is_no_success():
    """With logits 200 apart the softmax of float32 has no slope, and nothing is found, by any loss."""
    model = LinearClassifier((24,), bounds=Bounds(0.0, 3000.0))
    inputs = model.inputs(2, distance=200.0, norm=Norm.L2)
    for loss in LOSSES:
        attack = ProjectedGradient(epsilon=300.0, norm=Norm.L2, loss=loss, random_start=False)
        result = attack.run(model.classifier(), inputs, model.predict(inputs), seed=0)
        assert result.status == (Status.NOT_FOUND,) * 2
        assert result.queries.tolist() == [2, 2]


@pytest.mark.parametrize(
    ("module", "name", "pattern", "replacement"),
    [
        (fgsm, "FastGradient", r"clean \+ self\.epsilon \*", "clean - self.epsilon *"),
        (fgsm, "FastGradient", r"steepest\(gradient\[slope\], self\.norm\)", "gradient[slope]"),
        (pgd, "ProjectedGradient", r"points = points \+ size \*", "points = points - size *"),
        (
            pgd,
            "ProjectedGradient",
            r"(?<=points = )project\(points, clean, self\.epsilon, self\.norm, oracle\.bounds\)",
            "points.clamp(oracle.bounds.lower, oracle.bounds.upper)",
        ),
    ],
)
@pytest.mark.parametrize("norm", Norm)
def test_without_an_essential_step_a_check_fails(mutant, module, name, pattern, replacement, norm):
    with pytest.raises(AssertionError):
        check_epsilon_decides(getattr(mutant(module, pattern, replacement), name), norm)


def test_without_moving_on_a_check_fails(mutant):
    mutated = mutant(pgd, r"points=replace_rows\(state\.points, rows, points\), status=status", "status=status")
    with pytest.raises(AssertionError):
        check_many_steps_beat_one(mutated.ProjectedGradient)
