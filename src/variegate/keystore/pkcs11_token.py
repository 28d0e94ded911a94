"""Opens a PKCS#11 token: its options, a session, and one sentence for everything that can go wrong.

VARIEGATE_PKCS11_MODULE          the vendor's library, such as /usr/lib/softhsm/libsofthsm2.so
VARIEGATE_PKCS11_TOKEN           the token's label
VARIEGATE_PKCS11_KEY             the label of the key that encrypts; "variegate" if it is not set
VARIEGATE_PKCS11_PIN[_FILE]      the user's PIN, or a file with it, or a person is asked
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, final

from variegate.errors import ConfigurationError, SecretError, VariegateError
from variegate.keystore.base import Access
from variegate.keystore.secret_sources import read_pin

if TYPE_CHECKING:
    from pkcs11 import Session, Token

MODULE: Final = "VARIEGATE_PKCS11_MODULE"
TOKEN: Final = "VARIEGATE_PKCS11_TOKEN"  # noqa: S105 (the name of a variable)
KEY: Final = "VARIEGATE_PKCS11_KEY"

_IN_USE: Final = threading.Lock()  # a process is logged in to a token once, whatever the thread


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Which token and key to use.

    Attributes:
        module: path of the vendor's library.
        token: the token's label.
        key: the key's label.
        pin: the user's PIN; never printed.
    """

    module: str
    token: str
    key: str = "variegate"
    pin: str = field(repr=False)


def read_settings(access: Access) -> Settings:
    """Return what the environment says, and ask for the PIN if it is not there.

    Raises:
        ConfigurationError: if the module or the token is not named.
        SecretError: if there is no PIN.
    """
    missing = [name for name in (MODULE, TOKEN) if not access.env.get(name)]
    if missing:
        raise ConfigurationError(
            f"the key provider pkcs11 needs {' and '.join(missing)}: the path of the PKCS#11 library is expected in "
            f"{MODULE}, the token's label in {TOKEN}"
        )
    token = access.env[TOKEN]
    return Settings(
        module=access.env[MODULE],
        token=token,
        key=access.env.get(KEY) or "variegate",
        pin=read_pin(access.env, prompt=access.prompt, question=f"PIN of the token {token}: "),
    )


@contextmanager
def open_token(settings: Settings, *, write: bool) -> "Iterator[Session]":
    """Log in to the token for the block; one block at a time in a process.

    Raises:
        ConfigurationError: if the package, the module or the token is missing.
        SecretError: if the PIN is wrong or locked, or the token refuses what is asked in the block.
    """
    try:
        from pkcs11.exceptions import PKCS11Error
    except ImportError as error:
        raise ConfigurationError(
            "the key provider pkcs11 needs the package python-pkcs11: pip install 'variegate[pkcs11]'"
        ) from error
    with _IN_USE:
        token = _find_token(settings)
        try:
            with token.open(rw=write, user_pin=settings.pin) as session:
                yield session
        except PKCS11Error as error:
            raise _refusal(error, settings) from error


def _find_token(settings: Settings) -> "Token":
    import pkcs11
    from pkcs11.exceptions import MultipleTokensReturned, NoSuchToken, PKCS11Error

    try:
        library = pkcs11.lib(settings.module)
    except (PKCS11Error, ValueError, OSError) as error:
        raise ConfigurationError(
            f"cannot load the PKCS#11 library {settings.module!r} ({_named(error)}); check {MODULE} and the library's "
            "own configuration"
        ) from error
    try:
        return library.get_token(token_label=settings.token)
    except NoSuchToken as error:
        raise ConfigurationError(
            f"there is no token with the label {settings.token!r} at {settings.module}; plug it in or initialise it, "
            f"or check {TOKEN}"
        ) from error
    except MultipleTokensReturned as error:
        raise ConfigurationError(
            f"several tokens have the label {settings.token!r} at {settings.module}; give them different labels"
        ) from error
    except PKCS11Error as error:
        raise _refusal(error, settings) from error


def _refusal(error: Exception, settings: Settings) -> VariegateError:
    from pkcs11 import exceptions as problems

    token = f"the token {settings.token!r}"
    if isinstance(error, problems.PinLocked | problems.PinExpired):
        return SecretError(f"{token} has locked its PIN; unlock it with the security officer's PIN")
    if isinstance(error, problems.PinIncorrect | problems.PinInvalid | problems.PinLenRange):
        return SecretError(f"{token} refused the PIN; check it (many tokens lock after a few wrong ones)")
    if isinstance(error, problems.UserPinNotInitialized):
        return SecretError(f"{token} has no user's PIN yet; set one with its tool")
    if isinstance(error, problems.MechanismInvalid | problems.MechanismParamInvalid | problems.FunctionNotSupported):
        return SecretError(f"{token} cannot do AES-GCM with a nonce from outside; use another token")
    if isinstance(error, problems.TokenWriteProtected | problems.SessionReadOnly):
        return SecretError(f"{token} is write-protected, so no key can be made; make it writable")
    if isinstance(error, problems.AnotherUserAlreadyLoggedIn | problems.UserAlreadyLoggedIn):
        return SecretError(f"this process is logged in to {token} elsewhere; log out there first")
    return SecretError(f"{token} failed ({_named(error)}); check that it is plugged in and works")


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
