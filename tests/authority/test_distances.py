"""Copies that a policy keeps apart: never more equal partners than allowed, and a clear word when none is left."""

from itertools import combinations, permutations

import numpy as np
import pytest

from tests.raising import raises
from variegate.authority.specs import Policy
from variegate.errors import ConfigurationError, ConflictError, SecretError
from variegate.manifest import ModelManifest
from variegate.registry.copies import change_status, count_copies, get_copy, list_copies
from variegate.registry.records import add_model, get_model, get_spec
from variegate.rewriters.base import OriginalShape
from variegate.rewriters.permutation import PermutationSpec
from variegate.types import CopyStatus, InputSpec


def real_partners(desk, row, classes=10):
    """What the rewriter itself draws from the key that is derived anew; a dummy class counts as one partner."""
    spec = PermutationSpec.from_dict(desk.registry.read(get_spec, row.spec_digest))
    shape = OriginalShape(num_classes=classes, input_spec=InputSpec((1, 8, 8)))
    head = spec.build(desk.keyring.copy_key(row, "permutation"), shape)
    return np.minimum(head.partners.numpy(), classes)


def worst(desk, rows, classes=10):
    partners = [real_partners(desk, row, classes) for row in rows]
    return max(int((one == other).sum()) for one, other in combinations(partners, 2))


def small(desk, classes, name="small"):
    """An original with few classes; issuing looks at its manifest alone."""
    known = desk.registry.read(get_model, "net").to_dict()
    manifest = ModelManifest.from_dict({**known, "name": name, "labels": [str(i) for i in range(classes)]})
    desk.registry.write(add_model, manifest)
    return name


def test_no_two_copies_are_too_close(desk):
    """70 copies of two specs, two epochs and two policies: counted pair by pair from the rewriter's own draws."""
    desk.save_spec("dummies", PermutationSpec(dummy_classes=5, derangement=False))
    desk.create_policy("apart", spec="permutation", most_equal_partners=3)
    desk.create_policy("apart-2", spec="dummies", most_equal_partners=3)
    desk.issue("net", None, [f"a{i}" for i in range(20)], policy="apart")
    desk.issue_many("net", None, [f"b{i}" for i in range(20)], policy="apart-2")
    desk.rotate("net", None, [f"a{i}" for i in range(15)], policy="apart-2", epoch=2)
    desk.issue("net", None, [f"b{i}" for i in range(15)], policy="apart", epoch=2)
    rows = desk.registry.read(list_copies)
    assert len(rows) == 70
    assert worst(desk, rows) <= 3
    assert any(row.draw > 0 for row in rows)
    for row in rows:
        assert desk.keyring.copy_key(row, "permutation").identifier == row.key_identifier


def test_without_a_policy_copies_do_come_too_close(desk):
    desk.issue("net", "permutation", [f"a{i}" for i in range(70)])
    rows = desk.registry.read(list_copies)
    assert worst(desk, rows) > 3
    assert {row.draw for row in rows} == {0}


def test_issuing_again_draws_nothing_anew(desk):
    desk.create_policy("apart", spec="permutation", most_equal_partners=2)
    buyers = [f"a{i}" for i in range(25)]
    desk.issue("net", None, [*buyers[:12], buyers[3]], policy="apart")
    before = desk.registry.read(list_copies)
    desk.issue("net", None, [buyers[20], *buyers, buyers[0]], policy="apart")
    rows = desk.registry.read(list_copies)
    assert rows[:12] == before
    assert len(rows) == 25
    assert worst(desk, rows) <= 2
    desk.load_copy(max(rows, key=lambda row: row.draw).copy_id)


def test_superseded_and_revoked_copies_still_count(desk):
    model = small(desk, 3)
    desk.create_policy("none", spec="permutation", most_equal_partners=0)
    first, second = desk.issue(model, None, ["acme", "bolt"], policy="none")
    desk.registry.write(change_status, [first.copy_id], CopyStatus.REVOKED)
    with raises(ConflictError, "cold", "buyer"):
        desk.issue(model, None, ["cold"], policy="none")
    assert desk.registry.read(count_copies) == 2
    assert second.buyer == "bolt"


@pytest.mark.parametrize(
    ("classes", "equal", "derangement"), [(3, 0, True), (3, 0, False), (4, 0, False), (4, 1, False)]
)
def test_when_all_copies_are_given_out_the_next_buyer_is_refused(desk, classes, equal, derangement):
    model = small(desk, classes)
    desk.save_spec("small", PermutationSpec(derangement=derangement))
    desk.create_policy("apart", spec="small", most_equal_partners=equal)
    issued = 0
    with raises(ConflictError, "no copy left", "buyer") as refused:
        for number in range(30):
            desk.issue(model, None, [f"b{number}"], policy="apart")
            issued += 1
    rows = desk.registry.read(list_copies)
    assert len(rows) == issued
    assert worst(desk, rows, classes) <= equal
    everything = [
        np.array(one)
        for one in permutations(range(classes))
        if not derangement or all(a != b for a, b in enumerate(one))
    ]
    taken = [real_partners(desk, row, classes) for row in rows]
    assert all(any((one == other).sum() > equal for other in taken) for one in everything)  # none was left
    assert "allow more equal partners" in str(refused.value)
    desk.save_spec("wide", PermutationSpec(dummy_classes=6, derangement=False))
    desk.create_policy("wide", spec="wide", most_equal_partners=classes)
    desk.issue(model, None, ["last"], policy="wide")  # the advice helps


def test_one_buyer_too_many_takes_the_whole_call_back(desk):
    model = small(desk, 3)
    desk.create_policy("apart", spec="permutation", most_equal_partners=0)
    with pytest.raises(ConflictError, match=r"'b2' .* draws all came too close|'b2' .* all are issued"):
        desk.issue(model, None, ["b0", "b1", "b2"], policy="apart")
    assert desk.registry.read(count_copies) == 0
    assert len(desk.issue(model, None, ["b0", "b1"], policy="apart")) == 2


def test_a_distance_and_forgotten_keys_do_not_go_together(desk):
    desk.create_policy("both", spec="permutation", most_equal_partners=3, forgettable=True)
    first, _ = desk.issue("net", None, ["acme", "bolt"], policy="both")
    assert desk.registry.read(get_copy, first.copy_id).salted
    desk.load_copy(first.copy_id)
    desk.forget(first.copy_id)
    with raises(SecretError, "forgotten", "policy"):
        desk.issue("net", None, ["cold"], policy="both")
    desk.issue("net", "permutation", ["cold"])


def test_only_permutations_are_kept_apart(desk):
    with raises(ConfigurationError, "qim"):
        desk.create_policy("apart", spec="qim", most_equal_partners=3)
    assert Policy.from_dict(desk.create_policy("any", spec="qim").to_dict()).most_equal_partners is None


def test_copies_of_other_rewriters_and_originals_do_not_count(desk):
    model = small(desk, 3)
    desk.create_policy("none", spec="permutation", most_equal_partners=0)
    desk.issue("net", "qim", ["acme"])
    desk.issue("net", None, ["a", "b", "c"], policy="none")
    assert len(desk.issue(model, None, ["a", "b"], policy="none")) == 2
