"""A home by passphrase, by prompt, or for a secret that lives elsewhere."""

import json
import stat

import pytest

from tests.cli.conftest import SECRET
from variegate.keys import SellerSecret


def test_passphrase_from_the_environment(invoke, tmp_path, monkeypatch):
    monkeypatch.setenv("VARIEGATE_PASSPHRASE", "pass phrase")
    result = invoke("init", "--home", tmp_path / "h", "--json")
    shown = json.loads(result.stdout)
    assert shown["sealed"] is True
    assert len(shown["secret_identifier"]) == 16
    (sealed,) = (tmp_path / "h" / "secrets").iterdir()
    assert stat.S_IMODE(sealed.stat().st_mode) == 0o600
    assert "backup" in result.stderr
    assert "pass phrase" not in result.output


def test_passphrase_from_standard_input_and_from_a_file(invoke, tmp_path, monkeypatch, prepared):
    invoke("init", stdin="pass phrase\n")
    (sealed,) = (tmp_path / ".variegate" / "secrets").iterdir()
    assert sealed.name.endswith(".sealed_file")
    (tmp_path / "passphrase").write_text("pass phrase\n")
    monkeypatch.setenv("VARIEGATE_PASSPHRASE_FILE", str(tmp_path / "passphrase"))
    checks = {check["name"]: check for check in json.loads(invoke("doctor", "--json").stdout)}
    assert checks["secret"]["state"] == "fine"
    assert checks["secret"]["found"].startswith("opens, identifier")


def test_secret_from_the_environment(invoke, tmp_path, monkeypatch):
    monkeypatch.setenv("VARIEGATE_SELLER_SECRET", SECRET.hex())
    result = invoke("init", "--secret-from-env", "--home", tmp_path / "h")
    assert SellerSecret.from_bytes(SECRET).identifier in result.stdout
    assert SECRET.hex() not in result.output
    assert not (tmp_path / "h" / "secrets").exists()


def test_home_exists(fails, home, tmp_path, monkeypatch):
    monkeypatch.delenv("VARIEGATE_SELLER_SECRET")
    assert "is a variegate home already" in fails(1, "init", stdin="x\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    assert "holds other files" in fails(1, "init", "--home", tmp_path / "full", stdin="x\n")


@pytest.mark.parametrize(
    ("variables", "arguments", "stdin", "code", "message"),
    [
        ({}, [], "", 1, "there is no passphrase: standard input is at its end"),
        ({}, [], "\n", 1, "a passphrase must have 1 to"),
        ({}, ["--secret-from-env"], None, 1, "VARIEGATE_SELLER_SECRET_FILE"),
        ({"VARIEGATE_SELLER_SECRET": "ab"}, ["--secret-from-env"], None, 1, "must be 64 hexadecimal digits; got 2"),
        ({"VARIEGATE_SELLER_SECRET": SECRET.hex()}, [], None, 2, "give --secret-from-env"),
        ({"VARIEGATE_PASSPHRASE_FILE": "/nowhere/passphrase"}, [], None, 4, "there is no file /nowhere/passphrase"),
        ({"VARIEGATE_PASSPHRASE_FILE": "x", "VARIEGATE_PASSPHRASE": "y"}, [], None, 1, "got both: unset one"),
    ],
)
def test_bad_sources(fails, tmp_path, monkeypatch, variables, arguments, stdin, code, message):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert message in fails(code, "init", *arguments, stdin=stdin)
    assert list(tmp_path.iterdir()) == []
