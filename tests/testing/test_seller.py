"""The seller in memory issues what a real one would."""

import pytest
import torch

from variegate.errors import ConfigurationError
from variegate.keys import KeyContext, SellerSecret
from variegate.rewriters.base import rewrite
from variegate.rewriters.qim import QimSpec
from variegate.testing.closed_form import RecordingModel
from variegate.testing.seller import InMemorySeller, known_key, small_classifier

SPEC = QimSpec(messages_per_class=2)


def test_copies_follow_the_key_derivation():
    original, secret = small_classifier(), SellerSecret.from_bytes(bytes(range(32)))
    seller = InMemorySeller(original, secret=secret)
    key = secret.derive(
        KeyContext(model_digest=original.digest, rewriter="qim", spec_digest=SPEC.digest, buyer="ann", epoch=1)
    )
    x = torch.rand((4, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    assert torch.equal(seller.issue(SPEC, "ann").scores(x), rewrite(original, key, SPEC).scores(x))
    bank = seller.bank(SPEC, ["ann", "bob"])
    for position, buyer in enumerate(("ann", "bob")):
        assert torch.equal(bank.predict_all(x)[:, position], seller.issue(SPEC, buyer).predict(x))


def test_buyers_epochs_and_sellers_differ():
    original = small_classifier()
    seller = InMemorySeller(original)
    keys = [seller.key(SPEC, "ann"), seller.key(SPEC, "bob"), seller.key(SPEC, "ann", epoch=2)]
    keys.append(InMemorySeller(original).key(SPEC, "ann"))
    assert len(set(keys)) == 4
    assert seller.key(SPEC, "ann") == keys[0]


def test_bad_buyer():
    with pytest.raises(ConfigurationError, match="a buyer's name must be 1 to 128 letters"):
        InMemorySeller(small_classifier()).issue(SPEC, "")


def test_known_keys_are_stable():
    assert known_key(1) == known_key(1)
    assert known_key(1) != known_key(2)


def test_small_classifiers_vary():
    classifier = small_classifier(input_shape=(5, 9), num_classes=4)
    x = torch.rand((200, 5, 9), generator=torch.Generator().manual_seed(0))
    assert len(set(classifier.predict(x).tolist())) == 4
    assert small_classifier().digest == small_classifier().digest
    assert small_classifier().digest != small_classifier(seed=1).digest


def test_recording_model():
    recorder = RecordingModel(lambda x: (x[:, 0] > 0).long(), fail_at=2, failure=KeyboardInterrupt())
    assert recorder.predict(torch.tensor([[1.0], [-1.0]])).tolist() == [1, 0]
    with pytest.raises(KeyboardInterrupt):
        recorder.predict(torch.zeros((1, 1)))
    assert (recorder.calls, recorder.rows) == (2, 2)
    assert recorder.answer_to(torch.tensor([1.0])) == 1
    assert recorder.answer_to(torch.tensor([2.0])) is None
