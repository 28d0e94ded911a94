"""The signed list of revoked copies, so that a device without a network knows which artifacts to refuse. No torch.

One file: a DSSE envelope whose payload is the canonical JSON of the list. Format: `docs/formats/revocations.md`.
"""

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, final

from cryptography.hazmat.primitives.asymmetric import ec

from variegate.artifacts.manifest import utc_text
from variegate.errors import ConfigurationError, FormatError, VerificationError
from variegate.manifest import fields as checks
from variegate.manifest.canonical import canonical_json, check_digest, load_json, shown
from variegate.registry.rows import LogHead
from variegate.signing import check_signature, key_digest, sign
from variegate.types import check_identifier

REVOCATIONS_FORMAT: Final = 1
MOST_REVOCATION_BYTES: Final = 2**27
"""The largest file that is read: about four million copies."""

_PAYLOAD_TYPE: Final = "application/vnd.variegate.revocations+json"
_FIELDS: Final = frozenset({"copies", "format", "issued_at", "kind", "log", "next_update", "signing_key"})


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationList:
    """Which copies of a seller are revoked, as of a time.

    Attributes:
        signing_key: digest of the public key that signs the list and the artifacts it speaks of.
        issued_at: Unix time in whole seconds.
        next_update: when the next list is due, Unix time in whole seconds; after it this one is too old.
        log: the end of the seller's log: of two lists, the one with the larger number is newer.
        copies: the public names of the revoked copies.
    """

    signing_key: str
    issued_at: int
    next_update: int
    log: LogHead
    copies: frozenset[str]

    def to_dict(self) -> dict[str, Any]:
        """A fresh JSON object."""
        return {
            "copies": sorted(self.copies),
            "format": REVOCATIONS_FORMAT,
            "issued_at": utc_text(self.issued_at),
            "kind": "revocations",
            "log": {"hash": self.log.hash, "seq": self.log.seq},
            "next_update": utc_text(self.next_update),
            "signing_key": self.signing_key,
        }


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
    revoked = frozenset(check_identifier(copy, "a copy's name") for copy in copies)
    listed = RevocationList(
        signing_key=key_digest(key), issued_at=int(issued_at), next_update=int(next_update), log=log, copies=revoked
    )
    payload = canonical_json(listed.to_dict())
    return _spell(listed.signing_key, payload, sign(key, _PAYLOAD_TYPE, payload))


def read_revocations(data: bytes, public_key: ec.EllipticCurvePublicKey) -> RevocationList:
    """Return the list in `data`, after checking that this key signed it; whether it is fresh is the caller's question.

    Raises:
        VerificationError: if it is malformed, was changed, or another key signed it.
    """
    if len(data) > MOST_REVOCATION_BYTES:
        raise VerificationError(f"a list of revoked copies has at most {MOST_REVOCATION_BYTES} bytes; got {len(data)}")
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
        return _read(load_json(payload, "a list of revoked copies"), expected)
    except (FormatError, ConfigurationError, KeyError, TypeError) as error:
        raise VerificationError(f"the list of revoked copies is rightly signed, but malformed: {error}") from error


def _read(values: dict[str, Any], signing_key: str) -> RevocationList:
    if (values.get("kind"), values.get("format")) != ("revocations", REVOCATIONS_FORMAT):
        raise FormatError(
            f"expected revocations of format {REVOCATIONS_FORMAT}, got {shown(values.get('kind'))} of format "
            f"{shown(values.get('format'))}: it needs another version of variegate"
        )
    if missing := sorted(_FIELDS - values.keys()):
        raise FormatError(f"it lacks {', '.join(missing)}")
    if values["signing_key"] != signing_key:
        raise FormatError("it speaks of the artifacts of another signing key")
    log = values["log"]
    if not isinstance(log, dict) or log.keys() != {"hash", "seq"}:
        checks.refuse("log", "an object with hash and seq", log)
    return RevocationList(
        signing_key=signing_key,
        issued_at=_seconds(values["issued_at"], "issued_at"),
        next_update=_seconds(values["next_update"], "next_update"),
        log=LogHead(seq=checks.integer(log["seq"], "log.seq", 0), hash=check_digest(log["hash"], "log.hash")),
        copies=frozenset(check_identifier(checks.text(one, "copies"), "a copy's name") for one in values["copies"]),
    )


def _seconds(value: object, name: str) -> int:
    return int(datetime.fromisoformat(checks.utc_time(value, name)).timestamp())


def _spell(keyid: str, payload: bytes, signature: bytes) -> bytes:
    return canonical_json(
        {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": _PAYLOAD_TYPE,
            "signatures": [{"keyid": keyid, "sig": base64.b64encode(signature).decode()}],
        }
    )
