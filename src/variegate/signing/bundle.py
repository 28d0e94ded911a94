"""DSSE, and bundles: files with their SHA-256, signed as `model_signing sign key` 1.1.1 does it. Reads no file."""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final, final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from variegate.errors import FormatError, VerificationError
from variegate.manifest.canonical import canonical_json, load_json, shown
from variegate.signing.keys import key_digest, public_pem


def dsse_encoding(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that a DSSE envelope's signature covers (DSSE's pre-authentication encoding, version 1)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def sign(key: ec.EllipticCurvePrivateKey, payload_type: str, payload: bytes) -> bytes:
    """Return the ECDSA signature with SHA-256, in DER, over the DSSE encoding.

    The same key and payload give the same signature (RFC 6979) where OpenSSL can (3.2 and later).
    """
    message = dsse_encoding(payload_type, payload)
    try:
        return key.sign(message, ec.ECDSA(SHA256(), deterministic_signing=True))
    except UnsupportedAlgorithm:
        return key.sign(message, ec.ECDSA(SHA256()))


def check_signature(key: ec.EllipticCurvePublicKey, payload_type: str, payload: bytes, signature: bytes) -> None:
    """Check what `sign` made.

    Raises:
        VerificationError: if the signature is not this key's over this payload.
    """
    try:
        key.verify(signature, dsse_encoding(payload_type, payload), ec.ECDSA(SHA256()))
    except InvalidSignature:
        raise VerificationError(
            f"the signature is not that of the key {key_digest(key)[:23]}... over this content: it was changed, or "
            "another key signed it"
        ) from None


BUNDLE_FILE: Final = "model.sig"
"""The name of the bundle inside the folder that it signs."""
IGNORED: Final = (".git", ".gitattributes", ".github", ".gitignore", BUNDLE_FILE)
"""What model_signing leaves out of a folder, and so do we."""
MAX_BUNDLE_BYTES: Final = 2**22

_MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
_STATEMENT: Final = "https://in-toto.io/Statement/v1"
_PREDICATE: Final = "https://model_signing/signature/v1.0"
_SERIALIZATION: Final[dict[str, Any]] = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SignedFiles:
    """What a bundle signs.

    Attributes:
        name: what the signer called the folder; says nothing about where it lies.
        files: relative path with / -> SHA-256, 64 hexadecimal digits.
        ignored: relative paths of files and folders that the signature does not cover.
    """

    name: str
    files: Mapping[str, str]
    ignored: tuple[str, ...] = IGNORED


def sign_files(files: Mapping[str, str], key: ec.EllipticCurvePrivateKey, *, name: str) -> bytes:
    """Return the bundle over files whose SHA-256 are known: relative path with / -> 64 hexadecimal digits.

    Args:
        files: what to sign; `BUNDLE_FILE` is not among them.
        key: the seller's signing key.
        name: what the statement calls the folder.
    """
    order = sorted(files, key=PurePosixPath)
    root = hashlib.sha256(b"".join(bytes.fromhex(files[file]) for file in order)).hexdigest()
    method: dict[str, Any] = {**_SERIALIZATION, "ignore_paths": list(IGNORED)}
    payload = canonical_json(
        {
            "_type": _STATEMENT,
            "subject": [{"name": name, "digest": {"sha256": root}}],
            "predicateType": _PREDICATE,
            "predicate": {
                "serialization": method,
                "resources": [{"name": file, "algorithm": "sha256", "digest": files[file]} for file in order],
            },
        }
    )
    return _spell(_hint(key.public_key()), payload, sign(key, _PAYLOAD_TYPE, payload))


def read_bundle(bundle: bytes, public_key: ec.EllipticCurvePublicKey) -> SignedFiles:
    """Return what a bundle signs, after checking that this key signed it.

    Raises:
        VerificationError: if the bundle is malformed or was changed, or another key signed it.
    """
    hint, payload, signature = _parse(bundle)
    if hint != (expected := _hint(public_key)):
        raise VerificationError(
            f"the bundle was signed with another key: expected the key with SHA-256 {expected[:16]}..., "
            f"got {hint[:16]!r}..."
        )
    check_signature(public_key, _PAYLOAD_TYPE, payload, signature)
    try:
        return _read_statement(load_json(payload, "the signed statement"))
    except (FormatError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise VerificationError(
            "the bundle is rightly signed, but its statement is not one over files with SHA-256 as model_signing 1 "
            f"writes it: {error}"
        ) from error


def _spell(hint: str, payload: bytes, signature: bytes) -> bytes:
    """The one spelling of a bundle: that of model_signing 1.1.1."""
    bundle = {
        "mediaType": _MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": _PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
    return json.dumps(bundle, separators=(",", ":"), ensure_ascii=False).encode()


def _parse(bundle: bytes) -> tuple[str, bytes, bytes]:
    if len(bundle) > MAX_BUNDLE_BYTES:
        raise VerificationError(f"a bundle has at most {MAX_BUNDLE_BYTES} bytes; got {len(bundle)}")
    try:
        values = load_json(bundle, "a bundle")
        hint = values["verificationMaterial"]["publicKey"]["hint"]
        envelope = values["dsseEnvelope"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        signature = base64.b64decode(envelope["signatures"][0]["sig"], validate=True)
        whole = isinstance(hint, str) and _spell(hint, payload, signature) == bundle
    except FormatError as error:
        raise VerificationError(f"the signature is no bundle: {error}") from error
    except (KeyError, IndexError, TypeError, ValueError, binascii.Error):
        whole = False
    if not whole:
        raise VerificationError(
            "the signature is no bundle as model_signing 1.1 writes it for an elliptic key: a field or a byte differs "
            "from that form"
        )
    return hint, payload, signature


def _read_statement(statement: Mapping[str, Any]) -> SignedFiles:
    predicate, (subject,) = statement["predicate"], statement["subject"]
    serialization_, resources = predicate["serialization"], predicate["resources"]
    if (statement["_type"], statement["predicateType"]) != (_STATEMENT, _PREDICATE):
        raise ValueError(f"expected {_PREDICATE}, got {shown(statement['predicateType'])}")
    for field, expected in _SERIALIZATION.items():
        if serialization_[field] != expected:
            raise ValueError(f"expected {field} {expected!r}, got {shown(serialization_[field])}")
    files: dict[str, str] = {}
    for resource in resources:
        file, value = resource["name"], resource["digest"]
        if resource["algorithm"] != "sha256" or len(bytes.fromhex(value)) != 32 or file in files:
            raise ValueError(f"expected one SHA-256 for each file, got {shown(resource)}")
        files[str(file)] = str(value)
    root = hashlib.sha256(b"".join(bytes.fromhex(value) for value in files.values())).hexdigest()
    if subject["digest"] != {"sha256": root}:
        raise ValueError("the digest over all files does not match the list of files")
    ignored = serialization_.get("ignore_paths", [])
    if not all(isinstance(path, str) for path in ignored):
        raise ValueError("ignore_paths must be a list of paths")
    return SignedFiles(name=str(subject["name"]), files=files, ignored=tuple(sorted(ignored)))


def _hint(key: ec.EllipticCurvePublicKey) -> str:
    """What a bundle says of its key: SHA-256 of the PEM text."""
    return hashlib.sha256(public_pem(key).encode()).hexdigest()
