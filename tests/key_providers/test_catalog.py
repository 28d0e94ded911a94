"""Providers by name, ours before a plugin's."""

import subprocess
import sys
from dataclasses import dataclass

import pytest

from variegate.errors import ConfigurationError
from variegate.key_providers import catalog
from variegate.key_providers.base import Access
from variegate.key_providers.catalog import KEY_PROVIDERS, find_provider
from variegate.keys import SellerSecret


@dataclass
class Entry:
    name: str
    value: object = None

    def load(self):
        return self.value


@pytest.fixture
def plugins(monkeypatch):
    def offer(*entries):
        monkeypatch.setattr(catalog, "entry_points", lambda group: {"variegate.key_providers": entries}[group])

    catalog._plugins.cache_clear()
    yield offer
    catalog._plugins.cache_clear()


def test_ours():
    assert list(KEY_PROVIDERS) == ["sealed_file", "environment", "pkcs11"]
    for name, provider in KEY_PROVIDERS.items():
        assert find_provider(name) is provider
        assert provider.name == name


def test_a_plugin_s(plugins):
    vault = object()
    plugins(Entry("vault", vault), Entry("sealed_file", object()))
    assert find_provider("vault") is vault
    assert find_provider("sealed_file") is KEY_PROVIDERS["sealed_file"]


@pytest.mark.parametrize("name", ["kms", "", "../x", "Sealed_File", "a" * 33])
def test_no_such_provider(plugins, name):
    plugins(Entry("vault", object()), Entry("../x", object()))
    with pytest.raises(
        ConfigurationError, match="there is no key provider .*; choose from environment, pkcs11, seal"
    ) as e:
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
    program = (
        "import sys, variegate.key_providers.catalog, variegate.authority.keyring; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
