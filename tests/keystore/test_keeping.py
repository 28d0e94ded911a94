"""A secret is read back before anybody relies on its provider, and a person is asked no more for it."""

from tests.raising import raises
from variegate.errors import SecretError
from variegate.keys import SellerSecret
from variegate.keystore.base import Access, keep_secret
from variegate.keystore.providers import SealedFile
from variegate.keystore.sealing import SealingCost, unseal

SECRET = SellerSecret.from_bytes(bytes(range(32)))
SEALED = SealedFile(cost=SealingCost(memory_kib=8192, iterations=1, lanes=1))


class Memory:
    """Keeps what it is given; `broken` tells how it fails."""

    name = "memory"

    def __init__(self, broken=None):
        self.broken = broken
        self.kept = {}

    def store(self, secret, access):
        self.kept[secret.identifier] = secret.duplicate()
        return secret.reveal() if self.broken == "plain" else b""

    def fetch(self, blob, *, identifier, access):
        if self.broken == "lost":
            raise SecretError("the vault is empty")
        return SellerSecret.from_bytes(bytes(32)) if self.broken == "other" else self.kept[identifier]


def test_a_person_answers_once():
    questions = []
    access = Access(env={}, prompt=lambda question: questions.append(question) or "open", confirm=True)
    blob = keep_secret(SEALED, SECRET, access)
    assert unseal(blob, b"open") == SECRET
    assert questions == [f"Passphrase for the new secret {SECRET.identifier}: ", "The same passphrase again: "]


def test_who_asks_more_when_opening_asks_the_person():
    asked = iter(["open", "open", "something else"])

    class Twice:
        name = "twice"
        store = staticmethod(SEALED.store)

        @staticmethod
        def fetch(blob, *, identifier, access):
            access.prompt("first")
            access.prompt("second")
            return SEALED.fetch(blob, identifier=identifier, access=access)  # a third answer, which is asked for

    with raises(SecretError, "twice", "wrong"):
        keep_secret(Twice(), SECRET, Access(env={}, prompt=lambda question: next(asked), confirm=True))


def test_what_does_not_come_back():
    assert keep_secret(Memory(), SECRET, Access(env={})) == b""
    for broken, named in (
        ("plain", ["memory", "home"]),
        ("lost", ["memory", "the vault is empty"]),
        ("other", ["memory", SECRET.identifier]),
    ):
        with raises(SecretError, *named) as caught:
            keep_secret(Memory(broken), SECRET, Access(env={}))
        assert SECRET.reveal().hex() not in str(caught.value)
    assert keep_secret(Memory("lost"), SECRET, Access(env={}), read_back=False) == b""


def test_a_provider_that_hands_out_the_same_object_is_not_wiped():
    class Same(Memory):
        def store(self, secret, access):
            self.kept[secret.identifier] = secret
            return b""

    secret = SECRET.duplicate()
    keep_secret(Same(), secret, Access(env={}))
    assert not secret.is_wiped
