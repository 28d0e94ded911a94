"""Issuing and rotating at the desk: from names to recorded copies. No torch."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import final

from variegate.authority.home import Home
from variegate.authority.issue_copies import (
    BATCH_ROWS,
    Progress,
    add_batches,
    make_terms,
    next_epochs,
    record_copies,
)
from variegate.authority.issuing import copy_manifest, is_expired, plain_rows
from variegate.authority.keyring import KeyRing
from variegate.authority.noticed import Tally
from variegate.authority.terms import Terms
from variegate.errors import ConfigurationError
from variegate.manifest import CopyManifest
from variegate.registry.copies import count_copies, get_copies, iterate_copies
from variegate.registry.records import add_spec
from variegate.registry.registry import Registry
from variegate.types import CopyStatus


@final
class Issuer:
    """Issues the copies of one home; `variegate.authority.Authority` says what its methods mean and raise.

    `bulk` says that many buyers are meant, of whom some may be passed over: those whose copy is revoked, superseded or
    expired in an issue, those without an active copy in a rotation. `tally` counts them.

    An issue with an epoch above 1 supersedes the buyers' active copies of lower epochs, as a rotation does.

    Args:
        home: where the specs lie.
        store: the registry.
        keyring: the seller's secrets.
        clock: Unix time in seconds.
    """

    def __init__(self, home: Home, store: Registry, keyring: KeyRing, *, clock: Callable[[], float]) -> None:
        self._home = home
        self._store = store
        self._keyring = keyring
        self._clock = clock

    def check(self, model: str, spec_name: str | None, *, policy: str | None) -> Terms:
        """See `Authority.check_issue`."""
        return make_terms(
            self._home,
            self._store,
            self._keyring,
            model=model,
            spec_name=spec_name,
            policy_name=policy,
            now=int(self._clock()),
        )

    def issue(
        self,
        model: str,
        spec_name: str | None,
        buyers: Sequence[str],
        *,
        policy: str | None,
        epoch: int,
        bulk: bool = False,
        tally: Tally | None = None,
    ) -> list[CopyManifest]:
        """See `Authority.issue`; buyers who are passed over have no manifest."""
        if not buyers:
            raise ConfigurationError("expected at least one buyer to issue a copy to; got none")
        terms = self._recorded_terms(model, spec_name, policy)
        pairs = [(buyer, epoch) for buyer in buyers]
        record_copies(self._store, self._keyring, terms, pairs, supersede=epoch > 1, bulk=bulk, tally=tally)
        names = [row.copy_id for row in plain_rows(pairs, terms)]
        known = {
            name: row
            for name, row in self._store.read(get_copies, names).items()
            if not bulk or (row.status is CopyStatus.ACTIVE and not is_expired(row, terms.issued_at))
        }
        return [copy_manifest(known[name], terms.spec) for name in names if not bulk or name in known]

    def issue_many(
        self,
        model: str,
        spec_name: str | None,
        buyers: Iterable[str],
        *,
        policy: str | None,
        epoch: int,
        progress: Progress | None,
        bulk: bool = False,
        tally: Tally | None = None,
    ) -> int:
        """See `Authority.issue_many`."""
        terms = self._recorded_terms(model, spec_name, policy)
        pairs = ((buyer, epoch) for buyer in buyers)
        return add_batches(
            self._store,
            self._keyring,
            terms,
            pairs,
            supersede=epoch > 1,
            bulk=bulk,
            tally=tally,
            progress=progress,
        )

    def rotate(
        self,
        model: str,
        spec_name: str | None,
        buyers: Iterable[str] | None,
        *,
        policy: str | None,
        epoch: int | None,
        progress: Progress | None,
        bulk: bool = False,
        tally: Tally | None = None,
    ) -> int:
        """See `Authority.rotate`."""
        if buyers is None and epoch is None:
            raise ConfigurationError("expected an epoch to rotate all buyers to; got none")
        terms = self._recorded_terms(model, spec_name, policy)
        through, added = 0, 0
        for batch in self._batches(model, buyers, once=epoch is None):
            pairs = next_epochs(self._store, self._keyring, terms, batch, epoch, bulk=bulk, tally=tally)
            added += record_copies(self._store, self._keyring, terms, pairs, supersede=True)
            through += len(batch)
            if progress is not None:
                progress(through)
        return added

    def _recorded_terms(self, model: str, spec_name: str | None, policy: str | None) -> Terms:
        """Check what an issue needs, and make sure that secret and spec are recorded."""
        terms = self.check(model, spec_name, policy=policy)
        self._keyring.adopt()
        self._store.write(add_spec, terms.spec_name, terms.spec)
        return terms

    def _batches(self, model: str, buyers: Iterable[str] | None, *, once: bool) -> Iterator[list[str]]:
        """Yield the buyers of a rotation, some at a time; each name `once` where no epoch shows who had his turn."""
        if buyers is None:
            active = self._store.read(
                count_copies, model=model, status=CopyStatus.ACTIVE
            )  # what is added meanwhile is new
            rows = iterate_copies(self._store, model=model, status=CopyStatus.ACTIVE)
            buyers = (row.buyer for row in islice(rows, active))
        iterator = iter(dict.fromkeys(buyers) if once else buyers)
        while batch := list(islice(iterator, BATCH_ROWS)):
            yield batch
