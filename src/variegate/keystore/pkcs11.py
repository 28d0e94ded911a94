"""The provider "pkcs11": a key that never leaves a token (HSM, smart card, SoftHSM) encrypts the secret.

The token makes an AES-256 key on the first use and keeps it sensitive and not extractable. The blob in the home:

    offset  bytes  what
         0      8  "VGPKCS11"
         8      1  format version, 1
         9      1  encryption, 1 = AES-256-GCM with a tag of 16 bytes
        10      1  length of the key's CKA_ID, 1 to 32
        11     32  the key's CKA_ID, filled up with zeros
        43     12  nonce
        55     48  the 32 secret bytes, encrypted, and the tag

Bytes 0 to 54 are authenticated with the secret (AAD). The key is found by its CKA_ID; its label matters only when a
secret is stored. Needs the package python-pkcs11 (`pip install 'variegate[pkcs11]'`). Imports no torch.
"""

import secrets
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, cast, final

from variegate.errors import ConfigurationError, SecretError
from variegate.keys import SECRET_BYTES, SellerSecret
from variegate.keystore.base import Access
from variegate.keystore.pkcs11_token import Settings, open_token, read_settings

if TYPE_CHECKING:
    from pkcs11 import Attribute, Session

_MAGIC: Final = b"VGPKCS11"
_VERSION: Final = 1
_AES_256_GCM: Final = 1
_TAG_BYTES: Final = 16
_MAX_ID_BYTES: Final = 32
_HEADER: Final = struct.Struct(">8sBBB32s12s")
WRAPPED_BYTES: Final = _HEADER.size + SECRET_BYTES + _TAG_BYTES


class _TokenKey(Protocol):
    """What of a key on the token is used here."""

    @property
    def key_length(self) -> int: ...

    def __getitem__(self, attribute: "Attribute", /) -> object: ...

    def encrypt(self, data: bytes, **how: object) -> bytes: ...

    def decrypt(self, data: bytes, **how: object) -> bytes: ...


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Pkcs11:
    """Encrypts with a token's key; options come from the environment (`variegate.keystore.pkcs11_token`)."""

    name: str = "pkcs11"

    def create(self, access: Access) -> SellerSecret:
        """Return a new secret."""
        return SellerSecret.generate()

    def store(self, secret: SellerSecret, access: Access) -> bytes:
        """Encrypt the secret under the token's key, which is made if it is not there, and return the blob.

        Raises:
            ConfigurationError: if an option, the package, the module or the token is missing, or the key that is
                there could leave the token.
            SecretError: if the PIN is wrong, or the token refuses.
        """
        settings = read_settings(access)
        nonce = secrets.token_bytes(12)
        with open_token(settings, write=True) as session:
            key, identifier = _key_to_store_under(session, settings)
            header = _HEADER.pack(_MAGIC, _VERSION, _AES_256_GCM, len(identifier), identifier, nonce)
            blob = header + _encrypt(key, nonce, header, secret.reveal())
            if len(blob) != WRAPPED_BYTES or _decrypt(key, blob) != secret:
                raise SecretError(
                    f"the token {settings.token!r} does not give back what its key {settings.key!r} encrypted with "
                    "AES-GCM; use another token"
                )
        return blob

    def fetch(self, blob: bytes, *, identifier: str, access: Access) -> SellerSecret:
        """Return the secret in the blob.

        Raises:
            ConfigurationError: if an option, the package, the module or the token is missing.
            SecretError: if the PIN is wrong, the token's key is gone, or the blob was changed.
        """
        key_id = _read_header(blob)
        settings = read_settings(access)
        with open_token(settings, write=False) as session:
            found = _find(session, key_id=key_id)
            if not found:
                raise SecretError(
                    f"the token {settings.token!r} has no AES key with CKA_ID {key_id.hex()}, which encrypts the "
                    f"secret {identifier}: it was removed, or this is another token; take the right token, or "
                    "restore the secret from a backup"
                )
            return _decrypt(found[0], blob)


def _read_header(blob: bytes) -> bytes:
    """The key's CKA_ID."""
    if not blob:
        raise SecretError("the secret that the token encrypts is not in the home; restore its file from a backup")
    if len(blob) != WRAPPED_BYTES or not blob.startswith(_MAGIC):
        raise SecretError(
            f"cannot decrypt: expected an encrypted secret of {WRAPPED_BYTES} bytes that starts with {_MAGIC.decode()}"
            f"; got {len(blob)} bytes of another kind"
        )
    _, version, encryption, length, key_id, _ = _HEADER.unpack_from(blob)
    if (version, encryption) != (_VERSION, _AES_256_GCM) or not 1 <= length <= _MAX_ID_BYTES:
        raise SecretError(
            f"cannot decrypt: expected format {_VERSION} with encryption {_AES_256_GCM}; got format {version} with "
            f"{encryption}: the file was changed, or needs another version of variegate"
        )
    return bytes(key_id[:length])


def _key_to_store_under(session: "Session", settings: Settings) -> tuple[_TokenKey, bytes]:
    """The token's key of this label and its CKA_ID; a new key if there is none."""
    from pkcs11 import Attribute, KeyType, MechanismFlag

    found = _find(session, label=settings.key)
    if len(found) > 1:
        raise ConfigurationError(
            f"the token {settings.token!r} has {len(found)} AES keys with the label {settings.key!r}; name another "
            "label in VARIEGATE_PKCS11_KEY, or give them different labels"
        )
    if not found:
        identifier = secrets.token_bytes(16)
        made = session.generate_key(
            KeyType.AES,
            256,
            id=identifier,
            label=settings.key,
            store=True,
            capabilities=MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT,
            template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.PRIVATE: True},
        )
        return cast("_TokenKey", made), identifier
    (key,) = found
    identifier = cast("bytes", key[Attribute.ID])
    safe = key[Attribute.SENSITIVE] and not key[Attribute.EXTRACTABLE]
    if not safe or key.key_length != 256 or not 1 <= len(identifier) <= _MAX_ID_BYTES:
        raise ConfigurationError(
            f"the token's key {settings.key!r} must be an AES key of 256 bits that is sensitive, not extractable and "
            f"has a CKA_ID of 1 to {_MAX_ID_BYTES} bytes; it is not: name another label in VARIEGATE_PKCS11_KEY, and "
            "a right key is made"
        )
    return key, identifier


def _find(session: "Session", *, label: str | None = None, key_id: bytes | None = None) -> list[_TokenKey]:
    """The token's AES keys of this label or CKA_ID that may encrypt and decrypt."""
    from pkcs11 import Attribute, KeyType, ObjectClass

    wanted: dict[Attribute, object] = {
        Attribute.CLASS: ObjectClass.SECRET_KEY,
        Attribute.KEY_TYPE: KeyType.AES,
        Attribute.ENCRYPT: True,
        Attribute.DECRYPT: True,
    }
    if label is not None:
        wanted[Attribute.LABEL] = label
    if key_id is not None:
        wanted[Attribute.ID] = key_id
    return [cast("_TokenKey", found) for found in session.get_objects(wanted)]


def _encrypt(key: _TokenKey, nonce: bytes, header: bytes, plain: bytes) -> bytes:
    from pkcs11 import GCMParams, Mechanism

    parameters = GCMParams(nonce, header, _TAG_BYTES * 8)
    return bytes(key.encrypt(plain, mechanism=Mechanism.AES_GCM, mechanism_param=parameters))


def _decrypt(key: _TokenKey, blob: bytes) -> SellerSecret:
    from pkcs11 import GCMParams, Mechanism
    from pkcs11.exceptions import (
        DataInvalid,
        EncryptedDataInvalid,
        EncryptedDataLenRange,
        FunctionFailed,
        GeneralError,
    )

    header, sealed = blob[: _HEADER.size], blob[_HEADER.size :]
    parameters = GCMParams(header[-12:], header, _TAG_BYTES * 8)
    try:
        return SellerSecret.from_bytes(key.decrypt(sealed, mechanism=Mechanism.AES_GCM, mechanism_param=parameters))
    except (DataInvalid, EncryptedDataInvalid, EncryptedDataLenRange, FunctionFailed, GeneralError):
        raise SecretError(
            "cannot decrypt the seller's secret: the file was changed, or the token's key is another one with the same "
            "CKA_ID; restore the file from a backup"
        ) from None
