"""The signed list of revoked copies, so that a device without a network knows which artifacts to refuse. No torch.

One file: a DSSE envelope whose payload is the canonical JSON of the list. Format: `docs/formats/revocations.md`.
"""

import base64
import binascii
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeAlias, final

from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import BeforeValidator, PlainSerializer

from variegate.artifacts.manifest import LogHeadField, utc_text
from variegate.errors import ConfigurationError, FormatError, VerificationError
from variegate.manifest import canonical_json, load_json
from variegate.manifest.document import Digest, Document, Identifier, known_format, utc_time
from variegate.registry.rows import LogHead
from variegate.signing import check_signature, key_digest, sign

REVOCATIONS_FORMAT: Final = 1
MAX_REVOCATION_BYTES: Final = 2**27
"""The largest file that is read: about four million copies."""

_PAYLOAD_TYPE: Final = "application/vnd.variegate.revocations+json"


def _seconds(value: object) -> object:
    return int(datetime.fromisoformat(utc_time(value)).timestamp()) if isinstance(value, str) else value


def _as_set(value: object) -> object:
    return frozenset(value) if isinstance(value, list) else value


Seconds: TypeAlias = Annotated[int, BeforeValidator(_seconds), PlainSerializer(utc_text)]
"""Unix time in whole seconds; ISO 8601 in UTC in the file."""


@final
class RevocationList(Document):
    """Which copies of a seller are revoked, as of a time.

    Attributes:
        signing_key: digest of the public key that signs the list and the artifacts it speaks of.
        issued_at: Unix time in whole seconds.
        next_update: when the next list is due, Unix time in whole seconds; after it this one is too old.
        log: the end of the seller's log: of two lists, the one with the larger number is newer.
        copies: the public names of the revoked copies.
    """

    DOCUMENT = "the list of revoked copies"

    format: Annotated[int, known_format(REVOCATIONS_FORMAT)] = REVOCATIONS_FORMAT
    kind: Literal["revocations"] = "revocations"
    signing_key: Digest
    issued_at: Seconds
    next_update: Seconds
    log: LogHeadField
    copies: Annotated[
        frozenset[Identifier],
        BeforeValidator(_as_set),
        PlainSerializer(sorted),
    ]

    def to_dict(self) -> dict[str, Any]:
        """A fresh JSON object: times as ISO 8601 in UTC, copies sorted."""
        return self.model_dump(mode="json")


def sign_revocations(
    copies: Iterable[str], key: ec.EllipticCurvePrivateKey, *, issued_at: int, next_update: int, log: LogHead
) -> bytes:
    """Return the signed list, to be published as a file.

    Args:
        copies: the public names of the revoked copies.
        key: the seller's signing key.
        issued_at: now, Unix time in whole seconds.
        next_update: when the next list will be there at the latest.
        log: the end of the seller's log.

    Raises:
        ConfigurationError: if the next update is not after the issue, or a name is malformed.
    """
    if next_update <= issued_at:
        raise ConfigurationError(f"the next list must be due after this one is issued ({issued_at}); got {next_update}")
    listed = RevocationList(
        signing_key=key_digest(key),
        issued_at=int(issued_at),
        next_update=int(next_update),
        log=log,
        copies=frozenset(copies),
    )
    payload = canonical_json(listed.to_dict())
    return _spell(listed.signing_key, payload, sign(key, _PAYLOAD_TYPE, payload))


def read_revocations(data: bytes, public_key: ec.EllipticCurvePublicKey) -> RevocationList:
    """Return the list in `data`, after checking that this key signed it; whether it is fresh is the caller's question.

    Raises:
        VerificationError: if it is malformed, was changed, or another key signed it.
    """
    if len(data) > MAX_REVOCATION_BYTES:
        raise VerificationError(f"a list of revoked copies has at most {MAX_REVOCATION_BYTES} bytes; got {len(data)}")
    try:
        envelope = load_json(data, "a list of revoked copies")
        payload = base64.b64decode(envelope["payload"], validate=True)
        (entry,) = envelope["signatures"]
        keyid, signature = entry["keyid"], base64.b64decode(entry["sig"], validate=True)
        whole = isinstance(keyid, str) and _spell(keyid, payload, signature) == data
    except FormatError as error:
        raise VerificationError(str(error)) from error
    except (KeyError, TypeError, ValueError, binascii.Error):
        whole = False
    if not whole:
        raise VerificationError("the list of revoked copies is no DSSE envelope in the one spelling of its format")
    if keyid != (expected := key_digest(public_key)):
        raise VerificationError(
            f"the list of revoked copies was signed with another key: expected {expected[:23]}..., got {keyid[:23]}..."
        )
    check_signature(public_key, _PAYLOAD_TYPE, payload, signature)
    try:
        values = load_json(payload, "a list of revoked copies")
        listed = RevocationList(**values)
    except (FormatError, ConfigurationError) as error:
        raise VerificationError(f"the list of revoked copies is rightly signed, but malformed: {error}") from error
    again = {**listed.to_dict(), "copies": values["copies"]}
    if differing := sorted(name for name, value in again.items() if values.get(name) != value):
        raise VerificationError(
            f"the list of revoked copies is rightly signed, but its {', '.join(differing)} must be spelled canonically"
        )
    if listed.signing_key != expected:
        raise VerificationError("the list of revoked copies speaks of the artifacts of another signing key")
    return listed


def _spell(keyid: str, payload: bytes, signature: bytes) -> bytes:
    return canonical_json(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": _PAYLOAD_TYPE,
            "signatures": [{"keyid": keyid, "sig": base64.b64encode(signature).decode()}],
        }
    )
