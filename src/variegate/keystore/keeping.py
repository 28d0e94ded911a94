"""Giving a secret to a provider, and making sure that it can be had back before anybody relies on it."""

from dataclasses import replace
from typing import final

from variegate.errors import SecretError, VariegateError
from variegate.keys import SellerSecret
from variegate.keystore.base import Access, KeyProvider
from variegate.keystore.secret_sources import Prompt


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
