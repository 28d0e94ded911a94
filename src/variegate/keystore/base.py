"""What a key provider does, how it gets the passphrase or PIN that it needs, and how a secret is given to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Protocol, final

from variegate.errors import SecretError, VariegateError
from variegate.keys import SellerSecret
from variegate.keystore.secret_sources import Prompt

MAX_BLOB_BYTES: Final = 2**16
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


def keep_secret(keeper: KeyProvider, secret: SellerSecret, access: Access, *, read_back: bool = True) -> bytes:
    """Give a secret to its provider and return the blob for the home.

    Args:
        keeper: the provider.
        secret: what to keep.
        access: passphrases, PINs and options; a person is not asked again for the reading back.
        read_back: fetch the secret again and compare.

    Raises:
        SecretError: if the blob holds the plain secret, or the provider does not give the same secret back.
        VariegateError: what the provider raises.
    """
    answers = _Answers(access.prompt)
    access = replace(access, prompt=None if access.prompt is None else answers.ask)
    blob = keeper.store(secret, access)
    if secret.reveal() in blob:
        raise SecretError(f"the key provider {keeper.name} would keep the plain secret in the home; use another one")
    if read_back:
        answers.repeat()
        try:
            again = keeper.fetch(blob, identifier=secret.identifier, access=access)
        except VariegateError as error:
            raise SecretError(
                f"the key provider {keeper.name} does not give the secret {secret.identifier} back, so it was not "
                f"recorded: {error}"
            ) from error
        same = again == secret
        if again is not secret:
            again.wipe()
        if not same:
            raise SecretError(
                f"the key provider {keeper.name} gives another secret back than {secret.identifier}, so that was not "
                "recorded; use another provider"
            )
    return blob


@final
class _Answers:
    """Asks a person, and gives the same answers a second time; then asks again."""

    def __init__(self, prompt: Prompt | None) -> None:
        self._prompt = prompt
        self._given: list[str] = []
        self._ready: list[str] = []

    def ask(self, question: str) -> str:
        if self._ready:
            return self._ready.pop(0)
        if self._prompt is None:
            raise SecretError("there is nobody to ask; set the variable that holds the answer")
        answer = self._prompt(question)
        self._given.append(answer)
        return answer

    def repeat(self) -> None:
        self._ready, self._given = self._given, []
