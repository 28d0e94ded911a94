"""Issuing and rotating: what the registry holds already, which rows follow from it, and their recording. No torch.

A batch is one transaction that holds the registry's write lock from its start, in three steps:

1. read: which of these buyers have a copy already, of which epoch, on which terms (`_wanted`);
2. decide: the rows, with the identifiers of their keys; a draw too close to an earlier copy is repeated (`_rows`);
3. write: the rows, their salts and their log entry (`variegate.registry.bulk.add_copies`).
"""

import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, final

from sqlalchemy import Connection

from variegate.authority.keyring import KeyRing
from variegate.authority.partners import PartnerGuard, draw_partners
from variegate.authority.skipped import Skipped, SkipReason
from variegate.errors import ConfigurationError, ConflictError, NotFoundError, SecretError, VerificationError
from variegate.keys import SALT_BYTES, CopyKey, KeyContext, SellerSecret
from variegate.manifest import copy_id
from variegate.registry.bulk import add_copies
from variegate.registry.copies import (
    CHUNK_ROWS,
    copies_of_buyers,
    copy_page,
    count_copies,
    get_copies,
    iterate_copies,
    last_epochs,
)
from variegate.registry.records import add_spec, get_model, get_spec, list_secrets
from variegate.registry.registry import Registry
from variegate.registry.rows import MAX_EPOCH, CopyRow, utc
from variegate.types import CopyStatus, check_identifier

if TYPE_CHECKING:
    from variegate.authority.specs import Policy, SpecShelf
    from variegate.manifest import CopyManifest, ModelManifest

BATCH_ROWS: Final = 20_000
"""Copies of one transaction when many are issued: a batch is recorded completely or not at all."""

Progress = Callable[[int], None]
"""Called with how many copies are through."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On what copies are issued: what a batch of them has in common.

    Attributes:
        model: the original's manifest.
        model_digest: its digest.
        spec_name: what the seller calls the spec.
        spec: the rewriter's spec as a JSON object.
        spec_digest: its digest.
        secret: the identifier of the seller's secret that the keys come from.
        issued_at: Unix time in whole seconds.
        policy_name: of the policy, or None.
        policy: the policy, or None.
        bulk: whether many buyers are meant, some of whom may be skipped instead of refusing them all: in an issue those
            whose copy is revoked, superseded or expired, in a rotation those without an active copy.
        skipped: counts the buyers who were skipped, and those who keep a copy of an earlier secret.
    """

    model: "ModelManifest"
    model_digest: str
    spec_name: str
    spec: Mapping[str, Any] = field(repr=False)
    spec_digest: str
    secret: str
    issued_at: int
    policy_name: str | None = None
    policy: "Policy | None" = None
    bulk: bool = False
    skipped: Skipped = field(default_factory=Counter)

    @property
    def rewriter(self) -> str:
        """The rewriter's name."""
        return str(self.spec["rewriter"])

    @property
    def expires_at(self) -> int | None:
        """From when the copies are no longer valid: Unix time in whole seconds."""
        if self.policy is None or self.policy.valid_seconds is None:
            return None
        return self.issued_at + self.policy.valid_seconds

    @property
    def forgettable(self) -> bool:
        """Whether each copy gets a salt of its own."""
        return self.policy is not None and self.policy.forgettable

    def copy_id(self, buyer: str, epoch: int) -> str:
        """Return the name of a copy on these terms.

        Raises:
            ConfigurationError: if the buyer's name is malformed, or the epoch is not from 1 to `MAX_EPOCH`.
        """
        check_identifier(buyer, "a buyer's name")
        if not 1 <= epoch <= MAX_EPOCH:
            raise ConfigurationError(f"the epoch counts a buyer's copies from 1 to {MAX_EPOCH}; got {epoch}")
        return copy_id(model_digest=self.model_digest, spec_digest=self.spec_digest, buyer=buyer, epoch=epoch)


class _Wanted(NamedTuple):
    copy_id: str
    buyer: str
    epoch: int


@final
class Issuer:
    """Issues the copies of one home; `variegate.authority.Authority` says what its methods mean and raise.

    Args:
        specs: the saved specs and the policies.
        registry: the registry.
        keyring: the seller's secrets.
        clock: Unix time in seconds.
    """

    def __init__(self, specs: "SpecShelf", registry: Registry, keyring: KeyRing, *, clock: Callable[[], float]) -> None:
        self._specs = specs
        self._registry = registry
        self._keyring = keyring
        self._clock = clock

    def terms(
        self,
        model: str,
        spec_name: str | None,
        *,
        policy: str | None = None,
        bulk: bool = False,
        skipped: Skipped | None = None,
    ) -> Terms:
        """Check what an issue needs: the original, the spec, the policy, the secret.

        Raises:
            ConfigurationError: if neither a spec nor a policy is given, they contradict each other, or the spec was
                calibrated for another original.
            NotFoundError: if there is no such original, spec or policy.
            SecretError: if the secret is missing or is not this home's.
        """
        manifest = self._registry.read(get_model, model)
        digest = manifest.digest
        on = None if policy is None else self._specs.policy(policy)
        if on is None and spec_name is None:
            raise ConfigurationError("expected a spec or a policy to issue copies with; got neither")
        if on is not None and spec_name not in (None, on.spec):
            raise ConfigurationError(f"the policy {policy!r} is for the spec {on.spec!r}; got {spec_name!r}")
        saved = self._specs.get((spec_name or "") if on is None else on.spec)
        if on is not None and saved.spec_digest != on.spec_digest:
            raise VerificationError(
                f"the spec {saved.name!r} is no longer the one that the policy {policy!r} was made for; "
                "make a new policy"
            )
        if saved.model_digest is not None and saved.model_digest != digest:
            raise ConfigurationError(
                f"the spec {saved.name!r} was calibrated for model {saved.model!r}; got {model!r}: calibrate for it"
            )
        return Terms(
            model=manifest,
            model_digest=digest,
            spec_name=saved.name,
            spec=saved.spec,
            spec_digest=saved.spec_digest,
            secret=self._keyring.current().identifier,  # asked for before anything else is done
            issued_at=int(self._clock()),
            policy_name=policy,
            policy=on,
            bulk=bulk,
            skipped=Counter() if skipped is None else skipped,
        )

    def issue(self, terms: Terms, buyers: Sequence[str], *, epoch: int) -> "list[CopyManifest]":
        """See `Authority.issue`; buyers who are skipped have no manifest."""
        if not buyers:
            raise ConfigurationError("expected at least one buyer to issue a copy to; got none")
        self._registry.write(add_spec, terms.spec_name, terms.spec)
        self._record(terms, partial(_of_epoch, buyers, epoch), supersede=epoch > 1)
        names = [terms.copy_id(buyer, epoch) for buyer in buyers]
        known = {
            name: row
            for name, row in self._registry.read(get_copies, names).items()
            if not terms.bulk or (row.status is CopyStatus.ACTIVE and not row.is_expired(terms.issued_at))
        }
        return [copy_manifest(known[name], terms.spec) for name in names if not terms.bulk or name in known]

    def issue_many(self, terms: Terms, buyers: Iterable[str], *, epoch: int, progress: Progress | None) -> int:
        """See `Authority.issue_many`."""
        self._registry.write(add_spec, terms.spec_name, terms.spec)
        iterator, added, through = iter(buyers), 0, 0
        while batch := list(islice(iterator, BATCH_ROWS)):
            added += self._record(terms, partial(_of_epoch, batch, epoch), supersede=epoch > 1)
            through += len(batch)
            if progress is not None:
                progress(through)
        return added

    def rotate(
        self, terms: Terms, buyers: Iterable[str] | None, *, epoch: int | None, progress: Progress | None
    ) -> int:
        """See `Authority.rotate`."""
        self._registry.write(add_spec, terms.spec_name, terms.spec)
        through, added = 0, 0
        for batch in self._rotation_batches(terms.model.name, buyers, once=epoch is None):
            added += self._record(terms, partial(next_epochs, terms, batch, epoch), supersede=True)
            through += len(batch)
            if progress is not None:
                progress(through)
        return added

    def _record(
        self, terms: Terms, choose: Callable[[Connection], Iterable[tuple[str, int]]], *, supersede: bool
    ) -> int:
        """Record a copy for each (buyer, epoch) in one transaction and return how many are new.

        Args:
            terms: what the copies have in common.
            choose: who receives a copy, and of which epoch; called while the registry is held.
            supersede: the buyers' active copies with a lower epoch become superseded.

        Raises:
            ConflictError: see `add_copies`; also if a buyer's copy exists already, but expired or was issued under
                another policy, or no copy is left that is far enough from the others, or the secret was rotated since
                the terms were made.
            ConfigurationError: if a buyer's name is malformed.
        """
        secret = self._keyring.get(terms.secret)
        salts: dict[str, bytes] = {}
        with self._registry.writing() as connection:
            wanted = _wanted(connection, terms, choose(connection))
            guard = self._guard(connection, terms)
            rows = _rows(wanted, terms, secret, guard, salts)
            return add_copies(connection, rows, keep_existing=True, supersede=supersede, salts=salts)

    def _guard(self, connection: Connection, terms: Terms) -> PartnerGuard | None:
        """Return the guard of the policy's distance, with all earlier copies of this rewriter; None without one."""
        equal = None if terms.policy is None else terms.policy.most_equal_partners
        if equal is None:
            return None
        classes = len(terms.model.labels)
        guard = PartnerGuard(classes=classes, dummy_classes=terms.spec["dummy_classes"], equal=equal)
        specs: dict[str, dict[str, Any]] = {}
        page, last = copy_page(connection, after=0, model=terms.model.name)
        while page:
            for row in page:
                if row.spec_digest not in specs:
                    specs[row.spec_digest] = get_spec(connection, row.spec_digest)
                spec = specs[row.spec_digest]
                if spec.get("rewriter") == terms.rewriter:
                    guard.add(draw_partners(self._earlier_key(row, terms.rewriter), spec, classes=classes), row.copy_id)
            page, last = copy_page(connection, after=last, model=terms.model.name)
        return guard

    def _earlier_key(self, row: CopyRow, rewriter: str) -> CopyKey:
        try:
            return self._keyring.copy_key(row, rewriter)
        except SecretError as error:
            raise SecretError(f"cannot keep copies apart: {error}; issue under a policy without a distance") from error

    def _rotation_batches(self, model: str, buyers: Iterable[str] | None, *, once: bool) -> Iterator[list[str]]:
        """Yield the buyers of a rotation, some at a time; each name `once` where no epoch shows whose turn is over."""
        if buyers is None:
            active = self._registry.read(count_copies, model=model, status=CopyStatus.ACTIVE)  # later ones are new
            rows = iterate_copies(self._registry, model=model, status=CopyStatus.ACTIVE)
            buyers = (row.buyer for row in islice(rows, active))
        iterator = iter(dict.fromkeys(buyers) if once else buyers)
        while batch := list(islice(iterator, BATCH_ROWS)):
            yield batch


def _of_epoch(buyers: Sequence[str], epoch: int, _: Connection) -> Iterator[tuple[str, int]]:
    return ((buyer, epoch) for buyer in buyers)


def next_epochs(
    terms: Terms, buyers: Sequence[str], epoch: int | None, connection: Connection
) -> Iterator[tuple[str, int]]:
    """Yield (buyer, epoch of the next copy), while the registry is held, so that no epoch is given twice.

    Args:
        terms: of the new copies. In bulk, buyers without an active copy are skipped, instead of giving them one, or
            refusing all because one never had one.
        buyers: whose copies.
        epoch: the epoch to reach; buyers who have reached it are skipped, unless their active copy comes from an
            earlier secret: they get their last epoch + 1. None for each one's last + 1.
        connection: holds the write lock.

    Raises:
        NotFoundError: if a buyer has no copy of this original.
    """
    model = terms.model.name
    last = last_epochs(connection, model, buyers)
    active: dict[str, bool] = {}  # whether one of the buyer's active copies comes from an earlier secret
    for row in copies_of_buyers(connection, model, buyers, status=CopyStatus.ACTIVE):
        active[row.buyer] = active.get(row.buyer, False) or row.secret != terms.secret
    for buyer in dict.fromkeys(buyers):
        if buyer not in last:
            if not terms.bulk:
                raise NotFoundError(f"buyer {buyer!r} has no copy of {model!r} to rotate; issue one first")
            terms.skipped[SkipReason.NO_COPY] += 1
        elif terms.bulk and buyer not in active:
            terms.skipped[SkipReason.NOT_ACTIVE] += 1
        elif epoch is not None and last[buyer] < epoch:
            yield buyer, epoch
        elif epoch is None or active.get(buyer, False):
            yield buyer, last[buyer] + 1
        else:
            terms.skipped[SkipReason.REACHED] += 1


def copy_manifest(row: CopyRow, spec: Mapping[str, Any]) -> "CopyManifest":
    """Return the manifest that goes out with a copy; `spec` is the one with the row's `spec_digest`."""
    from variegate.manifest import CopyManifest  # loads pydantic

    return CopyManifest(
        copy_id=row.copy_id,
        model=row.model,
        model_digest=row.model_digest,
        rewriter=str(spec["rewriter"]),
        spec=dict(spec),
        spec_digest=row.spec_digest,
        buyer=row.buyer,
        epoch=row.epoch,
        issued_at=utc(row.issued_at),
    )


def _wanted(connection: Connection, terms: Terms, buyers: Iterable[tuple[str, int]]) -> list[_Wanted]:
    """Return the copies to record; refuse one that exists already on other terms, or whose epoch is over.

    One that exists on these terms is among them: the registry keeps it as it is.
    """
    if list_secrets(connection)[-1].identifier != terms.secret:
        raise ConflictError(
            "the seller's secret was rotated meanwhile, and copies would have come from the earlier one; nothing was "
            "recorded of this batch: give the same command again"
        )
    asked = {name: _Wanted(name, *pair) for pair in buyers for name in [terms.copy_id(*pair)]}
    names, epochs = list(dict.fromkeys(one.buyer for one in asked.values())), {one.epoch for one in asked.values()}
    found = copies_of_buyers(connection, terms.model.name, names, epochs=epochs if len(epochs) <= CHUNK_ROWS else None)
    known = {(row.buyer, row.epoch): row for row in found}
    last = last_epochs(connection, terms.model.name, names)
    wanted = []
    for one in asked.values():
        recorded = known.get((one.buyer, one.epoch))
        reason = None
        if recorded is not None:
            reason = _why_not_again(recorded, one, terms)
        elif last.get(one.buyer, 0) > one.epoch:
            if not terms.bulk:
                raise ConflictError(
                    f"buyer {one.buyer!r} has had a copy of {terms.model.name!r} with the later epoch "
                    f"{last[one.buyer]}, and none with {one.epoch}; nothing was recorded: epochs only rise, so rotate "
                    "their copy (variegate rotate)"
                )
            reason = SkipReason.LATER
        if reason is not None:
            terms.skipped[reason] += 1
        if reason in (None, SkipReason.EARLIER_SECRET):
            wanted.append(one)
    return wanted


def _why_not_again(recorded: CopyRow, one: _Wanted, terms: Terms) -> SkipReason | None:
    """Say why a buyer who has had a copy of this epoch gets no new one; None if the registry is to keep or refuse it.

    Raises:
        ConflictError: if their active copy expired, or was issued under another policy.
    """
    expired = recorded.is_expired(terms.issued_at)
    if recorded.status is CopyStatus.ACTIVE and not expired:
        if recorded.copy_id != one.copy_id:
            return None  # another spec: the registry refuses it
        if recorded.policy == terms.policy_name:
            return SkipReason.EARLIER_SECRET if recorded.secret != terms.secret else None
    elif terms.bulk:
        return SkipReason.EXPIRED if recorded.status is CopyStatus.ACTIVE else SkipReason(recorded.status.value)
    if recorded.copy_id != one.copy_id or recorded.status is not CopyStatus.ACTIVE:
        return None  # the registry refuses it
    if expired and recorded.expires_at is not None:
        raise ConflictError(
            f"copy {one.copy_id} of buyer {one.buyer!r} expired on {utc(recorded.expires_at)}; nothing was recorded: "
            "rotate it (variegate rotate)"
        )
    under = "without a policy" if recorded.policy is None else f"under the policy {recorded.policy!r}"
    requested = "without one" if terms.policy_name is None else f"under {terms.policy_name!r}"
    raise ConflictError(
        f"buyer {one.buyer!r} holds copy {one.copy_id} already, which was issued {under}, not {requested}; nothing was "
        "recorded: rotate it (variegate rotate)"
    )


def _rows(
    wanted: Iterable[_Wanted],
    terms: Terms,
    secret: SellerSecret,
    guard: PartnerGuard | None,
    salts: MutableMapping[str, bytes],
) -> Iterator[CopyRow]:
    """Yield the rows with the identifiers of their keys; the salt of a row that is salted goes into `salts`."""
    expires_at = terms.expires_at
    for name, buyer, epoch in wanted:
        salt = salts.setdefault(name, secrets.token_bytes(SALT_BYTES)) if terms.forgettable else None
        context = KeyContext(
            model_digest=terms.model_digest,
            rewriter=terms.rewriter,
            spec_digest=terms.spec_digest,
            buyer=buyer,
            epoch=epoch,
        )
        if guard is None or name in guard:
            draw, key = 0, secret.derive(context, salt=salt)
        else:
            draw, key = guard.draw(partial(secret.derive, context, salt=salt), terms.spec, copy_id=name, buyer=buyer)
        yield CopyRow(
            copy_id=name,
            model=terms.model.name,
            model_digest=terms.model_digest,
            spec_digest=terms.spec_digest,
            buyer=buyer,
            epoch=epoch,
            issued_at=terms.issued_at,
            policy=terms.policy_name,
            secret=terms.secret,
            key_identifier=key.identifier,
            draw=draw,
            salted=terms.forgettable,
            expires_at=expires_at,
        )
