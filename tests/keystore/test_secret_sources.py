import io
import os
import sys

import pytest

from tests.raising import raises
from variegate.errors import InputError, NotFoundError, SecretError
from variegate.keys import SellerSecret
from variegate.keystore.base import Access
from variegate.keystore.providers import Environment, open_sealed
from variegate.keystore.sealing import SealingCost, seal
from variegate.keystore.secret_sources import (
    prompt_terminal,
    read_passphrase,
    read_pin,
    secret_in_environment,
    variable_for,
)

HEX = "0123456789abcdef" * 4
SECRET = SellerSecret.from_bytes(bytes.fromhex(HEX))
OTHER = SellerSecret.from_bytes(bytes(32))


@pytest.fixture
def sealed(tmp_path):
    path = tmp_path / "secret.sealed"
    path.write_bytes(seal(OTHER, b"open", cost=SealingCost(memory_kib=8192, iterations=1, lanes=1)))
    return path


def never(question):
    pytest.fail("asked a person")


def read_secret(env, *, sealed, prompt=None):
    """The environment's secret, or else the sealed file's."""
    return secret_in_environment(env) or open_sealed(sealed, Access(env=env, prompt=prompt))


# The seller's secret


@pytest.mark.parametrize("text", [HEX, HEX.upper(), f" {HEX}\n"])
def test_the_secret_from_the_environment(text, sealed):
    assert read_secret({"VARIEGATE_SELLER_SECRET": text}, sealed=sealed, prompt=never) == SECRET


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "  \n"])
def test_the_secret_from_a_file(tmp_path, end, sealed):
    path = tmp_path / "secret"
    path.write_text(HEX + end)
    assert read_secret({"VARIEGATE_SELLER_SECRET_FILE": str(path)}, sealed=sealed, prompt=never) == SECRET


def test_the_sealed_secret(sealed, tmp_path):
    (tmp_path / "passphrase").write_text("open\n")
    assert read_secret({"VARIEGATE_PASSPHRASE": "open"}, sealed=sealed, prompt=never) == OTHER
    assert read_secret({"VARIEGATE_PASSPHRASE_FILE": str(tmp_path / "passphrase")}, sealed=sealed) == OTHER
    assert read_secret({}, sealed=sealed, prompt=lambda question: "open") == OTHER


def test_no_source_says_what_to_do(sealed, tmp_path):
    assert secret_in_environment({}) is None
    with raises(SecretError, "VARIEGATE_SELLER_SECRET_FILE"):
        Environment().create(Access(env={}))
    with raises(NotFoundError, "none"):
        read_secret({}, sealed=tmp_path / "none")
    with raises(SecretError, "VARIEGATE_PASSPHRASE_FILE"):
        read_secret({}, sealed=sealed)


@pytest.mark.parametrize(
    ("text", "got"),
    [
        (HEX[:-1], "63"),
        (HEX + "00", "66"),
        (HEX[:-1] + "g", "others"),
        ("0x" + HEX[2:], "others"),
        ("   ", "got 0"),
    ],
)
def test_a_malformed_secret_is_not_shown(text, got, tmp_path):
    path = tmp_path / "secret"
    path.write_text(text)
    for env in ({"VARIEGATE_SELLER_SECRET": text}, {"VARIEGATE_SELLER_SECRET_FILE": str(path)}):
        with raises(SecretError, "64", got) as caught:
            secret_in_environment(env)
        assert HEX[2:10] not in str(caught.value)


@pytest.mark.parametrize("name", ["VARIEGATE_SELLER_SECRET", "VARIEGATE_PASSPHRASE"])
def test_both_sources_at_once_are_refused(name, tmp_path, sealed):
    path = tmp_path / "f"
    path.write_text(HEX)
    with raises(SecretError, name, f"{name}_FILE", "both"):
        read_secret({name: HEX, f"{name}_FILE": str(path)}, sealed=sealed)


@pytest.mark.parametrize("name", ["VARIEGATE_SELLER_SECRET", "VARIEGATE_PASSPHRASE"])
def test_empty_sources_are_refused(name, tmp_path, sealed):
    path = tmp_path / "f"
    path.write_text("\n")
    for env, where in (({name: ""}, name), ({f"{name}_FILE": str(path)}, f"{name}_FILE")):
        with raises(SecretError, where, "nothing"):
            read_secret(env, sealed=sealed)


@pytest.mark.parametrize("name", ["VARIEGATE_SELLER_SECRET", "VARIEGATE_PASSPHRASE"])
def test_files_that_cannot_be_read(name, tmp_path, sealed):
    (tmp_path / "large").write_bytes(b"x" * 10_000)
    for path, error, said in [
        (tmp_path / "none", NotFoundError, "no file"),
        (tmp_path, InputError, "folder"),
        (tmp_path / "large", InputError, "at most"),
    ]:
        with raises(error, said):
            read_secret({f"{name}_FILE": str(path)}, sealed=sealed)


def test_a_sealed_file_that_is_none(tmp_path):
    env = {"VARIEGATE_PASSPHRASE": "open"}
    (tmp_path / "large").write_bytes(b"x" * 10_000)
    (tmp_path / "short").write_bytes(b"x")
    for path, said in [
        (tmp_path / "large", "98 bytes"),
        (tmp_path / "short", "98 bytes"),
        (tmp_path, "folder"),
    ]:
        with raises(SecretError, said):
            read_secret(env, sealed=path)


def test_a_wrong_passphrase(sealed):
    with raises(SecretError, "passphrase") as caught:
        read_secret({"VARIEGATE_PASSPHRASE": "sesame"}, sealed=sealed)
    assert "sesame" not in str(caught.value)


# The passphrase


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"a b\n", b"a b"), (b"a b\r\n", b"a b"), (b" a\n\n", b" a\n"), (b"\xff\xfe", b"\xff\xfe"), ("é".encode(),) * 2],
)
def test_a_passphrase_file_loses_one_newline_and_nothing_else(tmp_path, content, expected):
    path = tmp_path / "passphrase"
    path.write_bytes(content)
    assert read_passphrase({"VARIEGATE_PASSPHRASE_FILE": str(path)}, prompt=never) == expected


def test_a_passphrase_from_a_pipe():
    reading, writing = os.pipe()
    os.write(writing, b"open\n")
    os.close(writing)
    try:
        assert read_passphrase({"VARIEGATE_PASSPHRASE_FILE": f"/dev/fd/{reading}"}) == b"open"
    finally:
        os.close(reading)


def test_the_environment_s_bytes_are_kept():
    assert read_passphrase({"VARIEGATE_PASSPHRASE": os.fsdecode(b"\xff\xc3\xa9")}) == b"\xff\xc3\xa9"


def test_a_new_passphrase_is_asked_twice():
    asked = []

    def answer(question):
        asked.append(question)
        return "open"

    assert read_passphrase({}, prompt=answer, confirm=True) == b"open"
    assert asked == ["Passphrase: ", "The same passphrase again: "]
    assert read_passphrase({"VARIEGATE_PASSPHRASE": "open"}, prompt=never, confirm=True) == b"open"


def test_answers_that_differ_are_refused():
    answers = iter(["open", "shut"])
    with raises(SecretError, "passphrase") as caught:
        read_passphrase({}, prompt=lambda question: next(answers), confirm=True)
    assert "shut" not in str(caught.value)


@pytest.mark.parametrize(("text", "size"), [("", 0), ("x" * 4097, 4097), ("é" * 2049, 4098)])
def test_passphrases_of_bad_length(text, size):
    with raises(SecretError, "4096", str(size)):
        read_passphrase({}, prompt=lambda question: text)


# Other variables


def test_a_new_passphrase_has_a_variable_of_its_own():
    env = {"VARIEGATE_PASSPHRASE": "old", "VARIEGATE_NEW_PASSPHRASE": "new"}
    assert read_passphrase(env, variable="VARIEGATE_NEW_PASSPHRASE") == b"new"
    with raises(SecretError, "VARIEGATE_NEW_PASSPHRASE_FILE"):
        read_passphrase({"VARIEGATE_PASSPHRASE": "old"}, variable="VARIEGATE_NEW_PASSPHRASE")


def test_the_variable_of_one_secret():
    own = "VARIEGATE_PASSPHRASE_0123456789ABCDEF"
    for env, name in (({}, "VARIEGATE_PASSPHRASE"), ({own: "x"}, own), ({f"{own}_FILE": "x"}, own)):
        assert variable_for(env, "VARIEGATE_PASSPHRASE", "0123456789abcdef") == name


def test_the_environment_alone(tmp_path):
    assert secret_in_environment({}) is None
    assert secret_in_environment({"VARIEGATE_SELLER_SECRET": HEX}) == SECRET
    own = f"VARIEGATE_SELLER_SECRET_{OTHER.identifier.upper()}"
    both = {"VARIEGATE_SELLER_SECRET": HEX, own: "00" * 32}
    assert secret_in_environment(both) == SECRET
    assert secret_in_environment(both, identifier=OTHER.identifier) == OTHER
    assert secret_in_environment(both, identifier=SECRET.identifier) == SECRET


# The PIN


def test_a_pin(tmp_path):
    (tmp_path / "pin").write_text("12 34\n")
    assert read_pin({"VARIEGATE_PKCS11_PIN": "1234"}, prompt=never) == "1234"
    assert read_pin({"VARIEGATE_PKCS11_PIN_FILE": str(tmp_path / "pin")}, prompt=never) == "12 34"
    assert read_pin({}, prompt=lambda question: "1234") == "1234"


def test_no_pin(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    for prompt in (None, prompt_terminal):
        with raises(SecretError, "VARIEGATE_PKCS11_PIN_FILE"):
            read_pin({}, prompt=prompt)
    for bad in ("", "1" * 4097):
        with raises(SecretError, "PIN", "4096"):
            read_pin({}, prompt=lambda question, bad=bad: bad)
    with raises(SecretError, "PIN", "UTF-8"):
        read_pin({"VARIEGATE_PKCS11_PIN": os.fsdecode(b"\xff12")})


# The prompt


def test_the_prompt_reads_a_line_of_standard_input(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("open sesame\r\nrest\n"))
    assert prompt_terminal("Passphrase: ") == "open sesame"
    assert capsys.readouterr().out == ""


def test_the_prompt_asks_a_terminal_without_echo(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", lambda question: f"answer to {question}")
    assert prompt_terminal("Passphrase: ") == "answer to Passphrase: "


@pytest.mark.parametrize("stdin", [io.StringIO(""), None])
def test_the_prompt_at_the_end_of_input(monkeypatch, stdin):
    monkeypatch.setattr(sys, "stdin", stdin)
    with raises(SecretError, "standard input"):
        prompt_terminal("Passphrase: ")


def test_the_prompt_when_a_terminal_is_closed(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    def closed(question):
        raise EOFError

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", closed)
    with raises(SecretError, "standard input"):
        prompt_terminal("Passphrase: ")
