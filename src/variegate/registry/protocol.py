"""What the authority asks of a registry, and the rows that go in and out."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from variegate.manifest import ModelManifest
from variegate.types import CopyStatus

__all__ = ["MOST_EPOCH", "MOST_ROWS", "CopyRow", "Store"]

MOST_EPOCH = 2**31 - 1
"""The last epoch of a buyer's copies of one model."""
MOST_ROWS = 2**62
"""More than any registry holds; the largest limit and offset."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRow:
    """One issued copy, as the registry remembers it.

    Attributes:
        copy_id: the public name of the copy.
        model: the name of the original.
        model_digest: the digest of the original's manifest.
        spec_digest: the digest of the rewriter's spec.
        buyer: who received the copy.
        epoch: 1 for a buyer's first copy of a model; each rotation adds 1.
        status: where the copy stands in its life.
        issued_at: Unix time in whole seconds.
    """

    copy_id: str
    model: str
    model_digest: str
    spec_digest: str
    buyer: str
    epoch: int = 1
    status: CopyStatus = CopyStatus.ACTIVE
    issued_at: int


class Store(Protocol):
    """A registry of models, rewriter specs and issued copies.

    Every method raises a `VariegateError` with one sentence when the store behind it fails (read-only, full, busy,
    corrupt, newer format); nothing is half written.
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

    def add_copies(self, rows: Iterable[CopyRow], *, keep_existing: bool = False) -> int:
        """Record copies in one transaction and return how many are new; `rows` is read in bounded pieces.

        Args:
            rows: the copies; their models and specs are recorded before.
            keep_existing: a row whose `copy_id` is recorded already and active is passed over, instead of refused.

        Raises:
            ConflictError: if a buyer holds another copy for the same model and epoch, or one that is no longer active;
                it names the first such buyer. Nothing is recorded then.
            NotFoundError: if a row's model or spec is not recorded.
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

    def close(self) -> None:
        """Let go of files and connections; the store cannot be used afterwards."""
        ...
