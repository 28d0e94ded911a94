"""Whatever is changed behind variegate's back is found, and the first bad entry is named."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import final

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from tests.registry.conftest import NOW, SPEC, make_row, model_manifest, postgres_schema, tampering
from variegate.manifest import canonical_json
from variegate.registry import bulk, copies, log, replay
from variegate.registry.bulk import add_copies
from variegate.registry.copies import change_status, forget_salt
from variegate.registry.log import ZERO, event_hash, iterate_events, log_head
from variegate.registry.records import (
    add_api_key,
    add_model,
    add_policy,
    add_secret,
    add_spec,
    list_secrets,
    revoke_api_key,
)
from variegate.registry.registry import Registry
from variegate.registry.rows import LogHead
from variegate.registry.verify import LogReport, verify_log
from variegate.types import CopyStatus

# 1 model, 2 spec, 3 secret, 4 policy, 5 issued 1-4, 6 issued 5-8, 7 issued 9, 8 superseded, 9 revoked, 10 key added,
# 11 key revoked, 12 salt forgotten
ENTRIES, COPIES = 12, 9
ISSUED = {5: range(1, 5), 6: range(5, 9), 7: range(9, 10)}
COLUMNS = {
    "copy_id": "vg1-00000000000000000000",
    "buyer": "mallory",
    "epoch": 77,
    "issued_at": 5,
    "key_identifier": 5,
    "draw": 3,
    "expires_at": 5,
    "policy_id": 1,
    "secret_id": None,
}


def fill(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (bulk, copies):
        monkeypatch.setattr(module, "CHUNK_ROWS", 4)
    registry.write(add_model, model_manifest())
    registry.write(add_spec, "first", SPEC)
    registry.write(add_secret, "a" * 16, provider="file", public_key="PEM")
    registry.write(add_policy, "gold", {"quota": 5})
    rows = [make_row(f"b{i}", secret="a" * 16, key_identifier=f"{i + 9:016x}", salted=i < 2) for i in range(8)]
    registry.write(add_copies, rows, salts={row.copy_id: b"salt" + bytes([i]) for i, row in enumerate(rows[:2])})
    registry.write(add_copies, [make_row("b7", epoch=2, policy="gold")], supersede=True)
    registry.write(change_status, [rows[3].copy_id], CopyStatus.REVOKED, reason="leaked")
    registry.write(add_api_key, "b0", identifier="k1", digest=bytes(32))
    registry.write(revoke_api_key, "k1")
    forget_salt(registry, rows[1].copy_id)


@final
@dataclass(frozen=True)
class Filled:
    """A filled registry, and a connection that may write to it behind its back."""

    registry: Registry
    connection: Connection

    def check(self, *statements: str, expect: LogHead | None = None, **values) -> LogReport:
        """Change the registry by SQL, verify, and undo the change."""
        with self.undone():
            for statement in statements:
                self.connection.execute(text(statement), values)
            return verify_log(self.connection, expect=expect)

    @contextmanager
    def undone(self) -> Iterator[Connection]:
        point = self.connection.begin_nested()
        try:
            yield self.connection
        finally:
            point.rollback()


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def filled(request, tmp_path_factory) -> Iterator[Filled]:
    with ExitStack() as stack:
        if request.param == "sqlite":
            url = tmp_path_factory.mktemp("log") / "registry.db"
        elif "VARIEGATE_TEST_POSTGRES_URL" in os.environ:
            url = stack.enter_context(postgres_schema())
        else:
            pytest.skip("VARIEGATE_TEST_POSTGRES_URL is not set")
        with Registry(url, create=True, clock=lambda: NOW) as registry:
            with pytest.MonkeyPatch.context() as patch:
                fill(registry, patch)
            with tampering(url) as connection:
                yield Filled(registry, connection)


@pytest.fixture(scope="module")
def check(filled) -> Callable[..., LogReport]:
    return filled.check


def test_an_honest_log(filled):
    filled, seen = filled.registry, []
    report = filled.read(verify_log, progress=lambda done, total: seen.append((done, total)))
    assert report == LogReport(entries=ENTRIES, copies=COPIES, head=filled.read(log_head))
    assert report.ok
    assert seen[-1] == (2 * COPIES, 2 * COPIES)
    for seq in range(1, ENTRIES + 1):
        entry = next(iterate_events(filled, after=seq - 1))
        assert filled.read(verify_log, expect=LogHead(seq=seq, hash=entry.hash)).ok


def test_pages_do_not_matter(filled, monkeypatch):
    monkeypatch.setattr(replay, "_PAGE", 3)
    monkeypatch.setattr(copies, "CHUNK_ROWS", 1)
    assert filled.registry.read(verify_log).ok


@pytest.mark.parametrize("seq", range(1, ENTRIES + 1))
@pytest.mark.parametrize(
    "change", ["at = 5", "kind = 'restored'", "body = '{}'", "hash = 'sha256:0'", "previous = 'x'"]
)
def test_a_changed_entry_is_named(check, seq, change):
    report = check(f"UPDATE events SET {change} WHERE seq = {seq}")
    assert report.bad_entry == seq
    assert report.entries == seq - 1
    assert f"entry {seq} of the log was changed" in report.problem


@pytest.mark.parametrize("seq", range(1, ENTRIES + 1))
def test_a_removed_entry_is_named(check, seq):
    report = check(f"DELETE FROM events WHERE seq = {seq}")
    assert report.bad_entry == seq
    assert f"entry {seq} of the log is missing" in report.problem


@pytest.mark.parametrize("seq", range(1, ENTRIES))
def test_exchanged_entries_are_named(check, seq):
    report = check(
        f"UPDATE events SET seq = 1000 WHERE seq = {seq}",
        f"UPDATE events SET seq = {seq} WHERE seq = {seq + 1}",
        f"UPDATE events SET seq = {seq + 1} WHERE seq = 1000",
    )
    assert report.bad_entry == seq


def test_a_body_of_other_bytes_is_an_edit(check):
    report = check("UPDATE events SET body = body || ' ' WHERE seq = 4")
    assert (report.bad_entry, report.entries) == (4, 3)


def test_a_forged_chain_does_not_fit_the_rows(filled):
    """Mallory computes all hashes anew after changing an entry; the rows give it away."""
    entries = list(iterate_events(filled.registry))
    previous = entries[4].previous
    with filled.undone() as connection:
        for entry in entries[4:]:
            body = dict(entry.body)
            if entry.seq == 5:
                body["rows"] = "sha256:" + "1" * 64
            fields = {"seq": entry.seq, "at": entry.at, "kind": entry.kind, "previous": previous}
            hashed = event_hash(body=body, **fields)
            connection.execute(
                text("UPDATE events SET body = :body, previous = :previous, hash = :hash WHERE seq = :seq"),
                {"body": canonical_json(body).decode(), "previous": previous, "hash": hashed, "seq": entry.seq},
            )
            previous = hashed
        connection.execute(
            text("UPDATE meta SET value = :value WHERE key = 'log_head'"), {"value": f"{ENTRIES} {previous}"}
        )
        report = verify_log(connection)
        kept = verify_log(connection, expect=LogHead(seq=5, hash=entries[4].hash))
    assert report.bad_entry == kept.bad_entry == 5
    assert "speaks of copies that were changed: those numbered 1 to 4" in report.problem
    assert "is not the one whose hash was kept elsewhere" in kept.problem


def test_a_head_kept_elsewhere_finds_another_log(check):
    nothing = check(expect=LogHead(seq=0, hash="sha256:" + "1" * 64))
    assert nothing.problem == "the head kept elsewhere is that of an empty log, but has another hash than that"
    assert check(expect=LogHead(seq=0, hash=ZERO)).ok
    report = check(expect=LogHead(seq=7, hash="sha256:" + "1" * 64))
    assert report.bad_entry == 7
    assert "entry 7 of the log is not the one whose hash was kept elsewhere" in report.problem


@pytest.mark.parametrize("kept", [0, 4, 11])
def test_a_registry_that_was_taken_back_is_found_by_a_head_kept_elsewhere(filled, check, kept):
    head = filled.registry.read(log_head)
    ended = ZERO if kept == 0 else next(iterate_events(filled.registry, after=kept - 1)).hash
    report = check(
        "DELETE FROM events WHERE seq > :kept",
        "UPDATE meta SET value = :remembered WHERE key = 'log_head'",
        expect=head,
        kept=kept,
        remembered=f"{kept} {ended}",
    )
    assert report.bad_entry == kept + 1
    assert "the head kept elsewhere is entry 12" in report.problem


@pytest.mark.parametrize("value", ["", "x y", "-1 sha256:0", "13 sha256:0", "12 sha256:0", "3 sha256:0", "9" * 5000])
def test_the_remembered_end_is_checked(check, value):
    report = check("UPDATE meta SET value = :value WHERE key = 'log_head'", value=value)
    assert not report.ok


def test_an_entry_that_was_appended_by_something_else(filled, check):
    fields = {"seq": 13, "at": NOW, "kind": "restored", "previous": filled.registry.read(log_head).hash}
    values = fields | {"hash": event_hash(body={}, **fields)}
    report = check("INSERT INTO events VALUES (:seq, :at, :kind, '{}', :previous, :hash)", **values)
    assert report.bad_entry == 13
    assert "entry 13 of the log was not written by variegate" in report.problem


@pytest.mark.parametrize("number", range(1, COPIES + 1))
@pytest.mark.parametrize("column", COLUMNS)
def test_a_changed_copy_is_found(check, number, column):
    report = check(f"UPDATE copies SET {column} = :value WHERE id = {number}", value=COLUMNS[column])
    unchanged = number == 9 and column in {"secret_id", "policy_id"}  # the last copy has these values
    assert report.ok == unchanged
    if not unchanged:
        assert report.bad_entry == next(seq for seq, numbers in ISSUED.items() if number in numbers)


@pytest.mark.parametrize("number", range(1, COPIES + 1))
def test_a_removed_copy_is_found(check, number):
    report = check(f"DELETE FROM copies WHERE id = {number}")
    assert report.bad_entry == next(seq for seq, numbers in ISSUED.items() if number in numbers)
    assert "are recorded" in report.problem


@pytest.mark.parametrize("number", [10, 0, -5])
def test_a_copy_that_nobody_issued_is_found(check, number):
    report = check(
        "INSERT INTO copies (id, copy_id, model_id, spec_id, epoch, status, issued_at, buyer, draw, salted) "
        f"VALUES ({number}, 'vg1-new', 1, 1, 1, 'active', 0, 'mallory', 0, false)"
    )
    assert report.bad_entry is None
    assert "copy vg1-new is recorded, but no entry of the log speaks of it" in report.problem


@pytest.mark.parametrize(
    ("number", "status", "entry", "said"),
    [
        (1, "revoked", 5, "active"),
        (4, "active", 9, "revoked"),
        (4, "superseded", 9, "revoked"),
        (8, "active", 8, "superseded"),
    ],
)
def test_a_changed_status_is_found(check, number, status, entry, said):
    report = check(f"UPDATE copies SET status = '{status}' WHERE id = {number}")
    assert report.bad_entry == entry
    assert f"is recorded as {status}, and the log says {said} in entry {entry}" in report.problem


@pytest.mark.parametrize(
    ("statement", "entry"),
    [
        ("UPDATE models SET manifest = '{}'", 1),
        ("UPDATE models SET added_at = 1", 1),
        ("UPDATE models SET name = 'other'", 1),
        ("UPDATE specs SET body = '{}'", 2),
        ("UPDATE specs SET name = 'other'", 2),
        ("DELETE FROM specs", 2),
        ("UPDATE seller_secrets SET public_key = 'PEM of another'", 3),
        ("UPDATE policies SET body = '{}'", 4),
        ("DELETE FROM policies", 4),
        ("UPDATE api_keys SET buyer = 'b1'", 10),
        ("UPDATE api_keys SET expires_at = 5", 10),
        ("UPDATE api_keys SET revoked_at = NULL", 11),
        ("UPDATE api_keys SET revoked_at = 1", 11),
        ("DELETE FROM copy_salts", 5),
        ("UPDATE copy_salts SET salt = 'salt3'", 5),
        ("INSERT INTO copy_salts VALUES (2, 'x')", 12),
        ("INSERT INTO copy_salts VALUES (4, 'x')", 9),
        ("INSERT INTO copy_salts VALUES (400, 'x')", None),
        ("INSERT INTO policies VALUES (9, 'free', '{}', 0)", None),
        ("INSERT INTO seller_secrets VALUES (9, 'b', 'file', 'PEM', 0)", None),
        ("INSERT INTO api_keys VALUES (9, 'k9', 'b0', 'x', 0, NULL, NULL)", None),
    ],
)
def test_other_changed_rows_are_found(check, statement, entry):
    report = check(statement)
    assert not report.ok
    assert report.bad_entry == entry


def test_salts_are_checked_beside_forgotten_ones(registry, url, row):
    rows = [row(f"b{i}", salted=True) for i in range(3)]
    registry.write(add_copies, rows, salts={row.copy_id: b"salt" + bytes([i]) for i, row in enumerate(rows)})
    registry.write(add_copies, [row("plain")])
    registry.write(add_copies, [late := row("late", salted=True)], salts={late.copy_id: b"salt"})
    forget_salt(registry, rows[0].copy_id)
    assert registry.read(verify_log).ok
    for number, entry in ((2, 3), (3, 3), (5, 5)):
        with tampering(url) as connection:
            old = connection.scalar(text(f"SELECT salt FROM copy_salts WHERE copy_id = {number}"))
            connection.execute(text(f"UPDATE copy_salts SET salt = :new WHERE copy_id = {number}"), {"new": b"other"})
        report = registry.read(verify_log)
        assert report.bad_entry == entry
        assert f"is not the one of entry {entry}" in report.problem
        with tampering(url) as connection:
            connection.execute(text(f"UPDATE copy_salts SET salt = :old WHERE copy_id = {number}"), {"old": old})
    for row_ in (rows[1], rows[2], late):
        forget_salt(registry, row_.copy_id)
    assert registry.read(verify_log).ok


def test_a_salt_that_was_changed_and_then_forgotten_is_found(registry, url, row):
    acme = row("acme", salted=True)
    registry.write(add_copies, [acme], salts={acme.copy_id: b"salt"})
    with tampering(url) as connection:
        connection.execute(text("UPDATE copy_salts SET salt = :new"), {"new": b"other"})
    forget_salt(registry, acme.copy_id)
    assert registry.read(verify_log).bad_entry == 3


def test_entries_of_earlier_versions_have_no_digests_of_salts(registry, row, monkeypatch):
    rows = [row(f"b{i}", salted=True) for i in range(3)]
    salts = {row.copy_id: b"salt" for row in rows}
    with monkeypatch.context() as patch:
        patch.setattr(bulk, "append", without(log.append, "salts"))
        registry.write(add_copies, rows[:1], salts=salts)
    registry.write(add_copies, rows[1:], salts=salts)
    assert registry.read(verify_log).ok
    with monkeypatch.context() as patch:
        patch.setattr(copies, "append", without(log.append, "salt"))
        forget_salt(registry, rows[2].copy_id)
    assert registry.read(verify_log).ok


def without(append, key):
    return lambda connection, kind, body: append(
        connection, kind, {name: value for name, value in body.items() if name != key}
    )


def test_exchanged_numbers_of_secrets_are_found(registry, url, row):
    """The secret with the highest number is the current one."""
    for identifier in ("a" * 16, "b" * 16, "c" * 16):
        registry.write(add_secret, identifier, provider="file", public_key="PEM")
    registry.write(add_copies, [row("b1", secret="a" * 16), row("b2", secret="b" * 16), row("b3", secret="c" * 16)])
    with tampering(url) as connection:
        for old, new in ((3, 1000), (2, 3), (1000, 2)):
            connection.execute(text(f"UPDATE seller_secrets SET id = {new} WHERE id = {old}"))
            connection.execute(text(f"UPDATE copies SET secret_id = {new} WHERE secret_id = {old}"))
    assert registry.read(list_secrets)[-1].identifier == "b" * 16
    report = registry.read(verify_log)
    assert report.bad_entry == 5
    assert f"speaks of {'c' * 16} in the table seller_secrets, whose number is not behind" in report.problem


@pytest.mark.parametrize(
    ("statement", "entry"),
    [
        ("UPDATE events SET body = CAST(x'7bff7d' AS TEXT) WHERE seq = 4", 4),
        ("UPDATE events SET body = x'7b7d' WHERE seq = 4", 4),
        ("UPDATE events SET at = 'yesterday' WHERE seq = 4", 4),
        ("UPDATE events SET kind = x'ff' WHERE seq = 12", 12),
        ("UPDATE events SET hash = x'ff' WHERE seq = 12", 12),
        ("UPDATE events SET hash = CAST(x'ff' AS TEXT) WHERE seq = 12", 12),
        ("UPDATE copies SET buyer = CAST(x'6162ff' AS TEXT) WHERE id = 5", 6),
        ("UPDATE copies SET buyer = x'6162ff' WHERE id = 5", 6),
        ("UPDATE copies SET copy_id = CAST(x'6162ff' AS TEXT) WHERE id = 9", 7),
        ("UPDATE seller_secrets SET public_key = CAST(x'ff' AS TEXT)", 3),
        ("UPDATE seller_secrets SET public_key = 5", 3),
        ("UPDATE api_keys SET digest = 'text'", 10),
        ("UPDATE api_keys SET revoked_at = x'ff'", 11),
        ("UPDATE copy_salts SET salt = 1000000000000", 5),
        ("INSERT INTO policies VALUES (9, CAST(x'ff' AS TEXT), '{}', 0)", None),
        ("INSERT INTO policies VALUES (9, x'ff', '{}', 0)", None),
        ("UPDATE meta SET value = x'ff' WHERE key = 'log_head'", None),
        ("UPDATE meta SET value = CAST(x'ff' AS TEXT) WHERE key = 'log_head'", None),
    ],
)
def test_what_sqlite_alone_would_keep(check, filled, statement, entry):
    if filled.connection.dialect.name != "sqlite":
        pytest.skip("PostgreSQL refuses such values")
    report = check(statement)
    assert not report.ok
    assert report.bad_entry == entry
    assert (report.problem + report.head.hash).encode()
    assert check().ok


@pytest.mark.parametrize("kind", ["issued", "status_changed", "salt_forgotten", "policy_added", "api_key_revoked"])
@pytest.mark.parametrize("value", [None, 5, 2**80, [], [5], {}, "text", 10**30 - 1], ids=str)
def test_a_forged_entry_with_values_of_other_kinds(filled, kind, value):
    keys = ("copies", "copy", "count", "first", "identifier", "last", "name", "row", "rows", "salt", "salts", "to")
    body = dict.fromkeys(keys, value) | ({"first": COPIES + 1} if kind == "issued" else {})
    head = filled.registry.read(log_head)
    fields = {"seq": ENTRIES + 1, "at": NOW, "kind": kind, "previous": head.hash}
    values = fields | {"body": canonical_json(body).decode(), "hash": event_hash(body=body, **fields)}
    with filled.undone() as connection:
        connection.execute(text("INSERT INTO events VALUES (:seq, :at, :kind, :body, :previous, :hash)"), values)
        connection.execute(
            text("UPDATE meta SET value = :head WHERE key = 'log_head'"), {"head": f"{ENTRIES + 1} {values['hash']}"}
        )
        report = verify_log(connection)
    assert report.bad_entry == ENTRIES + 1


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_edit_of_the_log_is_found(filled, data):
    """Any change, removal, repetition or new order of the entries themselves; the first bad one is named."""
    honest = [tuple(row) for row in filled.connection.execute(text("SELECT * FROM events ORDER BY seq"))]
    forged = list(honest)
    how = data.draw(st.sampled_from(["change", "remove", "order", "insert", "cut"]))
    where = data.draw(st.integers(0, ENTRIES - 1))
    if how == "change":
        column = data.draw(st.integers(1, 5))
        old = forged[where][column]
        if column == 1:
            new = data.draw(st.integers(0, 2**40))
        else:
            place = data.draw(st.integers(0, len(old) - 1))
            new = (
                old[:place]
                + data.draw(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
                + old[place + 1 :]
            )
        assume(new != old)
        forged[where] = (*forged[where][:column], new, *forged[where][column + 1 :])
    elif how == "remove":
        del forged[where]
    elif how == "order":
        forged = data.draw(st.permutations(forged))
        assume(forged != honest)
    elif how == "insert":
        forged.insert(data.draw(st.integers(0, ENTRIES)), (0, *honest[where][1:5], "sha256:" + "5" * 64))
    else:
        del forged[where:]
    if data.draw(st.booleans()):  # give the entries whole numbers again
        forged = [(seq, *row[1:]) for seq, row in enumerate(forged, 1)]
    assume(len({row[0] for row in forged}) == len(forged))
    assume(len({row[5] for row in forged}) == len(forged))
    assume(sorted(forged) != honest)
    first = next(
        (seq for seq, (row, true) in enumerate(zip(sorted(forged), honest, strict=False), 1) if row != true),
        min(len(forged), ENTRIES) + 1,
    )
    with filled.undone() as connection:
        connection.execute(text("DELETE FROM events"))
        insert = text("INSERT INTO events VALUES (:a, :b, :c, :d, :e, :f)")
        for row in forged:
            connection.execute(insert, dict(zip("abcdef", row, strict=True)))
        report = verify_log(connection)
    assert not report.ok
    assert report.bad_entry == first
