"""`Authority`: the seller's desk over one home folder."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, final

from variegate.authority.home import Home, create_home
from variegate.authority.issue_copies import (
    BATCH_ROWS,
    Progress,
    add_batches,
    add_copies,
    derive_key,
    make_terms,
    next_epochs,
)
from variegate.authority.issuing import copy_manifest, plain_rows
from variegate.authority.keyring import KeyRing, SecretSource
from variegate.authority.model_files import place_model
from variegate.authority.policies import Policy, check_policy
from variegate.authority.secret_files import ENVIRONMENT
from variegate.authority.spec_files import SavedSpec, read_spec, write_spec
from variegate.authority.terms import Terms
from variegate.errors import ConfigurationError, ConflictError, NotFoundError, VerificationError
from variegate.key_providers.base import Access
from variegate.keys import KeyContext, SellerSecret
from variegate.manifest import CopyManifest, ModelManifest
from variegate.manifest.identity import copy_id
from variegate.registry.protocol import CopyRow
from variegate.registry.store import SqlStore
from variegate.types import CopyStatus, check_identifier

if TYPE_CHECKING:
    from variegate.models.classifier import Classifier
    from variegate.models.loading import ImportedModel
    from variegate.rewriters.base import AbstractSpec, RewrittenCopy
    from variegate.rewriters.cache import HeadCache

__all__ = ["Authority", "SecretSource"]

_HEAD_BUDGET = 256 * 2**20
_REASON_LIMIT = 500


@final
class Authority:
    """Imports originals, keeps calibrated specs, issues copies, and makes issued copies again.

    Rules:

    - a copy costs one row; its key is derived from the seller's secret each time and is never stored;
    - issuing is idempotent: the same (model, buyer, epoch, spec) gives the copy that exists already, another spec for
      the same (model, buyer, epoch) is a `ConflictError`;
    - nothing is trusted because it lies in the home: digests of weights, code, manifests and specs are checked on use.

    Args:
        home: where files lie.
        store: the registry.
        keyring: the seller's secrets.
        clock: Unix time in seconds.
        head_budget: bytes for the heads of the copies that were loaded last; loading one of these again is quick.
    """

    def __init__(
        self,
        home: Home,
        store: SqlStore,
        keyring: KeyRing,
        *,
        clock: Callable[[], float] = time.time,
        head_budget: int = _HEAD_BUDGET,
    ) -> None:
        self.home = home
        self.store = store
        self.keyring = keyring
        self._clock = clock
        self._originals: dict[str, Classifier] = {}
        if head_budget < 0:
            raise ConfigurationError(f"the budget for heads must be 0 or more bytes; got {head_budget}")
        self._head_budget = head_budget
        self._heads: HeadCache | None = None  # made with the first copy: it needs torch

    @classmethod
    def open(
        cls,
        home: Path,
        source: SecretSource | None = None,
        *,
        access: Access | None = None,
        database_url: str | None = None,
        read_only: bool = False,
        head_budget: int = _HEAD_BUDGET,
    ) -> Self:
        """Open an existing home.

        Args:
            home: the folder.
            source: gives a secret that the program has already; asked once, when one is needed for the first time.
            access: where key providers find passphrases, PINs and options; nowhere by default.
            database_url: the registry's database, for a home whose registry is not a file of it.
            read_only: open the registry without the right to write.
            head_budget: bytes for the heads of the copies that were loaded last.

        Raises:
            ConfigurationError: if the registry is not where the database's URL says.
            NotFoundError: if the folder is not a home.
            FormatError: if its registry is corrupt, or older or newer than this variegate.
        """
        place = Home(home)
        store = SqlStore(place.registry_location(database_url), read_only=read_only)
        keyring = KeyRing(home, store, access=access or Access(env={}), source=source)
        return cls(place, store, keyring, head_budget=head_budget)

    @classmethod
    def create(
        cls,
        home: Path,
        secret: SellerSecret,
        *,
        provider: str = ENVIRONMENT,
        access: Access | None = None,
        database_url: str | None = None,
    ) -> Self:
        """Make a new home and open it.

        Args:
            home: the folder; it may exist if it is empty.
            secret: from which this home's copies will come.
            provider: the key provider that keeps it; by default nobody does, and it comes with each run.
            access: where key providers find passphrases, PINs and options; nowhere by default.
            database_url: where the registry is to be; None for a SQLite file in the home.

        Raises:
            ConflictError: if the folder holds something already, or the database another registry.
        """
        access = access or Access(env={})
        create_home(home, secret, provider=provider, access=access, database_url=database_url)
        return cls.open(home, lambda: secret, access=access, database_url=database_url)

    def __repr__(self) -> str:
        return f"Authority({str(self.home.root)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the registry and forget the secret."""
        self.keyring.forget_all()
        self._originals.clear()
        self._heads = None
        self.store.close()

    def secret(self) -> SellerSecret:
        """Return the seller's secret that new copies come from; it lasts until the authority is closed.

        Raises:
            SecretError: if it is missing, or is not the secret that this home's copies come from.
        """
        return self.keyring.current()

    def import_model(self, imported: "ImportedModel") -> ModelManifest:
        """Take over an original that `variegate.models.loading.prepare_import` made ready.

        Raises:
            ConflictError: if a model of this name exists.
        """
        manifest = imported.manifest
        place_model(self.home.model(manifest.name), imported, self.store)
        return manifest

    def original(self, model: str) -> "Classifier":
        """Load an original; the one used last is kept.

        Raises:
            NotFoundError: if there is no such model.
            VerificationError: if a file of it was changed since the import.
        """
        return self._load(self.store.get_model(model))

    def save_spec(
        self,
        name: str,
        spec: "AbstractSpec",
        *,
        model: str | None = None,
        record: Mapping[str, Any] | None = None,
        replace: bool = False,
    ) -> SavedSpec:
        """Keep a spec under a name, for issuing.

        Args:
            name: what to call it.
            spec: the rewriter's parameters.
            model: the original that it was calibrated for; issuing another one with it is refused. None for any.
            record: what the calibration measured.
            replace: give the name to this spec even if it belongs to another; issued copies keep theirs.

        Raises:
            ConfigurationError: if the name is malformed, or the spec does not fit the original.
            ConflictError: if the name belongs to another spec.
            NotFoundError: if there is no such original.
        """
        check_identifier(name, "a spec's name")
        values = spec.to_dict()
        path = self.home.spec(name)
        manifest = None if model is None else self.store.get_model(model)
        model_digest = None if manifest is None else manifest.digest
        if manifest is not None:
            _check_fit(spec, manifest)
        if path.exists() and not replace and read_spec(path).spec_digest != spec.digest:
            raise ConflictError(f"a spec named {name!r} with other parameters exists already; choose another name")
        saved = SavedSpec(
            name=name, model=model, model_digest=model_digest, spec=values, spec_digest=spec.digest, record=record
        )
        self.store.add_spec(name, values)
        write_spec(path, saved)
        return saved

    def require_free_spec(self, name: str) -> None:
        """Check that no spec has this name, before a long calibration.

        Raises:
            ConflictError: if one has.
        """
        if self.home.spec(check_identifier(name, "a spec's name")).exists():
            raise ConflictError(f"a spec named {name!r} exists already; choose another name, or replace it (--replace)")

    def list_specs(self) -> list[SavedSpec]:
        """Return all saved specs, by name."""
        return [read_spec(path) for path in sorted(self.home.specs.glob("*.json"))]

    def saved_spec(self, name: str) -> SavedSpec:
        """Return the spec of this name.

        Raises:
            NotFoundError: if there is none.
        """
        check_identifier(name, "a spec's name")
        return read_spec(self.home.spec(name))

    def create_policy(
        self,
        name: str,
        *,
        spec: str,
        max_label_change: float | None = None,
        quota: int | None = None,
        rate: float | None = None,
        valid_seconds: int | None = None,
        most_equal_partners: int | None = None,
        forgettable: bool = False,
    ) -> Policy:
        """Make and record a policy (`variegate.authority.policies.Policy` says what the terms mean).

        Raises:
            ConfigurationError: if a value is out of range, or the spec cannot be issued under these terms.
            ConflictError: if another policy has this name.
            NotFoundError: if there is no such spec.
        """
        check_identifier(name, "a policy's name")
        saved = self.saved_spec(spec)
        policy = Policy(
            spec=spec,
            spec_digest=saved.spec_digest,
            max_label_change=max_label_change,
            quota=quota,
            rate=rate,
            valid_seconds=valid_seconds,
            most_equal_partners=most_equal_partners,
            forgettable=forgettable,
        )
        check_policy(policy, rewriter=str(saved.spec["rewriter"]), record=saved.record)
        self.store.add_policy(name, policy.to_dict())
        return policy

    def policy(self, name: str) -> Policy:
        """Return the policy of this name.

        Raises:
            NotFoundError: if there is none.
        """
        return Policy.from_dict(self.store.get_policy(name).body)

    def issue(
        self, model: str, spec_name: str | None, buyers: Sequence[str], *, policy: str | None = None, epoch: int = 1
    ) -> list[CopyManifest]:
        """Issue one copy to each buyer, all or none, and return their manifests in the order of `buyers`.

        Args:
            model: the original's name.
            spec_name: the spec's name; None to take the policy's.
            buyers: who receives a copy.
            policy: the name of the policy to issue under, if any.
            epoch: 1 for a buyer's first copy of a model.

        Raises:
            NotFoundError: if there is no such model, spec or policy.
            ConfigurationError: if a buyer's name is malformed, or the spec was calibrated for another model.
            ConflictError: if a buyer holds a copy of this model and epoch that was made with another spec, or that
                is no longer active, or no copy is left that is far enough from the others; it names the first such
                buyer.
            SecretError: if the secret is missing or is not this home's.
        """
        if not buyers:
            raise ConfigurationError("expected at least one buyer to issue a copy to; got none")
        terms = self._recorded_terms(model, spec_name, policy)
        add_copies(self.store, self.keyring, terms, ((buyer, epoch) for buyer in buyers))
        names = [row.copy_id for row in plain_rows(((buyer, epoch) for buyer in buyers), terms)]
        known = self.store.get_copies(names)
        return [copy_manifest(known[name], terms.spec) for name in names]

    def issue_many(
        self,
        model: str,
        spec_name: str | None,
        buyers: Iterable[str],
        *,
        policy: str | None = None,
        epoch: int = 1,
        progress: Progress | None = None,
    ) -> int:
        """Issue one copy to each buyer, in bounded memory, and return how many copies are new.

        Copies are recorded in batches of `BATCH_ROWS`, each whole or not at all; after an error or a kill, the same
        call goes on with the buyers who have no copy yet.

        Raises:
            VariegateError: as `issue`; earlier batches are recorded then.
        """
        terms = self._recorded_terms(model, spec_name, policy)
        pairs = ((buyer, epoch) for buyer in buyers)
        return add_batches(self.store, self.keyring, terms, pairs, progress=progress)

    def check_issue(self, model: str, spec_name: str | None, *, policy: str | None = None) -> Terms:
        """Check all that issuing needs but the buyers, without recording anything, and return the terms."""
        return make_terms(
            self.home,
            self.store,
            self.keyring,
            model=model,
            spec_name=spec_name,
            policy_name=policy,
            now=int(self._clock()),
        )

    def rotate(
        self,
        model: str,
        spec_name: str | None,
        buyers: Iterable[str] | None,
        *,
        policy: str | None = None,
        epoch: int | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Give buyers a copy with a later epoch, supersede their active ones, and return how many copies are new.

        Args:
            model: the original's name.
            spec_name: the new copies' spec; None to take the policy's.
            buyers: whose copies; None for every buyer with an active copy of the original.
            policy: the new copies' policy, if any.
            epoch: the new copies' epoch; buyers who have reached it are passed over. None for each buyer's last + 1.
            progress: called with how many buyers are through.

        Raises:
            ConfigurationError: if buyers is None without an epoch: such a rotation could not be given again.
            NotFoundError: if a buyer has no copy of this original.
            VariegateError: as `issue`; earlier batches are recorded then.
        """
        if buyers is None and epoch is None:
            raise ConfigurationError("expected an epoch to rotate all buyers to; got none")
        terms = self._recorded_terms(model, spec_name, policy)
        through, added = 0, 0
        for batch in self._batches_of(model, buyers):
            added += add_copies(
                self.store, self.keyring, terms, next_epochs(self.store, model, batch, epoch), supersede=True
            )
            through += len(batch)
            if progress is not None:
                progress(through)
        return added

    def copies_of(self, buyers: Sequence[str], *, model: str | None = None) -> list[str]:
        """Return the names of all copies of these buyers that are not revoked.

        Raises:
            NotFoundError: if one of them has none.
        """
        names: list[str] = []
        for buyer in buyers:
            rows = self.store.iterate_copies(buyer=buyer, model=model)
            found = [row.copy_id for row in rows if row.status is not CopyStatus.REVOKED]
            if not found:
                what = "" if model is None else f" of {model!r}"
                raise NotFoundError(f"buyer {buyer!r} has no copy{what} that could change; see: variegate copies ls")
            names += found
        return names

    def change_status(self, copies: Sequence[str], status: CopyStatus, *, reason: str = "") -> int:
        """Revoke or supersede copies, all or none, and return how many were not there already.

        Raises:
            ConfigurationError: if the reason is longer than 500 characters or not one line.
            ConflictError: if one of them may not go there, such as a revoked copy to superseded.
            NotFoundError: if one of them is not recorded.
        """
        if len(reason) > _REASON_LIMIT or not (reason == "" or reason.isprintable()):
            raise ConfigurationError(
                f"a reason must be one line of up to {_REASON_LIMIT} characters; got {len(reason)} characters"
            )
        return self.store.change_status(list(dict.fromkeys(copies)), status, reason=reason)

    def forget(self, copy: str) -> None:
        """Discard the key of a copy for good: the copy can never be made again, exported, served or traced.

        Raises:
            ConflictError: if the key comes from the seller's secret alone: it can be derived again as long as the
                secret exists; or if it was forgotten already.
            NotFoundError: if there is no such copy.
        """
        row = self.store.get_copy(copy)
        if not row.salted:
            raise ConflictError(
                f"the key of copy {copy} comes from the seller's secret alone and cannot be discarded: issue under a "
                "policy that was made with --forgettable"
            )
        self.store.forget_salt(copy)
        self._heads = None

    def copy_manifest(self, copy: str) -> CopyManifest:
        """Return the manifest of an issued copy.

        Raises:
            NotFoundError: if there is no such copy.
        """
        row = self.store.get_copy(copy)
        return copy_manifest(row, self.store.get_spec(row.spec_digest))

    def load_copy(self, copy: str) -> "RewrittenCopy":
        """Make an issued copy again, from the original, the spec and the key that the secret gives.

        The copies of one original share it, its device included.

        Raises:
            NotFoundError: if there is no such copy.
            VerificationError: if the registry's row or a file was changed.
            SecretError: if the secret is missing or is not this home's.
        """
        from variegate.rewriters.base import RewrittenCopy, rewrite
        from variegate.rewriters.cache import HeadCache

        row, manifest, spec = self._described(copy)
        original = self._load(manifest)
        if self._heads is None:
            self._heads = HeadCache(limit_bytes=self._head_budget)
        head = self._heads.get(
            row.copy_id,
            lambda: rewrite(original, derive_key(self.store, self.keyring, row, spec.rewriter), spec).head,
        )
        return RewrittenCopy(original, head)

    def _described(self, copy: str) -> "tuple[CopyRow, ModelManifest, AbstractSpec]":
        """Return a copy's row, its original's manifest and its spec, checked against the copy's name."""
        from variegate.rewriters.catalog import spec_from_dict

        row = self.store.get_copy(copy)
        manifest = self.store.get_model(row.model)
        spec = spec_from_dict(self.store.get_spec(row.spec_digest))
        expected = copy_id(model_digest=manifest.digest, spec_digest=spec.digest, buyer=row.buyer, epoch=row.epoch)
        if expected != row.copy_id:
            raise VerificationError(f"copy {row.copy_id} does not belong to the model, spec and buyer of its row")
        return row, manifest, spec

    def _recorded_terms(self, model: str, spec_name: str | None, policy: str | None) -> Terms:
        """Check what an issue needs, and make sure that the spec is recorded."""
        terms = self.check_issue(model, spec_name, policy=policy)
        self.keyring.adopt()
        self.store.add_spec(terms.spec_name, terms.spec)
        return terms

    def _batches_of(self, model: str, buyers: Iterable[str] | None) -> Iterator[list[str]]:
        """Yield the buyers of a rotation, some at a time."""
        if buyers is None:
            active = self.store.iterate_copies(model=model, status=CopyStatus.ACTIVE)
            buyers = (row.buyer for row in active)
        iterator = iter(buyers)
        while batch := list(islice(iterator, BATCH_ROWS)):
            yield batch

    def _load(self, manifest: ModelManifest) -> "Classifier":
        from variegate.models.loading import load_classifier

        if manifest.digest not in self._originals:
            self._originals.clear()
            self._heads = None  # heads share the original's device
            self._originals[manifest.digest] = load_classifier(manifest, self.home.model(manifest.name))
        return self._originals[manifest.digest]


def _check_fit(spec: "AbstractSpec", manifest: ModelManifest) -> None:
    """Build a head from a key that is thrown away, so that a spec that does not fit the original is refused early."""
    from variegate.rewriters.base import OriginalShape

    context = KeyContext(
        model_digest=manifest.digest, rewriter=spec.rewriter, spec_digest=spec.digest, buyer="nobody", epoch=1
    )
    shape = OriginalShape(num_classes=len(manifest.labels), input_shape=manifest.input_shape, bounds=manifest.bounds)
    spec.build(SellerSecret.generate().derive(context), shape)
