"""`Authority`: the seller's desk over one home folder."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, final

from variegate.authority.copy_maker import CopyMaker
from variegate.authority.home import Home, create_home
from variegate.authority.issue_copies import Progress
from variegate.authority.issuer import Issuer
from variegate.authority.issuing import copy_manifest
from variegate.authority.keyring import KeyRing, SecretSource
from variegate.authority.model_files import place_model
from variegate.authority.noticed import Tally
from variegate.authority.policies import Policy
from variegate.authority.secret_files import ENVIRONMENT
from variegate.authority.spec_files import SavedSpec
from variegate.authority.spec_shelf import SpecShelf
from variegate.authority.terms import Terms
from variegate.errors import ConfigurationError, ConflictError, NotFoundError
from variegate.keys import SellerSecret
from variegate.keystore.base import Access
from variegate.manifest import CopyManifest, ModelManifest
from variegate.registry.copies import change_status, forget_salt, get_copy, iterate_copies
from variegate.registry.records import get_model, get_policy, get_spec
from variegate.registry.registry import Registry
from variegate.types import CopyStatus

if TYPE_CHECKING:
    from variegate.models.classifier import Classifier
    from variegate.models.loading import ImportedModel
    from variegate.rewriters.base import AbstractSpec, RewrittenCopy

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
        store: Registry,
        keyring: KeyRing,
        *,
        clock: Callable[[], float] = time.time,
        head_budget: int = _HEAD_BUDGET,
    ) -> None:
        self.home = home
        self.store = store
        self.keyring = keyring
        self._clock = clock
        self._specs = SpecShelf(home, store)
        self._issuer = Issuer(home, store, keyring, clock=self._now)
        self._maker = CopyMaker(home, store, keyring, head_budget=head_budget)

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
        store = Registry(place.registry_location(database_url), read_only=read_only)
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
        self._maker.clear()
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
        return self._maker.original(self.store.read(get_model, model))

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
        return self._specs.save(name, spec, model=model, record=record, replace=replace)

    def require_free_spec(self, name: str) -> None:
        """Check that no spec has this name, before a long calibration.

        Raises:
            ConflictError: if one has.
        """
        self._specs.require_free(name)

    def list_specs(self) -> list[SavedSpec]:
        """Return all saved specs, by name."""
        return self._specs.all()

    def saved_spec(self, name: str) -> SavedSpec:
        """Return the spec of this name.

        Raises:
            NotFoundError: if there is none.
        """
        return self._specs.get(name)

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
        return self._specs.create_policy(
            name,
            spec=spec,
            max_label_change=max_label_change,
            quota=quota,
            rate=rate,
            valid_seconds=valid_seconds,
            most_equal_partners=most_equal_partners,
            forgettable=forgettable,
        )

    def policy(self, name: str) -> Policy:
        """Return the policy of this name.

        Raises:
            NotFoundError: if there is none.
        """
        return Policy.from_dict(self.store.read(get_policy, name).body)

    def issue(
        self,
        model: str,
        spec_name: str | None,
        buyers: Sequence[str],
        *,
        policy: str | None = None,
        epoch: int = 1,
        bulk: bool = False,
        tally: Tally | None = None,
    ) -> list[CopyManifest]:
        """Issue one copy to each buyer, all or none, and return their manifests in the order of `buyers`.

        Args:
            model: the original's name.
            spec_name: the spec's name; None to take the policy's.
            buyers: who receives a copy.
            policy: the name of the policy to issue under, if any.
            epoch: 1 for a buyer's first copy of a model; a later one supersedes his active copies of lower epochs.
            bulk: pass over buyers whose copy is revoked, superseded or expired, or of a later epoch, instead of
                refusing all.
            tally: counts them, and the buyers who keep a copy of an earlier secret.

        Raises:
            NotFoundError: if there is no such model, spec or policy.
            ConfigurationError: if a buyer's name is malformed, or the spec was calibrated for another model.
            ConflictError: if a buyer holds a copy of this model and epoch that was made with another spec or policy, or
                that is no longer active or expired; or he has had one of a later epoch and none of this; or no copy is
                left that is far enough from the others; it names the first such buyer.
            SecretError: if the secret is missing or is not this home's.
        """
        return self._issuer.issue(model, spec_name, buyers, policy=policy, epoch=epoch, bulk=bulk, tally=tally)

    def issue_many(
        self,
        model: str,
        spec_name: str | None,
        buyers: Iterable[str],
        *,
        policy: str | None = None,
        epoch: int = 1,
        progress: Progress | None = None,
        bulk: bool = False,
        tally: Tally | None = None,
    ) -> int:
        """Issue one copy to each buyer, in bounded memory, and return how many copies are new.

        Copies are recorded in batches of `BATCH_ROWS`, each whole or not at all; after an error or a kill, the same
        call goes on with the buyers who have no copy yet.

        Raises:
            VariegateError: as `issue`; earlier batches are recorded then.
        """
        return self._issuer.issue_many(
            model, spec_name, buyers, policy=policy, epoch=epoch, progress=progress, bulk=bulk, tally=tally
        )

    def check_issue(self, model: str, spec_name: str | None, *, policy: str | None = None) -> Terms:
        """Check all that issuing needs but the buyers, without recording anything, and return the terms."""
        return self._issuer.check(model, spec_name, policy=policy)

    def rotate(
        self,
        model: str,
        spec_name: str | None,
        buyers: Iterable[str] | None,
        *,
        policy: str | None = None,
        epoch: int | None = None,
        progress: Progress | None = None,
        bulk: bool = False,
        tally: Tally | None = None,
    ) -> int:
        """Give buyers a copy with a later epoch, supersede their active ones, and return how many copies are new.

        Args:
            model: the original's name.
            spec_name: the new copies' spec; None to take the policy's.
            buyers: whose copies; None for every buyer with an active copy of the original.
            policy: the new copies' policy, if any.
            epoch: the new copies' epoch; buyers who have reached it are passed over, unless their copy comes from an
                earlier secret: they get their next one. None for each buyer's last + 1.
            progress: called with how many buyers are through.
            bulk: pass over buyers without an active copy, instead of giving them one or refusing all.
            tally: counts who was passed over.

        Raises:
            ConfigurationError: if buyers is None without an epoch: such a rotation could not be given again.
            NotFoundError: if a buyer has no copy of this original.
            VariegateError: as `issue`; earlier batches are recorded then.
        """
        return self._issuer.rotate(
            model, spec_name, buyers, policy=policy, epoch=epoch, progress=progress, bulk=bulk, tally=tally
        )

    def copies_of(self, buyers: Sequence[str], *, model: str | None = None) -> list[str]:
        """Return the names of all copies of these buyers that are not revoked.

        Raises:
            NotFoundError: if one of them has none.
        """
        names: list[str] = []
        for buyer in buyers:
            rows = iterate_copies(self.store, buyer=buyer, model=model)
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
        return self.store.write(change_status, list(dict.fromkeys(copies)), status, reason=reason)

    def forget(self, copy: str) -> bool:
        """Discard the key of a copy for good: the copy can never be made again, exported, served or traced.

        Doing it again changes nothing but what a registry in a file still holds of the salt.

        Returns:
            Whether the salt's bytes are out of the registry's files; while another process reads them, its write-ahead
            log keeps what was erased. What a database server, backups and disks keep is not known here.

        Raises:
            ConflictError: if the key comes from the seller's secret alone: it can be derived again as long as the
                secret exists.
            NotFoundError: if there is no such copy.
        """
        row = self.store.read(get_copy, copy)
        if not row.salted:
            raise ConflictError(
                f"the key of copy {copy} comes from the seller's secret alone and cannot be discarded: issue under a "
                "policy that was made with --forgettable"
            )
        try:
            return forget_salt(self.store, copy)
        finally:
            self._maker.forget_heads()

    def copy_manifest(self, copy: str) -> CopyManifest:
        """Return the manifest of an issued copy.

        Raises:
            NotFoundError: if there is no such copy.
        """
        row = self.store.read(get_copy, copy)
        return copy_manifest(row, self.store.read(get_spec, row.spec_digest))

    def load_copy(self, copy: str) -> "RewrittenCopy":
        """Make an issued copy again, from the original, the spec and the key that the secret gives.

        Superseded, revoked and expired copies, too: they can still be traced. Who hands a copy out or serves it looks
        at its row first. The copies of one original share it, its device included.

        Raises:
            NotFoundError: if there is no such copy.
            VerificationError: if the registry's row or a file was changed.
            SecretError: if the secret is missing or is not this home's.
        """
        return self._maker.load(copy)

    def _now(self) -> float:
        return self._clock()
