"""The authority hands on what its parts offer."""

from collections import Counter

import pytest

from variegate.authority.noticed import Noticed
from variegate.errors import ConflictError
from variegate.types import CopyStatus


def test_many_buyers_are_not_held_up_by_one_who_was_revoked(desk):
    (gone,) = desk.issue("net", "qim", ["acme"])
    desk.change_status([gone.copy_id], CopyStatus.REVOKED)
    with pytest.raises(ConflictError, match="acme"):
        desk.issue("net", "qim", ["acme", "bolt"])
    tally = Counter()
    made = desk.issue("net", "qim", ["acme", "bolt"], bulk=True, tally=tally)
    assert [one.buyer for one in made] == ["bolt"]
    assert desk.issue_many("net", "qim", ["acme", "cold"], bulk=True, tally=tally) == 1
    assert tally == {Noticed.REVOKED: 2}
    tally.clear()
    assert desk.rotate("net", "qim", ["acme", "bolt"], epoch=2, bulk=True, tally=tally) == 1
    assert tally == {Noticed.NOT_ACTIVE: 1}
