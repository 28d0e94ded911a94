"""Policies: what is allowed, what is refused, and the way to JSON and back."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.raising import raises
from variegate.authority.specs import Policy, change_bound, check_policy
from variegate.errors import ConfigurationError, FormatError
from variegate.manifest import digest

BASE = {"spec": "qim", "spec_digest": "sha256:" + "0" * 64}


def record(bound, *, chosen=1):
    return {"candidates": [{"chosen": False, "change_bound": 0.9}] + [{"chosen": True, "change_bound": bound}] * chosen}


@given(
    st.builds(
        Policy,
        spec=st.just("qim"),
        spec_digest=st.just(BASE["spec_digest"]),
        max_label_change=st.none() | st.floats(0, 1),
        quota=st.none() | st.integers(1, 2**62),
        rate=st.none() | st.floats(1e-6, 1e9),
        valid_seconds=st.none() | st.integers(1, 10**9),
        most_equal_partners=st.none() | st.integers(0, 100),
        forgettable=st.booleans(),
    )
)
def test_a_policy_survives_json(policy):
    assert Policy.from_dict(policy.to_dict()) == policy


@pytest.mark.parametrize(
    "values",
    [
        {"quota": 0},
        {"quota": True},
        {"quota": 1.5},
        {"quota": 2**62 + 1},
        {"rate": 0.0},
        {"rate": math.inf},
        {"rate": math.nan},
        {"max_label_change": 1.01},
        {"max_label_change": math.nan},
        {"valid_seconds": 0},
        {"most_equal_partners": -1},
        {"forgettable": 1},
        {"spec": 5},
    ],
    ids=str,
)
def test_bad_values(values):
    with raises(ConfigurationError, *values):
        Policy(**{**BASE, **values})


def test_canonical_json_is_a_format():
    """Known answer: whole numbers stay whole, floats stay floats."""
    policy = Policy(**BASE, quota=1000, rate=10.0, max_label_change=1, valid_seconds=86_400)
    assert digest(policy.to_dict()) == "sha256:c877d35fe4d3611d46ac1fb7e7264250c91a4fea514b13882de8279933df538f"
    assert Policy(**BASE, rate=10).to_dict()["rate"].__class__ is int


@pytest.mark.parametrize(
    ("change", "message"),
    [({"format": 2}, "format must be 1; got 2"), ({"more": 1}, "these differ: more"), ({"spec": None}, "")],
)
def test_other_formats_are_refused(change, message):
    data = {**Policy(**BASE).to_dict(), **change}
    if change == {"spec": None}:
        del data["spec"]
        message = "these differ: spec"
    with pytest.raises(FormatError, match=message):
        Policy.from_dict(data)


def test_the_bound_is_that_of_the_chosen_candidate():
    assert change_bound(record(0.01)) == 0.01
    assert change_bound(record(0.01, chosen=2)) is None
    assert change_bound(None) is None
    assert change_bound({"candidates": [{"chosen": True}]}) is None


def test_the_calibrated_change_is_kept_under_the_limit():
    policy = Policy(**BASE, max_label_change=0.01)
    check_policy(policy, rewriter="qim", record=record(0.01))
    with raises(ConfigurationError, "1.10%", "1.00%"):
        check_policy(policy, rewriter="qim", record=record(0.011))
    with raises(ConfigurationError, "calibrated"):
        check_policy(policy, rewriter="qim", record=None)
    check_policy(Policy(**BASE), rewriter="qim", record=None)


def test_a_distance_is_for_permutations():
    policy = Policy(**BASE, most_equal_partners=2)
    check_policy(policy, rewriter="permutation", record=None)
    with raises(ConfigurationError, "qim"):
        check_policy(policy, rewriter="qim", record=None)
