"""The authority hands on what its parts offer."""

from collections import Counter

from tests.raising import raises
from variegate.authority.skipped import SkipReason
from variegate.errors import ConflictError


def test_many_buyers_are_not_held_up_by_one_who_was_revoked(desk):
    (gone,) = desk.issue("net", "qim", ["acme"])
    desk.revoke([gone.copy_id])
    with raises(ConflictError, "acme"):
        desk.issue("net", "qim", ["acme", "bolt"])
    tally = Counter()
    made = desk.issue("net", "qim", ["acme", "bolt"], bulk=True, skipped=tally)
    assert [one.buyer for one in made] == ["bolt"]
    assert desk.issue_many("net", "qim", ["acme", "cold"], bulk=True, skipped=tally) == 1
    assert tally == {SkipReason.REVOKED: 2}
    tally.clear()
    assert desk.rotate("net", "qim", ["acme", "bolt"], epoch=2, bulk=True, skipped=tally) == 1
    assert tally == {SkipReason.NOT_ACTIVE: 1}
