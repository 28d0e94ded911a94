"""The authority hands on what its parts offer."""

import ast
from collections import Counter
from pathlib import Path

import variegate
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


def test_the_command_line_goes_through_this_door_alone():
    """No command reads the registry, the keyring or the home behind the authority's back."""
    for path in (Path(variegate.__file__).parent / "cli").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            behind = isinstance(node, ast.Attribute) and node.attr in ("registry", "keyring", "home", "store")
            assert not behind, f"{path.name}, line {node.lineno}"
