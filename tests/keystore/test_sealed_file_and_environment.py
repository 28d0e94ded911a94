"""The providers that need nothing but a passphrase or a variable."""

import pytest

from tests.raising import raises
from variegate.errors import NotFoundError, SecretError
from variegate.keys import SellerSecret
from variegate.keystore.base import Access
from variegate.keystore.providers import Environment, SealedFile, open_sealed
from variegate.keystore.sealing import SEALED_BYTES, SealingCost, unseal

SECRET = SellerSecret.from_bytes(bytes(range(32)))
NAME = SECRET.identifier
SEALED = SealedFile(cost=SealingCost(memory_kib=8192, iterations=1, lanes=1))
OPEN = Access(env={"VARIEGATE_PASSPHRASE": "open"})


def asks(*answers):
    questions = []

    def prompt(question):
        questions.append(question)
        return answers[len(questions) - 1]

    return questions, prompt


# Sealed file


def test_what_is_sealed_is_fetched():
    blob = SEALED.store(SECRET, OPEN)
    assert len(blob) == SEALED_BYTES
    assert SEALED.fetch(blob, identifier=NAME, access=OPEN) == SECRET
    assert unseal(blob, b"open") == SECRET


def test_the_questions_name_the_secret():
    questions, prompt = asks("open", "open")
    blob = SEALED.store(SECRET, Access(env={}, prompt=prompt, confirm=True))
    assert questions == [f"Passphrase for the new secret {NAME}: ", "The same passphrase again: "]
    questions, prompt = asks("open")
    assert SEALED.fetch(blob, identifier=NAME, access=Access(env={}, prompt=prompt)) == SECRET
    assert questions == [f"Passphrase of the secret {NAME}: "]


def test_a_secret_s_own_passphrase_is_preferred(tmp_path):
    (tmp_path / "own").write_text("own\n")
    env = {"VARIEGATE_PASSPHRASE": "open", f"VARIEGATE_PASSPHRASE_{NAME.upper()}_FILE": str(tmp_path / "own")}
    blob = SEALED.store(SECRET, Access(env=env))
    assert unseal(blob, b"own") == SECRET
    assert SEALED.fetch(blob, identifier=NAME, access=Access(env=env)) == SECRET
    with raises(SecretError, "passphrase"):
        SEALED.fetch(blob, identifier="00" * 8, access=Access(env=env))


def test_no_passphrase():
    for call in (lambda: SEALED.store(SECRET, Access(env={})), lambda: open_sealed(__file__, OPEN)):
        with pytest.raises(SecretError):
            call()


def test_a_backup(tmp_path):
    (tmp_path / "backup").write_bytes(SEALED.store(SECRET, OPEN))
    assert open_sealed(tmp_path / "backup", OPEN) == SECRET
    (tmp_path / "short").write_bytes(b"x")
    (tmp_path / "long").write_bytes(b"x" * 99)
    for name in ("short", "long", "."):
        with raises(SecretError, "unseal"):
            open_sealed(tmp_path / name, OPEN)
    with raises(NotFoundError, "file"):
        open_sealed(tmp_path / "none", OPEN)


# Environment


@pytest.mark.parametrize("variable", ["VARIEGATE_SELLER_SECRET", f"VARIEGATE_SELLER_SECRET_{NAME.upper()}"])
@pytest.mark.parametrize("in_file", [False, True])
def test_the_environment_s_secret(variable, in_file, tmp_path):
    (tmp_path / "secret").write_text(bytes(range(32)).hex() + "\n")
    env = {f"{variable}_FILE": str(tmp_path / "secret")} if in_file else {variable: bytes(range(32)).hex()}
    access = Access(env=env)
    assert Environment().fetch(b"", identifier=NAME, access=access) == SECRET
    assert Environment().store(SECRET, access) == b""


def test_a_secret_s_own_variable_is_preferred():
    other = SellerSecret.from_bytes(bytes(32))
    env = {
        "VARIEGATE_SELLER_SECRET": "00" * 32,
        f"VARIEGATE_SELLER_SECRET_{NAME.upper()}": bytes(range(32)).hex(),
    }
    assert Environment().fetch(b"", identifier=NAME, access=Access(env=env)) == SECRET
    assert Environment().fetch(b"", identifier=other.identifier, access=Access(env=env)) == other
    assert Environment().create(Access(env=env)) == other


def test_the_environment_has_no_secret():
    with raises(SecretError, "64", "VARIEGATE_SELLER_SECRET_FILE"):
        Environment().create(Access(env={}))
    with raises(SecretError, NAME, "VARIEGATE_SELLER_SECRET"):
        Environment().fetch(b"", identifier=NAME, access=Access(env={}))


def test_the_environment_has_another_secret():
    env = {"VARIEGATE_SELLER_SECRET": "00" * 32}
    with raises(SecretError, NAME, "right") as caught:
        Environment().fetch(b"", identifier=NAME, access=Access(env=env))
    assert "00000000" not in str(caught.value)


def test_a_malformed_secret_names_its_variable():
    name = f"VARIEGATE_SELLER_SECRET_{NAME.upper()}"
    with raises(SecretError, name, "64"):
        Environment().fetch(b"", identifier=NAME, access=Access(env={name: "ab"}))
