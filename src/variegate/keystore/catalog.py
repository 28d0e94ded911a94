"""Key providers by name. A new one is listed here, or a package offers it by the entry point `variegate.key_providers`.

The entry point's value is an object with the methods of `KeyProvider`, whose name is the entry point's. It is loaded
when it is asked for, and no earlier: a package that cannot be imported is in nobody else's way. What it raises or
returns that no provider should becomes a `SecretError`.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Final, TypeVar, final

from variegate.errors import ConfigurationError, SecretError, VariegateError
from variegate.keys import SellerSecret
from variegate.keystore.base import Access, KeyProvider
from variegate.keystore.pkcs11 import Pkcs11
from variegate.keystore.providers import Environment, SealedFile

_T = TypeVar("_T")


@final
class GuardedProvider:
    """Calls a provider, and raises `SecretError` for whatever it raises or returns that no provider should.

    The sentence names the kind of the failure alone: its text may hold a part of the secret or the PIN.

    Args:
        provider: the other package's.
    """

    def __init__(self, provider: KeyProvider) -> None:
        self._provider = provider
        self._name = provider.name

    @property
    def name(self) -> str:
        """See `KeyProvider.name`."""
        return self._name

    def create(self, access: Access) -> SellerSecret:
        """See `KeyProvider.create`."""
        return self._call("create", SellerSecret, lambda: self._provider.create(access))

    def store(self, secret: SellerSecret, access: Access) -> bytes:
        """See `KeyProvider.store`."""
        return self._call("store", bytes, lambda: self._provider.store(secret, access))

    def fetch(self, blob: bytes, *, identifier: str, access: Access) -> SellerSecret:
        """See `KeyProvider.fetch`."""
        return self._call(
            "fetch", SellerSecret, lambda: self._provider.fetch(blob, identifier=identifier, access=access)
        )

    def _call(self, what: str, kind: type[_T], ask: Callable[[], object]) -> _T:
        advice = "ask the author of the package that offers it"
        try:
            answer = ask()
        except VariegateError:
            raise
        except Exception as error:  # noqa: BLE001 (whatever another package raises)
            raise SecretError(
                f"the key provider {self._name!r} fails in {what} with {type(error).__name__}; {advice}"
            ) from None
        if not isinstance(answer, kind):
            raise SecretError(
                f"the key provider {self._name!r} must return {kind.__name__} from {what}; it returned "
                f"{type(answer).__name__}; {advice}"
            )
        return answer


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
