"""Policies, secrets, salts, API keys, quotas and the log."""

import hashlib
import threading

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tests.raising import raises
from tests.registry.conftest import NOW, SPEC, model_manifest, tampering
from variegate.errors import ConfigurationError, ConflictError, NotFoundError, QuotaError
from variegate.registry import engine
from variegate.registry.bulk import add_copies
from variegate.registry.copies import (
    change_status,
    count_copies,
    forget_salt,
    get_copy,
    get_salt,
    spend_quota,
    used_quota,
)
from variegate.registry.log import ZERO, event_hash, iterate_events, log_head
from variegate.registry.records import (
    add_api_key,
    add_model,
    add_policy,
    add_secret,
    add_spec,
    find_api_key,
    get_policy,
    list_api_keys,
    list_policies,
    list_secrets,
    revoke_api_key,
)
from variegate.registry.registry import Registry
from variegate.registry.rows import ApiKeyRow, LogHead, PolicyRow, SecretRow
from variegate.registry.verify import verify_log
from variegate.types import CopyStatus

KEY = hashlib.sha256(b"key").digest()


def test_policies(registry):
    body = {"quota": 5, "rate": [1, "s"]}
    registry.write(add_policy, "gold", body)
    registry.write(add_policy, "gold", {"rate": [1, "s"], "quota": 5})
    registry.write(add_policy, "basic", {})
    assert registry.read(get_policy, "gold") == PolicyRow(name="gold", body=body, added_at=NOW)
    assert [policy.name for policy in registry.read(list_policies)] == ["gold", "basic"]
    with raises(ConflictError, "gold", "policy"):
        registry.write(add_policy, "gold", {"quota": 6})
    with raises(NotFoundError, "nope", "policy"):
        registry.read(get_policy, "nope")


def test_secrets(registry):
    registry.write(add_secret, "a" * 16, provider="file", public_key="PEM 1")
    registry.write(add_secret, "b" * 16, provider="pkcs11", public_key="PEM 2")
    assert registry.read(list_secrets) == [
        SecretRow(identifier="a" * 16, provider="file", public_key="PEM 1", added_at=NOW),
        SecretRow(identifier="b" * 16, provider="pkcs11", public_key="PEM 2", added_at=NOW),
    ]
    with raises(ConflictError, "aaaaaaaaaaaaaaaa", "recorded"):
        registry.write(add_secret, "a" * 16, provider="file", public_key="PEM 3")


def test_salts_are_kept_until_they_are_forgotten(registry, row):
    acme, bolt = row("acme", salted=True), row("bolt")
    salts = {acme.copy_id: b"\0salt\xff"}
    assert registry.write(add_copies, [acme, bolt], salts=salts) == 2
    assert registry.write(add_copies, [acme], salts={acme.copy_id: b"another"}, keep_existing=True) == 0
    assert registry.read(get_salt, acme.copy_id) == b"\0salt\xff"
    assert registry.read(get_salt, bolt.copy_id) is None
    assert forget_salt(registry, acme.copy_id)
    assert registry.read(get_salt, acme.copy_id) is None
    assert registry.read(get_copy, acme.copy_id) == acme
    head = registry.read(log_head)
    assert forget_salt(registry, acme.copy_id)
    assert registry.read(log_head) == head
    with raises(ConflictError, "salt"):
        forget_salt(registry, bolt.copy_id)
    with raises(NotFoundError, "vg1-0"):
        forget_salt(registry, "vg1-0")
    assert registry.read(verify_log).ok


def test_a_salted_copy_needs_its_salt(registry, row):
    with raises(ConfigurationError, "salted", "salt"):
        registry.write(add_copies, [row("bolt"), row("acme", salted=True)])
    assert registry.read(count_copies) == 0


def test_a_forgotten_salt_is_gone_from_the_file(sqlite_registry, tmp_path, row):
    acme, salt = row("acme", salted=True), b"a salt that nobody may find again"
    sqlite_registry.write(add_copies, [acme], salts={acme.copy_id: salt})
    forget_salt(sqlite_registry, acme.copy_id)
    assert not any(salt in path.read_bytes() for path in tmp_path.iterdir())


def test_a_reader_keeps_a_forgotten_salt_in_the_write_ahead_log(tmp_path, row, monkeypatch):
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_MS", 10)
    acme, salt = row("acme", salted=True), b"a salt that nobody may find again"
    with Registry(tmp_path / "registry.db", create=True, clock=lambda: NOW) as registry:
        registry.write(add_model, model_manifest())
        registry.write(add_spec, "first", SPEC)
        registry.write(add_copies, [acme], salts={acme.copy_id: salt})
        with registry.reading() as connection:
            connection.scalar(text("SELECT count(*) FROM copies"))
            assert not forget_salt(registry, acme.copy_id)
            assert not forget_salt(registry, acme.copy_id)
            assert any(salt in path.read_bytes() for path in tmp_path.iterdir())
        assert registry.read(get_salt, acme.copy_id) is None
        assert forget_salt(registry, acme.copy_id)
        assert not any(salt in path.read_bytes() for path in tmp_path.iterdir())
        assert [entry.kind for entry in iterate_events(registry)].count("salt_forgotten") == 1


def test_api_keys(registry, row):
    with raises(NotFoundError, "acme", "buyer"):
        registry.write(add_api_key, "acme", identifier="k1", digest=KEY)
    registry.write(add_copies, [row("acme"), row("bolt")])
    first = registry.write(add_api_key, "acme", identifier="k1", digest=KEY, expires_at=2**33)
    second = registry.write(add_api_key, "bolt", identifier="k2", digest=bytes(32))
    assert first == ApiKeyRow(identifier="k1", buyer="acme", added_at=NOW, expires_at=2**33)
    assert registry.read(find_api_key, KEY) == first
    assert registry.read(find_api_key, bytes(31)) is None
    assert registry.read(list_api_keys) == [first, second]
    assert registry.read(list_api_keys, buyer="bolt") == [second]
    for identifier, digest in (("k1", b"x" * 32), ("k3", KEY)):
        with raises(ConflictError, str(identifier), "API"):
            registry.write(add_api_key, "acme", identifier=identifier, digest=digest)
    with raises(ConfigurationError, "32", "5"):
        registry.write(add_api_key, "acme", identifier="k4", digest=b"short")
    registry.write(revoke_api_key, "k1")
    head = registry.read(log_head)
    registry.write(revoke_api_key, "k1")
    assert registry.read(log_head) == head
    assert registry.read(find_api_key, KEY).revoked_at == NOW
    with raises(NotFoundError, "k9", "API"):
        registry.write(revoke_api_key, "k9")
    assert registry.read(verify_log).ok


def test_quota(registry, row):
    registry.write(add_copies, [row("acme"), row("bolt")])
    copy = row("acme").copy_id
    assert registry.read(used_quota, copy) == 0
    assert registry.count(spend_quota, copy, 30, quota=100) == 70
    assert registry.count(spend_quota, copy, 70, quota=100) == 0
    assert registry.count(spend_quota, copy, 0, quota=100) == 0
    with raises(QuotaError, "0 of 100 queries left", "none was counted"):
        registry.count(spend_quota, copy, 1, quota=100)
    with raises(QuotaError, "50", "51"):
        registry.count(spend_quota, row("bolt").copy_id, 51, quota=50)
    assert registry.count(spend_quota, copy, 5, quota=200) == 95
    assert (registry.read(used_quota, copy), registry.read(used_quota, row("bolt").copy_id)) == (105, 0)
    for step in (lambda: registry.count(spend_quota, "vg1-0", 1, quota=5), lambda: registry.read(used_quota, "vg1-0")):
        with raises(NotFoundError, "vg1-0"):
            step()
    for queries, quota in ((-1, 5), (1, -5), (2**70, 2**70)):
        with raises(ConfigurationError, "quota"):
            registry.count(spend_quota, copy, queries, quota=quota)


def test_quota_is_never_overspent_by_threads(registry, row):
    registry.write(add_copies, [row("acme")])
    copy, spent, failures = row("acme").copy_id, [], []

    def spend():
        try:
            while True:
                registry.count(spend_quota, copy, 7, quota=500)
                spent.append(7)
        except QuotaError:
            pass
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=spend) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sum(spent) == registry.read(used_quota, copy) == 497


def test_the_log_tells_what_happened(registry, row):
    registry.write(add_secret, "a" * 16, provider="file", public_key="PEM")
    registry.write(add_policy, "gold", {})
    registry.write(add_copies, [row("acme"), row("bolt", epoch=1)])
    registry.write(add_copies, [row("acme", epoch=2)], supersede=True)
    registry.write(change_status, [row("bolt").copy_id], CopyStatus.REVOKED, reason="leaked")
    entries = list(iterate_events(registry))
    assert [entry.kind for entry in entries] == [
        "model_added",
        "spec_added",
        "secret_added",
        "policy_added",
        "issued",
        "issued",
        "status_changed",
        "status_changed",
    ]
    assert [entry.seq for entry in entries] == list(range(1, 9))
    assert entries[0].previous == ZERO
    for entry in entries:
        assert entry.at == NOW
        assert entry.hash == event_hash(
            seq=entry.seq, at=entry.at, kind=entry.kind, body=entry.body, previous=entry.previous
        )
    assert {key: entries[4].body[key] for key in ("first", "last", "count", "models")} == {
        "first": 1,
        "last": 2,
        "count": 2,
        "models": [model_manifest().digest],
    }
    assert entries[-2].body == {
        "copies": [row("acme").copy_id],
        "reason": "a later copy was issued",
        "to": "superseded",
    }
    assert entries[-1].body == {"copies": [row("bolt").copy_id], "reason": "leaked", "to": "revoked"}
    assert registry.read(log_head) == LogHead(seq=8, hash=entries[-1].hash)
    assert list(iterate_events(registry, after=6)) == entries[6:]


def test_what_changes_nothing_is_not_logged(registry, row):
    registry.write(add_policy, "gold", {})
    registry.write(add_copies, [row("acme")])
    head = registry.read(log_head)
    registry.write(add_policy, "gold", {})
    registry.write(add_spec, "again", {"rewriter": "qim", "messages_per_class": 16, "strength": 2.0})
    registry.write(add_copies, [row("acme")], keep_existing=True)
    registry.write(change_status, [row("acme").copy_id], CopyStatus.ACTIVE)
    assert registry.read(log_head) == head


def test_an_empty_log_has_a_head(url):
    with Registry(url, create=True) as registry:
        assert registry.read(log_head) == LogHead(seq=0, hash=ZERO)
        assert list(iterate_events(registry)) == []
        report = registry.read(verify_log)
    assert (report.ok, report.entries, report.copies) == (True, 0, 0)


@pytest.mark.parametrize("statement", ["UPDATE events SET at = 0", "DELETE FROM events", "TRUNCATE events"])
def test_the_database_refuses_to_change_the_log(registry, statement):
    if statement.startswith("TRUNCATE") and "postgresql" not in registry.location:
        pytest.skip("SQLite has no TRUNCATE")
    with raises(Exception, "append-only") as caught, registry.writing() as connection:
        connection.execute(text(statement))
    assert isinstance(caught.value.__cause__, DBAPIError)


def test_tampering_is_possible_in_these_tests(registry, url):
    with tampering(url) as connection:
        assert connection.execute(text("UPDATE events SET at = 0")).rowcount == 2
