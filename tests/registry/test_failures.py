"""A registry that cannot be used says so in one sentence, without a password, and records nothing."""

import os
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, make_url, text

from tests.raising import raises
from tests.registry.conftest import model_manifest, postgres_schema, tampering
from variegate.errors import ConfigurationError, ConflictError, FormatError, InputError, NotFoundError, VariegateError
from variegate.registry import engine
from variegate.registry.bulk import add_copies
from variegate.registry.copies import count_copies, list_copies
from variegate.registry.records import list_models
from variegate.registry.registry import Registry


def test_missing_registry(tmp_path):
    with raises(NotFoundError, "variegate", "registry"):
        Registry(tmp_path / "registry.db")
    assert list(tmp_path.iterdir()) == []


def test_folder(tmp_path):
    with raises(InputError, "folder"):
        Registry(tmp_path)


def test_missing_folder(tmp_path):
    with raises(InputError, "registry", "open"):
        Registry(tmp_path / "nowhere" / "registry.db", create=True)


def test_a_url_of_sqlite_is_a_path(tmp_path):
    with Registry(f"sqlite:///{tmp_path / 'registry.db'}", create=True) as registry:
        assert registry.location == str(tmp_path / "registry.db")


@pytest.mark.parametrize("url", ["", "registry.db", "mysql://root:hunter2@host/x", "sqlite://", "sqlite:///:memory:"])
def test_other_urls(url):
    with raises(ConfigurationError, "registry") as caught:
        Registry(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://seller:hunt@xyz2@db/registry",
        "postgresql://seller:hunt@xyz/2@db/registry",
        "postgresql://seller:hunt@xyz?2@db/registry",
        "postgresql://seller:x@db/registry?application_name=hunt@xyz",
    ],
)
def test_an_at_sign_in_a_password(url):
    """What stands behind it is no host that may be shown."""
    with pytest.raises(ConfigurationError, match="may hold one '@', the one before the host; write %40") as caught:
        engine.locate(url)
    assert "xyz" not in str(caught.value)
    assert engine.locate("sqlite:////home/a@b/c@d.db").path == Path("/home/a@b/c@d.db")
    escaped = engine.locate("postgresql://seller:hunt%40xyz@db/registry")
    assert escaped.location.endswith("@db/registry")
    assert "xyz" not in escaped.location
    assert escaped.url.password == "hunt@xyz"


def test_commits_last_through_a_power_cut(sqlite_registry):
    for one in (sqlite_registry.reading, sqlite_registry.writing):
        with one() as connection:
            assert connection.scalar(text("PRAGMA synchronous")) == 2


def test_a_text_that_is_none(sqlite_registry, tmp_path, row):
    sqlite_registry.write(add_copies, [row("acme")])
    with tampering(tmp_path / "registry.db") as connection:
        connection.execute(text("UPDATE copies SET buyer = CAST(x'ff' AS TEXT)"))
    with raises(FormatError, "UTF-8", "variegate log verify"):
        sqlite_registry.read(list_copies)


@pytest.mark.parametrize(
    "content",
    [b"not a database, but long enough to be one" * 100, b"SQLite format 3\0" + b"\xff" * 4000, b"PK\3\4", b""],
)
def test_corrupt_file(tmp_path, content):
    path = tmp_path / "registry.db"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"not a readable SQLite registry|not those of a variegate registry"):
        Registry(path)


def test_damage_in_the_middle(sqlite_registry, tmp_path, row):
    sqlite_registry.write(add_copies, (row(f"b{i}") for i in range(3000)))
    sqlite_registry.close()
    path = tmp_path / "registry.db"
    damaged = bytearray(path.read_bytes())
    damaged[4096 * 4 : -4096] = b"\x5a" * (len(damaged) - 4096 * 5)
    path.write_bytes(damaged)
    with raises(FormatError, "corrupt"), Registry(path) as again:
        again.read(list_copies)


@pytest.mark.parametrize("statement", ["CREATE TABLE recipes (name TEXT)", "CREATE TABLE meta (key TEXT, value TEXT)"])
@pytest.mark.parametrize("create", [False, True])
def test_other_database_is_not_taken_over(url, statement, create):
    made = engine.open_engine(engine.locate(url), create=True)
    with engine.writing(made) as connection:
        connection.execute(text(statement))
    with raises(FormatError, "variegate", "registry"):
        Registry(url, create=create)
    with made.connect() as connection:
        assert len(inspect(connection).get_table_names()) == 1
    made.dispose()


@pytest.mark.postgres
def test_empty_schema():
    with (
        postgres_schema() as url,
        raises(FormatError, "variegate"),
    ):
        Registry(url)


@pytest.mark.parametrize(
    ("stated", "sentence"),
    [
        ("3", "has format 3, newer than the 2 that this variegate reads; upgrade"),
        ("1", "has format 1; upgrade it with: variegate db upgrade"),
        ("x", "does not state its format"),
        ("9" * 5000, "does not state its format"),
    ],
)
def test_other_formats(registry, url, stated, sentence):
    registry.close()
    with tampering(url) as connection:
        connection.execute(text("UPDATE meta SET value = :value WHERE key = 'format'"), {"value": stated})
    for create in (False, True):
        with pytest.raises(FormatError, match=sentence):
            Registry(url, create=create)


def test_read_only(registry, url, row):
    with Registry(url, read_only=True) as again:
        assert again.read(list_models) == [model_manifest()]
        with raises(InputError, "read-only"):
            again.write(add_copies, [row("acme")])
    assert registry.read(count_copies) == 0


def test_full_file(sqlite_registry, row):
    with sqlite_registry._engine.connect() as connection:  # the pool gives this connection back for the next call
        connection.execute(text("PRAGMA max_page_count = 60"))
    with raises(InputError, "full"):
        sqlite_registry.write(add_copies, (row(f"b{i}") for i in range(20_000)))
    assert sqlite_registry.read(count_copies) == 0


def test_busy(registry, url, row, monkeypatch):
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_MS", 10)
    with Registry(url) as impatient:
        with registry.writing():
            with raises(ConflictError, "busy"):
                impatient.write(add_copies, [row("acme")])
            assert impatient.read(list_copies) == []
        assert impatient.write(add_copies, [row("acme")]) == 1


@pytest.mark.parametrize("changes", [{"epoch": 0}, {"epoch": 2**80}, {"buyer": "lone \ud800 surrogate"}], ids=str)
def test_values_stay_out_of_messages(registry, row, changes):
    good = row("acme")
    bad = type(good)(**{name: getattr(good, name) for name in good.__slots__} | changes)
    with pytest.raises(VariegateError, match="refused the step|cannot hold") as caught:
        registry.write(add_copies, [bad])
    assert "sha256" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert registry.read(count_copies) == 0


@pytest.mark.postgres
class TestServer:
    """What goes wrong between here and the server."""

    def url(self, **changes) -> str:
        return make_url(os.environ["VARIEGATE_TEST_POSTGRES_URL"]).set(**changes).render_as_string(hide_password=False)

    def test_no_server(self):
        url = self.url(port=1, password="hunter2")
        with raises(InputError, "PostgreSQL") as caught:
            Registry(url)
        assert "hunter2" not in str(caught.value)

    @pytest.mark.parametrize(
        "query",
        [
            {"foo": "bar"},
            {"sslmode": "bogus"},
            {"connect_timeout": "x"},
            {"options": "-cfoo=bar"},
            {"client_encoding": "bogus"},
        ],
        ids=str,
    )
    def test_options_that_are_none(self, query):
        with raises(InputError, "PostgreSQL"):
            Registry(self.url(query=query))

    def test_encryption_that_the_server_does_not_offer(self):
        with raises(InputError, "encryption", "sslmode"):
            Registry(self.url(query={"sslmode": "require"}))

    def test_no_database(self):
        with raises(InputError, "database", "server"):
            Registry(self.url(database="nowhere"))

    def test_wrong_user(self):
        with raises(InputError, "refused", "user"):
            Registry(self.url(username="nobody_at_all", password="hunter2"))

    def test_location_and_repr_hide_the_password(self):
        database = engine.locate(self.url(password="hunter2", query={"password": "hunter3", "sslmode": "prefer"}))
        assert "hunter" not in database.location + repr(database)

    def test_lost_connection(self, row):
        admin = create_engine(os.environ["VARIEGATE_TEST_POSTGRES_URL"], isolation_level="AUTOCOMMIT")
        with postgres_schema() as url, Registry(url, create=True) as registry:
            with (
                raises(VariegateError, "connection", "registry"),
                registry.writing() as connection,
            ):
                pid = connection.scalar(text("SELECT pg_backend_pid()"))
                with admin.connect() as other:
                    other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
                connection.execute(text("SELECT 1"))
            assert registry.read(count_copies) == 0
        admin.dispose()

    def test_without_the_right_to_write(self):
        with (
            postgres_schema() as url,
            Registry(url, create=True) as registry,
            raises(InputError, "read-only"),
            registry.writing() as connection,
        ):
            connection.execute(text("SET TRANSACTION READ ONLY"))
            connection.execute(text("INSERT INTO meta VALUES ('a', 'b')"))
