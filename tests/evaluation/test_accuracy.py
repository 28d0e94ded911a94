"""Table 1's counts by hand, and copies of an experiment."""

import pytest
import torch
from torch import nn

from variegate.evaluation.provenance import raw_queries_per_second
from variegate.evaluation.subjects import AccuracyTable, experiment_heads, experiment_key, measure_accuracy
from variegate.models.bank import CopyBank
from variegate.models.classifier import Classifier
from variegate.rewriters.base import AbstractHead, RewrittenCopy
from variegate.rewriters.permutation import PermutationSpec
from variegate.rewriters.qim import QimSpec
from variegate.testing.seller import small_classifier


class Identity(nn.Module):
    """Scores are the softmax of the input."""

    def forward(self, x):
        return 10.0 * x


class Favours(AbstractHead):
    """Pulls every input of the first column's sign to one class."""

    def __init__(self, label):
        super().__init__()
        self.label = label

    def decode(self, x, scores, features):
        return 5.0 * nn.functional.one_hot(torch.full((len(x),), self.label), 3) * (x[:, :1] > 0.5)


def test_counts_by_hand():
    original = Classifier(Identity(), input_shape=(3,), labels=3)
    x = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [0.9, 0, 0.1]])  # labels 0, 1, 2, 0
    truth = torch.tensor([0, 1, 0, 0])
    table = measure_accuracy(CopyBank(original, [Favours(1), Favours(0)]), x, truth)
    assert (table.n, table.original) == (4, 3)
    assert table.copies == (1, 3)  # the first copy sends rows 0 and 3 to class 1
    assert table.changed == (2, 0)
    assert table.change_rate == 2 / 8
    assert table.record().to_dict() == {
        "original": {"n": 4, "correct": 3},
        "copies": [{"n": 4, "correct": 1, "labels_changed": 2}, {"n": 4, "correct": 3, "labels_changed": 0}],
    }


def test_change_rate_of_nothing():
    assert AccuracyTable(n=0, original=0, copies=(0,), changed=(0,)).change_rate == 0.0
    assert AccuracyTable(n=5, original=1, copies=(), changed=()).change_rate == 0.0


def test_no_inputs():
    original = small_classifier()
    bank = CopyBank(original, experiment_heads(original, QimSpec(), copies=2, seed=0))
    table = measure_accuracy(bank, torch.empty(0, 1, 8, 8), torch.empty(0, dtype=torch.int64))
    assert (table.n, table.original, table.copies, table.changed) == (0, 0, (0, 0), (0, 0))


def test_experiment_copies_follow_seed_spec_original_and_number():
    original, other = small_classifier(), small_classifier(seed=1)
    spec = PermutationSpec()
    keys = {
        experiment_key(purpose, seed, digest, rewriter, copy)
        for purpose in ("audit", "calibration")
        for seed in (0, 1)
        for digest in (original.digest, other.digest)
        for rewriter in (spec, PermutationSpec(alpha=0.7))
        for copy in (0, 1)
    }
    assert len(keys) == 32
    x = torch.rand((5, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    five = experiment_heads(original, spec, copies=5, seed=0)
    some = experiment_heads(original, spec, copies=[3, 1], seed=0)
    assert len(five) == 5
    for head, number in zip(some, (3, 1), strict=True):
        assert torch.equal(RewrittenCopy(original, head).scores(x), RewrittenCopy(original, five[number]).scores(x))


def test_an_audit_looks_at_other_copies_than_a_calibration():
    original, spec = small_classifier(), PermutationSpec()
    x = torch.rand((20, 1, 8, 8), generator=torch.Generator().manual_seed(0))

    def scores(**options):
        (head,) = experiment_heads(original, spec, copies=1, seed=0, **options)
        return RewrittenCopy(original, head).scores(x)

    assert torch.equal(scores(), scores(purpose="audit"))
    assert not torch.equal(scores(), scores(purpose="calibration"))


def test_throughput_counts_rows():
    classifier = small_classifier()
    assert raw_queries_per_second(classifier, rows=32, repeats=1) > 0
    assert raw_queries_per_second(classifier) == pytest.approx(raw_queries_per_second(classifier), rel=1.0e3)
