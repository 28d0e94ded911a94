"""Revoking, superseding, rotating: the rules, and what two processes at once may lead to."""

import json
import subprocess
import sys
import time
from collections import Counter

import pytest

from tests.authority.conftest import NOW, SECRET
from tests.raising import raises
from variegate.authority import issuing
from variegate.authority.skipped import SkipReason, sentences
from variegate.errors import ConfigurationError, ConflictError, NotFoundError
from variegate.registry.copies import change_status, count_copies, last_epochs, list_copies
from variegate.registry.log import iterate_events, log_head
from variegate.registry.verify import verify_log
from variegate.types import CopyStatus


def states(desk, **filters):
    return [(row.buyer, row.epoch, row.status.value) for row in desk.registry.read(list_copies, **filters)]


def test_revoked_is_the_end(desk):
    first, second = desk.issue("net", "qim", ["acme", "bolt"])
    assert desk.revoke([first.copy_id], reason="leaked") == 1
    assert desk.revoke([first.copy_id, first.copy_id]) == 0
    for status in (CopyStatus.SUPERSEDED, CopyStatus.ACTIVE):
        with raises(ConflictError, str(first.copy_id), str(status), "revoked"):
            desk.registry.write(change_status, [second.copy_id, first.copy_id], status)
    assert states(desk) == [("acme", 1, "revoked"), ("bolt", 1, "active")]
    with raises(ConflictError, "revoked", "later", "epoch"):
        desk.issue("net", "qim", ["acme"])
    assert desk.issue("net", "qim", ["acme"], epoch=2)[0].epoch == 2
    assert desk.registry.read(verify_log).ok


def test_a_superseded_copy_can_be_revoked_but_not_woken(desk):
    (copy,) = desk.issue("net", "qim", ["acme"])
    desk.supersede([copy.copy_id])
    with raises(ConflictError, "superseded", "active", "revoked"):
        desk.registry.write(change_status, [copy.copy_id], CopyStatus.ACTIVE)
    assert desk.revoke([copy.copy_id]) == 1
    desk.load_copy(copy.copy_id)  # it can still be traced


@pytest.mark.parametrize("reason", ["x" * 501, "two\nlines", "\x1b[31m", "\udcff"])
def test_a_reason_is_one_line(desk, reason):
    (copy,) = desk.issue("net", "qim", ["acme"])
    with raises(ConfigurationError, "500", "line"):
        desk.revoke([copy.copy_id], reason=reason)
    assert states(desk) == [("acme", 1, "active")]


def test_a_reason_stands_in_the_log(desk):
    (copy,) = desk.issue("net", "qim", ["acme"])
    desk.revoke([copy.copy_id], reason="geleakt, größter Schaden")
    last = list(iterate_events(desk.registry))[-1]
    assert (last.kind, dict(last.body)) == (
        "status_changed",
        {"copies": [copy.copy_id], "reason": "geleakt, größter Schaden", "to": "revoked"},
    )


def test_unknown_copies_change_nothing(desk):
    (copy,) = desk.issue("net", "qim", ["acme"])
    with raises(NotFoundError, "vg1-nope"):
        desk.revoke([copy.copy_id, "vg1-nope"])
    assert states(desk) == [("acme", 1, "active")]


def test_the_copies_of_buyers(desk):
    desk.issue("net", "qim", ["acme", "bolt"])
    desk.issue("net", "qim", ["acme"], epoch=2)
    named = desk.copies_of(["acme"], model="net")
    assert len(named) == 2
    desk.revoke(named[:1])
    assert desk.copies_of(["acme"]) == named[1:]
    with raises(NotFoundError, "nobody", "buyer"):
        desk.copies_of(["acme", "nobody"])
    with raises(NotFoundError, "acme", "other", "buyer"):
        desk.copies_of(["acme"], model="other")


def test_rotating_issues_and_supersedes_in_one_step(desk):
    desk.issue("net", "qim", ["acme", "bolt", "cold"])
    before = desk.registry.read(log_head).seq
    assert desk.rotate("net", "permutation", ["acme", "bolt"]) == 2
    assert states(desk) == [
        ("acme", 1, "superseded"),
        ("bolt", 1, "superseded"),
        ("cold", 1, "active"),
        ("acme", 2, "active"),
        ("bolt", 2, "active"),
    ]
    kinds = [event.kind for event in iterate_events(desk.registry, after=before)]
    assert kinds == ["issued", "status_changed"]
    assert {row.spec_digest for row in desk.registry.read(list_copies, status=CopyStatus.ACTIVE, buyer="acme")} == {
        desk.saved_spec("permutation").spec_digest
    }


def test_a_rotation_that_fails_supersedes_nothing(desk):
    desk.issue("net", "qim", ["acme", "bolt"])
    with raises(NotFoundError, "nobody", "net", "buyer"):
        desk.rotate("net", "qim", ["acme", "nobody"])
    assert {state for *_, state in states(desk)} == {"active"}
    assert len(states(desk)) == 2


def test_a_stated_epoch_given_twice_does_nothing(desk):
    desk.issue("net", "qim", ["acme", "bolt"])
    desk.rotate("net", "qim", ["acme"])
    assert desk.rotate("net", "qim", None, epoch=2) == 1
    after = states(desk)
    head = desk.registry.read(log_head)
    assert desk.rotate("net", "qim", None, epoch=2) == 0
    assert desk.rotate("net", "qim", ["acme", "bolt", "acme"], epoch=2) == 0
    assert states(desk) == after
    assert desk.registry.read(log_head) == head
    assert desk.rotate("net", "qim", None, epoch=7) == 2
    assert [state for *_, state in states(desk)] == ["superseded"] * 4 + ["active"] * 2


def test_all_buyers_in_small_batches(desk, monkeypatch):
    monkeypatch.setattr(issuing, "BATCH_ROWS", 7)
    desk.issue("net", "qim", [f"b{i}" for i in range(30)])
    steps = []
    assert desk.rotate("net", "qim", None, epoch=2, progress=steps.append) == 30
    assert steps[:4] == [7, 14, 21, 28]
    assert desk.registry.read(count_copies, status=CopyStatus.ACTIVE) == 30
    assert desk.registry.read(count_copies, status=CopyStatus.SUPERSEDED) == 30
    assert desk.registry.read(verify_log).ok


def test_a_buyer_named_twice_gets_one_copy(desk, monkeypatch):
    monkeypatch.setattr(issuing, "BATCH_ROWS", 2)
    desk.issue("net", "qim", ["acme", "bolt"])
    assert desk.rotate("net", "qim", iter(["acme", "bolt", "acme", "acme"])) == 2
    assert desk.registry.read(last_epochs, "net", ["acme", "bolt"]) == {"acme": 2, "bolt": 2}


def test_after_a_revoked_copy_the_next_epoch_follows(desk):
    (copy,) = desk.issue("net", "qim", ["acme"])
    desk.revoke([copy.copy_id])
    assert desk.rotate("net", "qim", None, epoch=2) == 0  # no active copy: nobody asked for them
    assert desk.rotate("net", "qim", ["acme"]) == 1
    assert states(desk) == [("acme", 1, "revoked"), ("acme", 2, "active")]


def test_rotating_a_list_wakes_nobody_who_was_revoked(desk):
    copies = desk.issue("net", "qim", ["acme", "bolt", "cold"])
    desk.revoke([copies[0].copy_id])
    tally, buyers = Counter(), ["acme", "bolt", "nobody", "cold"]
    rotate = {"epoch": 2, "bulk": True, "skipped": tally}
    assert desk.rotate("net", "qim", iter(buyers), **rotate) == 2
    assert tally == {SkipReason.NOT_ACTIVE: 1, SkipReason.NO_COPY: 1}
    assert states(desk, status=CopyStatus.ACTIVE) == [("bolt", 2, "active"), ("cold", 2, "active")]
    assert desk.rotate("net", "qim", ["acme"], epoch=2) == 1  # by name: the way back


def test_an_epoch_that_the_buyer_is_past(desk):
    desk.issue("net", "qim", ["acme"], epoch=3)
    before = states(desk)
    with raises(ConflictError, "acme", "net", "epoch 3", "2"):
        desk.issue("net", "qim", ["bolt", "acme"], epoch=2)
    assert states(desk) == before
    tally = Counter()
    assert desk.issue_many("net", "qim", ["acme", "bolt", "acme"], epoch=2, bulk=True, skipped=tally) == 1
    assert tally == {SkipReason.LATER: 1}
    assert states(desk) == [("acme", 3, "active"), ("bolt", 2, "active")]
    assert sentences(tally) == [
        "1 buyer has had a copy of a later epoch and got none; epochs only rise: variegate rotate"
    ]


def test_an_earlier_copy_is_handed_out_again_while_it_is_the_last(desk):
    first = desk.issue("net", "qim", ["acme"])
    assert desk.issue("net", "qim", ["acme"]) == first
    desk.issue("net", "qim", ["acme"], epoch=2)
    with raises(ConflictError, "superseded"):
        desk.issue("net", "qim", ["acme"])


@pytest.mark.parametrize("many", [False, True])
def test_a_later_epoch_supersedes_the_copy_before(desk, many):
    """`issue --epoch 2` is what a refusal advises; afterwards the buyer has one active copy, not two."""
    desk.issue("net", "qim", ["acme", "bolt"])
    issue = desk.issue_many if many else desk.issue
    for _ in range(2):
        issue("net", "permutation", ["acme"], epoch=2)
        assert states(desk) == [("acme", 1, "superseded"), ("bolt", 1, "active"), ("acme", 2, "active")]
    assert desk.registry.read(verify_log).ok


def test_bad_rotations(desk):
    desk.issue("net", "qim", ["acme"])
    with raises(ConfigurationError, "epoch"):
        desk.rotate("net", "qim", None)
    with raises(ConfigurationError, "2147483647"):
        desk.rotate("net", "qim", ["acme"], epoch=2**31)
    with raises(NotFoundError, "nope"):
        desk.rotate("nope", "qim", ["acme"])
    desk.issue("net", "qim", ["bolt"], epoch=2**31 - 1)
    with raises(ConfigurationError, "2147483647", "2147483648"):
        desk.rotate("net", "qim", ["bolt"])
    assert {state for *_, state in states(desk)} == {"active"}


def test_rotating_under_a_policy(desk):
    desk.issue("net", "qim", ["acme"])
    desk.create_policy("day", spec="qim", valid_seconds=86_400, forgettable=True)
    assert desk.rotate("net", None, ["acme"], policy="day") == 1
    (row,) = desk.registry.read(list_copies, status=CopyStatus.ACTIVE)
    assert (row.policy, row.expires_at, row.salted) == ("day", NOW + 86_400, True)
    desk.load_copy(row.copy_id)


ACT = """
import json, sys, time
from pathlib import Path
from variegate.authority import Authority
from variegate.errors import VariegateError
from variegate.keys import SellerSecret
from variegate.types import CopyStatus

home, act, ready, go = sys.argv[1:]
secret = SellerSecret.from_bytes(bytes(range(32)))
buyers = [f"b{i}" for i in range(40)]
done = []
with Authority.open(Path(home), lambda: secret) as desk:
    Path(ready).touch()
    while not Path(go).exists():
        time.sleep(0.001)
    for step in range(4):
        try:
            if act == "rotate":
                done.append(desk.rotate("net", "qim", buyers))
            elif act == "issue":
                done.append(desk.issue_many("net", "qim", [f"n{step}-{i}" for i in range(40)]))
            elif act == "revoke":
                done.append(desk.revoke(desk.copies_of(buyers[step * 5:][:5])))
        except VariegateError as error:
            done.append(str(error))
print(json.dumps(done))
"""


@pytest.mark.parametrize(
    "acts",
    [
        pytest.param(("rotate", "rotate"), marks=pytest.mark.slow),
        pytest.param(("rotate", "revoke"), marks=pytest.mark.slow),
        ("issue", "rotate", "revoke"),
    ],
    ids="+".join,
)
def test_processes_at_once_take_turns(desk, tmp_path, acts):
    """Whatever the order: no epoch twice, one active copy at most, what was revoked stays so, the log holds."""
    buyers = [f"b{i}" for i in range(40)]
    desk.issue("net", "qim", buyers)
    ready = [tmp_path / f"ready-{i}" for i in range(len(acts))]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ACT, desk.home.root, act, mark, tmp_path / "go"], stdout=subprocess.PIPE, text=True
        )
        for act, mark in zip(acts, ready, strict=True)
    ]
    while not all(mark.exists() for mark in ready) and all(process.poll() is None for process in processes):
        time.sleep(0.001)
    (tmp_path / "go").touch()
    done = {}
    for act, process in zip(acts, processes, strict=True):
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        done.setdefault(act, []).extend(json.loads(out))
    rotations = acts.count("rotate") * 4
    assert done["rotate"] == [40] * rotations
    assert desk.registry.read(last_epochs, "net", buyers) == dict.fromkeys(buyers, 1 + rotations)
    for buyer in buyers:
        mine = desk.registry.read(list_copies, buyer=buyer)
        assert [row.epoch for row in mine] == list(range(1, 2 + rotations))
        assert sum(row.status is CopyStatus.ACTIVE for row in mine) <= 1
        revoked = [row.epoch for row in mine if row.status is CopyStatus.REVOKED]
        assert bool(revoked) == ("revoke" in acts and int(buyer[1:]) < 20)
        assert revoked == list(range(1, 1 + len(revoked)))  # all that there were at that moment
    assert desk.registry.read(count_copies) == 40 * (1 + rotations) + sum(done.get("issue", []))
    assert all(isinstance(count, int) for counts in done.values() for count in counts), done
    assert desk.registry.read(verify_log).ok
    assert desk.secret() == SECRET
