"""Registries on both databases, with one model and one spec, and a maker of rows."""

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, text

from variegate.manifest import ModelManifest, copy_id, digest
from variegate.registry.engine import locate, open_engine, writing
from variegate.registry.records import add_model, add_spec
from variegate.registry.registry import Registry
from variegate.registry.rows import CopyRow
from variegate.types import Bounds

SPEC = {"rewriter": "qim", "messages_per_class": 16, "strength": 2.0}
NOW = 1_790_000_000


def model_manifest(name: str = "net", **changes) -> ModelManifest:
    values = {
        "name": name,
        "architecture": "vgg11",
        "arguments": {"num_classes": 2},
        "input_shape": (3, 32, 32),
        "bounds": Bounds(),
        "labels": ("stop", "yield"),
        "weights_digest": "sha256:" + "0" * 64,
        "files": {"weights.safetensors": "0" * 64},
    }
    return ModelManifest(**(values | changes))


_SPEC_DIGEST = digest(SPEC)
_DIGESTS = {name: model_manifest(name).digest for name in ("net", "second", "nope")}


def make_row(buyer: str, *, spec: dict = SPEC, model: str = "net", **changes) -> CopyRow:
    values = {
        "model": model,
        "model_digest": _DIGESTS[model],
        "spec_digest": _SPEC_DIGEST if spec is SPEC else digest(spec),
        "buyer": buyer,
        "epoch": 1,
        "issued_at": NOW,
    } | changes
    name = copy_id(**{key: values[key] for key in ("model_digest", "spec_digest", "buyer", "epoch")})
    return CopyRow(**({"copy_id": name} | values))


@contextmanager
def postgres_schema() -> Iterator[str]:
    """The URL of a new, empty schema on the server of the tests."""
    server = os.environ["VARIEGATE_TEST_POSTGRES_URL"]
    name = f"vg_{secrets.token_hex(6)}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(f"CREATE SCHEMA {name}"))
        yield f"{server}{'&' if '?' in server else '?'}options=-csearch_path%3D{name}"
    finally:
        with engine.connect() as connection:
            connection.execute(text(f"DROP SCHEMA {name} CASCADE"))
        engine.dispose()


@contextmanager
def closing_engine(engine: Engine) -> Iterator[None]:
    try:
        yield
    finally:
        engine.dispose()


@contextmanager
def tampering(url: str | Path) -> Iterator[Connection]:
    """Write to a registry behind its back: the log's triggers are off, and foreign keys are not checked."""
    engine = open_engine(locate(url))
    sqlite = engine.dialect.name == "sqlite"
    if sqlite:
        with engine.connect() as connection:  # the pool gives this connection back below
            connection.connection.cursor().execute("PRAGMA foreign_keys=OFF")
    with closing_engine(engine), writing(engine) as connection:
        if sqlite:
            for step in ("update", "delete"):
                connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS events_no_{step}")
        else:
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        yield connection


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request, tmp_path: Path) -> Iterator[str | Path]:
    """Where a registry can be made, on each database; nothing is there yet."""
    if request.param == "sqlite":
        yield tmp_path / "registry.db"
        return
    with postgres_schema() as schema:
        yield schema


@pytest.fixture
def registry(url: str | Path) -> Iterator[Registry]:
    with Registry(url, create=True, clock=lambda: NOW) as registry:
        registry.write(add_model, model_manifest())
        registry.write(add_spec, "first", SPEC)
        yield registry


@pytest.fixture
def sqlite_registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "registry.db", create=True, clock=lambda: NOW) as registry:
        registry.write(add_model, model_manifest())
        registry.write(add_spec, "first", SPEC)
        yield registry


@pytest.fixture
def row() -> Callable[..., CopyRow]:
    return make_row
