"""What a key provider does, and how it gets the passphrase or PIN that it needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol, final

from variegate.keys import SellerSecret
from variegate.keystore.secret_sources import Prompt

MOST_BLOB_BYTES: Final = 2**16
"""The largest blob that a home keeps for a provider."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Where providers find passphrases, PINs and options. Never printed: the environment may hold secrets.

    Attributes:
        env: the environment, such as `os.environ`.
        prompt: how to ask a person; None to ask nobody.
        confirm: ask twice for a new passphrase.
    """

    env: Mapping[str, str] = field(repr=False)
    prompt: Prompt | None = field(default=None, repr=False)
    confirm: bool = False


class KeyProvider(Protocol):
    """Keeps a seller's secret at rest.

    A provider holds no state of its own and no secret: everything comes with the call. Errors are `SecretError` or
    `ConfigurationError`, one sentence, without any part of the secret, the passphrase or the PIN.
    """

    @property
    def name(self) -> str:
        """The name in the catalog: small letters, digits and underscores; it ends the names of the blobs' files."""
        ...

    def create(self, access: Access) -> SellerSecret:
        """Return a secret for a new place of this provider: most make one, the environment's has to be there."""
        ...

    def store(self, secret: SellerSecret, access: Access) -> bytes:
        """Keep the secret and return the blob that lies in the home: never the plain secret, empty if there is none."""
        ...

    def fetch(self, blob: bytes, *, identifier: str, access: Access) -> SellerSecret:
        """Return the secret that `store` returned the blob for.

        Args:
            blob: what `store` returned.
            identifier: the secret that is wanted, for finding it and for questions; the caller checks what comes.
            access: passphrases, PINs and options.
        """
        ...
