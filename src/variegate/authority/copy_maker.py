"""Making issued copies again, from original, spec and key. Torch comes with the first original or copy."""

from typing import TYPE_CHECKING, final

from variegate.authority.home import Home
from variegate.authority.issue_copies import derive_key, require_key
from variegate.authority.keyring import KeyRing
from variegate.errors import ConfigurationError, VerificationError
from variegate.manifest import ModelManifest
from variegate.manifest.identity import copy_id
from variegate.registry.copies import get_copy
from variegate.registry.records import get_model, get_spec
from variegate.registry.registry import Registry
from variegate.registry.rows import CopyRow

if TYPE_CHECKING:
    from variegate.models.classifier import Classifier
    from variegate.rewriters.base import AbstractSpec, RewrittenCopy
    from variegate.rewriters.cache import HeadCache


@final
class CopyMaker:
    """Loads originals and makes copies of them; keeps the original used last and the heads of the copies used last.

    Args:
        home: where the originals lie.
        store: the registry.
        keyring: the seller's secrets.
        head_budget: bytes for heads.

    Raises:
        ConfigurationError: if the budget is below 0.
    """

    def __init__(self, home: Home, store: Registry, keyring: KeyRing, *, head_budget: int) -> None:
        if head_budget < 0:
            raise ConfigurationError(f"the budget for heads must be 0 or more bytes; got {head_budget}")
        self._home = home
        self._store = store
        self._keyring = keyring
        self._head_budget = head_budget
        self._originals: dict[str, Classifier] = {}
        self._heads: HeadCache | None = None  # made with the first copy: it needs torch

    def clear(self) -> None:
        """Let go of originals and heads."""
        self._originals.clear()
        self._heads = None

    def forget_heads(self) -> None:
        """Let go of all heads."""
        self._heads = None

    def original(self, manifest: ModelManifest) -> "Classifier":
        """See `Authority.original`."""
        from variegate.models.loading import load_classifier

        if manifest.digest not in self._originals:
            self.clear()  # heads share the original's device
            self._originals[manifest.digest] = load_classifier(manifest, self._home.model(manifest.name))
        return self._originals[manifest.digest]

    def load(self, copy: str) -> "RewrittenCopy":
        """See `Authority.load_copy`."""
        from variegate.rewriters.base import RewrittenCopy, rewrite
        from variegate.rewriters.cache import HeadCache

        row, manifest, spec = self._described(copy)
        require_key(self._store, row)  # another process may have discarded the key of a head that is kept here
        original = self.original(manifest)
        if self._heads is None:
            self._heads = HeadCache(limit_bytes=self._head_budget)
        head = self._heads.get(
            row.copy_id,
            lambda: rewrite(original, derive_key(self._store, self._keyring, row, spec.rewriter), spec).head,
        )
        return RewrittenCopy(original, head)

    def _described(self, copy: str) -> "tuple[CopyRow, ModelManifest, AbstractSpec]":
        """Return a copy's row, its original's manifest and its spec, checked against the copy's name."""
        from variegate.rewriters.catalog import spec_from_dict

        row = self._store.read(get_copy, copy)
        manifest = self._store.read(get_model, row.model)
        spec = spec_from_dict(self._store.read(get_spec, row.spec_digest))
        expected = copy_id(model_digest=manifest.digest, spec_digest=spec.digest, buyer=row.buyer, epoch=row.epoch)
        if expected != row.copy_id:
            raise VerificationError(f"copy {row.copy_id} does not belong to the model, spec and buyer of its row")
        return row, manifest, spec
