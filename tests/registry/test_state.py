"""The life of a copy: each step, and where it ends."""

import pytest

from tests.raising import raises
from variegate.errors import ConflictError
from variegate.registry.copies import NEXT, check_step
from variegate.types import CopyStatus


def test_the_whole_machine():
    assert {(str(before), str(after)) for before in NEXT for after in NEXT[before]} == {
        ("active", "superseded"),
        ("active", "revoked"),
        ("superseded", "revoked"),
    }
    assert set(NEXT) == set(CopyStatus)


@pytest.mark.parametrize("before", CopyStatus)
@pytest.mark.parametrize("after", CopyStatus)
def test_every_step(before, after):
    if before == after:
        assert not check_step("vg1-0", before, after)
    elif after in NEXT[before]:
        assert check_step("vg1-0", before, after)
    else:
        with raises(ConflictError, str(before), str(after), "vg1-0"):
            check_step("vg1-0", before, after)


def test_revoked_is_the_end():
    assert NEXT[CopyStatus.REVOKED] == frozenset()
