"""What leaves the seller's hands: signed artifacts of copies, and signed lists of revoked copies."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from variegate.artifacts.export import write_artifact
from variegate.artifacts.manifest import ArtifactManifest
from variegate.artifacts.revocations import sign_revocations
from variegate.artifacts.vgc_header import Recipient
from variegate.authority.issuing import copy_manifest
from variegate.errors import ConflictError, VerificationError
from variegate.registry.copies import get_copy, iterate_copies
from variegate.registry.log import log_head
from variegate.registry.records import get_model, get_spec
from variegate.registry.registry import Registry
from variegate.registry.rows import CopyRow, utc
from variegate.signing import signing_key
from variegate.types import CopyStatus

if TYPE_CHECKING:
    from torch import Tensor

    from variegate.authority.authority import Authority

ArtifactFormat = Literal["onnx", "safetensors", "pt2", "vgc"]


def export_copy(
    authority: "Authority",
    copy: str,
    folder: Path,
    *,
    artifact: str,
    now: float,
    scores: bool = False,
    sample: "Tensor | None" = None,
    recipient: Recipient | None = None,
    overlay: bool = False,
) -> ArtifactManifest:
    """See `Authority.export`."""
    row = _require_exportable(authority.registry, copy, now)
    spec = authority.registry.read(get_spec, row.spec_digest)
    by_key = artifact == "vgc" and not overlay

    def last_look() -> None:  # making the payload takes a while, and others change the registry meanwhile
        authority.keyring.require_key(_require_exportable(authority.registry, copy, now))

    return write_artifact(
        folder,
        copy_manifest=copy_manifest(row, spec),
        model_manifest=authority.registry.read(get_model, row.model),
        copy=authority.load_copy(copy),
        key=authority.keyring.copy_key(row, str(spec["rewriter"])) if by_key else None,
        signing=signing_key(authority.keyring.current()),
        artifact=cast("ArtifactFormat", artifact),
        log=authority.registry.read(log_head),
        created_at=now,
        expires_at=row.expires_at,
        scores=scores,
        sample=sample,
        recipient=recipient,
        content="overlay" if overlay else "key",
        before_it_appears=last_look,
    )


def revocation_list(authority: "Authority", *, now: int, next_update: int, secret: str | None = None) -> bytes:
    """See `Authority.revocations`."""
    head = authority.registry.read(log_head)
    revoked = (row.copy_id for row in iterate_copies(authority.registry, status=CopyStatus.REVOKED))
    key = signing_key(authority.keyring.current() if secret is None else authority.keyring.get(secret))
    return sign_revocations(revoked, key, issued_at=now, next_update=next_update, log=head)


def _require_exportable(registry: Registry, copy: str, now: float) -> CopyRow:
    row = registry.read(get_copy, copy)
    if row.status is not CopyStatus.ACTIVE:
        raise ConflictError(f"copy {copy} is {row.status}; only active copies are exported: rotate it")
    if row.expires_at is not None and row.is_expired(now):
        raise VerificationError(f"copy {copy} expired on {utc(row.expires_at)}; rotate it")
    return row
