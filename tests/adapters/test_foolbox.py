"""Foolbox's attacks on our oracles, and our copies as Foolbox's models."""

# ruff: noqa: NPY002 - the libraries draw from the legacy generators
import importlib

import numpy as np
import pytest
import torch

from variegate.adapters.foolbox import foolbox_classifier, foolbox_model, run_foolbox_attack
from variegate.errors import ConfigurationError
from variegate.oracles.hard_label import HardLabelOracle
from variegate.rewriters.qim import QimSpec
from variegate.testing.closed_form import RecordingModel
from variegate.testing.seller import InMemorySeller, small_classifier
from variegate.types import Bounds, Status

pytestmark = [pytest.mark.filterwarnings("ignore")]  # SciPy's, for what Foolbox imports


@pytest.fixture(scope="module", autouse=True)
def _foolbox():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("foolbox", reason="Foolbox is not installed; pip install 'variegate[foolbox]'")


SHAPE = (1, 8, 8)


def images(bounds, count=2):
    return bounds.lower + bounds.range * torch.rand((count, *SHAPE), generator=torch.Generator().manual_seed(1))


def attack(made, *, bounds=None, budget=120, predict=None, inputs=None, labels=None, **options):
    bounds = bounds or Bounds()
    classifier = small_classifier(bounds=bounds)
    recorder = RecordingModel(predict or classifier.predict)
    inputs = images(bounds) if inputs is None else inputs
    oracle = HardLabelOracle(
        recorder.predict, input_shape=SHAPE, bounds=bounds, num_classes=10, samples=len(inputs), budget=budget
    )
    labels = classifier.predict(inputs) if labels is None else labels
    before = np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    result = run_foolbox_attack(made, oracle, inputs, labels, seed=3, **options)
    assert (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before
    return result, recorder, (inputs, labels, classifier)


def attacks(name, **options):
    import foolbox

    return getattr(foolbox.attacks, name)(**options)


@pytest.mark.parametrize("name", ["HopSkipJumpAttack", "BoundaryAttack"])
def test_every_row_is_counted_and_no_budget_exceeded(name):
    result, recorder, (inputs, labels, classifier) = attack(attacks(name, steps=1000))
    assert recorder.rows == int(result.queries.sum())
    assert result.queries.tolist() == [120, 120]
    assert result.status == (Status.SUCCESS,) * 2
    assert bool((classifier.predict(result.adversarials) != labels).all())
    assert torch.allclose((result.adversarials - inputs).flatten(1).norm(dim=1), result.distances, atol=1e-5)
    again, _, _ = attack(attacks(name, steps=1000))
    assert torch.equal(again.adversarials, result.adversarials)


def test_the_second_image_does_not_depend_on_the_first():
    whole, _, (inputs, labels, _) = attack(attacks("HopSkipJumpAttack", steps=100), budget=80)
    made = attacks("HopSkipJumpAttack", steps=100)
    alone, _, _ = attack(made, budget=80, inputs=inputs[1:], labels=labels[1:], identities=[1])
    assert torch.equal(alone.adversarials[0], whole.adversarials[1])


def test_any_bounds():
    """Foolbox's HopSkipJump clips to [0, 1]; shown in [0, 1], it does the same in any bounds."""
    one, _, _ = attack(attacks("HopSkipJumpAttack", steps=100), budget=80)
    other, _, _ = attack(attacks("HopSkipJumpAttack", steps=100), budget=80, bounds=Bounds(-1.0, 1.0))
    assert torch.allclose(2 * one.distances, other.distances, rtol=1e-3)


def test_returned_is_what_foolbox_returned():
    made = attacks("HopSkipJumpAttack", steps=1, initial_gradient_eval_steps=10)
    result, recorder, (_, labels, classifier) = attack(made, budget=300, rule="returned", bounds=Bounds(-1.0, 1.0))
    assert result.status == (Status.SUCCESS,) * 2
    assert recorder.rows == int(result.queries.sum())
    assert bool((classifier.predict(result.adversarials) != labels).all())
    spent, _, _ = attack(attacks("BoundaryAttack"), budget=60, rule="returned")
    assert spent.status == (Status.BUDGET_EXHAUSTED,) * 2


def test_targeted_from_starting_points():
    classifier = small_classifier()
    pool = images(Bounds(), 60)
    labels = classifier.predict(pool)
    other = int((labels != labels[0]).nonzero()[0])
    result, _, _ = attack(
        attacks("BoundaryAttack"),
        inputs=pool[:1],
        labels=labels[:1],
        targets=labels[other : other + 1],
        starting_points=pool[other : other + 1],
    )
    assert result.status == (Status.SUCCESS,)
    assert int(classifier.predict(result.adversarials)) == int(labels[other])


def test_a_start_that_is_not_found():
    start = attacks("LinearSearchBlendedUniformNoiseAttack", directions=3, steps=5)
    made = attacks("HopSkipJumpAttack", init_attack=start)
    inputs = images(Bounds(), 1)
    labels = torch.zeros(1, dtype=torch.int64)
    result, _, _ = attack(made, predict=lambda x: torch.zeros(len(x)).long(), inputs=inputs, labels=labels)
    assert result.status == (Status.NO_STARTING_POINT,)
    assert int(result.queries) < 120


def test_models_for_foolbox():
    import foolbox

    copy = InMemorySeller(small_classifier()).issue(QimSpec(messages_per_class=2, quantization_step=0.2), "acme")
    x = images(Bounds(), 3)
    assert torch.allclose(foolbox_model(copy)(x), copy.scores(x), atol=1e-6)
    classifier = small_classifier()
    assert torch.allclose(foolbox_classifier(classifier.module, classifier)(x), classifier.logits(x), atol=1e-5)
    labels = classifier.predict(x)
    _, found, success = foolbox.attacks.LinfPGD(steps=5)(foolbox_model(classifier), x, labels, epsilons=0.3)
    assert bool(success.any())
    assert bool((classifier.predict(found) != labels)[success].all())


class TestMistakes:
    def test_without_foolbox(self, monkeypatch):
        made = attacks("BoundaryAttack")

        def missing(name):
            raise ImportError(name)

        monkeypatch.setattr(importlib, "import_module", missing)
        for use in (lambda: attack(made), lambda: foolbox_model(small_classifier())):
            with pytest.raises(ConfigurationError, match=r"needs foolbox, .* pip install 'variegate\[foolbox\]'"):
                use()

    def test_no_budget(self):
        with pytest.raises(ConfigurationError, match="Foolbox .* BoundaryAttack is ended by the budget"):
            attack(attacks("BoundaryAttack"), budget=None)

    def test_no_attack_of_foolbox(self):
        with pytest.raises(ConfigurationError, match="expected an attack of Foolbox's, .* got str"):
            attack("hsj")
