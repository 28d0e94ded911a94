"""`Authority`: the seller's desk over one home folder."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, final

from variegate.authority.home import IDENTIFIER_KEY, Home, create_home
from variegate.authority.issuing import copy_id, copy_manifest, copy_rows
from variegate.authority.model_files import place_model
from variegate.authority.spec_files import SavedSpec, read_spec, write_spec
from variegate.errors import ConfigurationError, ConflictError, SecretError, VerificationError
from variegate.keys import KeyContext, SellerSecret
from variegate.manifest import CopyManifest, ModelManifest
from variegate.registry.protocol import CopyRow, Store
from variegate.registry.sqlite import SqliteStore
from variegate.types import check_identifier

if TYPE_CHECKING:
    from variegate.models.classifier import Classifier
    from variegate.models.loading import ImportedModel
    from variegate.rewriters.base import AbstractSpec, RewrittenCopy
    from variegate.rewriters.cache import HeadCache

__all__ = ["Authority", "SecretSource"]

SecretSource = Callable[[], SellerSecret]
"""Fetches the seller's secret when it is needed for the first time; it may ask a person."""

_HEAD_BUDGET = 256 * 2**20


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
        secret_source: called once, when the secret is needed.
        clock: Unix time in seconds.
        head_budget: bytes for the heads of the copies that were loaded last; loading one of these again is quick.
    """

    def __init__(
        self,
        home: Home,
        store: Store,
        secret_source: SecretSource,
        *,
        clock: Callable[[], float] = time.time,
        head_budget: int = _HEAD_BUDGET,
    ) -> None:
        self.home = home
        self.store = store
        self._secret_source = secret_source
        self._clock = clock
        self._secret: SellerSecret | None = None
        self._originals: dict[str, Classifier] = {}
        if head_budget < 0:
            raise ConfigurationError(f"the budget for heads must be 0 or more bytes; got {head_budget}")
        self._head_budget = head_budget
        self._heads: HeadCache | None = None  # made with the first copy: it needs torch

    @classmethod
    def open(
        cls, home: Path, secret_source: SecretSource, *, read_only: bool = False, head_budget: int = _HEAD_BUDGET
    ) -> Self:
        """Open an existing home.

        Args:
            home: the folder.
            secret_source: called once, when the secret is needed for the first time.
            read_only: open the registry without the right to write.
            head_budget: bytes for the heads of the copies that were loaded last.

        Raises:
            NotFoundError: if the folder is not a home.
            FormatError: if its registry is corrupt or newer than this variegate.
        """
        place = Home(home)
        place.require()
        store = SqliteStore(place.registry, read_only=read_only)
        return cls(place, store, secret_source, head_budget=head_budget)

    @classmethod
    def create(cls, home: Path, secret: SellerSecret, *, passphrase: bytes | None) -> Self:
        """Make a new home and open it.

        Args:
            home: the folder; it may exist if it is empty.
            secret: from which this home's copies will come, and no other.
            passphrase: seals the secret into the home; None if the secret is kept elsewhere.

        Raises:
            ConflictError: if the folder holds something already.
        """
        place = create_home(home, secret, passphrase=passphrase)
        return cls(place, SqliteStore(place.registry), lambda: secret)

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
        self._secret = None
        self._originals.clear()
        self._heads = None
        self.store.close()

    def secret(self) -> SellerSecret:
        """Return the seller's secret, fetched at the first call.

        Raises:
            SecretError: if it is missing, or is not the secret that this home's copies come from.
        """
        if self._secret is None:
            secret = self._secret_source()
            expected = self.store.get_meta(IDENTIFIER_KEY)
            if secret.identifier != expected:
                raise SecretError(
                    f"this is not the secret of {self.home.root}: expected the one with identifier {expected}, "
                    f"got {secret.identifier}"
                )
            self._secret = secret
        return self._secret

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

    def issue(self, model: str, spec_name: str, buyers: Sequence[str], *, epoch: int = 1) -> list[CopyManifest]:
        """Issue one copy to each buyer, all or none, and return their manifests in the order of `buyers`.

        Raises:
            NotFoundError: if there is no such model or spec.
            ConfigurationError: if a buyer's name is malformed, or the spec was calibrated for another model.
            ConflictError: if a buyer holds a copy of this model and epoch that was made with another spec, or that
                is no longer active; it names the first such buyer.
            SecretError: if the secret is missing or is not this home's.
        """
        if not buyers:
            raise ConfigurationError("expected at least one buyer to issue a copy to; got none")
        spec, rows = self._prepare(model, spec_name, buyers, epoch)
        issued = list(rows)
        if self.store.add_copies(issued, keep_existing=True) < len(issued):
            known = self.store.get_copies([row.copy_id for row in issued])
            issued = [known[row.copy_id] for row in issued]
        return [copy_manifest(row, spec) for row in issued]

    def issue_many(self, model: str, spec_name: str, buyers: Iterable[str], *, epoch: int = 1) -> int:
        """Issue one copy to each buyer, all or none, in bounded memory, and return how many copies are new.

        Raises:
            NotFoundError: if there is no such model or spec.
            ConfigurationError: if a buyer's name is malformed, or the spec was calibrated for another model.
            ConflictError: if a buyer holds a copy of this model and epoch that was made with another spec, or that
                is no longer active; it names the first such buyer.
            SecretError: if the secret is missing or is not this home's.
        """
        _, rows = self._prepare(model, spec_name, buyers, epoch)
        return self.store.add_copies(rows, keep_existing=True)

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
        from variegate.rewriters.catalog import spec_from_dict

        row = self.store.get_copy(copy)
        manifest = self.store.get_model(row.model)
        spec = spec_from_dict(self.store.get_spec(row.spec_digest))
        expected = copy_id(model_digest=manifest.digest, spec_digest=spec.digest, buyer=row.buyer, epoch=row.epoch)
        if expected != row.copy_id:
            raise VerificationError(f"copy {row.copy_id} does not belong to the model, spec and buyer of its row")
        original = self._load(manifest)
        if self._heads is None:
            self._heads = HeadCache(limit_bytes=self._head_budget)
        context = KeyContext(
            model_digest=manifest.digest,
            rewriter=spec.rewriter,
            spec_digest=spec.digest,
            buyer=row.buyer,
            epoch=row.epoch,
        )
        head = self._heads.get(row.copy_id, lambda: rewrite(original, self.secret().derive(context), spec).head)
        return RewrittenCopy(original, head)

    def _prepare(
        self, model: str, spec_name: str, buyers: Iterable[str], epoch: int
    ) -> tuple[Mapping[str, Any], Iterable[CopyRow]]:
        """Check what an issue needs: the secret, the model, the spec; return the spec and the rows to come."""
        manifest = self.store.get_model(model)
        saved = self.saved_spec(spec_name)
        if saved.model_digest is not None and saved.model_digest != manifest.digest:
            raise ConfigurationError(
                f"the spec {spec_name!r} was calibrated for model {saved.model!r}; got {model!r}: calibrate for it"
            )
        self.secret()
        spec_digest = self.store.add_spec(spec_name, saved.spec)
        rows = copy_rows(
            buyers,
            model=model,
            model_digest=manifest.digest,
            spec_digest=spec_digest,
            epoch=epoch,
            issued_at=int(self._clock()),
        )
        return saved.spec, rows

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
