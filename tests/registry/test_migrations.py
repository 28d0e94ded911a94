"""From an older format to this one: everything comes along, the log is filled in, and a failure changes nothing."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import MetaData, inspect, text

from tests.registry.conftest import NOW, SPEC, closing_engine, make_row, model_manifest, tampering
from tests.registry.format_1 import TABLES, old_rows, write_format_1
from variegate.errors import ConflictError, FormatError, NotFoundError
from variegate.manifest import digest
from variegate.registry import engine
from variegate.registry.migrations import current_format, run, upgrade
from variegate.registry.schema import FORMAT, metadata
from variegate.registry.store import SqlStore
from variegate.registry.verify_log import verify_log
from variegate.types import CopyStatus


def test_a_new_registry_has_the_tables_of_the_schema(store):
    with store.reading() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == f"{FORMAT:04d}"


def test_the_comparison_can_fail(store):
    other = MetaData()
    for table in metadata.sorted_tables:
        table.to_metadata(other)
    other.tables["copies"].c.epoch.nullable = True
    with store.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), other) != []


def test_names_of_constraints(store):
    with store.reading() as connection:
        found = inspect(connection)
        for table in metadata.sorted_tables:
            assert found.get_pk_constraint(table.name)["name"] == f"pk_{table.name}"
            names = {item["name"] for item in found.get_unique_constraints(table.name)}
            names |= {item["name"] for item in found.get_foreign_keys(table.name)}
            names |= {item["name"] for item in found.get_check_constraints(table.name)}
            expected = {constraint.name for constraint in table.constraints} - {f"pk_{table.name}"}
            assert names == expected


def test_the_first_step_makes_the_tables_of_format_1(tmp_path):
    by_hand, by_step = tmp_path / "hand.db", tmp_path / "step.db"
    write_format_1(by_hand, [])
    made = engine.open_engine(engine.locate(by_step), create=True)
    with closing_engine(made), engine.writing(made) as connection:
        run(connection, at=NOW, through=1)
    described = []
    for path in (by_hand, by_step):
        connection = sqlite3.connect(path)
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'alembic_version' ORDER BY name"
        tables = [name for (name,) in connection.execute(query)]
        described.append(
            {
                name: [
                    connection.execute(f"PRAGMA {pragma}({name})").fetchall()
                    for pragma in ("table_info", "foreign_key_list")
                ]
                for name in tables
            }
        )
        assert connection.execute("SELECT value FROM meta WHERE key = 'format'").fetchall() == [("1",)]
        connection.close()
    assert described[0] == described[1]
    assert len(described[0]) == TABLES.count("CREATE TABLE")


@pytest.mark.parametrize("count", [0, 1, 5003])
def test_everything_comes_along(url, count):  # the last is more than one piece
    rows = old_rows(count)
    write_format_1(url, rows)
    assert current_format(url) == 1
    with pytest.raises(FormatError, match="has format 1; upgrade it with: variegate db upgrade"):
        SqlStore(url)
    assert upgrade(url, clock=lambda: NOW) == 1
    assert current_format(url) == FORMAT
    with SqlStore(url, clock=lambda: NOW) as store:
        assert store.list_copies() == rows
        assert store.list_models() == [model_manifest()]
        assert store.get_spec(digest(SPEC)) == SPEC
        assert store.get_meta("secret_identifier") == "00aa"
        report = verify_log(store)
        assert report.ok
        assert report.copies == count
        first = next(store.iterate_events())
        assert (first.kind, first.at) == ("migrated", NOW)
        assert first.body == {"copies": count, "from": 1, "models": 1, "specs": 1, "to": 2}
        with store.reading() as connection:
            assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata) == []
        assert store.add_copies([make_row("new")]) == 1
        with pytest.raises(ConflictError, match="'new' holds copy"):
            store.add_copies([make_row("new", spec=SPEC)])
        assert store.change_status([make_row("new").copy_id], CopyStatus.REVOKED) == 1
        assert verify_log(store).ok
    assert upgrade(url) == FORMAT


def test_a_step_that_fails_leaves_the_former_format(url, monkeypatch):
    rows = old_rows(20)
    write_format_1(url, rows)

    def broken(*_):
        raise RuntimeError("the power went out")

    monkeypatch.setattr("variegate.registry.chain.lines_digest", broken)
    with pytest.raises(RuntimeError, match="the power went out"):
        upgrade(url)
    monkeypatch.undo()
    assert current_format(url) == 1
    with tampering(url) as connection:
        assert sorted(inspect(connection).get_table_names()) == ["buyers", "copies", "meta", "models", "specs"]
        assert connection.scalar(text("SELECT count(*) FROM copies")) == 20
    assert upgrade(url) == 1
    with SqlStore(url) as store:
        assert store.list_copies() == rows


def test_threads_create_registries_at_once(tmp_path):
    def create(number):
        with SqlStore(tmp_path / f"{number}.db", create=True) as store:
            return verify_log(store).ok

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(create, range(12))) == [True] * 12


def test_a_later_registry_is_left_alone(store, url):
    store.close()
    with tampering(url) as connection:
        connection.execute(text("UPDATE meta SET value = '3' WHERE key = 'format'"))
    with pytest.raises(FormatError, match="has format 3, newer than the 2"):
        upgrade(url)


def test_what_is_no_registry(tmp_path):
    for step in (upgrade, current_format):
        with pytest.raises(NotFoundError, match="there is no registry at"):
            step(tmp_path / "registry.db")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "registry.db").write_bytes(b"")
    for step in (upgrade, current_format):
        with pytest.raises(FormatError, match="not those of a variegate registry"):
            step(tmp_path / "registry.db")
