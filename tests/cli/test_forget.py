"""`variegate forget` and `export --forget`: discarding keys, in any state, again, and while others read."""

import json
import sqlite3

import pytest

from tests.cli.conftest import SECRET
from variegate.authority import Authority
from variegate.keys import SellerSecret
from variegate.registry.copies import get_copy
from variegate.types import CopyStatus


@pytest.fixture
def sold(home):
    """The names of a forgettable copy of acme and a lasting one of bolt."""
    with Authority.open(home, lambda: SellerSecret.from_bytes(SECRET)) as desk:
        desk.create_policy("private", spec="net-qim", forgettable=True)
        (private,) = desk.issue("net", None, ["acme"], policy="private")
        (lasting,) = desk.issue("net", "net-qim", ["bolt"])
    return private.copy_id, lasting.copy_id


@pytest.fixture
def salt(home, sold):
    connection = sqlite3.connect(home / "registry.db")
    ((value,),) = connection.execute("SELECT salt FROM copy_salts").fetchall()
    connection.close()
    return bytes(value)


def on_disk(home, salt):
    return [path.name for path in home.glob("registry.db*") if salt in path.read_bytes()]


@pytest.mark.parametrize("state", [None, "revoke", "supersede"])
def test_a_key_is_discarded_in_any_state(invoke, fails, home, sold, salt, state):
    assert on_disk(home, salt) != []
    if state is not None:
        invoke(state, sold[0])
    result = invoke("forget", sold[0])
    assert result.stdout == f"the key of copy {sold[0]} is discarded\n"
    assert "Backups, replicas and a database server's own files may still hold its salt" in result.stderr
    assert on_disk(home, salt) == []
    why = {None: "was forgotten", "revoke": "is revoked", "supersede": "is superseded"}[state]
    assert why in fails(1, "export", sold[0], "--format", "safetensors", "--out", "a")
    invoke("log", "verify")


def test_forgetting_again_changes_nothing(invoke, home, sold):
    described = {"copy_id": sold[0], "buyer": "acme", "changed": True}
    assert json.loads(invoke("forget", sold[0], "--json").stdout) == described
    head = invoke("log", "head").stdout
    assert json.loads(invoke("forget", sold[0], "--json").stdout) == described | {"changed": False}
    assert invoke("forget", sold[0]).stdout == f"the key of copy {sold[0]} was discarded already\n"
    assert invoke("log", "head").stdout == head


def test_what_cannot_be_forgotten(fails, home, sold):
    assert "comes from the seller's secret alone and cannot be discarded" in fails(1, "forget", sold[1])
    assert "no copy named 'vg1-x'" in fails(4, "forget", "vg1-x")
    assert "is not a variegate home" in fails(4, "forget", sold[0], "--home", "nowhere")


@pytest.fixture
def reader(home, monkeypatch):
    """Somebody else who reads the registry in one long transaction; nobody waits long for him."""
    monkeypatch.setattr("variegate.registry.engine.BUSY_TIMEOUT_MS", 50)

    def begin():
        connection = sqlite3.connect(home / "registry.db", isolation_level=None)
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM copy_salts").fetchall()
        readers.append(connection)
        return connection

    readers = []
    yield begin
    for connection in readers:
        connection.close()


def test_success_is_not_claimed_while_the_salt_is_on_disk(invoke, fails, home, sold, salt, reader):
    other = reader()
    line = fails(1, "forget", sold[0])
    assert "is discarded, but its salt is still in the registry's write-ahead log" in line
    assert f"run: variegate forget {sold[0]}" in line
    other.close()
    assert "was discarded already" in invoke("forget", sold[0]).stdout
    assert on_disk(home, salt) == []


def test_an_export_that_cannot_forget_says_so(invoke, home, sold, salt, reader, tmp_path):
    from typer.testing import CliRunner

    from variegate.cli.main import app

    other = reader()
    arguments = ["export", sold[0], "--format", "safetensors", "--out", "a", "--forget"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert (
        f"a is written, but the copy's key is NOT discarded for good; run: variegate forget {sold[0]}" in result.stderr
    )
    assert "cannot be made, served or traced again" not in result.stderr
    other.close()
    invoke("verify", "a", "--home", "home")
    invoke("forget", sold[0])
    assert on_disk(home, salt) == []


def test_an_interrupted_export_says_what_is_left(home, sold, monkeypatch, tmp_path, invoke):
    from typer.testing import CliRunner

    from variegate.cli.main import app

    def interrupted(self, copy):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Authority, "forget", interrupted)
        result = CliRunner().invoke(
            app, ["export", "--buyer", "acme", "--format", "safetensors", "--out", "a", "--forget"]
        )
    assert result.exit_code == 130
    assert f"NOT discarded for good; run: variegate forget {sold[0]}" in result.stderr
    assert invoke("forget", sold[0]).stdout.endswith("is discarded\n")


def test_an_expired_copy_can_be_forgotten(home, invoke):
    with Authority.open(home, lambda: SellerSecret.from_bytes(SECRET)) as desk:
        desk._clock = lambda: 1_000_000_000
        desk.create_policy("short", spec="net-qim", forgettable=True, valid_seconds=1)
        (copy,) = desk.issue("net", None, ["cold"], policy="short")
        assert desk.registry.read(get_copy, copy.copy_id).status is CopyStatus.ACTIVE
    assert "is discarded" in invoke("forget", copy.copy_id).stdout


# The passphrase of a vgc


def test_a_vgc_s_passphrase_is_asked_on_a_terminal(invoke, home, sold, monkeypatch):
    from variegate.cli import export

    asked = []

    class Terminal:
        isatty = staticmethod(lambda: True)

    monkeypatch.setattr(export, "sys", type("Sys", (), {"stdin": Terminal}))
    monkeypatch.setattr(
        "variegate.keystore.secret_sources.prompt_terminal", lambda question: asked.append(question) or "pass"
    )
    invoke("export", sold[1], "--format", "vgc", "--out", "a")
    assert asked == ["Passphrase for the recipient: ", "The same passphrase again: "]
    invoke("verify", "a", "--home", home)


def test_a_certificate_names_the_key_of_the_copy_s_own_secret(invoke, home, sold, monkeypatch, tmp_path):
    from variegate.signing import key_digest, signing_key

    monkeypatch.setenv("VARIEGATE_SELLER_SECRET", "07" * 32)
    monkeypatch.setenv(f"VARIEGATE_SELLER_SECRET_{SellerSecret.from_bytes(SECRET).identifier.upper()}", SECRET.hex())
    invoke("key", "rotate", "--provider", "environment")
    invoke("certificate", sold[1], "--seller", "S", "--out", "c.html")
    page = (tmp_path / "c.html").read_text()
    assert key_digest(signing_key(SellerSecret.from_bytes(SECRET))) in page
    assert key_digest(signing_key(SellerSecret.from_bytes(b"\7" * 32))) not in page
