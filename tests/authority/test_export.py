"""Artifacts and lists of revoked copies from the desk, and what the registry says of an artifact."""

import shutil
import sqlite3

import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tests.authority.conftest import NOW, SECRET
from tests.raising import raises
from variegate.artifacts.export import write_artifact
from variegate.artifacts.revocations import read_revocations
from variegate.artifacts.verify import verify_artifact
from variegate.artifacts.vgc_header import KeyRecipient
from variegate.authority import Authority
from variegate.authority.home import restore_home
from variegate.authority.verify import registry_checks, signing_pem
from variegate.errors import ConflictError, NotFoundError, SecretError, VerificationError
from variegate.keys import SellerSecret
from variegate.keystore.base import Access
from variegate.registry.backup import write_backup
from variegate.registry.copies import change_status, get_copy
from variegate.registry.log import log_head
from variegate.registry.records import add_secret, get_model
from variegate.registry.registry import Registry
from variegate.registry.verify import verify_log
from variegate.signing import public_pem, read_public_key, signing_key
from variegate.types import CopyStatus

PEM = public_pem(signing_key(SECRET)).encode()


@pytest.fixture
def sold(desk, tmp_path):
    """A copy that was exported, and its folder."""
    desk.create_policy("year", spec="qim", valid_seconds=86_400)
    (manifest,) = desk.issue("net", None, ["acme"], policy="year")
    desk.export(manifest.copy_id, tmp_path / "artifact", artifact="safetensors", now=NOW)
    return manifest.copy_id, tmp_path / "artifact"


def force(desk, statement):
    """Edit the registry as somebody would who takes its own protection away first."""
    connection = sqlite3.connect(desk.home.registry)
    with connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute(statement)
    connection.close()


def failed(desk, folder, *, now=NOW, **options):
    """The number and name of the step that fails, with its detail; None if all pass."""
    result = verify_artifact(
        folder,
        public_key_pem=signing_pem(desk.registry, folder),
        now=now,
        checks=registry_checks(desk.registry),
        **options,
    )
    assert [step.number for step in result.steps] == list(range(1, 10))
    return result.failure and (result.failure.name, result.failure.detail)


@pytest.mark.parametrize(
    "kind",
    ["safetensors", "vgc", pytest.param("onnx", marks=pytest.mark.slow), pytest.param("pt2", marks=pytest.mark.slow)],
)
def test_every_kind_of_artifact_verifies_against_the_registry(desk, tmp_path, kind):
    (manifest,) = desk.issue("net", "qim", ["acme"])
    recipient = KeyRecipient(X25519PrivateKey.generate().public_key()) if kind == "vgc" else None
    written = desk.export(manifest.copy_id, tmp_path / "a", artifact=kind, now=NOW, recipient=recipient)
    assert (written.copy_id, written.buyer, written.artifact) == (manifest.copy_id, "acme", kind)
    assert written.log == desk.registry.read(log_head)
    assert failed(desk, tmp_path / "a") is None
    key = bytes(range(32))
    assert not any(
        key in path.read_bytes() or key.hex().encode() in path.read_bytes() for path in (tmp_path / "a").iterdir()
    )


def test_only_active_copies_leave_the_desk(desk, tmp_path):
    old, gone = desk.issue("net", "qim", ["acme", "bolt"])
    desk.rotate("net", "qim", ["acme"])
    desk.revoke([gone.copy_id])
    for copy, status in ((old, "superseded"), (gone, "revoked")):
        with raises(ConflictError, str(copy.copy_id), str(status), "active"):
            desk.export(copy.copy_id, tmp_path / "a", artifact="safetensors", now=NOW)
    with raises(NotFoundError, "vg1-nope"):
        desk.export("vg1-nope", tmp_path / "a", artifact="safetensors", now=NOW)
    assert not (tmp_path / "a").exists()


def test_an_expired_copy_is_not_exported(desk, sold, tmp_path):
    with raises(VerificationError, "expired", "2026-09-22T14:13:20Z"):
        desk.export(sold[0], tmp_path / "late", artifact="safetensors", now=NOW + 86_400)
    desk.export(sold[0], tmp_path / "just", artifact="safetensors", now=NOW + 86_399)


def test_an_expired_copy_does_not_verify(desk, sold):
    assert failed(desk, sold[1], now=NOW + 86_400 - 1, skew_seconds=0) is None
    assert failed(desk, sold[1], now=NOW + 86_400, skew_seconds=0)[0] == "times"


def test_a_revoked_copy_does_not_verify(desk, sold):
    desk.revoke([sold[0]])
    assert failed(desk, sold[1]) == ("state", f"the copy {sold[0]} is revoked")


def test_a_superseded_copy_still_verifies_and_says_so(desk, sold):
    desk.rotate("net", None, ["acme"], policy="year")
    result = verify_artifact(sold[1], public_key_pem=PEM, now=NOW, checks=registry_checks(desk.registry, chain=False))
    assert result.failure is None
    assert result.steps[-1].detail == "the copy is superseded"


def test_a_copy_that_is_revoked_while_it_is_exported_does_not_leave(desk, tmp_path, monkeypatch):
    (copy,) = desk.issue("net", "qim", ["acme"])

    def load_slowly(name):
        made = desk._maker.load(name)
        with Registry(desk.home.registry) as store:
            store.write(change_status, [name], CopyStatus.REVOKED)
        return made

    monkeypatch.setattr(Authority, "load_copy", lambda self, name: load_slowly(name))
    with raises(ConflictError, str(copy.copy_id), "revoked", "active"):
        desk.export(copy.copy_id, tmp_path / "a", artifact="safetensors", now=NOW)
    assert not (tmp_path / "a").exists()


def test_a_key_that_is_forgotten_while_its_copy_is_exported(desk, tmp_path, monkeypatch):
    desk.create_policy("private", spec="qim", forgettable=True)
    (copy,) = desk.issue("net", None, ["acme"], policy="private")

    def load_slowly(name):
        made = desk._maker.load(name)
        assert desk.forget(name)
        return made

    monkeypatch.setattr(Authority, "load_copy", lambda self, name: load_slowly(name))
    with raises(SecretError, str(copy.copy_id), "forgotten"):
        desk.export(copy.copy_id, tmp_path / "a", artifact="safetensors", now=NOW)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("change", "step", "detail"),
    [
        ("UPDATE copies SET buyer = 'mallory'", "registry", "another buyer"),
        ("UPDATE copies SET epoch = 9", "registry", "another epoch"),
        ("UPDATE copies SET issued_at = issued_at + 1", "registry", "another issued_at"),
        ("UPDATE copies SET expires_at = NULL", "registry", "another expires_at"),
        ("DELETE FROM copies", "registry", "there is no copy named"),
        ("UPDATE copies SET status = 'superseded'", "log", "the log does not hold"),
        ("UPDATE copies SET draw = 3", "log", "the log does not hold"),
        ("UPDATE copies SET key_identifier = 5", "log", "the log does not hold"),
        ("UPDATE events SET at = at + 1 WHERE seq = 3", "log", "entry 3 of the log was changed"),
        ("DELETE FROM events WHERE seq = 2", "log", "entry 2 of the log is missing"),
    ],
    ids=lambda value: value if value.startswith(("UPDATE", "DELETE")) else None,
)
def test_a_registry_that_was_edited_is_noticed(desk, sold, change, step, detail):
    assert failed(desk, sold[1]) is None
    force(desk, change)
    name, why = failed(desk, sold[1])
    assert name.split()[0] == step
    assert detail in why


def test_a_restored_backup_answers_as_the_registry_did(desk, sold, tmp_path):
    write_backup(desk.registry, tmp_path / "b.vgb")
    restore_home(tmp_path / "again", tmp_path / "b.vgb")
    with Registry(tmp_path / "again" / "registry.db", read_only=True) as store:
        result = verify_artifact(
            sold[1], public_key_pem=signing_pem(store, sold[1]), now=NOW, checks=registry_checks(store)
        )
        assert result.failure is None, result.failure
    for folder in ("models", "specs"):
        shutil.copytree(desk.home.root / folder, tmp_path / "again" / folder, dirs_exist_ok=True)
    x = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with Authority.open(tmp_path / "again", lambda: SECRET) as other:
        other._clock = lambda: NOW
        assert torch.equal(other.load_copy(sold[0]).scores(x), desk.load_copy(sold[0]).scores(x))
        assert other.issue("net", None, ["acme"], policy="year")[0].copy_id == sold[0]


def test_a_backup_from_before_a_rotation_and_the_secret_that_it_lacks(desk, tmp_path):
    """The same buyer gets the same key again, once the secret is recorded that he got it from."""
    env = {"VARIEGATE_SELLER_SECRET": SECRET.reveal().hex(), "VARIEGATE_PASSPHRASE": "open"}
    desk.issue("net", "qim", ["acme"])
    write_backup(desk.registry, tmp_path / "b.vgb")
    with Authority.open(desk.home.root, access=Access(env=env)) as rotated:
        newer = rotated.keyring.rotate("sealed_file").identifier
        late = rotated.registry.read(get_copy, rotated.issue("net", "qim", ["late"])[0].copy_id)
    restore_home(tmp_path / "again", tmp_path / "b.vgb")
    for folder in ("models", "specs", "secrets"):
        shutil.copytree(desk.home.root / folder, tmp_path / "again" / folder, dirs_exist_ok=True)
    with Authority.open(tmp_path / "again", access=Access(env=env)) as again:
        assert [path.name for path in again.keyring.stray()] == [f"{newer}.sealed_file"]
        assert again.keyring.take_in(newer).identifier == newer
        (copy,) = again.issue("net", "qim", ["late"])
        assert copy.copy_id == late.copy_id
        assert again.registry.read(get_copy, copy.copy_id).key_identifier == late.key_identifier
        assert again.registry.read(verify_log).ok


def test_an_artifact_made_after_the_backup_does_not_fit_the_restored_registry(desk, sold, tmp_path):
    write_backup(desk.registry, tmp_path / "b.vgb")
    desk.issue("net", "qim", ["bolt"])
    desk.export(sold[0], tmp_path / "later", artifact="safetensors", now=NOW)
    restore_home(tmp_path / "again", tmp_path / "b.vgb")
    with Registry(tmp_path / "again" / "registry.db", read_only=True) as store:
        result = verify_artifact(tmp_path / "later", public_key_pem=PEM, now=NOW, checks=registry_checks(store))
    assert result.failure is not None
    assert result.failure.name.startswith("log")


def test_another_home_does_not_know_the_copy(desk, sold, tmp_path):
    with Authority.create(tmp_path / "other", SECRET) as other:
        name, detail = failed(other, sold[1])
    assert name == "registry"
    assert "there is no copy named" in detail


def test_the_list_of_revoked_copies(desk):
    copies = [manifest.copy_id for manifest in desk.issue("net", "qim", ["acme", "bolt", "cold"])]
    assert read_revocations(desk.revocations(now=NOW, next_update=NOW + 60), read_public_key(PEM)).copies == frozenset()
    desk.revoke(copies[:2])
    listed = read_revocations(desk.revocations(now=NOW, next_update=NOW + 60), read_public_key(PEM))
    assert listed.copies == frozenset(copies[:2])
    assert listed.log == desk.registry.read(log_head)
    with raises(NotFoundError, "nope", "secret"):
        desk.revocations(now=NOW, next_update=NOW + 60, secret="nope")


def test_new_artifacts_are_signed_by_the_new_key_and_old_ones_still_verify(desk, sold, tmp_path):
    second = SellerSecret.from_bytes(bytes(32))
    pem = public_pem(signing_key(second))
    desk.registry.write(add_secret, second.identifier, provider="environment", public_key=pem)
    env = {
        "VARIEGATE_SELLER_SECRET": SECRET.reveal().hex(),
        f"VARIEGATE_SELLER_SECRET_{second.identifier.upper()}": second.reveal().hex(),
    }
    with Authority.open(desk.home.root, access=Access(env=env)) as other:
        other.export(sold[0], tmp_path / "new", artifact="safetensors", now=NOW)
        assert signing_pem(other.registry, tmp_path / "new") == pem.encode()
        assert signing_pem(other.registry, sold[1]) == PEM
        assert failed(other, tmp_path / "new") is None
        assert failed(other, sold[1]) is None
        for secret, expected in ((None, pem.encode()), (SECRET.identifier, PEM)):
            data = other.revocations(now=NOW, next_update=NOW + 60, secret=secret)
            assert read_revocations(data, read_public_key(expected)).copies == frozenset()
    result = verify_artifact(tmp_path / "new", public_key_pem=PEM, now=NOW)
    assert result.failure is not None
    assert result.failure.name == "signature"


def sign_anew(folder, desk, copy, secret):
    """An artifact of a copy as somebody would make it who has this secret."""
    row, manifest = desk.registry.read(get_copy, copy), desk.copy_manifest(copy)
    write_artifact(
        folder,
        copy_manifest=manifest,
        model_manifest=desk.registry.read(get_model, row.model),
        copy=desk.load_copy(copy),
        signing=signing_key(secret),
        artifact="safetensors",
        log=desk.registry.read(log_head),
        created_at=NOW,
        expires_at=row.expires_at,
    )


def test_a_leaked_old_secret_cannot_sign_for_copies_of_a_newer_one(desk, sold, tmp_path):
    second = SellerSecret.from_bytes(bytes(32))
    pem = public_pem(signing_key(second))
    desk.registry.write(add_secret, second.identifier, provider="environment", public_key=pem)
    env = {
        "VARIEGATE_SELLER_SECRET": second.reveal().hex(),
        f"VARIEGATE_SELLER_SECRET_{SECRET.identifier.upper()}": SECRET.reveal().hex(),
    }
    with Authority.open(desk.home.root, access=Access(env=env)) as other:
        (new,) = other.issue("net", "qim", ["bolt"])
        sign_anew(tmp_path / "right", other, new.copy_id, second)
        sign_anew(tmp_path / "wrong", other, new.copy_id, SECRET)
        sign_anew(tmp_path / "alien", other, new.copy_id, SellerSecret.from_bytes(b"\7" * 32))
        checks = registry_checks(other.registry)
        result = verify_artifact(tmp_path / "right", public_key_pem=pem.encode(), now=other._now(), checks=checks)
        assert result.failure is None
        assert (
            result.steps[6].detail == f"recorded for buyer bolt; signed with the key of the secret {second.identifier}"
        )
        name, detail = failed(other, tmp_path / "wrong", now=other._now())
        assert name == "registry"
        assert (
            f"issued under the secret {second.identifier}, but is signed with the key of the earlier secret" in detail
        )
        alien = public_pem(signing_key(SellerSecret.from_bytes(b"\7" * 32))).encode()
        result = verify_artifact(tmp_path / "alien", public_key_pem=alien, now=other._now(), checks=checks)
        assert result.failure.name == "registry"
        assert "a key that belongs to no secret which the registry knows" in result.failure.detail


def test_an_artifact_that_is_none_is_checked_with_the_current_key(desk, tmp_path):
    (tmp_path / "junk").mkdir()
    assert signing_pem(desk.registry, tmp_path / "junk") == PEM
    for content in (b"[]", b"{", b'{"signing_key": 7}'):
        (tmp_path / "junk" / "manifest.json").write_bytes(content)
        assert signing_pem(desk.registry, tmp_path / "junk") == PEM
    assert failed(desk, tmp_path / "junk")[0] == "signature"
