"""`Authority`: the one door to a seller's home, its registry and its secrets."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack, final

from variegate.authority.home import Home, create_home, restore_home
from variegate.authority.issuing import Issuer, Progress, Terms, copy_manifest
from variegate.authority.keyring import ENVIRONMENT, KeyRing, SecretSource
from variegate.authority.originals import CopyMaker, place_model
from variegate.authority.skipped import Skipped
from variegate.errors import ConfigurationError, ConflictError, NotFoundError
from variegate.keys import SellerSecret
from variegate.keystore.base import Access
from variegate.registry.copies import (
    CopyFilter,
    change_status,
    count_copies,
    forget_salt,
    get_copy,
    get_salt,
    iterate_copies,
    list_copies,
)
from variegate.registry.log import iterate_events, log_head
from variegate.registry.records import get_model, get_spec, list_models, list_policies
from variegate.registry.registry import Registry
from variegate.registry.rows import CopyRow, EventRow, LogHead, PolicyRow, SecretRow
from variegate.types import CopyStatus

if TYPE_CHECKING:
    from torch import Tensor

    from variegate.artifacts.manifest import ArtifactManifest
    from variegate.artifacts.verify import Verification
    from variegate.artifacts.vgc_header import Recipient
    from variegate.authority.specs import Policy, SavedSpec, SpecShelf
    from variegate.manifest import CopyManifest, ModelManifest
    from variegate.models.classifier import Classifier
    from variegate.models.loading import ImportedModel
    from variegate.registry.backup import BackupSummary
    from variegate.registry.verify import LogReport
    from variegate.rewriters.base import AbstractSpec, RewrittenCopy

_HEAD_BUDGET = 256 * 2**20
_REASON_LIMIT = 500


@final
class Authority:
    """The one door to a home: originals, specs, policies, secrets, copies, artifacts, the log and backups.

    Rules:

    - a copy costs one row; its key is derived from the seller's secret each time and is never stored;
    - issuing is idempotent: the same (model, buyer, epoch, spec) gives the copy that exists already, another spec for
      the same (model, buyer, epoch) is a `ConflictError`;
    - nothing is trusted because it is in the home: digests of weights, code, manifests and specs are checked on use.

    Args:
        home: where the files are.
        registry: what was issued to whom.
        keyring: the seller's secrets.
        clock: Unix time in seconds.
        head_budget: bytes for the heads of the copies that were loaded last; loading one of these again is quick.
    """

    def __init__(
        self,
        home: Home,
        registry: Registry,
        keyring: KeyRing,
        *,
        clock: Callable[[], float] = time.time,
        head_budget: int = _HEAD_BUDGET,
    ) -> None:
        self.home = home
        self.registry = registry
        self.keyring = keyring
        self._clock = clock
        self._maker = CopyMaker(home, registry, keyring, head_budget=head_budget)

    @cached_property
    def _specs(self) -> "SpecShelf":
        from variegate.authority.specs import SpecShelf  # loads pydantic

        return SpecShelf(self.home, self.registry)

    @cached_property
    def _issuer(self) -> Issuer:
        return Issuer(self._specs, self.registry, self.keyring, clock=self._now)

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
        registry = Registry(place.registry_location(database_url), read_only=read_only)
        keyring = KeyRing(home, registry, access=access or Access(env={}), source=source)
        return cls(place, registry, keyring, head_budget=head_budget)

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
            InputError: if the folder may not be written.
            SecretError: if the provider cannot keep the secret.
        """
        access = access or Access(env={})
        create_home(home, secret, provider=provider, access=access, database_url=database_url)
        return cls.open(home, lambda: secret, access=access, database_url=database_url)

    @staticmethod
    def restore(
        home: Path,
        file: Path,
        *,
        database_url: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> LogHead:
        """Make a home whose registry is that of a backup, and return the end of its log.

        The other folders of the old home are copied into it by hand.

        Args:
            home: the folder; it may exist, if it has no registry.
            file: what `backup` wrote.
            database_url: where the registry is to be; None for a SQLite file in the home.
            progress: called with (lines done, lines in all).

        Raises:
            ConflictError: if there is a registry already.
            FormatError: if the file is no backup, or is truncated.
            VerificationError: if it was changed.
        """
        return restore_home(home, file, database_url=database_url, progress=progress)

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
        self.registry.close()

    def backup(self, file: Path, *, progress: Callable[[int, int], None] | None = None) -> "BackupSummary":
        """Write the whole registry to a new file, which appears atomically, and return what is in it.

        Args:
            file: the new file. Its mode is 0600: it may hold the salts of forgettable copies.
            progress: called with (rows so far, all rows).

        Raises:
            ConflictError: if there is such a file already.
            NotFoundError: if its folder does not exist.
            VariegateError: if it cannot be written, or the registry cannot be read.
        """
        from variegate.registry.backup import write_backup

        return write_backup(self.registry, file, progress=progress)

    # Secrets

    def secret(self, identifier: str | None = None) -> SellerSecret:
        """Return one of the seller's secrets; it lasts until the authority is closed.

        Args:
            identifier: which one; None for the current one, which new copies come from.

        Raises:
            SecretError: if it is missing, or is not the secret that this home's copies come from.
            NotFoundError: if the home has no such secret.
        """
        return self.keyring.current() if identifier is None else self.keyring.get(identifier)

    def secrets(self) -> list[SecretRow]:
        """Return what is public about the home's secrets, oldest first; the last is the current one."""
        return self.keyring.rows()

    def stray_secrets(self) -> list[tuple[Path, str | None]]:
        """Return the files in the secrets' folder that belong to no recorded secret, with the identifier in the name.

        They are what a killed rotation left, or secrets that the registry does not know because it was restored from an
        older backup: copies may have been issued under these.
        """
        return [(path, self.keyring.identifier_in(path)) for path in self.keyring.stray()]

    def rotate_secret(self, provider: str) -> SecretRow:
        """Make a new secret, from which copies are issued from now on; the others stay for the copies before it.

        Raises:
            ConfigurationError: if there is no such provider, or it lacks an option.
            ConflictError: if the provider gives a secret that the home has already.
            SecretError: if the provider cannot keep it.
        """
        return self.keyring.rotate(provider)

    def adopt_secret(self, identifier: str) -> SecretRow:
        """Record a secret whose file is in the home but that the registry lacks; it is the current one from now on.

        Raises:
            ConflictError: if the registry has it.
            NotFoundError: if there is no file of it.
            SecretError: if the file cannot be opened or holds another secret.
        """
        return self.keyring.take_in(identifier)

    def public_key(self, identifier: str) -> str:
        """Return the PEM text of the key that verifies what a secret signed.

        Raises:
            NotFoundError: if the home has no such secret.
        """
        return self.keyring.public_key(identifier)

    # Originals, specs, policies

    def import_model(self, imported: "ImportedModel") -> "ModelManifest":
        """Take over an original that `variegate.models.loading.prepare_import` made ready.

        Raises:
            ConflictError: if a model of this name exists.
        """
        manifest = imported.manifest
        place_model(self.home.model(manifest.name), imported, self.registry)
        return manifest

    def model(self, name: str) -> "ModelManifest":
        """Return the manifest of an original.

        Raises:
            NotFoundError: if there is none of this name.
        """
        return self.registry.read(get_model, name)

    def models(self) -> "list[ModelManifest]":
        """Return the manifests of all originals, oldest first."""
        return self.registry.read(list_models)

    def model_folder(self, name: str) -> Path:
        """Return the folder of an original's files."""
        return self.home.model(name)

    def original(self, model: str) -> "Classifier":
        """Load an original; the one used last is kept.

        Raises:
            NotFoundError: if there is no such model.
            VerificationError: if a file of it was changed since the import.
        """
        return self._maker.original(self.model(model))

    def save_spec(
        self,
        name: str,
        spec: "AbstractSpec",
        *,
        model: str | None = None,
        record: Mapping[str, Any] | None = None,
        replace: bool = False,
    ) -> "SavedSpec":
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

    def list_specs(self) -> "list[SavedSpec]":
        """Return all saved specs, by name."""
        return self._specs.all()

    def saved_spec(self, name: str) -> "SavedSpec":
        """Return the spec of this name.

        Raises:
            NotFoundError: if there is none.
        """
        return self._specs.get(name)

    def find_spec(self, name: str, *, model: str) -> "SavedSpec":
        """Return the spec called `name`, or the one called MODEL-name, as `variegate calibrate` names it.

        Raises:
            ConfigurationError: if the name is malformed, both exist, or the spec was calibrated for another original.
            NotFoundError: if there is neither.
        """
        return self._specs.find(name, model)

    def create_policy(self, name: str, *, spec: str, **terms: Any) -> "Policy":  # noqa: ANN401 (`Policy` types them)
        """Make and record a policy.

        Args:
            name: what to call it.
            spec: the name of the saved spec that copies are made with.
            **terms: the other fields of `variegate.authority.specs.Policy`, which says what they mean: quota, rate, ...

        Raises:
            ConfigurationError: if a value is out of range, or the spec cannot be issued under these terms.
            ConflictError: if another policy has this name.
            NotFoundError: if there is no such spec.
        """
        return self._specs.create_policy(name, spec, terms)

    def policy(self, name: str) -> "Policy":
        """Return the policy of this name.

        Raises:
            NotFoundError: if there is none.
        """
        return self._specs.policy(name)

    def policies(self) -> list[PolicyRow]:
        """Return all policies as they were recorded, oldest first."""
        return self.registry.read(list_policies)

    # Issuing

    def issue(
        self,
        model: str,
        spec_name: str | None,
        buyers: Sequence[str],
        *,
        policy: str | None = None,
        epoch: int = 1,
        bulk: bool = False,
        skipped: Skipped | None = None,
    ) -> "list[CopyManifest]":
        """Issue one copy to each buyer, all or none, and return their manifests in the order of `buyers`.

        Args:
            model: the original's name.
            spec_name: the spec's name; None to take the policy's.
            buyers: who receives a copy.
            policy: the name of the policy to issue under, if any.
            epoch: 1 for a buyer's first copy of a model; a later one supersedes their active copies of lower epochs.
            bulk: skip buyers whose copy is revoked, superseded or expired, or of a later epoch, instead of
                refusing all.
            skipped: counts them, and the buyers who keep a copy of an earlier secret.

        Raises:
            NotFoundError: if there is no such model, spec or policy.
            ConfigurationError: if a buyer's name is malformed, or the spec was calibrated for another model.
            ConflictError: if a buyer holds a copy of this model and epoch that was made with another spec or policy, or
                that is no longer active or expired; or has had one of a later epoch and none of this; or no copy is
                left that is far enough from the others; it names the first such buyer.
            SecretError: if the secret is missing or is not this home's.
        """
        terms = self._issuer.terms(model, spec_name, policy=policy, bulk=bulk, skipped=skipped)
        return self._issuer.issue(terms, buyers, epoch=epoch)

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
        skipped: Skipped | None = None,
    ) -> int:
        """Issue one copy to each buyer, in bounded memory, and return how many copies are new.

        Copies are recorded in batches of `BATCH_ROWS`, each completely or not at all; after an error or a kill,
        the same call resumes with the buyers who have no copy yet.

        Raises:
            VariegateError: as `issue`; earlier batches are recorded then.
        """
        terms = self._issuer.terms(model, spec_name, policy=policy, bulk=bulk, skipped=skipped)
        return self._issuer.issue_many(terms, buyers, epoch=epoch, progress=progress)

    def check_issue(self, model: str, spec_name: str | None, *, policy: str | None = None) -> Terms:
        """Check all that issuing needs but the buyers, without recording anything, and return the terms."""
        return self._issuer.terms(model, spec_name, policy=policy)

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
        skipped: Skipped | None = None,
    ) -> int:
        """Give buyers a copy with a later epoch, supersede their active ones, and return how many copies are new.

        Args:
            model: the original's name.
            spec_name: the new copies' spec; None to take the policy's.
            buyers: whose copies; None for every buyer with an active copy of the original.
            policy: the new copies' policy, if any.
            epoch: the new copies' epoch; buyers who have reached it are skipped, unless their copy comes from an
                earlier secret: they get their next one. None for each buyer's last + 1.
            progress: called with how many buyers are through.
            bulk: skip buyers without an active copy, instead of giving them one or refusing all.
            skipped: counts who was skipped.

        Raises:
            ConfigurationError: if buyers is None without an epoch: such a rotation could not be given again.
            NotFoundError: if a buyer has no copy of this original.
            VariegateError: as `issue`; earlier batches are recorded then.
        """
        if buyers is None and epoch is None:
            raise ConfigurationError("expected an epoch to rotate all buyers to; got none")
        terms = self._issuer.terms(model, spec_name, policy=policy, bulk=bulk, skipped=skipped)
        return self._issuer.rotate(terms, buyers, epoch=epoch, progress=progress)

    # Copies

    def copy(self, name: str) -> CopyRow:
        """Return what the registry knows of a copy.

        Raises:
            NotFoundError: if there is no such copy.
        """
        return self.registry.read(get_copy, name)

    def copies(
        self,
        *,
        limit: int | None = None,
        offset: int = 0,
        **which: Unpack[CopyFilter],
    ) -> list[CopyRow]:
        """Return the copies that match every given filter, in the order in which they were issued.

        Raises:
            ConfigurationError: if the limit or the offset is out of range.
        """
        return self.registry.read(list_copies, **which, limit=limit, offset=offset)

    def iterate_copies(self, **which: Unpack[CopyFilter]) -> Iterator[CopyRow]:
        """Yield the copies that match every given filter, in the order in which they were issued, in bounded memory."""
        return iterate_copies(self.registry, **which)

    def count_copies(self, **which: Unpack[CopyFilter]) -> int:
        """Return how many copies match every given filter."""
        return self.registry.read(count_copies, **which)

    def copies_of(self, buyers: Sequence[str], *, model: str | None = None, revoked: bool = False) -> list[str]:
        """Return the names of all copies of these buyers, the revoked ones only if asked for.

        Raises:
            NotFoundError: if one of them has none.
        """
        names: list[str] = []
        for buyer in buyers:
            rows = self.iterate_copies(buyer=buyer, model=model)
            found = [row.copy_id for row in rows if revoked or row.status is not CopyStatus.REVOKED]
            if not found:
                what = "" if model is None else f" of {model!r}"
                raise NotFoundError(f"buyer {buyer!r} has no copy{what} that could change; see: variegate copies ls")
            names += found
        return names

    def active_copy(self, buyer: str, *, model: str | None = None) -> str:
        """Return the name of a buyer's only active copy (of an original).

        Raises:
            NotFoundError: if there is none.
            ConfigurationError: if there are several.
        """
        rows = self.copies(buyer=buyer, model=model, status=CopyStatus.ACTIVE, limit=2)
        if not rows:
            what = "" if model is None else f" of {model!r}"
            raise NotFoundError(f"buyer {buyer!r} has no active copy{what}; see: variegate copies ls --buyer {buyer}")
        if len(rows) > 1:
            raise ConfigurationError(f"buyer {buyer!r} has several active copies; name one, or add --model")
        return rows[0].copy_id

    def revoke(self, copies: Sequence[str], *, reason: str = "") -> int:
        """Revoke copies, all or none, and return how many were not revoked already.

        Raises:
            ConfigurationError: if the reason is longer than 500 characters or not one line.
            NotFoundError: if one of them is not recorded.
        """
        return self._change(copies, CopyStatus.REVOKED, reason)

    def supersede(self, copies: Sequence[str], *, reason: str = "") -> int:
        """Mark copies as replaced by others, all or none, and return how many were not superseded already.

        Raises:
            ConfigurationError: if the reason is longer than 500 characters or not one line.
            ConflictError: if one of them is revoked.
            NotFoundError: if one of them is not recorded.
        """
        return self._change(copies, CopyStatus.SUPERSEDED, reason)

    def is_forgotten(self, copy: str) -> bool:
        """Return whether the key of a copy was discarded for good.

        Raises:
            NotFoundError: if there is no such copy.
        """
        return self.copy(copy).salted and self.registry.read(get_salt, copy) is None

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
        if not self.copy(copy).salted:
            raise ConflictError(
                f"the key of copy {copy} comes from the seller's secret alone and cannot be discarded: issue under a "
                "policy that was made with --forgettable"
            )
        try:
            return forget_salt(self.registry, copy)
        finally:
            self._maker.forget_heads()

    def copy_manifest(self, copy: str) -> "CopyManifest":
        """Return the manifest of an issued copy.

        Raises:
            NotFoundError: if there is no such copy.
        """
        row = self.copy(copy)
        return copy_manifest(row, self.registry.read(get_spec, row.spec_digest))

    def load_copy(self, copy: str) -> "RewrittenCopy":
        """Make an issued copy again, from the original, the spec and the key that the secret gives.

        Superseded, revoked and expired copies, too: they can still be traced. Check the copy's row before exporting or
        serving it. The copies of one original share it, its device included.

        Raises:
            NotFoundError: if there is no such copy.
            VerificationError: if the registry's row or a file was changed.
            SecretError: if the secret is missing or is not this home's.
        """
        return self._maker.load(copy)

    # Artifacts

    def export(
        self,
        copy: str,
        folder: Path,
        *,
        artifact: str,
        now: float | None = None,
        scores: bool = False,
        sample: "Tensor | None" = None,
        recipient: "Recipient | None" = None,
        overlay: bool = False,
    ) -> "ArtifactManifest":
        """Write an issued copy as a signed artifact and return its manifest (`write_artifact` says more).

        Args:
            copy: the copy's name.
            folder: the place; must not exist or be an empty folder.
            artifact: "onnx", "safetensors", "pt2" or "vgc".
            now: Unix time in seconds; None for the authority's clock.
            scores: give scores with the label (onnx, pt2).
            sample: inputs on which the payload is compared with the copy.
            recipient: who can open a vgc.
            overlay: whether a vgc holds the copy's tensors instead of its key.

        Raises:
            ConflictError: if the copy is not active, even if it is revoked meanwhile, or the folder holds files.
            ConfigurationError: if options contradict each other.
            NotFoundError: if there is no such copy.
            SecretError: if the secret is missing, or the copy's key was forgotten.
            VerificationError: if a row or file was changed, or the copy expired.
        """
        from variegate.authority.export import export_copy

        return export_copy(
            self,
            copy,
            folder,
            artifact=artifact,
            now=self._now() if now is None else now,
            scores=scores,
            sample=sample,
            recipient=recipient,
            overlay=overlay,
        )

    def revocations(self, *, now: int, next_update: int, secret: str | None = None) -> bytes:
        """Return the signed list of all revoked copies.

        Args:
            now: Unix time in whole seconds.
            next_update: when the next list will be there at the latest.
            secret: the identifier of the seller's secret whose signing key signs; None for the current one.
        """
        from variegate.authority.export import revocation_list

        return revocation_list(self, now=now, next_update=next_update, secret=secret)

    def verify(
        self,
        folder: Path,
        *,
        public_key_pem: bytes | None = None,
        now: float | None = None,
        **options: Any,  # noqa: ANN401
    ) -> "Verification":
        """Verify an artifact in numbered steps, the last of which ask this registry and its log.

        Args:
            folder: the artifact.
            public_key_pem: the seller's public key; None for the one of this home that the artifact names.
            now: Unix time in seconds; None for the authority's clock.
            **options: as for `variegate.artifacts.verify.verify_artifact`.

        Raises:
            NotFoundError: if no key is given and the registry knows none.
        """
        from variegate.artifacts.verify import verify_artifact
        from variegate.authority.verify import registry_checks, signing_pem

        return verify_artifact(
            folder,
            public_key_pem=signing_pem(self.registry, folder) if public_key_pem is None else public_key_pem,
            now=self._now() if now is None else now,
            checks=registry_checks(self.registry),
            **options,
        )

    # The log

    def log(self, *, after: int = 0, limit: int | None = None) -> list[EventRow]:
        """Return the entries of the log behind number `after`, oldest first, `limit` of them at most."""
        return list(islice(iterate_events(self.registry, after=after), limit))

    def log_head(self) -> LogHead:
        """Return the end of the log, to be kept elsewhere."""
        return self.registry.read(log_head)

    def verify_log(
        self, *, expect: LogHead | None = None, progress: Callable[[int, int], None] | None = None
    ) -> "LogReport":
        """Check the whole log against itself and against the rows that it speaks of.

        Args:
            expect: a head of the log that was kept elsewhere.
            progress: called with (rows so far, all rows).
        """
        from variegate.registry.verify import verify_log

        return self.registry.read(verify_log, expect=expect, progress=progress)

    def _now(self) -> float:
        return self._clock()

    def _change(self, copies: Sequence[str], status: CopyStatus, reason: str) -> int:
        if len(reason) > _REASON_LIMIT or not (reason == "" or reason.isprintable()):
            raise ConfigurationError(
                f"a reason must be one line of up to {_REASON_LIMIT} characters; got {len(reason)} characters"
            )
        return self.registry.write(change_status, list(dict.fromkeys(copies)), status, reason=reason)
