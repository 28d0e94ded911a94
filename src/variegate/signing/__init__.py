"""Signatures: the seller's signing key, DSSE, and OpenSSF model-signing bundles over a folder. Imports no torch.

    SellerSecret -> HKDF-SHA256 -> ECDSA key on P-256          `signing_key`: nothing more to keep than the secret
    folder -> SHA-256 of every file -> in-toto statement       what is signed
           -> DSSE envelope -> Sigstore bundle                 `sign_folder`: the file `model.sig`

The bundle is the one that `model_signing sign key` 1.1.1 writes, and `model_signing verify key` accepts it unchanged. A
bundle has one spelling here: every byte of it counts. Format: `docs/formats/signature.md`.
"""

from variegate.signing.bundle import (
    BUNDLE_FILE,
    MAX_BUNDLE_BYTES,
    SignedFiles,
    check_signature,
    dsse_encoding,
    read_bundle,
    sign,
    sign_files,
)
from variegate.signing.folders import compare_folder, sign_folder, verify_folder
from variegate.signing.keys import key_digest, public_pem, read_public_key, signing_key

__all__ = [
    "BUNDLE_FILE",
    "MAX_BUNDLE_BYTES",
    "SignedFiles",
    "check_signature",
    "compare_folder",
    "dsse_encoding",
    "key_digest",
    "public_pem",
    "read_bundle",
    "read_public_key",
    "sign",
    "sign_files",
    "sign_folder",
    "signing_key",
    "verify_folder",
]
