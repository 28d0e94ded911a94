"""Equal partners of permutation copies, against a slow count and against exhaustive search."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.raising import raises
from variegate.authority.partners import PartnerGuard, draw_partners, max_copies
from variegate.errors import ConfigurationError
from variegate.keys import CopyKey
from variegate.rewriters.base import OriginalShape
from variegate.rewriters.permutation import PermutationSpec
from variegate.types import InputSpec


def key(number: int) -> CopyKey:
    return CopyKey.from_bytes(number.to_bytes(32, "big"))


@pytest.mark.parametrize("spec", [PermutationSpec(), PermutationSpec(derangement=False, dummy_classes=3)])
def test_partners_are_those_of_the_rewriter(spec):
    shape = OriginalShape(num_classes=7, input_spec=InputSpec((2,)))
    for number in range(20):
        head = spec.build(key(number), shape)
        drawn = draw_partners(key(number), spec.to_dict(), classes=7)
        assert drawn.tolist() == head.partners.clamp(max=7).tolist()  # all dummies score 0: they are one partner


@given(st.lists(st.permutations(range(6)), min_size=1, max_size=30), st.permutations(range(6)), st.integers(0, 6))
def test_the_nearest_copy_is_found(known, new, equal):
    guard = PartnerGuard(classes=6, dummy_classes=0, equal=equal)
    for partners in known:
        guard.add(np.array(partners, np.uint16))
    nearest = max(sum(a == b for a, b in zip(partners, new, strict=True)) for partners in known)
    assert guard.nearest(np.array(new, np.uint16)) == nearest
    assert guard.admits(np.array(new, np.uint16)) == (nearest <= equal)
    assert len(guard) == len(known)


def test_more_copies_than_a_block():
    guard = PartnerGuard(classes=3, dummy_classes=0, equal=0)
    for _ in range(5000):
        guard.add(np.array([1, 2, 0], np.uint16))
    guard.add(np.array([2, 0, 1], np.uint16))
    assert (len(guard), guard.nearest(np.array([2, 0, 1], np.uint16))) == (5001, 3)


@pytest.mark.parametrize(("n", "equal"), [(3, 0), (4, 0), (4, 1), (4, 2), (4, 4)])
def test_no_code_is_larger_than_the_bound(n, equal):
    """A greedy code over all permutations never passes the bound; with no equal partner allowed it reaches it."""
    chosen: list[tuple[int, ...]] = []
    for candidate in permutations(range(n)):
        if all(sum(a == b for a, b in zip(candidate, other, strict=True)) <= equal for other in chosen):
            chosen.append(candidate)
    bound = max_copies(n, equal, classes=n)
    assert len(chosen) <= bound
    if equal in {0, n}:
        assert len(chosen) == bound


def test_the_refusal_says_whether_the_copies_are_exhausted():
    guard = PartnerGuard(classes=2, dummy_classes=0, equal=0)
    guard.add(np.array([0, 1], np.uint16))
    assert "1,000 draws all came too close to one of the 1 copies" in str(guard.refuse("acme"))
    guard.add(np.array([1, 0], np.uint16))
    message = str(guard.refuse("acme"))
    assert "no more than 2 such copies exist" in message
    assert "'acme'" in message
    assert repr(guard) == "PartnerGuard(2 copies)"


def test_copies_without_a_distance_exhaust_nothing():
    """Two copies that are too close to each other take one place; the other is free."""
    guard = PartnerGuard(classes=2, dummy_classes=0, equal=0)
    for _ in range(2):
        guard.add(np.array([0, 1], np.uint16))
    assert guard.admits(np.array([1, 0], np.uint16))
    assert "1,000 draws all came too close to one of the 2 copies" in str(guard.refuse("acme"))


def test_too_many_classes():
    with raises(ConfigurationError, "65,535", "65536"):
        PartnerGuard(classes=65_536, dummy_classes=0, equal=1)
