"""What the authority asks of a registry, and the rows that go in and out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, final

from variegate.manifest import ModelManifest
from variegate.types import CopyStatus

MOST_EPOCH = 2**31 - 1
"""The last epoch of a buyer's copies of one model."""
MOST_ROWS = 2**62
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
        secret: the identifier of the seller's secret that its key comes from; None for copies issued before format 2,
            which belong to the home's first secret.
        key_identifier: the identifier of the copy's key, 16 hexadecimal digits: two copies never share one. None for
            copies issued before format 2.
        draw: how often the key was drawn anew because an earlier one came too close to another copy.
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


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRow:
    """A policy under its name; `body` is what `variegate.authority.policies.Policy.to_dict` wrote."""

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
        hash: of this entry (`variegate.registry.chain.event_hash`).
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


class Store(Protocol):
    """A registry of models, rewriter specs, policies, issued copies, API keys and the log of all that happened.

    Every method raises a `VariegateError` with one sentence when the store behind it fails (read-only, full, busy,
    corrupt, newer or older format); nothing is half written. Every method that changes something writes the entry of
    the log in the same transaction. Writers take turns.
    """

    def get_meta(self, key: str) -> str | None:
        """Return a remembered fact about this registry, or None."""
        ...

    def put_meta(self, key: str, value: str) -> None:
        """Remember a fact about this registry, such as the identifier of the seller's secret.

        Raises:
            ConflictError: if another value is remembered under this key.
        """
        ...

    def add_model(self, manifest: ModelManifest) -> None:
        """Record an original.

        Raises:
            ConflictError: if a model of this name or of this digest is recorded already.
        """
        ...

    def get_model(self, name: str) -> ModelManifest:
        """Return the manifest of an original.

        Raises:
            NotFoundError: if there is no model of this name.
        """
        ...

    def list_models(self) -> list[ModelManifest]:
        """Return all originals, oldest first."""
        ...

    def add_spec(self, name: str, spec: Mapping[str, Any]) -> str:
        """Record a rewriter's spec once and return its digest; recording it again changes nothing.

        Args:
            name: what the seller calls it; the first name stays.
            spec: the spec as a JSON object; its field "rewriter" names the rewriter.
        """
        ...

    def get_spec(self, digest: str) -> dict[str, Any]:
        """Return the spec of this digest as a new dictionary.

        Raises:
            NotFoundError: if it is not recorded.
        """
        ...

    def add_policy(self, name: str, body: Mapping[str, Any]) -> None:
        """Record a policy; recording the same again changes nothing.

        Raises:
            ConflictError: if another policy has this name: policies do not change, copies refer to them.
        """
        ...

    def get_policy(self, name: str) -> PolicyRow:
        """Return a policy.

        Raises:
            NotFoundError: if there is no policy of this name.
        """
        ...

    def list_policies(self) -> list[PolicyRow]:
        """Return all policies, oldest first."""
        ...

    def add_secret(self, identifier: str, *, provider: str, public_key: str) -> None:
        """Record one of the seller's secrets, which is the current one from now on.

        Raises:
            ConflictError: if a secret with this identifier is recorded already.
        """
        ...

    def list_secrets(self) -> list[SecretRow]:
        """Return the seller's secrets, oldest first; the last is the current one."""
        ...

    def add_copies(
        self,
        rows: Iterable[CopyRow],
        *,
        keep_existing: bool = False,
        supersede: bool = False,
        salts: Mapping[str, bytes] | None = None,
    ) -> int:
        """Record copies in one transaction and return how many are new; `rows` is read in bounded pieces.

        `rows` is read while the write lock is held: what it reads of this store meanwhile (in other transactions)
        cannot change before the copies are recorded.

        Args:
            rows: the copies; their models, specs, policies and secrets are recorded before.
            keep_existing: a row whose `copy_id` is recorded already and active is passed over, instead of refused.
            supersede: the buyer's active copies of the same model with a lower epoch become superseded.
            salts: copy id -> salt, of rows that are `salted`.

        Raises:
            ConflictError: if a buyer holds another copy for the same model and epoch, or one that is no longer active,
                or a key is in use already; it names the first such buyer. Nothing is recorded then.
            NotFoundError: if a row's model, spec, policy or secret is not recorded.
        """
        ...

    def get_copy(self, copy_id: str) -> CopyRow:
        """Return one copy.

        Raises:
            NotFoundError: if there is no copy of this name.
        """
        ...

    def get_copies(self, copy_ids: Sequence[str]) -> dict[str, CopyRow]:
        """Return those of the named copies that are recorded, by name."""
        ...

    def get_salt(self, copy_id: str) -> bytes | None:
        """Return the salt of a salted copy, or None: it has none, or it was forgotten."""
        ...

    def forget_salt(self, copy_id: str) -> bool:
        """Erase the salt of a copy, so that its key can never be derived again.

        Doing it again adds nothing to the log, and tries again to take the erased bytes out of the files.

        Returns:
            Whether the bytes are out of the registry's files. If not, another reader kept the write-ahead log in use.
            A database server's own files are not known here: they keep an erased row until it is vacuumed.

        Raises:
            ConflictError: if the copy never had a salt.
            NotFoundError: if there is no such copy.
        """
        ...

    def change_status(self, copy_ids: Sequence[str], status: CopyStatus, *, reason: str = "") -> int:
        """Move copies to another state, all or none, and return how many were not there already.

        Raises:
            ConflictError: if the state machine (`variegate.registry.state`) forbids the step for one of them.
            NotFoundError: if one of them is not recorded.
        """
        ...

    def iterate_copies(
        self, *, model: str | None = None, buyer: str | None = None, status: CopyStatus | None = None
    ) -> Iterator[CopyRow]:
        """Yield the copies that match every given filter, in the order in which they were issued, in bounded memory."""
        ...

    def list_copies(
        self,
        *,
        model: str | None = None,
        buyer: str | None = None,
        status: CopyStatus | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[CopyRow]:
        """Return the copies that match every given filter, in the order in which they were issued.

        Raises:
            ConfigurationError: if the limit or the offset is below 0 or above `MOST_ROWS`.
        """
        ...

    def count_copies(
        self, *, model: str | None = None, buyer: str | None = None, status: CopyStatus | None = None
    ) -> int:
        """Return how many copies match every given filter."""
        ...

    def last_epochs(self, model: str, buyers: Sequence[str]) -> dict[str, int]:
        """Return the highest epoch of each of these buyers' copies of a model; buyers without a copy are left out."""
        ...

    def add_api_key(self, buyer: str, *, identifier: str, digest: bytes, expires_at: int | None = None) -> ApiKeyRow:
        """Record an API key by its SHA-256 (32 bytes).

        Raises:
            ConflictError: if the identifier or the digest is recorded already.
            NotFoundError: if no copy was issued to the buyer.
        """
        ...

    def find_api_key(self, digest: bytes) -> ApiKeyRow | None:
        """Return the API key with this SHA-256, revoked and expired ones too, or None."""
        ...

    def list_api_keys(self, *, buyer: str | None = None) -> list[ApiKeyRow]:
        """Return API keys, oldest first."""
        ...

    def revoke_api_key(self, identifier: str) -> None:
        """Revoke an API key; revoking it again changes nothing.

        Raises:
            NotFoundError: if there is none of this identifier.
        """
        ...

    def spend_quota(self, copy_id: str, queries: int, *, quota: int) -> int:
        """Count queries against a copy's quota, in one atomic step, and return how many are left.

        Raises:
            QuotaError: if fewer than `queries` are left; nothing is counted then.
            NotFoundError: if there is no such copy.
        """
        ...

    def used_quota(self, copy_id: str) -> int:
        """Return how many queries of a copy were counted."""
        ...

    def log_head(self) -> LogHead:
        """Return the end of the log."""
        ...

    def iterate_events(self, *, after: int = 0) -> Iterator[EventRow]:
        """Yield the entries of the log behind number `after`, in their order, in bounded memory."""
        ...

    def close(self) -> None:
        """Let go of files and connections; the store cannot be used afterwards."""
        ...
