"""DSSE: a signature over bytes and what kind of bytes they are."""

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from variegate.errors import VerificationError
from variegate.signing.keys import key_digest


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
