"""The tables are made by the migrations, all or none, and are those of the schema."""

from concurrent.futures import ThreadPoolExecutor

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import MetaData, inspect, text

from tests.raising import raises
from tests.registry.conftest import closing_engine, tampering
from variegate.errors import FormatError, NotFoundError
from variegate.registry import engine
from variegate.registry.log import log_head
from variegate.registry.migrations import current_format, run, upgrade
from variegate.registry.registry import Registry
from variegate.registry.schema import FORMAT, metadata
from variegate.registry.verify import verify_log


def test_a_new_registry_has_the_tables_of_the_schema(registry):
    with registry.reading() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == f"{FORMAT:04d}"


def test_the_comparison_can_fail(registry):
    other = MetaData()
    for table in metadata.sorted_tables:
        table.to_metadata(other)
    other.tables["copies"].c.epoch.nullable = True
    with registry.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), other) != []


def test_names_of_constraints(registry):
    with registry.reading() as connection:
        found = inspect(connection)
        for table in metadata.sorted_tables:
            assert found.get_pk_constraint(table.name)["name"] == f"pk_{table.name}"
            names = {item["name"] for item in found.get_unique_constraints(table.name)}
            names |= {item["name"] for item in found.get_foreign_keys(table.name)}
            names |= {item["name"] for item in found.get_check_constraints(table.name)}
            expected = {constraint.name for constraint in table.constraints} - {f"pk_{table.name}"}
            assert names == expected


def test_a_step_that_fails_leaves_nothing(url, monkeypatch):
    def broken(*_):
        raise RuntimeError("the power went out")

    made = engine.open_engine(engine.locate(url), create=True)
    with closing_engine(made):
        with monkeypatch.context() as patch:
            patch.setattr("alembic.operations.Operations.bulk_insert", broken)  # the last thing that the step does
            with raises(RuntimeError, "power", "went"), engine.writing(made) as connection:
                run(connection)
        with engine.reading(made) as connection:
            assert inspect(connection).get_table_names() == []
    with Registry(url, create=True) as registry:
        assert registry.read(verify_log).ok


def test_a_current_registry_is_left_alone(registry, url):
    before = registry.read(log_head)
    assert upgrade(url) == current_format(url) == FORMAT
    assert registry.read(log_head) == before


def test_threads_create_registries_at_once(tmp_path):
    def create(number):
        with Registry(tmp_path / f"{number}.db", create=True) as registry:
            return registry.read(verify_log).ok

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(create, range(12))) == [True] * 12


def test_a_later_registry_is_left_alone(registry, url):
    registry.close()
    with tampering(url) as connection:
        connection.execute(text("UPDATE meta SET value = '3' WHERE key = 'format'"))
    with raises(FormatError, "format 3", "newer"):
        upgrade(url)


def test_a_format_that_was_never_released(registry, url):
    registry.close()
    with tampering(url) as connection:
        connection.execute(text("UPDATE meta SET value = '1' WHERE key = 'format'"))
    assert current_format(url) == 1
    with raises(FormatError, "format 1", "format 2"):
        upgrade(url)


def test_what_is_no_registry(tmp_path):
    for step in (upgrade, current_format):
        with raises(NotFoundError, "registry"):
            step(tmp_path / "registry.db")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "registry.db").write_bytes(b"")
    for step in (upgrade, current_format):
        with raises(FormatError, "variegate", "registry"):
            step(tmp_path / "registry.db")
