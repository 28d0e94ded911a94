"""ART's attacks on our oracles, and our copies as ART's models."""

# ruff: noqa: NPY002 - the libraries draw from the legacy generators
import importlib

import numpy as np
import pytest
import torch

from variegate.adapters import art as adapter
from variegate.adapters.art import art_black_box, art_classifier, art_estimator, run_art_attack
from variegate.adapters.closest import BudgetSpentError, OneImage
from variegate.adapters.modules import ToFloat32
from variegate.errors import ConfigurationError
from variegate.oracles.hard_label import HardLabelOracle, Misclassified
from variegate.rewriters.qim import QimSpec
from variegate.testing.closed_form import RecordingModel
from variegate.testing.seller import InMemorySeller, small_classifier
from variegate.types import Bounds, Norm, Status

pytest.importorskip("art", reason="ART is not installed; pip install 'variegate[art]'", exc_type=ImportError)

pytestmark = [pytest.mark.filterwarnings("ignore")]  # ART's own, of which there are many

SHAPE = (1, 8, 8)


def images(bounds, count=2):
    return bounds.lower + bounds.range * torch.rand((count, *SHAPE), generator=torch.Generator().manual_seed(1))


def attack(make, *, bounds=None, budget=250, predict=None, inputs=None, labels=None, **options):
    bounds = bounds or Bounds()
    classifier = small_classifier(bounds=bounds)
    recorder = RecordingModel(predict or classifier.predict)
    inputs = images(bounds) if inputs is None else inputs
    oracle = HardLabelOracle(
        recorder.predict, input_shape=SHAPE, bounds=bounds, num_classes=10, samples=len(inputs), budget=budget
    )
    labels = classifier.predict(inputs) if labels is None else labels
    before = np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    result = run_art_attack(make, oracle, inputs, labels, seed=3, **options)
    assert (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before
    return result, recorder, (inputs, labels, classifier)


def hopskipjump(estimator, **options):
    from art.attacks.evasion import HopSkipJump

    return HopSkipJump(estimator, **{"max_iter": 100, "verbose": False, **options})


def boundary(estimator, **options):
    from art.attacks.evasion import BoundaryAttack

    return BoundaryAttack(estimator, **{"targeted": False, "verbose": False, **options})


def geoda(estimator):
    from art.attacks.evasion import GeoDA

    return GeoDA(estimator, max_iter=300, sub_dim=4, verbose=False)


@pytest.mark.parametrize("make", [hopskipjump, boundary, geoda])
def test_every_row_is_counted_and_no_budget_exceeded(make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result, recorder, (inputs, labels, classifier) = attack(make, budget=150)
    assert recorder.rows == int(result.queries.sum())
    assert int(result.queries.max()) <= 150
    assert result.status == (Status.SUCCESS,) * 2
    assert bool((classifier.predict(result.adversarials) != labels).all())
    sizes = (result.adversarials - inputs).flatten(1).norm(dim=1)
    assert torch.allclose(sizes, result.distances, atol=1e-5)
    assert all(recorder.answer_to(row[None]) is not None for row in result.adversarials)
    again, _, _ = attack(make, budget=150)
    assert torch.equal(again.adversarials, result.adversarials)
    assert list(tmp_path.iterdir()) == []  # GeoDA keeps no file here


def test_bounds_are_arts_clip_values():
    one, _, _ = attack(hopskipjump, budget=100)
    other, _, _ = attack(hopskipjump, budget=100, bounds=Bounds(-2.0, 2.0))
    assert torch.allclose(4 * one.distances, other.distances, rtol=1e-3)


def test_returned_is_what_art_returned():
    short = lambda estimator: hopskipjump(estimator, max_iter=1, init_eval=10)  # noqa: E731
    closest, _, _ = attack(short)
    returned, recorder, _ = attack(short, rule="returned")
    assert torch.equal(returned.queries, closest.queries + 1)
    assert recorder.rows == int(returned.queries.sum())
    assert bool((returned.distances >= closest.distances).all())
    spent, _, _ = attack(hopskipjump, rule="returned", budget=60)
    assert spent.status == (Status.BUDGET_EXHAUSTED,) * 2


def test_targeted_from_starting_points():
    classifier = small_classifier()
    pool = images(Bounds(), 60)
    labels = classifier.predict(pool)
    other = int((labels != labels[0]).nonzero()[0])
    options = {"inputs": pool[:1], "labels": labels[:1], "budget": 150, "targets": labels[other : other + 1]}
    make = lambda estimator: boundary(estimator, targeted=True)  # noqa: E731
    result, _, _ = attack(make, starting_points=pool[other : other + 1], **options)
    assert result.status == (Status.SUCCESS,)
    assert torch.equal(classifier.predict(result.adversarials), options["targets"])
    with pytest.raises(ConfigurationError, match="BoundaryAttack was made untargeted, but got targets"):
        attack(boundary, **options)


def test_two_classes_and_a_start_that_is_not_found():
    classifier = small_classifier(num_classes=2)
    oracle = HardLabelOracle(
        lambda x: torch.zeros(len(x), dtype=torch.int64),
        input_shape=SHAPE, bounds=classifier.bounds, num_classes=2, samples=1, budget=200,
    )  # fmt: skip
    result = run_art_attack(hopskipjump, oracle, images(Bounds(), 1), torch.zeros(1, dtype=torch.int64), seed=0)
    assert result.status == (Status.NO_STARTING_POINT,)
    assert int(result.queries) == 104  # ours, 100 random images, ART's own before, and its report of 2 after
    assert torch.equal(result.adversarials, images(Bounds(), 1))


def test_black_box_by_hand():
    classifier = small_classifier()
    image = images(Bounds(), 1)
    oracle = HardLabelOracle(
        classifier.predict, input_shape=SHAPE, bounds=Bounds(), num_classes=10, samples=3, budget=7
    )
    labels = classifier.predict(image).expand(3)
    one = OneImage(oracle, 2, image, Misclassified(labels), checkpoints=(7,))
    estimator = art_black_box(one)
    scores = estimator.predict(images(Bounds(), 5).double().numpy())
    assert scores.argmax(1).tolist() == classifier.predict(images(Bounds(), 5)).tolist()
    assert oracle.meter.per_sample.tolist() == [0, 0, 5]
    with pytest.raises(BudgetSpentError):
        estimator.predict(images(Bounds(), 3).numpy())
    assert oracle.meter.per_sample.tolist() == [0, 0, 7]


class TestEstimator:
    def test_scores_and_gradients_of_a_copy(self):
        copy = InMemorySeller(small_classifier()).issue(QimSpec(messages_per_class=2, quantization_step=0.2), "acme")
        estimator = art_estimator(copy)
        x = images(Bounds(), 3)
        assert np.allclose(estimator.predict(x.double().numpy()), copy.scores(x).numpy(), atol=1e-6)
        gradient = estimator.loss_gradient(x.numpy(), np.eye(10)[copy.predict(x).numpy()])
        assert gradient.shape == x.shape
        assert np.abs(gradient).max() > 0
        assert not copy.original.module.training
        assert np.asarray(estimator.clip_values).tolist() == [0.0, 1.0]

    def test_a_white_box_attack_of_arts(self):
        from art.attacks.evasion import FastGradientMethod

        classifier = small_classifier()
        x = images(Bounds(), 4)
        found = FastGradientMethod(art_estimator(classifier), eps=0.3).generate(x.numpy())
        assert bool((classifier.predict(torch.from_numpy(found)) != classifier.predict(x)).any())

    def test_over_any_module(self):
        classifier = small_classifier()
        x = images(Bounds(), 3)
        estimator = art_classifier(ToFloat32(classifier.module), classifier)
        assert np.allclose(estimator.predict(x.double().numpy()), classifier.logits(x).numpy(), atol=1e-5)


def test_the_basis_is_arts(monkeypatch):
    from art.attacks.evasion import GeoDA

    monkeypatch.setattr(np, "mat", np.asmatrix, raising=False)
    for sub_dim, res in ((3, 5), (4, 4), (6, 4)):
        theirs = np.asarray(GeoDA._generate_2d_dct_basis(sub_dim, res))
        assert np.allclose(adapter._dct_basis(sub_dim, res), theirs, atol=1e-12)


class TestMistakes:
    def test_without_art(self, monkeypatch):
        def missing(name):
            raise ImportError(name)

        monkeypatch.setattr(importlib, "import_module", missing)
        for use in (lambda: attack(hopskipjump), lambda: art_estimator(small_classifier())):
            with pytest.raises(ConfigurationError, match=r"needs art, .* pip install 'variegate\[art\]'"):
                use()

    def test_no_budget(self):
        with pytest.raises(ConfigurationError, match="ART .* HopSkipJump is ended by the budget"):
            attack(hopskipjump, budget=None)

    def test_an_attack_that_art_refuses(self):
        with pytest.raises(ConfigurationError, match="ART refused to make the attack"):
            attack(lambda estimator: hopskipjump(estimator, max_iter=-1))

    def test_boundary_is_targeted_by_default(self):
        with pytest.raises(ConfigurationError, match="was made targeted, but got no targets; set its option"):
            attack(lambda estimator: boundary(estimator, targeted=True))

    def test_wrong_norms_are_only_measured(self):
        result, _, (inputs, _, _) = attack(hopskipjump, budget=60, norm=Norm.LINF)
        found = (result.adversarials - inputs).flatten(1).abs().amax(1)
        assert torch.allclose(found, result.distances)
