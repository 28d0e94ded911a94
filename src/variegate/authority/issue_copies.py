"""Issuing: what is checked before, how rows are made, and how many go into one transaction. No torch."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from itertools import islice
from typing import Any, Final

from variegate.authority.home import Home
from variegate.authority.issuing import copy_rows, far_enough, is_expired, issue_time, plain_rows
from variegate.authority.keyring import KeyRing
from variegate.authority.noticed import Noticed, Tally
from variegate.authority.partners import Partners, draw_partners
from variegate.authority.policies import Policy
from variegate.authority.spec_files import SavedSpec, read_spec
from variegate.authority.terms import Terms, key_context
from variegate.errors import ConfigurationError, ConflictError, NotFoundError, SecretError, VerificationError
from variegate.keys import CopyKey
from variegate.registry.bulk import add_copies
from variegate.registry.copies import copies_of_buyers, get_salt, iterate_copies, last_epochs
from variegate.registry.records import get_model, get_policy, get_spec
from variegate.registry.registry import Registry
from variegate.registry.rows import CopyRow
from variegate.types import CopyStatus, check_identifier

BATCH_ROWS: Final = 20_000
"""Copies of one transaction when many are issued: a batch is recorded whole or not at all."""

_PIECE_ROWS: Final = 5000

Progress = Callable[[int], None]
"""Called with how many copies are through."""


def make_terms(
    home: Home,
    store: Registry,
    keyring: KeyRing,
    *,
    model: str,
    spec_name: str | None,
    policy_name: str | None,
    now: int,
) -> Terms:
    """Check what an issue needs: the original, the spec, the policy, the secret.

    Raises:
        ConfigurationError: if neither a spec nor a policy is given, they contradict each other, or the spec was
            calibrated for another original.
        NotFoundError: if there is no such original, spec or policy.
        SecretError: if the secret is missing or is not this home's.
    """
    manifest = store.read(get_model, model)
    policy = None if policy_name is None else Policy.from_dict(store.read(get_policy, policy_name).body)
    if policy is None and spec_name is None:
        raise ConfigurationError("expected a spec or a policy to issue copies with; got neither")
    if policy is not None and spec_name not in (None, policy.spec):
        raise ConfigurationError(f"the policy {policy_name!r} is for the spec {policy.spec!r}; got {spec_name!r}")
    saved = _saved_spec(home, spec_name if policy is None else policy.spec)
    if policy is not None and saved.spec_digest != policy.spec_digest:
        raise VerificationError(
            f"the spec {saved.name!r} is no longer the one that the policy {policy_name!r} was made for; "
            "make a new policy"
        )
    if saved.model_digest is not None and saved.model_digest != manifest.digest:
        raise ConfigurationError(
            f"the spec {saved.name!r} was calibrated for model {saved.model!r}; got {model!r}: calibrate for it"
        )
    keyring.current()  # asks for it before anything else is done
    return Terms(
        model=manifest,
        spec_name=saved.name,
        spec=saved.spec,
        spec_digest=saved.spec_digest,
        secret=keyring.rows()[-1].identifier,
        issued_at=now,
        policy_name=policy_name,
        policy=policy,
    )


def record_copies(
    store: Registry,
    keyring: KeyRing,
    terms: Terms,
    buyers: Iterable[tuple[str, int]],
    *,
    supersede: bool = False,
    bulk: bool = False,
    tally: Tally | None = None,
) -> int:
    """Record a copy for each (buyer, epoch) in one transaction and return how many are new.

    Args:
        store: the registry.
        keyring: the seller's secrets.
        terms: what the copies have in common.
        buyers: who receives a copy, and of which epoch.
        supersede: the buyers' active copies with a lower epoch become superseded.
        bulk: pass over buyers whose copy of that epoch is revoked, superseded or expired, or who are past it, instead
            of refusing them all.
        tally: counts the buyers who were passed over, and those whose copy comes from an earlier secret.

    Raises:
        ConflictError: see `Store.add_copies`; also if a buyer's copy exists already, but expired or was issued under
            another policy, or no copy is left that is far enough from the others, or the secret was rotated since the
            terms were made.
        ConfigurationError: if a buyer's name is malformed.
    """
    salts: dict[str, bytes] = {}
    tally = Counter() if tally is None else tally
    first = keyring.rows()[0].identifier
    plain = _on_these_terms(
        store, keyring, plain_rows(buyers, terms), terms, first_secret=first, bulk=bulk, tally=tally
    )
    rows = copy_rows(plain, terms, keyring.get(terms.secret), salts)
    if terms.most_equal_partners is not None:
        rows = _far_enough(store, keyring, terms, rows, salts)
    return store.write(add_copies, rows, keep_existing=True, supersede=supersede, salts=salts)


def add_batches(
    store: Registry,
    keyring: KeyRing,
    terms: Terms,
    buyers: Iterable[tuple[str, int]],
    *,
    supersede: bool = False,
    bulk: bool = False,
    tally: Tally | None = None,
    batch_rows: int = BATCH_ROWS,
    progress: Progress | None = None,
) -> int:
    """Record copies in batches of one transaction each and return how many are new.

    What was recorded before a kill or an error stays, and doing it again goes on from there.

    Raises:
        ConflictError: as `add_copies`; nothing of the batch is recorded, earlier batches are.
    """
    iterator, added, through = iter(buyers), 0, 0
    while batch := list(islice(iterator, batch_rows)):
        added += record_copies(store, keyring, terms, batch, supersede=supersede, bulk=bulk, tally=tally)
        through += len(batch)
        if progress is not None:
            progress(through)
    return added


def next_epochs(
    store: Registry,
    keyring: KeyRing,
    terms: Terms,
    buyers: Sequence[str],
    epoch: int | None,
    *,
    bulk: bool = False,
    tally: Tally | None = None,
) -> Iterator[tuple[str, int]]:
    """Yield (buyer, epoch of the next copy); read it while the registry is held, so that no epoch is given twice.

    Args:
        store: the registry.
        keyring: the seller's secrets.
        terms: of the new copies.
        buyers: whose copies.
        epoch: the epoch to reach; buyers who have reached it are left out, unless their active copy comes from an
            earlier secret: they get their last epoch + 1. None for each one's last + 1.
        bulk: leave out buyers without an active copy, instead of giving them one, or refusing whoever never had one.
        tally: counts the buyers who were left out.

    Raises:
        NotFoundError: if a buyer has no copy of this original.
    """
    model, tally = terms.model.name, Counter() if tally is None else tally
    first = keyring.rows()[0].identifier
    last = store.read(last_epochs, model, buyers)
    active: dict[str, bool] = {}  # whether one of the buyer's active copies comes from an earlier secret
    for row in store.read(copies_of_buyers, model, buyers, status=CopyStatus.ACTIVE):
        active[row.buyer] = active.get(row.buyer, False) or (row.secret or first) != terms.secret
    for buyer in dict.fromkeys(buyers):
        if buyer not in last:
            if not bulk:
                raise NotFoundError(f"buyer {buyer!r} has no copy of {model!r} to rotate; issue one first")
            tally[Noticed.NO_COPY] += 1
        elif bulk and buyer not in active:
            tally[Noticed.NOT_ACTIVE] += 1
        elif epoch is not None and last[buyer] < epoch:
            yield buyer, epoch
        elif epoch is None or active.get(buyer, False):
            yield buyer, last[buyer] + 1
        else:
            tally[Noticed.REACHED] += 1


def derive_key(store: Registry, keyring: KeyRing, row: CopyRow, rewriter: str) -> CopyKey:
    """Return the key of a recorded copy.

    Raises:
        SecretError: if the seller's secret is missing or another, or the copy's key was forgotten.
        VerificationError: if the key is not the one that was recorded.
    """
    salt = require_key(store, row)
    key = keyring.get(row.secret).derive(key_context(row, rewriter), salt=salt, draw=row.draw)
    if row.key_identifier is not None and key.identifier != row.key_identifier:
        raise VerificationError(
            f"the key of copy {row.copy_id} is not the one that it was issued with; its row changed"
        )
    return key


def require_key(store: Registry, row: CopyRow) -> bytes | None:
    """Return the salt of a copy's key, None if it has none.

    Raises:
        SecretError: if the key was forgotten.
    """
    if not row.salted:
        return None
    salt = store.read(get_salt, row.copy_id)
    if salt is None:
        raise SecretError(f"the key of copy {row.copy_id} was forgotten: the copy cannot be made again")
    return salt


def _saved_spec(home: Home, name: str | None) -> SavedSpec:
    return read_spec(home.spec(check_identifier(name or "", "a spec's name")))


def _on_these_terms(
    store: Registry,
    keyring: KeyRing,
    rows: Iterable[CopyRow],
    terms: Terms,
    *,
    first_secret: str,
    bulk: bool,
    tally: Tally,
) -> Iterator[CopyRow]:
    """Yield the rows; refuse a copy that exists already on other terms, and one of an epoch that the buyer is past.

    Read it while the registry is held.
    """
    iterator = iter(rows)
    if keyring.rows()[-1].identifier != terms.secret:
        raise ConflictError(
            "the seller's secret was rotated meanwhile, and copies would have come from the earlier one; nothing was "
            "recorded of this batch: give the same command again"
        )
    while piece := list(islice(iterator, _PIECE_ROWS)):
        wanted = {row.copy_id: row for row in piece}
        found = store.read(
            copies_of_buyers, terms.model.name, {row.buyer for row in piece}, epochs={row.epoch for row in piece}
        )
        known = {(row.buyer, row.epoch): row for row in found}
        last = store.read(last_epochs, terms.model.name, list(dict.fromkeys(row.buyer for row in piece)))
        for row in wanted.values():
            recorded = known.get((row.buyer, row.epoch))
            if recorded is None and last.get(row.buyer, 0) > row.epoch:
                if not bulk:
                    raise _refuse_earlier(row, last[row.buyer])
                tally[Noticed.LATER] += 1
                continue
            if recorded is None:
                yield row
                continue
            reason = _why_no_longer(recorded, terms.issued_at)
            if reason is not None and bulk:
                tally[reason] += 1
                continue
            if reason is None and recorded.copy_id == row.copy_id and recorded.policy == row.policy:
                tally[Noticed.EARLIER_SECRET] += (recorded.secret or first_secret) != terms.secret
            elif recorded.copy_id == row.copy_id and recorded.status is CopyStatus.ACTIVE:
                raise _refuse(recorded, row, terms)
            yield row  # the registry refuses it if it has another spec, or is no longer active


def _why_no_longer(row: CopyRow, now: int) -> Noticed | None:
    """Why a recorded copy is not one to hand out again, or None."""
    if row.status is not CopyStatus.ACTIVE:
        return Noticed(row.status.value)
    return Noticed.EXPIRED if is_expired(row, now) else None


def _refuse(recorded: CopyRow, row: CopyRow, terms: Terms) -> ConflictError:
    """The error for a buyer whose active copy expired, or was issued under another policy."""
    if recorded.expires_at is not None and is_expired(recorded, terms.issued_at):
        return ConflictError(
            f"copy {row.copy_id} of buyer {row.buyer!r} expired on {issue_time(recorded.expires_at)}; nothing was "
            "recorded: rotate it (variegate rotate)"
        )
    under = "without a policy" if recorded.policy is None else f"under the policy {recorded.policy!r}"
    asked = "without one" if row.policy is None else f"under {row.policy!r}"
    return ConflictError(
        f"buyer {row.buyer!r} holds copy {row.copy_id} already, which was issued {under}, not {asked}; nothing was "
        "recorded: rotate it (variegate rotate)"
    )


def _refuse_earlier(row: CopyRow, last: int) -> ConflictError:
    """The error for a buyer who has had a copy of a later epoch, and none of this one."""
    return ConflictError(
        f"buyer {row.buyer!r} has had a copy of {row.model!r} with the later epoch {last}, and none with {row.epoch}; "
        "nothing was recorded: epochs only rise, so rotate him (variegate rotate)"
    )


def _far_enough(
    store: Registry, keyring: KeyRing, terms: Terms, rows: Iterable[CopyRow], salts: MutableMapping[str, bytes]
) -> Iterator[CopyRow]:
    secret = keyring.get(terms.secret)

    def derive(row: CopyRow) -> CopyKey:
        context = key_context(row, terms.rewriter)
        return secret.derive(context, salt=salts.get(row.copy_id), draw=row.draw)

    def earlier() -> Iterator[tuple[CopyRow, Partners]]:
        specs: dict[str, dict[str, Any]] = {}
        classes = len(terms.model.labels)
        for row in iterate_copies(store, model=terms.model.name):
            if row.spec_digest not in specs:
                specs[row.spec_digest] = store.read(get_spec, row.spec_digest)
            spec = specs[row.spec_digest]
            if spec.get("rewriter") == terms.rewriter:
                yield row, draw_partners(_earlier_key(store, keyring, row, terms.rewriter), spec, classes=classes)

    return far_enough(rows, terms, derive, earlier)


def _earlier_key(store: Registry, keyring: KeyRing, row: CopyRow, rewriter: str) -> CopyKey:
    try:
        return derive_key(store, keyring, row, rewriter)
    except SecretError as error:
        raise SecretError(f"cannot keep copies apart: {error}; issue under a policy without a distance") from error
