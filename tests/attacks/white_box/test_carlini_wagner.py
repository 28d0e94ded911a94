"""Carlini-Wagner against closed forms: close to the nearest adversarial, each input with its own constant."""

import pytest
import torch

from variegate.attacks.white_box import carlini_wagner
from variegate.attacks.white_box.base import Aim
from variegate.attacks.white_box.carlini_wagner import CarliniWagner
from variegate.attacks.white_box.toolbox import margin
from variegate.testing.closed_form import LinearClassifier, QuadricClassifier
from variegate.types import Bounds, Norm, Status

# The largest ratio of four inputs to the true distance after 5 rounds of 100 iterations, learning rate 0.02, in 2, 16
# and 64 dimensions: planes in [0, 1] 1.002 1.002 1.012, in [-1, 1] 1.001 1.003 1.010, in [0, 255] 1.009 1.033
# 1.037; a ball from outside 1.014 1.007 1.021, from inside 1.001 1.014 1.023. With 9 rounds of 200 iterations and a
# learning rate of 0.01 all are below 1.01, but a ball in 256 dimensions at 1.023.
QUICK = {"rounds": 5, "iterations": 100, "learning_rate": 0.02, "first_constant": 0.1}


def ratios(attack, model, inputs):
    result = attack.run(model.classifier(), inputs, model.predict(inputs), seed=0)
    assert result.status == (Status.SUCCESS,) * len(inputs)
    found = result.distances.double() / model.distance(inputs, Norm.L2)
    assert float(found.min()) > 0.9999
    return found


@pytest.mark.parametrize("bounds", [Bounds(), Bounds(0.0, 255.0)])
def test_planes(bounds):
    model = LinearClassifier((16,), bounds=bounds)
    inputs = model.inputs(4, distance=0.15 * bounds.range, norm=Norm.L2)
    assert float(ratios(CarliniWagner(**QUICK), model, inputs).max()) < 1.06


def check_spheres(kind, limit=1.05):
    model = QuadricClassifier((16,), radius=0.3)
    inputs = torch.cat([model.inputs(2, length=0.15), model.inputs(2, length=0.45)])
    assert float(ratios(kind(**QUICK), model, inputs).max()) < limit


def test_spheres_from_inside_and_outside_in_one_batch():
    check_spheres(CarliniWagner)


def check_own_constants(kind):
    """One input near the boundary, one far: each finds its own, with the constant that it needs."""
    model = LinearClassifier((16,))
    inputs = torch.cat([model.inputs(1, distance=0.01, norm=Norm.L2), model.inputs(1, distance=0.3, norm=Norm.L2)])
    assert float(ratios(kind(**{**QUICK, "rounds": 6}), model, inputs).max()) < 1.2


def test_each_input_has_its_own_constant():
    check_own_constants(CarliniWagner)


def test_confidence():
    model = LinearClassifier((16,))
    inputs = model.inputs(3, distance=0.1, norm=Norm.L2)
    result = CarliniWagner(confidence=0.1, **QUICK).run(model.classifier(), inputs, model.predict(inputs), seed=0)
    assert bool(result.success.all())
    past = margin(model.classifier().scores(result.adversarials), Aim(model.predict(inputs), targeted=False))
    assert float(past.min()) >= 0.1 - 1e-5
    assert torch.allclose(result.distances, torch.full((3,), 0.2), rtol=0.1)


def test_a_constant_that_is_too_small_finds_nothing():
    model = LinearClassifier((16,))
    inputs = model.inputs(2, distance=0.2, norm=Norm.L2)
    attack = CarliniWagner(rounds=1, iterations=60, first_constant=1e-3)
    result = attack.run(model.classifier(), inputs, model.predict(inputs), seed=0)
    assert result.status == (Status.NOT_FOUND,) * 2
    assert torch.equal(result.adversarials, inputs)


def test_counts():
    model = LinearClassifier((16,))
    inputs = model.inputs(2, distance=0.1, norm=Norm.L2)
    options = {"rounds": 2, "iterations": 13, "first_constant": 1e-4, "learning_rate": 1e-3}
    full = CarliniWagner(abort_early=False, **options).run(model.classifier(), inputs, model.predict(inputs), seed=0)
    assert full.queries.tolist() == [27, 27]
    early = CarliniWagner(**{**options, "iterations": 40}).run(
        model.classifier(), inputs, model.predict(inputs), seed=0
    )
    assert bool((early.queries < 81).all())


@pytest.mark.parametrize(
    ("pattern", "replacement", "check"),
    [
        (r"_GROWTH \* constant, 0\.5 \* \(lower \+ upper\)", "constant, constant", check_own_constants),
        (r"closer = hit & \(size < now\[\"closest\"\]\)", "closer = ~failed", check_spheres),
        (r"2\.0 \* \(points - clean\) / oracle\.bounds\.range\*\*2 \+ pull", "pull", check_spheres),
        (r"/ oracle\.bounds\.range\*\*2 \+ pull", "- pull", check_spheres),
    ],
)
def test_without_an_essential_step_a_check_fails(mutant, pattern, replacement, check):
    with pytest.raises(AssertionError):
        check(mutant(carlini_wagner, pattern, replacement).CarliniWagner)
