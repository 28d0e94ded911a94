"""A bank answers as its copies do one by one, at one forward pass of the original."""

import pytest
import torch
from torch import nn

from variegate.errors import InputError
from variegate.models.bank import CopyBank
from variegate.models.classifier import Classifier, full_precision
from variegate.rewriters.base import AbstractHead, RewrittenCopy, original_shape
from variegate.rewriters.permutation import PermutationSpec
from variegate.rewriters.qim import QimSpec
from variegate.rewriters.spread_spectrum import SpreadSpectrumSpec
from variegate.testing.seller import known_key, small_classifier


class Counting(nn.Module):
    """A network that counts the inputs that pass through it."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.hidden, self.out = nn.Linear(12, 8), nn.Linear(8, 5)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        self.rows = 0

    def forward(self, x):
        self.rows += len(x)
        return self.out(self.hidden(x.flatten(1)).relu())


class FeatureHead(AbstractHead):
    """Adds the first five of the hidden layer's values, as a rewriter that reads features might."""

    @property
    def layers(self):
        return ("hidden",)

    def decode(self, x, scores, features):
        return features["hidden"][:, :5].abs()


def inputs(count, seed=0):
    return torch.rand((count, 3, 4), generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def original():
    return Classifier(Counting(), input_shape=(3, 4), labels=5, batch_size=4)


@pytest.fixture
def heads(original):
    specs = [QimSpec(messages_per_class=2), PermutationSpec(), SpreadSpectrumSpec(strength=1.0), QimSpec()]
    shape = original_shape(original)
    return [*(spec.build(known_key(i), shape) for i, spec in enumerate(specs)), FeatureHead()]


def test_every_copy_as_it_answers_alone(original, heads):
    bank, x = CopyBank(original, heads), inputs(11)
    labels = bank.predict_all(x)
    assert labels.shape == (11, 5)
    assert labels.dtype is torch.int64
    for position, head in enumerate(heads):
        copy = RewrittenCopy(original, head)
        assert torch.equal(labels[:, position], copy.predict(x))
    scores = torch.cat(list(bank.iterate_scores(x)))
    assert scores.shape == (11, 5, 5)
    assert torch.equal(scores.argmax(2), labels)
    torch.testing.assert_close(scores[:, 4], RewrittenCopy(original, heads[4]).scores(x))


def test_one_forward_pass_of_the_original(original, heads):
    bank, x = CopyBank(original, heads), inputs(11)
    for call in (
        bank.predict_all,
        lambda x: list(bank.iterate_scores(x)),
        lambda x: bank.predict(x, torch.arange(11) % len(bank)),
    ):
        original.module.rows = 0
        call(x)
        assert original.module.rows == 11


def test_mixtures_of_rows_and_copies(original, heads):
    bank, x = CopyBank(original, heads), inputs(23)
    owners = torch.randint(0, len(bank), (23,), generator=torch.Generator().manual_seed(3))
    mixed = bank.predict(x, owners)
    assert torch.equal(mixed, bank.predict_all(x)[torch.arange(23), owners])
    alone = torch.cat([bank.predict(x[i : i + 1], owners[i : i + 1]) for i in range(23)])
    assert torch.equal(mixed, alone)


def test_empty_batches(original, heads):
    bank = CopyBank(original, heads)
    nothing = inputs(3)[:0]
    assert bank.predict_all(nothing).shape == (0, 5)
    assert bank.predict(nothing, torch.empty(0, dtype=torch.int64)).shape == (0,)


def test_original_stays_and_bank_counts(original, heads):
    x = inputs(5)
    before = original.scores(x)
    bank = CopyBank(original, heads)
    bank.predict_all(x)
    assert len(bank) == 5
    assert torch.equal(original.scores(x), before)
    assert not original.module.hidden._forward_hooks


def test_bad_calls(original, heads):
    bank, x = CopyBank(original, heads), inputs(3)
    with pytest.raises(InputError, match="at least one copy; got none"):
        CopyBank(original, [])
    with pytest.raises(InputError, match=r"int64 of shape \(3,\); got torch.int64 \(2,\)"):
        bank.predict(x, torch.zeros(2, dtype=torch.int64))
    with pytest.raises(InputError, match=r"int64 of shape \(3,\); got torch.float32"):
        bank.predict(x, torch.zeros(3))
    for owners, got in (([0, 5, 1], "0 to 5"), ([-1, 0, 0], "-1 to 0")):
        with pytest.raises(InputError, match=f"positions from 0 to 4; got {got}"):
            bank.predict(x, torch.tensor(owners))
    with pytest.raises(InputError, match=r"inputs must have shape \(N, 3, 4\)"):
        bank.predict_all(torch.zeros(2, 4, 3))


def test_gradients_through_features_are_refused(original, heads):
    with pytest.raises(InputError, match="gradients through a head that reads layers hidden"):
        RewrittenCopy(original, heads[4]).differentiable_scores(inputs(2))


def test_a_copy_looks_like_its_original():
    original = small_classifier(input_shape=(5,), num_classes=7)
    copy = RewrittenCopy(original, PermutationSpec().build(known_key(0), original_shape(original)))
    assert (copy.num_classes, copy.input_shape, copy.bounds) == (7, (5,), original.bounds)
    assert copy.device == original.device


def test_heads_are_in_full_precision(original, monkeypatch):
    seen = []

    class Asking(FeatureHead):
        def decode(self, x, scores, features):
            seen.append(torch.backends.cuda.matmul.fp32_precision)
            return super().decode(x, scores, features)

    monkeypatch.setattr("variegate.rewriters.base.full_precision", lambda _: full_precision("cuda"))
    CopyBank(original, [Asking()]).predict_all(inputs(3))
    assert seen == ["ieee"]


def test_a_bank_moves_its_inputs_block_by_block(original, heads, monkeypatch):
    bank, moved, to = CopyBank(original, heads), [], torch.Tensor.to

    def noting(self, *args, **kwargs):
        moved.append(self.shape[0])
        return to(self, *args, **kwargs)

    x = inputs(600).double()
    monkeypatch.setattr(torch.Tensor, "to", noting)
    bank.predict_all(x)
    assert max(moved) == 256
