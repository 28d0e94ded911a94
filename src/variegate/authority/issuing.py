"""The names and manifests of issued copies: pure functions, no torch, no files."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from variegate.errors import ConfigurationError
from variegate.manifest import CopyManifest
from variegate.registry.protocol import MOST_EPOCH, CopyRow
from variegate.types import check_identifier

__all__ = ["copy_id", "copy_manifest", "copy_rows", "issue_time"]


def copy_id(*, model_digest: str, spec_digest: str, buyer: str, epoch: int) -> str:
    """Return the public name of a copy: "vg1-" and 20 hexadecimal digits.

    They are the first 80 bits of SHA-256 over "variegate-copy-v1", both digests, the buyer and the epoch, separated by
    zero bytes (which none of them holds). Whoever knows these can compute the name; it tells nothing of the key.
    """
    fields = "\0".join(("variegate-copy-v1", model_digest, spec_digest, buyer, str(epoch)))
    return f"vg1-{hashlib.sha256(fields.encode()).hexdigest()[:20]}"


def copy_rows(
    buyers: Iterable[str], *, model: str, model_digest: str, spec_digest: str, epoch: int, issued_at: int
) -> Iterator[CopyRow]:
    """Yield the registry's row for each buyer.

    Raises:
        ConfigurationError: if a buyer's name is malformed, or the epoch is not from 1 to `MOST_EPOCH`.
    """
    if not 1 <= epoch <= MOST_EPOCH:
        raise ConfigurationError(f"the epoch counts a buyer's copies from 1 to {MOST_EPOCH}; got {epoch}")
    for buyer in buyers:
        check_identifier(buyer, "a buyer's name")
        yield CopyRow(
            copy_id=copy_id(model_digest=model_digest, spec_digest=spec_digest, buyer=buyer, epoch=epoch),
            model=model,
            model_digest=model_digest,
            spec_digest=spec_digest,
            buyer=buyer,
            epoch=epoch,
            issued_at=issued_at,
        )


def copy_manifest(row: CopyRow, spec: Mapping[str, Any]) -> CopyManifest:
    """Return the manifest that goes out with a copy; `spec` is the one with the row's `spec_digest`."""
    return CopyManifest(
        copy_id=row.copy_id,
        model=row.model,
        model_digest=row.model_digest,
        rewriter=str(spec["rewriter"]),
        spec=dict(spec),
        spec_digest=row.spec_digest,
        buyer=row.buyer,
        epoch=row.epoch,
        issued_at=issue_time(row.issued_at),
    )


def issue_time(seconds: int) -> str:
    """Return Unix time as manifests write it, such as "2026-01-31T12:00:00Z"."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
