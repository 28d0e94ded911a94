"""What all white-box attacks keep: statuses, bounds, counts, batches, seeds; and the passes that they share."""

import dataclasses
import logging
import math

import pytest
import torch
from torch import nn

from variegate.attacks.white_box import base, gradients
from variegate.attacks.white_box.carlini_wagner import CarliniWagner
from variegate.attacks.white_box.deepfool import DeepFool
from variegate.attacks.white_box.fgsm import FastGradient
from variegate.attacks.white_box.gradients import GradientOracle
from variegate.attacks.white_box.pgd import ProjectedGradient
from variegate.attacks.white_box.toolbox import log_scores, margin, objective, project, steepest, unit_rows
from variegate.errors import ConfigurationError, InputError
from variegate.evaluation.records import attack_record
from variegate.models.classifier import Classifier
from variegate.models.geometry import distance
from variegate.testing.closed_form import LinearClassifier
from variegate.types import Bounds, Norm, Status

EPSILON = 0.3
ATTACKS = {
    "deepfool": DeepFool(),
    "deepfool-probabilities": DeepFool(scores="probabilities"),
    "deepfool-art": DeepFool(semantics="art", overshoot=0.02),
    "fgsm-l2": FastGradient(norm=Norm.L2, epsilon=EPSILON),
    "fgsm-linf": FastGradient(epsilon=0.1, loss="margin"),
    "pgd-l2": ProjectedGradient(norm=Norm.L2, epsilon=EPSILON, steps=6),
    "pgd-linf": ProjectedGradient(epsilon=0.1, steps=6, stop_early=True, loss="margin"),
    "carlini_wagner": CarliniWagner(rounds=3, iterations=20, learning_rate=0.05, first_constant=0.3),
}


@pytest.fixture(params=list(ATTACKS))
def attack(request):
    return ATTACKS[request.param]


class Target:
    """A `Differentiable` over a classifier that keeps what it was asked, and whose scores can be changed."""

    def __init__(self, classifier, change=lambda x, scores: scores):
        self._classifier, self._change = classifier, change
        self.num_classes, self.input_spec = classifier.num_classes, classifier.input_spec
        self.input_shape = classifier.input_shape
        self.bounds, self.device = classifier.bounds, classifier.device
        self.forward, self.labelled, self.largest = 0, [], 0

    def _seen(self, x):
        self.forward += len(x)
        self.largest = max(self.largest, len(x))

    def predict(self, x):
        self._seen(x)
        self.labelled.append(x.clone())
        return self._classifier.predict(x)

    def scores(self, x):
        self._seen(x)
        return self._change(x, self._classifier.scores(x))

    def differentiable_scores(self, x):
        self._seen(x)
        return self._change(x, self._classifier.differentiable_scores(x))


def network(bounds=None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 5))
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * (1.0 if parameter.ndim > 1 else 0.1)
    return Classifier(module, input_shape=(3, 2, 2), labels=5, bounds=bounds)


def images(count, seed=1):
    return torch.rand((count, 3, 2, 2), generator=torch.Generator().manual_seed(seed))


def test_results_are_consistent(attack):
    classifier, inputs = network(), images(6)
    labels = classifier.predict(inputs)
    target, given = Target(classifier), inputs.clone()
    result = attack.run(target, inputs, labels, seed=0)
    assert torch.equal(inputs, given)
    found = result.success
    assert int(found.sum()) >= 3
    assert bool((classifier.predict(result.adversarials) != labels)[found].all())
    assert torch.equal(result.adversarials[~found], inputs[~found])
    assert [status is Status.SUCCESS for status in result.status] == found.tolist()
    assert set(result.status) <= {Status.SUCCESS, Status.NOT_FOUND}
    assert float(result.adversarials.min()) >= 0.0
    assert float(result.adversarials.max()) <= 1.0
    size = distance(inputs, result.adversarials, attack.norm)
    assert torch.allclose(result.distances[found], size[found])
    assert result.norm is attack.norm
    asked = torch.cat(target.labelled)
    for row in found.nonzero().flatten().tolist():
        assert bool((asked == result.adversarials[row]).flatten(1).all(1).any())  # labelled itself, bit for bit
    assert int(result.queries.sum()) == target.forward
    assert torch.equal(result.trajectory.queries[-1], result.queries)


@pytest.mark.parametrize("bounds", [Bounds(-1.0, 1.0), Bounds(0.0, 255.0), Bounds(-0.3, 0.7)])
def test_other_bounds(attack, bounds):
    model = LinearClassifier((1, 4, 4), bounds=bounds)
    inputs = model.inputs(3, distance=0.02 * bounds.range, norm=Norm.L2)
    if hasattr(attack, "epsilon"):
        attack = dataclasses.replace(attack, epsilon=0.1 * bounds.range)
    result = attack.run(model.classifier(), inputs, model.predict(inputs), seed=0)
    if getattr(attack, "scores", "log") == "log" and getattr(attack, "semantics", "paper") == "paper":
        assert bool(result.success.all())
    assert bool(((result.adversarials >= bounds.lower) & (result.adversarials <= bounds.upper)).all())


def test_a_batch_does_not_matter(attack):
    """Up to rounding of the model's sums; 1e-4 is far more than Adam and DeepFool make of it here."""
    classifier, inputs, names = network(), images(4), [11, 7, 1_000_000, 3]
    labels = classifier.predict(inputs)
    whole = attack.run(classifier, inputs, labels, seed=0, identities=names)
    back = attack.run(classifier, inputs.flip(0), labels.flip(0), seed=0, identities=names[::-1])
    assert torch.allclose(back.adversarials.flip(0), whole.adversarials, atol=1e-4)
    for row in range(4):
        part = slice(row, row + 1)
        alone = attack.run(classifier, inputs[part], labels[part], seed=0, identities=names[part])
        assert torch.allclose(alone.adversarials, whole.adversarials[part], atol=1e-4)
        assert alone.status == whole.status[part]
        if attack is not ATTACKS["deepfool-art"]:  # on the boundary, rounding decides how often it steps on the spot
            assert torch.equal(alone.queries, whole.queries[part])


def test_seeds(attack):
    classifier, inputs = network(), images(3)
    labels = classifier.predict(inputs)
    before = torch.get_rng_state()
    one, again, other = (attack.run(classifier, inputs, labels, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(one.adversarials, again.adversarials)
    assert torch.equal(one.adversarials, other.adversarials) == attack.deterministic


def test_targets(attack):
    classifier, inputs = network(), images(8)
    labels = classifier.predict(inputs)
    second = classifier.scores(inputs).topk(2).indices[:, 1]
    targets = second.clone()
    targets[0] = labels[0]
    if getattr(attack, "semantics", "paper") == "art":
        with pytest.raises(ConfigurationError, match="'deepfool' cannot be targeted with semantics 'art'; use 'paper'"):
            attack.run(classifier, inputs, labels, seed=0, targets=targets)
        return
    result = attack.run(classifier, inputs, labels, seed=0, targets=targets)
    found = result.success
    assert result.status[0] is Status.ALREADY_MISCLASSIFIED
    assert int(found.sum()) >= 3
    assert torch.equal(classifier.predict(result.adversarials)[found], targets[found])


def test_statuses(attack):
    classifier, inputs = network(), images(4)
    labels = classifier.predict(inputs)
    labels[1] = (labels[1] + 1) % 5
    inputs[2, 0] = float("nan")
    result = attack.run(classifier, inputs, labels, seed=0)
    assert result.status[1:3] == (Status.ALREADY_MISCLASSIFIED, Status.NON_FINITE)
    assert result.queries[1:3].tolist() == [1, 0]
    assert result.success.tolist()[1:3] == [False, False]
    assert torch.equal(result.adversarials[1], inputs[1])


def test_no_inputs(attack):
    result = attack.run(network(), images(0), torch.zeros(0, dtype=torch.int64), seed=0)
    assert result.adversarials.shape == (0, 3, 2, 2)
    assert result.status == ()


@pytest.mark.parametrize("kind", ["scores", "gradients"])
def test_what_is_not_finite_is_a_status_of_its_input_alone(attack, kind, caplog):
    """Wherever the second channel's first value is above 0.5, the model is broken: there, input 1 starts."""
    classifier, inputs = network(), images(3)
    inputs[:, 1, 0, 0] = torch.tensor([0.1, 0.99, 0.1])

    def change(x, scores):
        broken = x[:, 1, 0, 0] > 0.9
        if kind == "scores":
            return torch.where(broken[:, None], torch.full_like(scores, float("nan")), scores)
        still = (x[:, 1, 0, 0] - x[:, 1, 0, 0].detach()).abs()  # the root of 0 has an infinite slope
        return scores * (1.0 + 0.0 * (still + (~broken).float()).sqrt())[:, None]

    labels = classifier.predict(inputs)
    with caplog.at_level(logging.WARNING, logger=base.__name__):
        result = attack.run(Target(classifier, change), inputs, labels, seed=0)
    usual = attack.run(classifier, inputs, labels, seed=0)
    assert result.status[1] is Status.ORACLE_FAILED
    assert not bool(result.success[1])
    assert "of 1 inputs are NaN or infinite" in caplog.text
    for row in (0, 2):
        assert torch.allclose(result.adversarials[row], usual.adversarials[row], atol=1e-4)


@pytest.mark.parametrize("constant", ["detached", "zero"])
def test_without_a_gradient_there_is_no_success(attack, constant):
    """Steps of the scores: their gradient is zero everywhere.

    PGD's random start may stumble on something, and Carlini-Wagner's first step, whose length does not depend on the
    gradient's: that of the distance, which is rounding.
    """
    classifier, inputs = network(), images(4)
    labels = classifier.predict(inputs)

    def change(x, scores):
        return scores.detach() + (0.0 * x.flatten(1).sum(1, keepdim=True) if constant == "zero" else 0.0)

    target = Target(classifier, change)
    result = attack.run(target, inputs, labels, seed=0)
    moved = (result.adversarials != inputs).flatten(1).any(1)
    assert torch.equal(result.success, moved)
    if attack.deterministic and not isinstance(attack, CarliniWagner):
        assert result.status == (Status.NOT_FOUND,) * 4
        assert not bool(moved.any())
    if not isinstance(attack, CarliniWagner):
        assert int(result.queries.max()) <= 4  # nothing is gained by going on


def test_a_failing_model(attack):
    classifier, inputs = network(), images(3)
    labels = classifier.predict(inputs)

    def change(x, scores):
        raise RuntimeError("out of memory")

    result = attack.run(Target(classifier, change), inputs, labels, seed=0)
    assert result.status == (Status.ORACLE_FAILED,) * 3
    assert result.error == "the model failed on 3 inputs: out of memory"
    assert torch.equal(result.adversarials, inputs)
    result = attack.run(Target(classifier, lambda x, scores: scores[:, :3]), inputs, labels, seed=0)
    assert "the model must return scores of shape (3, 5); got (3, 3)" in result.error

    def refuse(x, scores):
        raise InputError("gradients through this head are not available")

    with pytest.raises(InputError, match="gradients through this head are not available"):
        attack.run(Target(classifier, refuse), inputs, labels, seed=0)


def test_bad_inputs(attack):
    classifier, inputs = network(), images(3)
    labels = classifier.predict(inputs)
    for expected, call in {
        "shape (N, 3, 2, 2); got (3, 3, 2)": lambda: attack.run(classifier, inputs[..., 0], labels, seed=0),
        "must lie in [0, 1]": lambda: attack.run(classifier, inputs + 1.0, labels, seed=0),
        "labels must be int64": lambda: attack.run(classifier, inputs, labels.float(), seed=0),
        "targets must be from 0 to 4": lambda: attack.run(classifier, inputs, labels, seed=0, targets=labels + 5),
        "identities must be 3 integers": lambda: attack.run(classifier, inputs, labels, seed=0, identities=[1]),
    }.items():
        with pytest.raises(InputError) as caught:
            call()
        assert expected in str(caught.value)


def test_progress_and_the_log(attack, caplog):
    classifier, inputs, told = network(), images(2), []
    with caplog.at_level(logging.DEBUG, logger=base.__name__):
        result = attack.run(
            classifier,
            inputs,
            classifier.predict(inputs),
            seed=0,
            progress=lambda done, most: told.append((done, most)),
        )
    assert told[-1] == (int(result.queries.sum()), 0)
    assert f"{attack.name}: {int(result.queries.sum())} forward rows, " in caplog.text
    assert f" forward rows, {int(result.backward_rows.sum())} backward rows, " in caplog.text
    assert result.backward_rows.dtype == torch.int64
    assert result.backward_rows.shape == result.queries.shape
    assert bool((result.backward_rows > 0).all())
    assert attack_record(result).backward_rows.total == int(result.backward_rows.sum())


def test_passes_are_bounded_and_counted(attack, monkeypatch):
    classifier, inputs = network(), images(7)
    labels = classifier.predict(inputs)
    usual = attack.run(classifier, inputs, labels, seed=0)
    monkeypatch.setattr(gradients, "gradient_rows", lambda rows, device: 2)
    target = Target(classifier)
    predict = target.predict
    target.predict = lambda x: torch.cat([predict(part) for part in x.split(2)])  # as a classifier does itself
    result = attack.run(target, inputs, labels, seed=0)
    assert target.largest == 2
    assert torch.allclose(result.adversarials, usual.adversarials, atol=1e-4)
    assert attack is ATTACKS["deepfool-art"] or torch.equal(result.queries, usual.queries)


def test_gradients_of_an_oracle():
    classifier, points = network(), images(3)
    oracle = GradientOracle(classifier, samples=5)
    samples = torch.tensor([4, 0, 4])
    with torch.no_grad():  # whatever the caller has set
        scores, pull = oracle.pull(points, samples, lambda scores, part: scores[:, 1] * torch.arange(1.0, 4.0)[part])
    assert torch.allclose(scores, classifier.scores(points))
    assert not scores.requires_grad
    leaf = points.clone().requires_grad_()
    classifier.differentiable_scores(leaf)[:, 1].sum().backward()
    assert torch.allclose(pull, leaf.grad * torch.arange(1.0, 4.0)[:, None, None, None], atol=1e-6)
    assert oracle.labels.meter.per_sample.tolist() == [1, 0, 0, 0, 2]
    assert oracle.backward_rows.tolist() == [1, 0, 0, 0, 2]
    oracle.scores(points, samples)
    assert oracle.labels.meter.per_sample.tolist() == [2, 0, 0, 0, 4]
    assert oracle.backward_rows.tolist() == [1, 0, 0, 0, 2]


def test_losses():
    logits = torch.tensor([[2.0, 0.5, -1.0], [50.0, 1.0, 0.0]])
    labels, scores = torch.tensor([0, 0]), logits.softmax(1)
    aim = base.Aim(labels, targeted=False)
    assert torch.allclose(margin(scores, aim), torch.tensor([-1.5, -49.0]), atol=1e-4)
    goal = base.Aim(torch.tensor([2, 1]), targeted=True)
    assert torch.allclose(margin(scores, goal), torch.tensor([-3.0, -49.0]), atol=1e-4)
    assert torch.allclose(objective("cross_entropy", aim)(scores[1:], slice(1, 2)), -scores[1:, 0].log())
    assert torch.allclose(objective("cross_entropy", goal)(scores[:1], slice(0, 1)), scores[:1, 2].log())
    assert torch.equal(objective("margin", goal)(scores, slice(None)), margin(scores, goal))
    assert bool(torch.isfinite(log_scores(torch.tensor([[1.0, 0.0, -0.3]]))).all())
    with pytest.raises(ConfigurationError, match="loss must be 'cross_entropy' or 'margin'; got 'other'"):
        objective("other", aim)


def test_tiny_gradients_keep_their_direction():
    vectors = torch.tensor([[3e-30, -4e-30], [0.0, 0.0], [3.0, 4.0]])
    unit, length = unit_rows(vectors)
    assert torch.allclose(unit, torch.tensor([[0.6, -0.8], [0.0, 0.0], [0.6, 0.8]]))
    assert torch.allclose(length / torch.tensor([5e-30, 1.0, 5.0]), torch.tensor([1.0, 0.0, 1.0]))
    assert steepest(vectors, Norm.LINF).tolist() == [[1.0, -1.0], [0.0, 0.0], [1.0, 1.0]]


@pytest.mark.parametrize("norm", Norm)
def test_projection(norm):
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand((50, 12), generator=generator)
    points = clean + torch.randn((50, 12), generator=generator) * torch.logspace(-3, 1, 50)[:, None]
    moved = project(points, clean, 0.2, norm, Bounds())
    assert float(distance(moved, clean, norm).max()) <= 0.2 * (1.0 + 1e-6)
    assert float(moved.min()) >= 0.0
    assert float(moved.max()) <= 1.0
    inside = (distance(points, clean, norm) <= 0.2) & (points.clamp(0.0, 1.0) == points).all(1)
    assert bool(inside.any())
    assert torch.allclose(moved[inside], points[inside], atol=1e-7)


def test_a_criterion_of_another_kind_is_refused():
    problem = type("Problem", (), {"criterion": object()})()
    with pytest.raises(ConfigurationError, match="a gradient leads away from a label or towards one; got"):
        base.aim(problem)


@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("kind", [FastGradient, ProjectedGradient])
def test_bad_epsilons(kind, value):
    with pytest.raises(ConfigurationError, match="epsilon must be a positive number; got"):
        kind(epsilon=value)


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        (FastGradient, {"epsilon": 1.0, "norm": "l1"}, "norm must be Norm.L2 or Norm.LINF; got 'l1'"),
        (FastGradient, {"epsilon": 1.0, "loss": "hinge"}, "loss must be 'cross_entropy' or 'margin'; got 'hinge'"),
        (ProjectedGradient, {"epsilon": 1.0, "norm": 2}, "norm must be Norm.L2 or Norm.LINF; got 2"),
        (ProjectedGradient, {"epsilon": 1.0, "loss": ""}, "loss must be 'cross_entropy' or 'margin'; got ''"),
        (ProjectedGradient, {"epsilon": 1.0, "steps": 0}, "steps must be at least 1; got 0"),
        (ProjectedGradient, {"epsilon": 1.0, "step_size": 0.0}, "step_size must be a positive number; got 0.0"),
        (CarliniWagner, {"confidence": -1.0}, "confidence must be a number from 0 up; got -1.0"),
        (CarliniWagner, {"rounds": 0}, "rounds must be at least 1; got 0"),
        (CarliniWagner, {"iterations": 0}, "iterations must be at least 1; got 0"),
        (CarliniWagner, {"learning_rate": -0.1}, "learning_rate must be a positive number; got -0.1"),
        (CarliniWagner, {"first_constant": math.inf}, "first_constant must be a positive number; got inf"),
        (DeepFool, {"scores": "logits"}, "scores must be 'log' or 'probabilities'; got 'logits'"),
        (DeepFool, {"semantics": "foolbox"}, "semantics must be 'paper' or 'art'; got 'foolbox'"),
        (DeepFool, {"overshoot": -0.1}, "overshoot must be a number from 0 up; got -0.1"),
        (DeepFool, {"candidates": 1}, "candidates must be at least 2; got 1"),
        (DeepFool, {"iterations": 0}, "iterations must be at least 1; got 0"),
    ],
)
def test_bad_options(kind, options, sentence):
    with pytest.raises(ConfigurationError) as caught:
        kind(**options)
    assert str(caught.value) == sentence
