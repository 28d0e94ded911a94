"""Binding partners by what the rewriter does with scores, not by how a permutation is stored."""

import pytest
import torch

from variegate.errors import ConfigurationError
from variegate.experiments.paper.fig4 import added_partners, by_role, output_values, receiving_partners
from variegate.rewriters.base import RewrittenCopy, original_shape
from variegate.rewriters.permutation import PermutationHead, PermutationSpec
from variegate.rewriters.qim import QimSpec
from variegate.testing.seller import known_key, small_classifier


def head_of(partners: list[int], dummies: int = 0) -> PermutationHead:
    return PermutationHead(torch.tensor(partners), 0.5, dummies)


@pytest.mark.parametrize("key", [0, 1, 2])
def test_directions_are_those_of_the_rewriters_formula(key):
    """Give class c all the score, and look which class gets alpha of it added."""
    original = small_classifier(num_classes=7)
    head = PermutationSpec(alpha=0.5).build(known_key(key), original_shape(original))
    added = added_partners(head)
    receiving = receiving_partners(added)
    x = torch.zeros((1, *original.input_shape))
    for c in range(7):
        out = head(x, torch.eye(7)[[c]], {})[0]
        (other,) = [j for j in range(7) if j != c and out[j] > 0]
        assert added[other] == c  # what is added to `other` is the score of c
        assert receiving[c] == other
    assert not torch.equal(added, receiving)
    assert sorted(added.tolist()) == sorted(receiving.tolist()) == list(range(7))


def test_fixed_points_and_dummies_bind_nothing():
    added = added_partners(head_of([0, 2, 4, 1], dummies=1))  # 0 to itself, 2 to the dummy
    assert added.tolist() == [-1, 2, -1, 1]
    assert receiving_partners(added).tolist() == [-1, 3, 1, -1]
    original = small_classifier()
    with pytest.raises(ConfigurationError, match="got a QimHead"):
        added_partners(QimSpec().build(known_key(), original_shape(original)))


def test_roles():
    changes = torch.arange(12, dtype=torch.float64).view(3, 4)
    labels, nan = torch.tensor([0, 1, 2]), float("nan")
    roles = by_role(changes, labels, torch.tensor([3, -1, 0, 1]))
    assert roles.victim.tolist() == [0, 5, 10]
    torch.testing.assert_close(roles.partner, torch.tensor([3, nan, 8], dtype=torch.float64), equal_nan=True)
    expected = torch.tensor([[nan, 1, 2, nan], [4, nan, 6, 7], [nan, 9, nan, 11]], dtype=torch.float64)
    torch.testing.assert_close(roles.others, expected, equal_nan=True)
    free = by_role(changes, labels)
    assert free.partner.isnan().all()
    assert free.others.isnan().sum() == 3
    assert changes[0, 0] == 0  # the input is left alone


def test_output_values_of_an_original_and_of_a_copy():
    original = small_classifier(num_classes=4)
    x = torch.rand((5, *original.input_shape), generator=torch.Generator().manual_seed(0))
    copy = RewrittenCopy(original, PermutationSpec(alpha=0.5).build(known_key(), original_shape(original)))
    plain, rewritten = output_values(original, x), output_values(copy, x)
    torch.testing.assert_close(plain["logits"], rewritten["logits"])
    torch.testing.assert_close(plain["log_scores"], plain["logits"].log_softmax(1), rtol=1e-4, atol=1e-4)
    partners = added_partners(copy.head)
    expected = (plain["scores"] + 0.5 * plain["scores"][:, partners]) / 1.5
    torch.testing.assert_close(rewritten["scores"], expected, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(rewritten["log_scores"], expected.log(), rtol=1e-4, atol=1e-4)
