"""Issuing under policies: expiry, keys that can be forgotten, batches, and what an earlier issue fixed."""

from collections import Counter

import pytest
import torch

from tests.authority.conftest import NOW, SECRET
from tests.authority.test_issuing import edit
from tests.raising import raises
from variegate.authority import Authority, issuing
from variegate.authority.skipped import SkipReason, sentences
from variegate.errors import ConfigurationError, ConflictError, NotFoundError, SecretError, VerificationError
from variegate.keys import SALT_BYTES, SellerSecret
from variegate.registry.copies import count_copies, get_copy, get_salt, list_copies
from variegate.registry.log import iterate_events
from variegate.registry.records import add_secret
from variegate.registry.verify import verify_log
from variegate.rewriters.permutation import PermutationSpec
from variegate.types import CopyStatus

DAY = 86_400


@pytest.fixture
def private(desk):
    desk.create_policy("private", spec="qim", forgettable=True)
    return desk


def test_copies_expire_when_the_policy_says(desk):
    desk.create_policy("year", spec="qim", valid_seconds=365 * DAY)
    (manifest,) = desk.issue("net", None, ["acme"], policy="year")
    row = desk.registry.read(get_copy, manifest.copy_id)
    assert (row.policy, row.issued_at, row.expires_at) == ("year", NOW, NOW + 365 * DAY)
    desk._clock = lambda: NOW + 9 * DAY
    desk.issue("net", None, ["acme", "late"], policy="year")
    assert desk.registry.read(get_copy, manifest.copy_id) == row  # an issue that is given again prolongs nothing
    (late,) = desk.registry.read(list_copies, buyer="late")
    assert late.expires_at == NOW + 374 * DAY


def test_a_policy_names_its_spec(desk):
    desk.create_policy("p", spec="qim")
    assert desk.issue("net", "qim", ["acme"], policy="p") == desk.issue("net", None, ["acme"], policy="p")
    with raises(ConfigurationError, "qim", "permutation", "policy"):
        desk.issue("net", "permutation", ["bolt"], policy="p")
    with raises(ConfigurationError, "policy", "neither"):
        desk.issue("net", None, ["bolt"])
    with raises(NotFoundError, "nope", "policy"):
        desk.issue("net", None, ["bolt"], policy="nope")


def test_a_policy_keeps_to_the_spec_that_it_was_made_for(desk):
    desk.create_policy("p", spec="permutation")
    desk.save_spec("permutation", PermutationSpec(alpha=0.9), replace=True)
    with raises(VerificationError, "policy"):
        desk.issue("net", None, ["acme"], policy="p")


def test_policies_do_not_change(desk):
    first = desk.create_policy("p", spec="qim", quota=5)
    assert desk.create_policy("p", spec="qim", quota=5) == first == desk.policy("p")
    with pytest.raises(ConflictError, match="'p'"):
        desk.create_policy("p", spec="qim", quota=6)
    assert desk.policy("p") == first


@pytest.mark.parametrize("many", [False, True])
def test_a_copy_that_exists_under_other_terms_is_not_passed_off(private, many):
    """Who asks for a forgettable copy and has an unsalted one already must be told."""
    private.issue("net", "qim", ["acme"])
    issue = private.issue_many if many else private.issue
    with raises(ConflictError, "acme", "buyer", "policy"):
        issue("net", None, ["new", "acme"], policy="private")
    private.issue("net", None, ["bolt"], policy="private")
    private.create_policy("other", spec="qim")
    with raises(ConflictError, "bolt", "private", "other", "policy"):
        issue("net", None, ["bolt"], policy="other")
    with raises(ConflictError, "bolt", "private", "policy"):
        issue("net", "qim", ["bolt"])
    assert private.registry.read(count_copies) == 2


@pytest.mark.parametrize("many", [False, True])
def test_an_expired_copy_is_not_handed_out_again(desk, many):
    desk.create_policy("day", spec="qim", valid_seconds=DAY)
    (manifest,) = desk.issue("net", None, ["acme"], policy="day")
    desk._clock = lambda: NOW + DAY - 1
    assert desk.issue("net", None, ["acme"], policy="day") == [manifest]
    desk._clock = lambda: NOW + DAY
    issue = desk.issue_many if many else desk.issue
    with raises(ConflictError, str(manifest.copy_id), "acme", "buyer", "expired", "2026-09-22"):
        issue("net", None, ["new", "acme"], policy="day")
    assert desk.registry.read(count_copies) == 1
    assert desk.rotate("net", None, ["acme"], policy="day") == 1
    assert desk.registry.read(list_copies, buyer="acme")[1].expires_at == NOW + 2 * DAY


def test_bulk_skips_and_counts(desk):
    """One revoked buyer must not block the others, nor the same command given again."""
    desk.create_policy("day", spec="qim", valid_seconds=DAY)
    tally = Counter()
    desk.issue("net", None, ["old"], policy="day")
    desk._clock = lambda: NOW + DAY
    copies = desk.issue("net", None, ["revoked", "superseded", "good"], policy="day")
    (other,) = desk.issue("net", "permutation", ["other"])
    desk.revoke([copies[0].copy_id, other.copy_id])
    desk.supersede([copies[1].copy_id])
    buyers = ["old", "revoked", "superseded", "other", "good", "new", "revoked"]
    bulk = {"policy": "day", "epoch": 1, "bulk": True, "skipped": tally}
    assert desk.issue_many("net", None, buyers, **bulk) == 1
    assert tally == {
        SkipReason.EXPIRED: 1,
        SkipReason.REVOKED: 2,
        SkipReason.SUPERSEDED: 1,
    }
    assert [one.buyer for one in desk.issue("net", None, buyers, **bulk)] == ["good", "new"]
    assert desk.registry.read(count_copies) == 6
    with raises(ConflictError, "revoked", "buyer"):
        desk.issue("net", None, ["revoked"], policy="day")
    assert desk.registry.read(verify_log).ok


def test_bulk_still_refuses_an_active_copy_on_other_terms(private):
    private.issue("net", "qim", ["acme"])
    with raises(ConflictError, "policy"):
        private.issue_many("net", None, ["a", "acme"], policy="private", bulk=True)
    with raises(ConflictError, "holds", "copy"):
        private.issue_many("net", "permutation", ["acme"], bulk=True)
    assert private.registry.read(count_copies) == 1


def test_a_salted_key_needs_its_salt(private):
    (manifest,) = private.issue("net", None, ["acme"], policy="private")
    row = private.registry.read(get_copy, manifest.copy_id)
    salt = private.registry.read(get_salt, row.copy_id)
    assert row.salted
    assert salt is not None
    assert len(salt) == SALT_BYTES
    assert private.keyring.copy_key(row, "qim").identifier == row.key_identifier
    plain = private.issue("net", "qim", ["acme"], epoch=2)[0]
    assert not private.registry.read(get_copy, plain.copy_id).salted
    edit(private, "UPDATE copy_salts SET salt = zeroblob(16)")
    with raises(VerificationError, "issued"):
        private.keyring.copy_key(row, "qim")


def test_a_buyer_who_comes_twice_keeps_the_salt_of_their_key(private):
    """The salt and the key identifier must be of one draw, or the copy could never be made again."""
    private.issue("net", None, ["acme", "bolt", "acme"], policy="private")
    private.issue_many("net", None, ["acme", "cold", "cold"], policy="private")
    rows = private.registry.read(list_copies)
    assert sorted(row.buyer for row in rows) == ["acme", "bolt", "cold"]
    for row in rows:
        assert private.keyring.copy_key(row, "qim").identifier == row.key_identifier
        private.load_copy(row.copy_id)


def test_a_forgotten_copy_is_gone(private, tmp_path):
    first, second = private.issue("net", None, ["acme", "bolt"], policy="private")
    x = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    kept = private.load_copy(second.copy_id).scores(x)
    private.load_copy(first.copy_id)
    with Authority.open(private.home.root, lambda: SECRET) as other:
        other.load_copy(first.copy_id)
        private.forget(first.copy_id)
        for desk in (private, other):  # the other process has the head in its cache
            with raises(SecretError, str(first.copy_id), "forgotten"):
                desk.load_copy(first.copy_id)
            with raises(SecretError, "forgotten"):
                desk.export(first.copy_id, tmp_path / "out", artifact="safetensors", now=NOW)
    assert not (tmp_path / "out").exists()
    assert private.registry.read(get_salt, first.copy_id) is None
    private.forget(first.copy_id)  # again: nothing changes
    with pytest.raises(NotFoundError):
        private.forget("vg1-nope")
    assert private.registry.read(get_copy, first.copy_id).salted  # the registry still says that it had one
    assert torch.equal(private.load_copy(second.copy_id).scores(x), kept)
    assert private.registry.read(verify_log).ok
    assert [event.kind for event in iterate_events(private.registry)][-1] == "salt_forgotten"


def test_no_byte_of_a_forgotten_salt_is_left_in_the_home(private):
    (manifest,) = private.issue("net", None, ["acme"], policy="private")
    salt = private.registry.read(get_salt, manifest.copy_id)
    files = [path for path in private.home.root.rglob("*") if path.is_file()]
    assert any(salt in path.read_bytes() for path in files)
    private.forget(manifest.copy_id)
    assert not any(salt in path.read_bytes() for path in files)


def test_a_key_without_a_salt_cannot_be_forgotten(private):
    (manifest,) = private.issue("net", "qim", ["acme"])
    with raises(ConflictError, "--forgettable"):
        private.forget(manifest.copy_id)
    private.load_copy(manifest.copy_id)


def test_issuing_again_after_a_key_was_forgotten_gives_no_new_key(private):
    (manifest,) = private.issue("net", None, ["acme"], policy="private")
    private.forget(manifest.copy_id)
    private.issue("net", None, ["acme"], policy="private")
    assert private.registry.read(count_copies) == 1
    assert private.registry.read(get_salt, manifest.copy_id) is None


def test_an_error_in_a_later_batch_keeps_the_earlier_ones(private, monkeypatch):
    monkeypatch.setattr(issuing, "BATCH_ROWS", 10)
    buyers = [f"b{i}" for i in range(35)]
    steps = []
    with raises(ConfigurationError, "words"):
        private.issue_many(
            "net", None, [*buyers[:25], "two words", *buyers[25:]], policy="private", progress=steps.append
        )
    assert steps == [10, 20]
    assert [row.buyer for row in private.registry.read(list_copies)] == buyers[:20]
    assert private.issue_many("net", None, buyers, policy="private", progress=steps.append) == 15
    assert steps == [10, 20, 10, 20, 30, 35]
    assert private.issue_many("net", None, buyers, policy="private") == 0
    keys = {private.keyring.copy_key(row, "qim").identifier for row in private.registry.read(list_copies)}
    assert len(keys) == 35
    assert private.registry.read(verify_log).ok


def test_skipped_buyers_are_reported():
    assert sentences(Counter()) == []
    reached, earlier = sentences({SkipReason.REACHED: 1, SkipReason.EARLIER_SECRET: 1200, SkipReason.REVOKED: 0})
    assert reached == "1 buyer has reached the epoch and got none"
    assert earlier.startswith("1,200 buyers keep copies that come from an earlier seller's secret; for new ones, if ")
    assert all(sentences({reason: 2})[0].startswith("2 buyers ") for reason in SkipReason)


def test_after_a_new_secret_nobody_is_left_behind(desk):
    """A leaked secret: buyers who are at the epoch already, but under the old secret, are rotated, too; once."""
    desk.issue("net", "qim", ["acme", "bolt"])
    desk.rotate("net", "qim", ["acme"])
    second = SellerSecret.from_bytes(bytes(32))
    desk.registry.write(add_secret, second.identifier, provider="environment", public_key=_pem(second))
    secrets = {"VARIEGATE_SELLER_SECRET": SECRET.reveal().hex()}
    secrets[f"VARIEGATE_SELLER_SECRET_{second.identifier.upper()}"] = second.reveal().hex()
    from variegate.keystore.base import Access

    with Authority.open(desk.home.root, access=Access(env=secrets)) as other:
        tally = Counter()
        other.issue("net", "qim", ["bolt"], skipped=tally)
        assert tally == {SkipReason.EARLIER_SECRET: 1}
        rotate = {"epoch": 2, "bulk": True}
        tally = Counter()
        assert other.rotate("net", "qim", None, skipped=tally, **rotate) == 2
        assert tally == {}
        active = other.registry.read(list_copies, status=CopyStatus.ACTIVE)
        assert sorted((row.buyer, row.epoch, row.secret) for row in active) == [
            ("acme", 3, second.identifier),
            ("bolt", 2, second.identifier),
        ]
        assert other.rotate("net", "qim", None, skipped=tally, **rotate) == 0
        assert tally == {SkipReason.REACHED: 2}
        assert other.rotate("net", "qim", ["acme", "bolt"], epoch=2) == 0


def test_a_secret_that_is_rotated_between_two_batches(desk, monkeypatch):
    """What is issued after a rotation of the secret never comes from the secret before it."""
    monkeypatch.setattr(issuing, "BATCH_ROWS", 1)
    second = SellerSecret.from_bytes(bytes(32))

    def rotate(through):
        if through == 1:
            desk.registry.write(add_secret, second.identifier, provider="environment", public_key=_pem(second))

    with raises(ConflictError, "meanwhile", "rotated"):
        desk.issue_many("net", "qim", ["acme", "bolt"], progress=rotate)
    assert [row.buyer for row in desk.registry.read(list_copies)] == ["acme"]


def test_copies_stay_with_the_secret_that_they_were_issued_under(desk):
    x = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    (old,) = desk.issue("net", "qim", ["acme"])
    before = desk.load_copy(old.copy_id).scores(x)
    second = SellerSecret.from_bytes(bytes(32))
    desk.registry.write(add_secret, second.identifier, provider="environment", public_key=_pem(second))
    secrets = {"VARIEGATE_SELLER_SECRET": SECRET.reveal().hex()}
    secrets[f"VARIEGATE_SELLER_SECRET_{second.identifier.upper()}"] = second.reveal().hex()
    from variegate.keystore.base import Access

    with Authority.open(desk.home.root, access=Access(env=secrets)) as other:
        (again, new) = other.issue("net", "qim", ["acme", "bolt"])
        assert again == old
        assert other.registry.read(get_copy, old.copy_id).secret == SECRET.identifier
        assert other.registry.read(get_copy, new.copy_id).secret == second.identifier
        assert torch.equal(other.load_copy(old.copy_id).scores(x), before)
        other.load_copy(new.copy_id)
        row = other.registry.read(get_copy, new.copy_id)
        assert other.keyring.copy_key(row, "qim").identifier == row.key_identifier
    with pytest.raises(SecretError):
        desk.issue("net", "qim", ["cold"])  # this desk knows the first secret alone


def _pem(secret: SellerSecret) -> str:
    from variegate.signing import public_pem, signing_key

    return public_pem(signing_key(secret))
