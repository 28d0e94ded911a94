"""The rows and manifests of issued copies: no torch, no files."""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from variegate.authority.partners import MOST_DRAWS, PartnerGuard, Partners, draw_partners
from variegate.authority.terms import Terms, key_context
from variegate.errors import ConfigurationError
from variegate.keys import SALT_BYTES, CopyKey, SellerSecret
from variegate.manifest import CopyManifest
from variegate.manifest.identity import copy_id
from variegate.registry.rows import MAX_EPOCH, CopyRow
from variegate.types import check_identifier


def plain_rows(buyers: Iterable[tuple[str, int]], terms: Terms) -> Iterator[CopyRow]:
    """Yield a row for each (buyer, epoch), without its key.

    Raises:
        ConfigurationError: if a buyer's name is malformed, or an epoch is not from 1 to `MAX_EPOCH`.
    """
    model_digest, expires_at = terms.model.digest, terms.expires_at
    for buyer, epoch in buyers:
        check_identifier(buyer, "a buyer's name")
        if not 1 <= epoch <= MAX_EPOCH:
            raise ConfigurationError(f"the epoch counts a buyer's copies from 1 to {MAX_EPOCH}; got {epoch}")
        yield CopyRow(
            copy_id=copy_id(model_digest=model_digest, spec_digest=terms.spec_digest, buyer=buyer, epoch=epoch),
            model=terms.model.name,
            model_digest=model_digest,
            spec_digest=terms.spec_digest,
            buyer=buyer,
            epoch=epoch,
            issued_at=terms.issued_at,
            policy=terms.policy_name,
            secret=terms.secret,
            salted=terms.forgettable,
            expires_at=expires_at,
        )


def copy_rows(
    rows: Iterable[CopyRow], terms: Terms, secret: SellerSecret, salts: MutableMapping[str, bytes]
) -> Iterator[CopyRow]:
    """Yield the rows with their keys' identifiers; the salt of a row that is salted goes into `salts`.

    A copy that comes twice keeps its first salt: its row with that key is the one that is recorded.
    """
    for row in rows:
        salt = None
        if row.salted:
            salt = salts.setdefault(row.copy_id, secrets.token_bytes(SALT_BYTES))
        key = secret.derive(key_context(row, terms.rewriter), salt=salt)
        yield replace(row, key_identifier=key.identifier)


def far_enough(
    rows: Iterable[CopyRow],
    terms: Terms,
    derive: Callable[[CopyRow], CopyKey],
    earlier: Callable[[], Iterable[tuple[CopyRow, Partners]]],
) -> Iterator[CopyRow]:
    """Yield the rows, drawn anew until each is far enough from all earlier copies.

    Args:
        rows: rows with their keys' identifiers.
        terms: with a bound on equal partners, and the spec of a permutation rewriter.
        derive: gives the key of a row, by its `draw`.
        earlier: gives the permutation copies of this original that are recorded, with their partners; called when the
            first row is asked for, so that it sees what is recorded while the registry is held.

    Raises:
        ConflictError: if a buyer's draws all come too close.
    """
    equal = terms.most_equal_partners
    if equal is None:
        raise ConfigurationError("expected terms with a bound on equal partners; got none")
    classes = len(terms.model.labels)
    guard = PartnerGuard(classes=classes, dummy_classes=terms.spec["dummy_classes"], equal=equal)
    known: set[str] = set()
    for row, partners in earlier():
        known.add(row.copy_id)
        guard.add(partners)
    for row in rows:
        if row.copy_id in known:
            yield row
            continue
        for draw in range(MOST_DRAWS):
            drawn = replace(row, draw=draw)
            key = derive(drawn)
            partners = draw_partners(key, terms.spec, classes=classes)
            if guard.admits(partners):
                guard.add(partners)
                known.add(row.copy_id)
                yield replace(drawn, key_identifier=key.identifier)
                break
        else:
            raise guard.refuse(row.buyer)


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


def is_expired(row: CopyRow, now: float) -> bool:
    """Return whether a copy is no longer valid at `now`, Unix time in seconds."""
    return row.expires_at is not None and row.expires_at <= now


def issue_time(seconds: int) -> str:
    """Return Unix time as manifests write it, such as "2026-01-31T12:00:00Z"."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
