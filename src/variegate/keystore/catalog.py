"""Key providers by name. A new one is listed here, or a package offers it by the entry point `variegate.key_providers`.

The entry point's value is an object with the methods of `KeyProvider`, whose name is the entry point's. It is loaded
when it is asked for, and no earlier: a package that cannot be imported is in nobody else's way. What it raises or
returns that no provider should becomes a `SecretError`.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from variegate.errors import ConfigurationError
from variegate.keystore.base import KeyProvider
from variegate.keystore.environment import Environment
from variegate.keystore.guarded import GuardedProvider
from variegate.keystore.pkcs11 import Pkcs11
from variegate.keystore.sealed_file import SealedFile

KEY_PROVIDERS: Mapping[str, KeyProvider] = {
    provider.name: provider for provider in (SealedFile(), Environment(), Pkcs11())
}

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")


@cache
def _plugins() -> Mapping[str, EntryPoint]:
    """What packages offer, not loaded."""
    return {entry.name: entry for entry in entry_points(group="variegate.key_providers") if _NAME.fullmatch(entry.name)}


@cache
def _loaded(name: str) -> KeyProvider:
    """The plugin of this name."""
    try:
        provider: KeyProvider = _plugins()[name].load()
        own = provider.name
    except Exception as error:  # whatever another package raises
        raise ConfigurationError(
            f"the key provider {name!r} cannot be loaded: {type(error).__name__}: {error}; repair or remove the "
            "package that offers it"
        ) from error
    if own != name:
        raise ConfigurationError(
            f"the key provider {name!r} calls itself {own!r}: a secret that it keeps could not be found again; both "
            "names must be the same, ask the package's author"
        )
    return GuardedProvider(provider)


def find_provider(name: str) -> KeyProvider:
    """Return the key provider `name`.

    Raises:
        ConfigurationError: there is no such provider, and the message lists those there are; or a package offers it
            that cannot be loaded, or calls it by another name.
    """
    found = KEY_PROVIDERS.get(name)
    if found is None and name in _plugins():
        found = _loaded(name)
    if found is None:
        known = sorted({*_plugins(), *KEY_PROVIDERS})
        raise ConfigurationError(f"there is no key provider {name!r}; choose from {', '.join(known)}")
    return found
