"""A registry that cannot be used says so in one sentence, and records nothing."""

import sqlite3

import pytest
from sqlalchemy import text

from tests.registry.conftest import model_manifest
from variegate.errors import ConflictError, FormatError, InputError, NotFoundError
from variegate.registry import engine
from variegate.registry.sqlite import SqliteStore


def test_missing_registry(tmp_path):
    with pytest.raises(NotFoundError, match="no registry at .*variegate init"):
        SqliteStore(tmp_path / "registry.db")
    assert list(tmp_path.iterdir()) == []


def test_folder(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        SqliteStore(tmp_path)


def test_missing_folder(tmp_path):
    with pytest.raises(InputError, match="cannot open the registry"):
        SqliteStore(tmp_path / "nowhere" / "registry.db", create=True)


@pytest.mark.parametrize(
    "content", [b"not a database, but long enough to be one" * 100, b"SQLite format 3\0" + b"\xff" * 4000, b"PK\3\4"]
)
def test_corrupt_file(tmp_path, content):
    path = tmp_path / "registry.db"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"not a readable SQLite registry|not those of a variegate registry"):
        SqliteStore(path)


def test_damage_in_the_middle(store, row):
    store.add_copies(row(f"b{i}") for i in range(3000))
    store.close()
    damaged = bytearray(store.path.read_bytes())
    damaged[4096 * 4 : -4096] = b"\x5a" * (len(damaged) - 4096 * 5)
    store.path.write_bytes(damaged)
    with pytest.raises(FormatError, match="corrupt"), SqliteStore(store.path) as again:
        again.list_copies()


@pytest.mark.parametrize("statement", [None, "CREATE TABLE meta (key TEXT, value TEXT)"])
def test_other_database(tmp_path, statement):
    path = tmp_path / "registry.db"
    connection = sqlite3.connect(path)
    connection.execute(statement or "CREATE TABLE recipes (name TEXT)")
    connection.close()
    with pytest.raises(FormatError, match="variegate registry"):
        SqliteStore(path)


def test_other_database_is_not_taken_over(tmp_path):
    path = tmp_path / "registry.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    with pytest.raises(FormatError):
        SqliteStore(path, create=True)
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("recipes",)]
    connection.close()


def test_newer_format(store):
    store.close()
    connection = sqlite3.connect(store.path)
    with connection:
        connection.execute("UPDATE meta SET value = '2' WHERE key = 'format'")
    connection.close()
    with pytest.raises(FormatError, match="has format 2, newer than the 1 that this variegate reads; upgrade"):
        SqliteStore(store.path)


def test_read_only(store, row):
    with SqliteStore(store.path, read_only=True) as again:
        assert again.list_models() == [model_manifest()]
        with pytest.raises(InputError, match="is read-only; nothing was recorded"):
            again.add_copies([row("acme")])


def test_full_disk(store, row):
    with store._engine.connect() as connection:  # the pool gives this connection back for the next call
        connection.execute(text("PRAGMA max_page_count = 40"))
    with pytest.raises(InputError, match="is full; nothing was recorded"):
        store.add_copies(row(f"b{i}") for i in range(20_000))
    assert store.count_copies() == 0


def test_busy(store, row, monkeypatch):
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_MS", 10)
    with SqliteStore(store.path) as impatient:
        other = sqlite3.connect(store.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ConflictError, match="is busy: another process is writing"):
            impatient.add_copies([row("acme")])
        assert impatient.list_copies() == []
        other.execute("ROLLBACK")
        other.close()
        assert impatient.add_copies([row("acme")]) == 1


def test_values_stay_out_of_messages(store, row):
    with pytest.raises(Exception, match="refused the step") as caught:
        store.add_copies([row("acme", epoch=0)])
    assert "sha256" not in str(caught.value)
    assert "\n" not in str(caught.value)
