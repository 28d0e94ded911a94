"""The seller's signing key, and how a public key is written, named and read."""

import hashlib
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from variegate.errors import FormatError
from variegate.keys import SellerSecret
from variegate.keys.hkdf import hkdf, length_prefixed

_FORMAT: Final = "variegate-signing-v1"
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256's group


def signing_key(secret: SellerSecret) -> ec.EllipticCurvePrivateKey:
    """Return the ECDSA key on P-256 that belongs to the seller's secret; the same secret gives the same key.

    48 bytes of HKDF-SHA256 with info `length_prefixed("variegate-signing-v1")`, as a big-endian number modulo n - 1,
    plus 1, where n is the order of P-256's group.
    """
    number = int.from_bytes(hkdf(secret.reveal(), length_prefixed(_FORMAT), 48), "big")
    return ec.derive_private_key(number % (_ORDER - 1) + 1, ec.SECP256R1())


def public_pem(key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> str:
    """Return the public key as PEM text (SubjectPublicKeyInfo), which others need to verify."""
    return _public_bytes(_public(key), serialization.Encoding.PEM).decode()


def key_digest(key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> str:
    """Return "sha256:..." over the public key's SubjectPublicKeyInfo in DER: its name in records."""
    return "sha256:" + hashlib.sha256(_public_bytes(_public(key), serialization.Encoding.DER)).hexdigest()


def read_public_key(pem: bytes) -> ec.EllipticCurvePublicKey:
    """Read a public key that `public_pem` wrote.

    Raises:
        FormatError: if it is not the PEM of an elliptic key on P-256.
    """
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise FormatError(
            "a public key must be PEM that begins with -----BEGIN PUBLIC KEY-----; got something else"
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise FormatError("a public key must be an elliptic key on P-256; got one of another kind")
    return key


def _public(key: ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) -> ec.EllipticCurvePublicKey:
    return key.public_key() if isinstance(key, ec.EllipticCurvePrivateKey) else key


def _public_bytes(key: ec.EllipticCurvePublicKey, encoding: serialization.Encoding) -> bytes:
    return key.public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
