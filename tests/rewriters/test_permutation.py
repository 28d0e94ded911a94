"""Permutation against a slow reference; dummy classes never win; composition is the sum written out by hand."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from variegate.keys import Purpose, derangement, permutation
from variegate.rewriters.base import OriginalShape, normalised_sum, original_shape, rewrite
from variegate.rewriters.catalog import ComposedSpec
from variegate.rewriters.permutation import PermutationSpec
from variegate.rewriters.qim import QimSpec
from variegate.rewriters.spread_spectrum import SpreadSpectrumSpec
from variegate.testing.seller import known_key, small_classifier
from variegate.types import InputSpec


def random_scores(rows, n, seed, sharpness=3.0):
    return (sharpness * torch.randn((rows, n), generator=torch.Generator().manual_seed(seed))).softmax(1)


@given(
    number=st.integers(0, 10**6),
    n=st.integers(2, 12),
    dummies=st.integers(0, 6),
    alpha=st.floats(0.0, 0.99),
    deranged=st.booleans(),
)
def test_slow_reference_with_dummies_that_never_win(number, n, dummies, alpha, deranged):
    spec = PermutationSpec(alpha=alpha, derangement=deranged, dummy_classes=dummies)
    shape = OriginalShape(num_classes=n, input_spec=InputSpec((4,)))
    scores = random_scores(5, n, number)
    copy = spec.build(known_key(number), shape)(torch.zeros((5, 4)), scores, {})
    draw = derangement if deranged else permutation
    partner = draw(known_key(number), Purpose.PERMUTATION, 0, 0, n + dummies).tolist()
    for p, given_scores in zip(scores.tolist(), copy.tolist(), strict=True):
        padded = p + [0.0] * dummies
        full = [padded[j] + alpha * padded[partner[j]] for j in range(n + dummies)]
        assert max(range(n + dummies), key=lambda j: full[j]) < n  # a dummy class never wins
        kept = full[:n]
        norm = sum(kept)
        assert given_scores == pytest.approx([value / norm for value in kept], abs=1e-6)


def test_derangements_bind_every_class():
    shape = OriginalShape(num_classes=7, input_spec=InputSpec((4,)))
    for number in range(50):
        head = PermutationSpec().build(known_key(number), shape)
        assert not bool((head.partners == torch.arange(7)).any())
        assert sorted(head.partners.tolist()) == list(range(7))


def test_flips_where_the_closed_form_says():
    """Science, section 5: an own copy flips to the partner at p_partner = (1 - alpha) / (2 - alpha)."""
    alpha = 0.8
    shape = OriginalShape(num_classes=5, input_spec=InputSpec((4,)))
    head = PermutationSpec(alpha=alpha).build(known_key(3), shape)
    label = 2
    followers = (head.partners == label).nonzero().flatten()  # classes that are pulled up by the label's score
    follower, threshold = int(followers[0]), (1 - alpha) / (2 - alpha)
    assert threshold == pytest.approx(1 / 6)
    for p, flips in ((threshold - 0.002, False), (threshold + 0.002, True)):
        scores = torch.zeros((1, 5))
        scores[0, follower], scores[0, label] = p, 1 - p
        # the label's own partner has score 0 unless it is the follower itself
        if int(head.partners[label]) == follower:
            pytest.fail("this key pairs the two classes with each other; take another")
        assert (int(head(torch.zeros((1, 4)), scores, {}).argmax()) == follower) is flips
    assert math.log((1 - threshold) / threshold) == pytest.approx(math.log(1 / (1 - alpha)))


def test_few_classes_have_few_copies_unless_dummies_are_added():
    shape = OriginalShape(num_classes=2, input_spec=InputSpec((4,)))

    def distinct(spec):
        return len({tuple(spec.build(known_key(k), shape).partners.tolist()) for k in range(60)})

    assert distinct(PermutationSpec()) == 1
    assert distinct(PermutationSpec(dummy_classes=6)) > 20


def test_composition_is_the_sum_by_hand():
    original = small_classifier()
    parts = (QimSpec(messages_per_class=3), PermutationSpec(alpha=0.4), SpreadSpectrumSpec(strength=0.2))
    key = known_key(9)
    x = torch.rand((6, 1, 8, 8), generator=torch.Generator().manual_seed(1))
    scores, total = original.scores(x), torch.zeros((6, 10))
    for number, part in enumerate(parts):
        head = part.build(key.subkey(f"part-{number}"), original_shape(original))
        total = total + head.decode(x, scores, {})
    expected = normalised_sum(scores, total)
    torch.testing.assert_close(rewrite(original, key, ComposedSpec(parts=parts)).scores(x), expected, atol=1e-6, rtol=0)


def test_equal_parts_of_a_composition_draw_different_messages():
    original = small_classifier()
    part = PermutationSpec(alpha=0.5)
    head = ComposedSpec(parts=(part, part)).build(known_key(1), original_shape(original))
    first, second = head.parts
    assert not torch.equal(first.partners, second.partners)


def test_order_of_parts_is_part_of_the_spec():
    one = ComposedSpec(parts=(QimSpec(), PermutationSpec()))
    other = ComposedSpec(parts=(PermutationSpec(), QimSpec()))
    assert one.digest != other.digest
