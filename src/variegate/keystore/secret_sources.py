"""Where the seller's secret and the passphrase come from: environment, files, a prompt; never a flag.

    the seller's secret   VARIEGATE_SELLER_SECRET (64 hexadecimal digits), or
                          VARIEGATE_SELLER_SECRET_FILE (a file with them), or
                          the sealed file and the passphrase
    the passphrase        VARIEGATE_PASSPHRASE, or VARIEGATE_PASSPHRASE_FILE, or the prompt
    a token's PIN         VARIEGATE_PKCS11_PIN, or VARIEGATE_PKCS11_PIN_FILE, or the prompt

A seller with several secrets may give each its own variable, which has the secret's identifier in capitals behind its
name: VARIEGATE_SELLER_SECRET_D6377C371B0C3AC2_FILE, VARIEGATE_PASSPHRASE_D6377C371B0C3AC2. It is preferred.

A variable and its _FILE twin exclude each other. Errors never show what was read. Imports no torch.
"""

import getpass
import re
import sys
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from variegate.errors import SecretError
from variegate.files import read_bounded
from variegate.keys import SellerSecret

SELLER_SECRET: Final = "VARIEGATE_SELLER_SECRET"  # noqa: S105 (the name of a variable)
PASSPHRASE: Final = "VARIEGATE_PASSPHRASE"  # noqa: S105 (the name of a variable)
NEW_PASSPHRASE: Final = "VARIEGATE_NEW_PASSPHRASE"  # noqa: S105 (the name of a variable)
PIN: Final = "VARIEGATE_PKCS11_PIN"

_HEX: Final = re.compile(r"[0-9A-Fa-f]{64}")
_MAX_PASSPHRASE: Final = 4096

Prompt: TypeAlias = Callable[[str], str]
"""Asks a person the question and returns the answer."""


def secret_in_environment(env: Mapping[str, str], *, identifier: str | None = None) -> SellerSecret | None:
    """The secret that the environment holds, or None.

    Args:
        env: the environment, such as `os.environ`.
        identifier: the secret that is wanted; its own variable is preferred. What is returned may be another secret.

    Raises:
        SecretError: if what is there is no secret.
        NotFoundError: if a file that a variable names is missing.
        InputError: if such a file cannot be read.
    """
    name = SELLER_SECRET if identifier is None else variable_for(env, SELLER_SECRET, identifier)
    text = _from_environment(env, name)
    return None if text is None else _parse_hex(text.strip(), name)


def variable_for(env: Mapping[str, str], name: str, identifier: str) -> str:
    """The name of the variable for this secret, if it or its _FILE twin is set, else `name`."""
    own = f"{name}_{identifier.upper()}"
    return own if own in env or f"{own}_FILE" in env else name


def read_passphrase(
    env: Mapping[str, str],
    *,
    prompt: Prompt | None = None,
    confirm: bool = False,
    variable: str = PASSPHRASE,
    question: str = "Passphrase: ",
) -> bytes:
    """The passphrase in UTF-8 from the first source that is there; a newline at the end of a file is dropped.

    Args:
        env: the environment, such as `os.environ`.
        prompt: how to ask for it; None to ask nobody.
        confirm: ask twice, as for a new passphrase.
        variable: the variable to look at; its _FILE twin names a file.
        question: what to ask.

    Raises:
        SecretError: if there is no source, it is empty or too long, or the two answers differ.
        NotFoundError: if a file that a variable names is missing.
        InputError: if such a file cannot be read.
    """
    text = _from_environment(env, variable)
    if text is None:
        if prompt is None:
            raise SecretError(f"there is no passphrase: set {variable}_FILE or {variable}, or run in a terminal")
        text = prompt(question)
        if confirm and prompt("The same passphrase again: ") != text:
            raise SecretError("the two passphrases must be the same; they differ: try again")
    return _checked(text, "a passphrase")


def read_pin(env: Mapping[str, str], *, prompt: Prompt | None = None, question: str = "PIN: ") -> str:
    """The PIN of a PKCS#11 token from the first source that is there; a newline at the end of a file is dropped.

    Raises:
        SecretError: if there is no source, or it is empty, too long or no text.
        NotFoundError: if a file that a variable names is missing.
        InputError: if such a file cannot be read.
    """
    text = _from_environment(env, PIN)
    missing = f"there is no PIN: set {PIN}_FILE or {PIN}, or run in a terminal"
    if text is None:
        if prompt is None:
            raise SecretError(missing)
        try:
            text = prompt(question)
        except SecretError:
            raise SecretError(missing) from None
    try:
        return _checked(text, "a PIN").decode()
    except UnicodeDecodeError:
        raise SecretError("a PIN must be text in UTF-8; got other bytes") from None


def prompt_terminal(question: str) -> str:
    """Ask on the terminal without echo; where standard input is no terminal, take one line of it.

    Raises:
        SecretError: if the input ends before an answer.
    """
    try:
        if sys.stdin is not None and sys.stdin.isatty():
            return getpass.getpass(question)
        line = sys.stdin.readline(_MAX_PASSPHRASE + 2) if sys.stdin is not None else ""
    except EOFError:
        line = ""
    if not line:
        raise SecretError(
            f"there is no passphrase: standard input is at its end; pipe one line in, or set {PASSPHRASE}_FILE"
        )
    return line.rstrip("\r\n")


def _from_environment(env: Mapping[str, str], name: str) -> str | None:
    """The variable, or the content of the file that its _FILE twin names, or None."""
    value, path = env.get(name), env.get(f"{name}_FILE")
    if value is not None and path is not None:
        raise SecretError(f"expected {name} or {name}_FILE; got both: unset one")
    if path is not None:
        data = read_bounded(path, _MAX_PASSPHRASE + 2, allow_pipe=True)
        value = data.decode("utf-8", "surrogateescape").removesuffix("\n").removesuffix("\r")
    if value == "":
        source = name if path is None else f"the file that {name}_FILE names"
        raise SecretError(f"expected a value in {source}; got nothing: fill or unset it")
    return value


def _checked(text: str, what: str) -> bytes:
    """The text's bytes, as they came from the environment, if their number is one that makes sense."""
    data = text.encode("utf-8", "surrogateescape")
    if not 1 <= len(data) <= _MAX_PASSPHRASE:
        raise SecretError(f"{what} must have 1 to {_MAX_PASSPHRASE} bytes; got {len(data)}")
    return data


def _parse_hex(text: str, name: str) -> SellerSecret:
    if not _HEX.fullmatch(text):
        raise SecretError(
            f"the seller's secret in {name} or its file must be 64 hexadecimal digits; "
            f"got {len(text)} characters{' with others among them' if len(text) == 64 else ''}"
        )
    return SellerSecret.from_bytes(bytes.fromhex(text))
