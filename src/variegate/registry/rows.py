"""The rows that go into a registry and come out of it. Plain data: no SQL, no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, final

from variegate.types import CopyStatus

MAX_EPOCH = 2**31 - 1
"""The last epoch of a buyer's copies of one model."""
MAX_ROWS = 2**62
"""More than any registry holds; the largest limit and offset."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRow:
    """One issued copy, as the registry remembers it. Holds nothing secret.

    Attributes:
        copy_id: the public name of the copy.
        model: the name of the original.
        model_digest: the digest of the original's manifest.
        spec_digest: the digest of the rewriter's spec.
        buyer: who received the copy.
        epoch: 1 for a buyer's first copy of a model; each rotation adds 1.
        status: where the copy stands in its life.
        issued_at: Unix time in whole seconds.
        policy: the name of the policy that it was issued under, or None.
        secret: the identifier of the seller's secret that its key comes from; an authority always records it.
        key_identifier: the identifier of the copy's key, 16 hexadecimal digits; no two copies share one;
            an authority always records it.
        draw: how often the key was drawn again because an earlier one came too close to another copy.
        salted: whether the key also depends on a salt of its own, so that it can be forgotten.
        expires_at: Unix time in whole seconds from which the copy is no longer valid, or None.
    """

    copy_id: str
    model: str
    model_digest: str
    spec_digest: str
    buyer: str
    epoch: int = 1
    status: CopyStatus = CopyStatus.ACTIVE
    issued_at: int
    policy: str | None = None
    secret: str | None = None
    key_identifier: str | None = None
    draw: int = 0
    salted: bool = False
    expires_at: int | None = None

    def is_expired(self, now: float) -> bool:
        """Whether the copy is no longer valid at `now`, Unix time in seconds."""
        return self.expires_at is not None and self.expires_at <= now


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRow:
    """A policy under its name; `body` is what `variegate.authority.specs.Policy.to_dict` wrote."""

    name: str
    body: Mapping[str, Any]
    added_at: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SecretRow:
    """One of the seller's secrets: the newest is the one that new copies come from. Holds nothing secret.

    Attributes:
        identifier: `SellerSecret.identifier`.
        provider: the name of the key provider that keeps it.
        public_key: the PEM text of the key that verifies what this secret's signing key signed.
        added_at: Unix time in whole seconds.
    """

    identifier: str
    provider: str
    public_key: str
    added_at: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyRow:
    """An API key of a buyer, without the key: the registry holds its SHA-256 only.

    Attributes:
        identifier: its public name.
        buyer: whose it is.
        added_at: Unix time in whole seconds.
        expires_at: from when it is no longer valid, or None.
        revoked_at: when it was revoked, or None.
    """

    identifier: str
    buyer: str
    added_at: int
    expires_at: int | None = None
    revoked_at: int | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One entry of the log.

    Attributes:
        seq: 1 for the first entry; no number is left out.
        at: Unix time in whole seconds.
        kind: what happened, such as "issued" or "revoked".
        body: the details, a JSON object without secrets.
        previous: the hash of the entry before; zeros for the first.
        hash: of this entry (`variegate.registry.log.event_hash`).
    """

    seq: int
    at: int
    kind: str
    body: Mapping[str, Any]
    previous: str
    hash: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LogHead:
    """The last entry's number and hash; (0, zeros) for an empty log. Kept elsewhere, it proves a log's beginning."""

    seq: int
    hash: str


def utc(seconds: int) -> str:
    """Return Unix time as manifests write it, such as "2026-01-31T12:00:00Z"."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
