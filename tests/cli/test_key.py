"""`variegate key`, on a ring over a folder and a registry in memory."""

import contextlib
import json
import os
import stat

import pytest
import typer
from sqlalchemy import delete, func, select
from typer.testing import CliRunner

from variegate.authority import Authority
from variegate.authority.home import Home
from variegate.authority.keyring import KeyRing
from variegate.cli import key
from variegate.cli.entrypoint import GuardedGroup
from variegate.keys import SellerSecret
from variegate.keystore import catalog
from variegate.keystore.base import Access
from variegate.keystore.providers import SealedFile
from variegate.keystore.sealing import SealingCost, unseal
from variegate.keystore.secret_sources import prompt_terminal
from variegate.registry.records import list_secrets
from variegate.registry.registry import Registry
from variegate.registry.schema import seller_secrets
from variegate.signing import public_pem, signing_key

SECRET = SellerSecret.from_bytes(bytes(range(32)))
NAME = SECRET.identifier


@pytest.fixture
def registry(tmp_path_factory):
    place = tmp_path_factory.mktemp("registry") / "registry.db"
    with Registry(place, create=True, clock=lambda: 1_800_000_000) as registry:
        yield registry


@pytest.fixture
def ring(tmp_path, registry):
    return lambda: KeyRing(tmp_path, registry, access=Access(env=os.environ, prompt=prompt_terminal))


def lose_the_last(registry):
    newest = select(func.max(seller_secrets.c.id)).scalar_subquery()
    registry.write(lambda connection: connection.execute(delete(seller_secrets).where(seller_secrets.c.id == newest)))


@pytest.fixture(autouse=True)
def _desk(monkeypatch, tmp_path, ring, registry):
    monkeypatch.setattr(
        catalog,
        "KEY_PROVIDERS",
        {**catalog.KEY_PROVIDERS, "sealed_file": SealedFile(cost=SealingCost(memory_kib=8192, iterations=1, lanes=1))},
    )
    for name in [name for name in os.environ if name.startswith("VARIEGATE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("VARIEGATE_PASSPHRASE", "mellon")
    monkeypatch.chdir(tmp_path)
    ring().begin(SECRET, provider="sealed_file")

    @contextlib.contextmanager
    def open_desk(home, *, read_only=False):
        yield Authority(Home(tmp_path), registry, ring())

    monkeypatch.setattr(key, "open_desk", open_desk)


def run(*arguments, stdin=None, code=0):
    app = typer.Typer(cls=GuardedGroup, rich_markup_mode=None)
    key.add_to(app)
    result = CliRunner().invoke(app, ["key", *map(str, arguments)], input=stdin)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    for hidden in ("mellon", SECRET.reveal().hex()):
        assert hidden not in result.output
    return result


def read(*arguments, **how):
    return json.loads(run(*arguments, "--json", **how).stdout)


def test_ls():
    result = run("ls")
    assert result.stdout.splitlines()[0].split() == ["IDENTIFIER", "PROVIDER", "ADDED", "CURRENT"]
    assert result.stdout.splitlines()[1].split() == [NAME, "sealed_file", "2027-01-15T08:00:00Z", "yes"]
    assert read("ls") == [
        {"identifier": NAME, "provider": "sealed_file", "added_at": "2027-01-15T08:00:00Z", "current": True}
    ]


def test_ls_names_files_that_belong_to_nothing(tmp_path):
    (tmp_path / "secrets" / "0123456789abcdef.sealed_file").write_bytes(b"")
    (tmp_path / "secrets" / ".tmp-1").write_bytes(b"")
    result = run("ls")
    assert "0123456789abcdef.sealed_file holds a secret that the registry does not know" in result.stderr
    assert "record it with: variegate key adopt 0123456789abcdef" in result.stderr
    assert ".tmp-1 is not the file of a secret." in result.stderr
    assert "removed" not in result.stderr
    assert "0123456789abcdef" not in result.stdout


def test_rotate(ring):
    result = run("rotate")
    new = ring().rows()[-1].identifier
    assert new != NAME
    assert f"copies are issued under the secret {new} (sealed_file) from now on" in result.stdout
    assert "Keep the secrets before it" in result.stderr
    assert [(one["identifier"], one["current"]) for one in read("ls")] == [(NAME, False), (new, True)]
    assert read("rotate")["provider"] == "sealed_file"


def test_adopt(registry, ring):
    """What happens after a backup older than the rotation was restored: the registry is old, the files are not."""
    new = read("rotate")["identifier"]
    lose_the_last(registry)
    assert f"variegate key adopt {new}" in run("ls").stderr
    assert f"issued under the secret {new} (sealed_file) from now on" in run("adopt", new).stdout
    assert ring().current().identifier == new
    assert run("ls").stderr == ""
    assert "has the secret" in run("adopt", new, code=1).stderr
    lose_the_last(registry)
    assert read("adopt", new) == {"identifier": new, "provider": "sealed_file"}


def test_rotate_to_the_environment(monkeypatch, tmp_path, ring):
    (tmp_path / "new").write_text("07" * 32)
    monkeypatch.setenv("VARIEGATE_SELLER_SECRET_FILE", str(tmp_path / "new"))
    assert read("rotate", "--provider", "environment") == {
        "identifier": SellerSecret.from_bytes(b"\7" * 32).identifier,
        "provider": "environment",
    }
    assert "which the home has already" in run("rotate", "--provider", "environment", code=1).stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["rotate", "--provider", "kms"], 2, "there is no key provider 'kms'; choose from environment, pkcs11, sealed"),
        (["rotate", "--provider", "pkcs11"], 2, "needs VARIEGATE_PKCS11_MODULE and VARIEGATE_PKCS11_TOKEN"),
        (["rotate", "--provider", "environment"], 1, "there is no seller's secret: put 64 random hexadecimal digits"),
        (["adopt", "00"], 4, "there is no file of a secret '00' in"),
        (["adopt", "0123456789abcdef"], 4, "there is no file of a secret '0123456789abcdef' in"),
        (["adopt", NAME], 1, f"the registry has the secret {NAME} already"),
        (["export"], 2, "expected --sealed FILE or --public FILE; got neither"),
        (["export", "--sealed", "a", "--public", "b"], 2, "expected --sealed FILE or --public FILE; got both"),
        (["export", "--sealed", "a", "--secret-id", "00"], 4, "has no seller's secret '00'; see those there are with"),
        (["export", "--public", "a", "--secret-id", "00"], 4, "has no seller's secret '00'; see those there are with"),
        (["export", "--public", "none/a"], 4, "there is no folder none"),
        (["create", "--out", "none/a"], 4, "there is no folder none"),
        (["create", "--out", "taken"], 1, "taken exists already; choose another name"),
        (["export", "--sealed", "taken"], 1, "taken exists already; choose another name"),
        (["export", "--public", "taken"], 1, "taken exists already; choose another name"),
        (["export", "--sealed", "link"], 1, "link exists already; choose another name"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_mistakes(tmp_path, arguments, code, message, registry):
    (tmp_path / "taken").write_text("before")
    (tmp_path / "link").symlink_to("nowhere")
    before = sorted(tmp_path.rglob("*"))
    assert message in run(*arguments, code=code, stdin="").stderr
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "taken").read_text() == "before"
    assert len(registry.read(list_secrets)) == 1


def test_create(tmp_path):
    shown = read("create", "--out", tmp_path / "new.sealed")
    assert stat.S_IMODE((tmp_path / "new.sealed").stat().st_mode) == 0o600
    assert unseal((tmp_path / "new.sealed").read_bytes(), b"mellon").identifier == shown["identifier"]
    text = run("create", "--out", "other.sealed")
    assert text.stdout.startswith("wrote the new secret ")
    assert "Keep the file and the passphrase in two places" in text.stderr


def test_create_with_a_passphrase_from_standard_input(tmp_path, monkeypatch):
    monkeypatch.delenv("VARIEGATE_PASSPHRASE")
    run("create", "--out", "new.sealed", stdin="sesame\n")
    assert unseal((tmp_path / "new.sealed").read_bytes(), b"sesame")
    assert "there is no passphrase" in run("create", "--out", "two.sealed", stdin="", code=1).stderr
    assert not (tmp_path / "two.sealed").exists()


def test_a_sealed_export_has_a_passphrase_of_its_own(tmp_path, monkeypatch):
    run("export", "--sealed", "one", stdin="from stdin\n")
    monkeypatch.setenv("VARIEGATE_NEW_PASSPHRASE", "from variable")
    assert read("export", "--sealed", "two", "--secret-id", NAME) == {"file": "two", "identifier": NAME}
    for name, passphrase in (("one", b"from stdin"), ("two", b"from variable")):
        assert unseal((tmp_path / name).read_bytes(), passphrase) == SECRET
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_both_passphrases_from_standard_input(tmp_path, monkeypatch):
    monkeypatch.delenv("VARIEGATE_PASSPHRASE")
    run("export", "--sealed", "backup", stdin="mellon\nnew\n")
    assert unseal((tmp_path / "backup").read_bytes(), b"new") == SECRET


def test_exports_of_an_earlier_secret(tmp_path, monkeypatch):
    run("rotate")
    monkeypatch.setenv("VARIEGATE_NEW_PASSPHRASE", "backup")
    run("export", "--sealed", "old", "--secret-id", NAME)
    run("export", "--sealed", "current")
    assert unseal((tmp_path / "old").read_bytes(), b"backup") == SECRET
    assert unseal((tmp_path / "current").read_bytes(), b"backup") != SECRET


def test_a_file_that_somebody_else_made_meanwhile_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("VARIEGATE_NEW_PASSPHRASE", "backup")
    (tmp_path / "taken").write_text("before")
    monkeypatch.setattr(key, "_require_new", lambda path: None)
    assert "taken" in run("export", "--sealed", "taken", code=1).stderr
    assert (tmp_path / "taken").read_text() == "before"


def test_a_public_export_needs_no_secret(tmp_path, monkeypatch):
    monkeypatch.delenv("VARIEGATE_PASSPHRASE")
    result = run("export", "--public", "seller.pem")
    assert f"wrote the public key of the secret {NAME} to seller.pem" in result.stdout
    assert (tmp_path / "seller.pem").read_text() == public_pem(signing_key(SECRET))


def test_a_wrong_passphrase(monkeypatch, tmp_path):
    monkeypatch.setenv("VARIEGATE_PASSPHRASE", "shut")
    assert "the passphrase is wrong" in run("export", "--sealed", "x", stdin="new\n", code=1).stderr
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("command", [[], ["ls"], ["create"], ["rotate"], ["adopt"], ["export"]], ids=" ".join)
def test_help(command):
    text = run(*command, "--help").stdout
    assert "Examples:" in text or not command
