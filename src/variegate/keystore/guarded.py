"""A provider of another package, whose failures become one sentence."""

from collections.abc import Callable
from typing import TypeVar, final

from variegate.errors import SecretError, VariegateError
from variegate.keys import SellerSecret
from variegate.keystore.base import Access, KeyProvider

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
