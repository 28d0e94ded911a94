"""Providers by name, ours before a plugin's."""

import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from tests.raising import raises
from variegate.errors import ConfigurationError, SecretError
from variegate.keys import SellerSecret
from variegate.keystore import catalog
from variegate.keystore.base import Access
from variegate.keystore.catalog import KEY_PROVIDERS, find_provider


@dataclass
class Plugin:
    name: str


@dataclass
class Entry:
    name: str
    value: object = None
    loaded: int = 0

    def load(self):
        self.loaded += 1
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


@pytest.fixture
def plugins(monkeypatch):
    def offer(*entries):
        monkeypatch.setattr(catalog, "entry_points", lambda group: {"variegate.key_providers": entries}[group])

    def clear():
        catalog._plugins.cache_clear()
        catalog._loaded.cache_clear()

    clear()
    yield offer
    clear()


def test_ours():
    assert list(KEY_PROVIDERS) == ["sealed_file", "environment", "pkcs11"]
    for name, provider in KEY_PROVIDERS.items():
        assert find_provider(name) is provider
        assert provider.name == name


def test_a_plugin_s(plugins):
    vault, ours = Entry("vault", Plugin("vault")), Entry("sealed_file", Plugin("sealed_file"))
    plugins(vault, ours)
    assert find_provider("vault").name == "vault"
    assert find_provider("vault") is find_provider("vault")
    assert find_provider("sealed_file") is KEY_PROVIDERS["sealed_file"]
    assert (vault.loaded, ours.loaded) == (1, 0)


def test_a_plugin_under_another_name(plugins):
    plugins(Entry("vault", Plugin("other")))
    with raises(ConfigurationError, "vault", "other"):
        find_provider("vault")


@dataclass
class Answering(Plugin):
    """Raises what is an exception, returns the rest."""

    answer: Any = None

    def _answer(self, *_args, **_named):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    create = store = fetch = _answer


ASKED = {
    "create": lambda provider: provider.create(Access(env={})),
    "store": lambda provider: provider.store(SellerSecret.generate(), Access(env={})),
    "fetch": lambda provider: provider.fetch(b"", identifier="0", access=Access(env={})),
}


@pytest.mark.parametrize("what", ASKED)
@pytest.mark.parametrize(
    ("answer", "named"),
    [
        (OSError("PIN 1234"), ["vault", "{}", "OSError"]),
        (None, ["vault", "{}", "NoneType"]),
        (SecretError("the vault is shut"), ["the vault is shut"]),
    ],
    ids=["raises", "returns_nothing", "its_own_sentence"],
)
def test_a_plugin_that_fails(plugins, what, answer, named):
    plugins(Entry("vault", Answering("vault", answer)))
    with raises(SecretError, *(name.format(what) for name in named)) as failed:
        ASKED[what](find_provider("vault"))
    assert "1234" not in str(failed.value)
    assert failed.value.__suppress_context__ or failed.value.__context__ is None


def test_a_plugin_that_answers(plugins):
    secret = SellerSecret.generate()
    plugins(Entry("vault", Answering("vault", secret)), Entry("chest", Answering("chest", b"blob")))
    assert ASKED["create"](find_provider("vault")) is secret
    assert ASKED["fetch"](find_provider("vault")) is secret
    assert ASKED["store"](find_provider("chest")) == b"blob"


@pytest.mark.parametrize("value", [ImportError("no module named x"), ValueError("boom"), object()])
def test_a_plugin_that_cannot_be_loaded(plugins, value):
    plugins(Entry("vault", value), Entry("chest", Plugin("chest")))
    with raises(ConfigurationError, "vault", "Error"):
        find_provider("vault")
    assert find_provider("chest").name == "chest"
    with raises(ConfigurationError, "valut", "chest", "vault"):
        find_provider("valut")


@pytest.mark.parametrize("name", ["kms", "", "../x", "Sealed_File", "a" * 33])
def test_no_such_provider(plugins, name):
    plugins(Entry("vault", object()), Entry("../x", object()))
    with raises(ConfigurationError, "environment", "pkcs11", "seal") as e:
        find_provider(name)
    assert str(e.value).endswith("choose from environment, pkcs11, sealed_file, vault")


def test_an_access_shows_nothing():
    access = Access(env={"VARIEGATE_PASSPHRASE": "sesame"}, prompt=lambda question: "sesame")
    assert "sesame" not in repr(access)


def test_ours_make_new_secrets():
    for name in ("sealed_file", "pkcs11"):
        made = {find_provider(name).create(Access(env={})) for _ in range(3)}
        assert len(made) == 3
        assert all(isinstance(secret, SellerSecret) for secret in made)


def test_no_torch():
    program = "import sys, variegate.keystore.catalog, variegate.authority.keyring; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
