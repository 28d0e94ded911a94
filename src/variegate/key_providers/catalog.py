"""Key providers by name. A new one is listed here, or a package offers it by the entry point `variegate.key_providers`.

The entry point's value is an object with the methods of `KeyProvider`.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Final

from variegate.errors import ConfigurationError
from variegate.key_providers.base import KeyProvider
from variegate.key_providers.environment import Environment
from variegate.key_providers.pkcs11 import Pkcs11
from variegate.key_providers.sealed_file import SealedFile

__all__ = ["KEY_PROVIDERS", "find_provider"]

KEY_PROVIDERS: Mapping[str, KeyProvider] = {
    provider.name: provider for provider in (SealedFile(), Environment(), Pkcs11())
}

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")


@cache
def _plugins() -> Mapping[str, KeyProvider]:
    return {entry.name: entry.load() for entry in entry_points(group="variegate.key_providers")}


def find_provider(name: str) -> KeyProvider:
    """Return the key provider `name`.

    Raises:
        ConfigurationError: there is no such provider; the message lists those there are.
    """
    found = KEY_PROVIDERS.get(name)
    if found is None and _NAME.fullmatch(name):
        found = _plugins().get(name)
    if found is None:
        known = {*(key for key in _plugins() if _NAME.fullmatch(key)), *KEY_PROVIDERS}
        raise ConfigurationError(f"there is no key provider {name!r}; choose from {', '.join(sorted(known))}")
    return found
