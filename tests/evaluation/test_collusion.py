"""Ensembles and votes on closed forms: identical members change nothing, two are their mean, more average QIM out."""

import math

import pytest
import torch
from torch import nn

from variegate.attacks.hopskipjump import HopSkipJump
from variegate.attacks.white_box.base import WhiteBoxAttack
from variegate.attacks.white_box.deepfool import DeepFool
from variegate.errors import ConfigurationError, InputError, OracleError
from variegate.evaluation.collusion import Collusion, Ensemble, MajorityVote, Panel, collude
from variegate.evaluation.subjects import experiment_heads
from variegate.models.classifier import Classifier
from variegate.rewriters.base import AbstractSpec, RewrittenCopy
from variegate.rewriters.qim import QimSpec
from variegate.testing.seller import small_classifier

QIM = QimSpec(messages_per_class=4, quantization_step=0.2, strength=1.0)


def copies_of(original: Classifier, count: int, spec: AbstractSpec = QIM) -> list[RewrittenCopy]:
    return [RewrittenCopy(original, head) for head in experiment_heads(original, spec, copies=count, seed=0)]


def some(count: int = 12, seed: int = 0) -> torch.Tensor:
    return torch.rand((count, 1, 8, 8), generator=torch.Generator().manual_seed(seed))


def linear(weights: torch.Tensor) -> Classifier:
    layer = nn.Linear(weights.shape[1], weights.shape[0], bias=False)
    layer.weight.data.copy_(weights)
    return Classifier(nn.Sequential(nn.Flatten(), layer), input_shape=(1, 8, 8), labels=weights.shape[0])


class Answers:
    """A classifier whose label is always the same."""

    def __new__(cls, label: int) -> Classifier:
        classifier = linear(torch.zeros((4, 64)))
        layer = nn.Linear(64, 4)
        layer.weight.data.zero_()
        layer.bias.data.copy_(3.0 * torch.eye(4)[label])
        classifier.module = nn.Sequential(nn.Flatten(), layer)
        return classifier


class TestEnsemble:
    def test_of_two_is_their_mean(self):
        first, second = small_classifier(seed=1), copies_of(small_classifier(seed=2), 1)[0]
        x = some()
        ensemble = Ensemble([first, second])
        expected = 0.5 * (first.scores(x) + second.scores(x))
        assert torch.allclose(ensemble.scores(x), expected, atol=1e-6)
        assert torch.equal(ensemble.predict(x), ensemble.scores(x).argmax(1))
        leaf = x.clone().requires_grad_()
        assert torch.allclose(ensemble.differentiable_scores(leaf), expected, atol=1e-6)
        (slope,) = torch.autograd.grad(ensemble.differentiable_scores(leaf)[:, 0].sum(), leaf)
        (one,) = torch.autograd.grad(first.differentiable_scores(leaf)[:, 0].sum(), leaf)
        (two,) = torch.autograd.grad(second.differentiable_scores(leaf)[:, 0].sum(), leaf)
        assert torch.allclose(slope, 0.5 * (one + two), atol=1e-5)

    def test_of_identical_members_is_one_of_them(self):
        (copy,) = copies_of(small_classifier(), 1, QimSpec(messages_per_class=4, quantization_step=0.5, strength=0.3))
        x = some()
        labels = copy.predict(x)
        for attack in (DeepFool(), DeepFool(semantics="art", scores="probabilities")):
            alone = collude(Ensemble([copy]), attack, x, labels, seed=0)
            four = collude(Ensemble([copy] * 4), attack, x, labels, seed=0)
            assert bool(alone.succeeded.any())
            assert torch.equal(alone.succeeded, four.succeeded)
            found = alone.succeeded
            assert torch.allclose(alone.distances[found], four.distances[found], rtol=1e-3)

    def test_many_rows_are_cut_up_and_joined(self):
        original = small_classifier()
        members = [*copies_of(original, 3), small_classifier(seed=5), original]
        x = some(300)
        expected = torch.stack([member.scores(x) for member in members]).mean(0)
        assert torch.allclose(Ensemble(members).scores(x), expected, atol=1e-6)
        labels = torch.stack([member.predict(x) for member in members], 1)
        assert torch.equal(Panel(members).predict_all(x), labels)

    def test_copies_of_one_original_cost_one_forward_pass_of_it(self, monkeypatch):
        original = small_classifier()
        seen: list[int] = []
        forward = original._logits
        monkeypatch.setattr(original, "_logits", lambda x: seen.append(x.shape[0]) or forward(x))
        ensemble = Ensemble([*copies_of(original, 5), original])
        x = some(10)
        ensemble.scores(x)
        ensemble.predict(x)
        ensemble.differentiable_scores(x.requires_grad_())
        assert seen == [10, 10, 10]

    def test_the_rewriting_averages_out(self):
        """The slope of a mean of r independent QIM heads is that of one over the square root of r."""
        flat = linear(torch.zeros((4, 64)))  # its own slope is 0
        members = copies_of(flat, 64)
        x = some(40).requires_grad_()

        def slope(r: int) -> float:
            found = []
            for start in range(0, 64, r):
                scores = Ensemble(members[start : start + r]).differentiable_scores(x)
                (gradient,) = torch.autograd.grad((scores[:, 0] - scores[:, 1]).sum(), x)
                found.append(gradient.flatten(1).norm(dim=1).square().mean())
            return float(torch.stack(found).mean().sqrt())

        one = slope(1)
        for r in (4, 16):
            assert slope(r) * math.sqrt(r) == pytest.approx(one, rel=0.15)

    def test_more_colluders_come_closer_to_the_original(self):
        weights = torch.randn((4, 64), generator=torch.Generator().manual_seed(0))
        original = linear(0.3 * weights)
        members = copies_of(original, 17)
        victim, colluders = members[16], members[:16]
        x = some(60)
        labels = original.predict(x)
        fooled = []
        for r in (1, 4, 16):
            found = collude(Ensemble(colluders[:r]), DeepFool(), x, labels, seed=0)
            rows = found.succeeded & (victim.predict(x) == labels)
            fooled.append(float((victim.predict(found.adversarials[rows]) != labels[rows]).float().mean()))
        assert fooled[0] < fooled[2]


class TestVote:
    def test_the_majority_decides_and_ties_go_to_the_smallest_label(self):
        x = some(3)

        def voted(*labels: int) -> int:
            (label,) = set(MajorityVote([Answers(label) for label in labels]).predict(x).tolist())
            return label

        assert voted(2) == 2
        assert voted(3, 1, 3) == 3
        assert voted(3, 1) == 1
        assert voted(3, 3, 2, 2, 0) == 2

    def test_is_attacked_through_its_labels(self):
        members = copies_of(small_classifier(), 3)
        x = some(4)
        vote = MajorityVote(members)
        labels = vote.predict(x)
        found = collude(vote, HopSkipJump(), x, labels, seed=0, queries=150)
        assert bool((found.succeeded <= found.attempted).all())
        assert bool(found.succeeded.any())
        assert int(found.forward_rows.max()) <= 150
        assert bool((vote.predict(found.adversarials) != labels)[found.succeeded].all())
        with pytest.raises(ConfigurationError, match="majority vote has no gradients for deepfool"):
            collude(vote, DeepFool(), x, labels, seed=0)


class TestCollude:
    def test_attacks_what_ensemble_and_colluders_get_right(self):
        members = copies_of(small_classifier(), 3, QimSpec(messages_per_class=2, quantization_step=0.2, strength=3.0))
        x = some(200)
        labels = small_classifier().predict(x)
        ensemble = Ensemble(members)
        found = collude(ensemble, DeepFool(iterations=5), x, labels, seed=0)
        right = torch.stack([member.predict(x) == labels for member in members]).all(0)
        assert torch.equal(found.attempted, right & (ensemble.predict(x) == labels))
        assert 0 < int(found.attempted.sum()) < 200
        assert torch.equal(found.adversarials[~found.succeeded], x[~found.succeeded])
        assert bool((found.forward_rows[~found.attempted] == 0).all())
        assert bool(found.distances[found.succeeded].isfinite().all())
        stripped = collude(
            Ensemble([members[0].original]), DeepFool(iterations=5), x, labels, seed=0, colluders=Panel(members)
        )
        assert torch.equal(stripped.attempted, right)  # the original is right on all

    def test_what_the_stripped_original_gets_wrong_is_not_attacked(self):
        members = copies_of(small_classifier(), 1, QimSpec(messages_per_class=2, quantization_step=0.2, strength=3.0))
        x = some(100)
        labels = members[0].predict(x)
        original = members[0].original
        found = collude(Ensemble([original]), DeepFool(iterations=5), x, labels, seed=0, colluders=Panel(members))
        assert torch.equal(found.attempted, original.predict(x) == labels)
        assert not bool(found.attempted.all())

    def test_nothing_to_attack(self):
        ensemble = Ensemble([small_classifier()])
        x = some(3)
        found = collude(ensemble, DeepFool(), x, (ensemble.predict(x) + 1) % 10, seed=0)
        assert isinstance(found, Collusion)
        assert not bool(found.attempted.any())
        assert torch.equal(found.adversarials, x)

    def test_mistakes(self):
        ensemble, x = Ensemble([small_classifier()]), some(3)
        with pytest.raises(ConfigurationError, match="at least one classifier to be asked; got none"):
            Ensemble([])
        with pytest.raises(ConfigurationError, match="must take the same inputs and classes; number 1 has"):
            MajorityVote([small_classifier(), small_classifier(num_classes=4)])
        with pytest.raises(InputError, match="labels must be int64 of shape"):
            collude(ensemble, DeepFool(), x, torch.zeros(2, dtype=torch.int64), seed=0)
        with pytest.raises(InputError, match="identities must be 3 integers"):
            collude(ensemble, DeepFool(), x, ensemble.predict(x), seed=0, identities=[1])

    def test_heads_that_read_layers_have_no_gradients(self, monkeypatch):
        (copy,) = copies_of(small_classifier(), 1)
        monkeypatch.setattr(type(copy.head), "layers", ("1",))
        with pytest.raises(InputError, match="a head that reads layers 1"):
            Ensemble([copy]).differentiable_scores(some(2))

    def test_a_member_that_fails(self, monkeypatch):
        original = small_classifier()
        ensemble = Ensemble([original])
        x = some(3)
        labels = ensemble.predict(x)

        def fail(x):
            raise RuntimeError("no memory")

        monkeypatch.setattr(original, "differentiable_scores", fail)
        with pytest.raises(OracleError, match="no memory"):
            collude(ensemble, DeepFool(), x, labels, seed=0)
        assert issubclass(DeepFool, WhiteBoxAttack)
