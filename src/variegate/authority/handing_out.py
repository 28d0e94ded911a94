"""What leaves the desk, artifacts and lists of revoked copies, and what the registry says of an artifact."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from variegate.artifacts.exporting import write_artifact
from variegate.artifacts.manifest import MANIFEST_FILE, MOST_MANIFEST_BYTES, ArtifactManifest
from variegate.artifacts.recipients import Recipient
from variegate.artifacts.revocations import sign_revocations
from variegate.artifacts.verify import Check, Step
from variegate.authority.issue_copies import derive_key, require_key
from variegate.authority.issuing import copy_manifest, issue_time
from variegate.errors import ConflictError, NotFoundError, VariegateError, VerificationError
from variegate.files import read_bounded
from variegate.manifest import load_json
from variegate.registry.copies import get_copy, iterate_copies
from variegate.registry.log import log_head
from variegate.registry.records import get_model, get_spec, list_secrets
from variegate.registry.registry import Registry
from variegate.registry.rows import CopyRow, SecretRow
from variegate.registry.verify import verify_log
from variegate.signing import key_digest, read_public_key, signing_key
from variegate.types import CopyStatus

if TYPE_CHECKING:
    from torch import Tensor

    from variegate.authority.authority import Authority

ArtifactFormat = Literal["onnx", "safetensors", "pt2", "vgc"]


def export_copy(
    desk: "Authority",
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
    """Write an issued copy as a signed artifact and return its manifest (`write_artifact` says more).

    Args:
        desk: the authority.
        copy: the copy's name.
        folder: the place; must not exist or be an empty folder.
        artifact: "onnx", "safetensors", "pt2" or "vgc".
        now: Unix time in seconds.
        scores: give scores beside the label (onnx, pt2).
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
    row = _require_exportable(desk.store, copy, now)
    desk.keyring.adopt()  # else nobody could tell the signing key of a home of format 1
    spec = desk.store.read(get_spec, row.spec_digest)
    by_key = artifact == "vgc" and not overlay

    def last_look() -> None:  # making the payload takes a while, and others change the registry meanwhile
        require_key(desk.store, _require_exportable(desk.store, copy, now))

    return write_artifact(
        folder,
        copy_manifest=copy_manifest(row, spec),
        model_manifest=desk.store.read(get_model, row.model),
        copy=desk.load_copy(copy),
        key=derive_key(desk.store, desk.keyring, row, str(spec["rewriter"])) if by_key else None,
        signing=signing_key(desk.keyring.current()),
        artifact=cast("ArtifactFormat", artifact),
        log=desk.store.read(log_head),
        created_at=now,
        expires_at=row.expires_at,
        scores=scores,
        sample=sample,
        recipient=recipient,
        content="overlay" if overlay else "key",
        before_it_appears=last_look,
    )


def revocation_list(desk: "Authority", *, now: int, next_update: int, secret: str | None = None) -> bytes:
    """Return the signed list of all revoked copies.

    Args:
        desk: the authority.
        now: Unix time in whole seconds.
        next_update: when the next list will be there at the latest.
        secret: the identifier of the seller's secret whose signing key signs; None for the current one.
    """
    desk.keyring.adopt()
    head = desk.store.read(log_head)
    revoked = (row.copy_id for row in iterate_copies(desk.store, status=CopyStatus.REVOKED))
    key = signing_key(desk.keyring.current() if secret is None else desk.keyring.get(secret))
    return sign_revocations(revoked, key, issued_at=now, next_update=next_update, log=head)


def signing_pem(store: Registry, folder: Path) -> bytes:
    """Return the seller's own public key that an artifact claims to be signed with; the current one if it names none.

    Raises:
        NotFoundError: if the registry knows no signing key yet.
    """
    known = [row.public_key.encode() for row in store.read(list_secrets)]
    if not known:
        raise NotFoundError("this home knows no signing key yet: issue a copy first, or give --public-key")
    try:
        claimed = load_json(read_bounded(folder / MANIFEST_FILE, MOST_MANIFEST_BYTES), MANIFEST_FILE).get("signing_key")
    except VariegateError:
        claimed = None
    return next((pem for pem in known if key_digest(read_public_key(pem)) == claimed), known[-1])


def registry_checks(store: Registry, *, chain: bool = True) -> Sequence[Check]:
    """Return the steps of a verification that ask the seller's own registry: the copy's row, its state, the log.

    A copy passes if it was signed by the key of the secret that it was issued under, or of a later one, and is not
    revoked.

    Args:
        store: the registry.
        chain: whether to check the whole log; it is read once from end to end.
    """

    def registry(manifest: ArtifactManifest) -> Step:
        row = store.read(get_copy, manifest.copy_id)
        facts = {
            "model": row.model,
            "model_digest": row.model_digest,
            "spec_digest": row.spec_digest,
            "buyer": row.buyer,
            "epoch": row.epoch,
            "issued_at": issue_time(row.issued_at),
            "expires_at": None if row.expires_at is None else issue_time(row.expires_at),
        }
        for name, value in facts.items():
            if getattr(manifest, name) != value:
                raise VerificationError(f"the registry has another {name} for copy {manifest.copy_id}")
        signer = _signer(store.read(list_secrets), row, manifest.signing_key)
        detail = f"recorded for buyer {row.buyer}; signed with the key of the secret {signer}"
        return Step(number=0, name="registry", outcome="passed", detail=detail)

    def state(manifest: ArtifactManifest) -> Step:
        status = store.read(get_copy, manifest.copy_id).status
        if status is CopyStatus.REVOKED:
            raise VerificationError(f"the copy {manifest.copy_id} is revoked")
        return Step(number=0, name="state", outcome="passed", detail=f"the copy is {status}")

    def log(manifest: ArtifactManifest) -> Step:
        report = store.read(verify_log, expect=manifest.log)
        if not report.ok:
            raise VerificationError(f"the log does not hold: {report.problem}")
        detail = f"{report.entries:,} entries hold, number {manifest.log.seq} as the manifest says"
        return Step(number=0, name="log", outcome="passed", detail=detail)

    return [registry, state, log] if chain else [registry, state]


def _require_exportable(store: Registry, copy: str, now: float) -> CopyRow:
    row = store.read(get_copy, copy)
    if row.status is not CopyStatus.ACTIVE:
        raise ConflictError(f"copy {copy} is {row.status}; only active copies are exported: rotate it")
    if row.expires_at is not None and row.expires_at <= now:
        raise VerificationError(f"copy {copy} expired on {issue_time(row.expires_at)}; rotate it")
    return row


def _signer(secrets: Sequence[SecretRow], row: CopyRow, digest: str) -> str:
    """The identifier of the secret whose key has this digest, if that key may sign the copy."""
    names = [secret.identifier for secret in secrets]
    by_digest = {key_digest(read_public_key(secret.public_key.encode())): secret.identifier for secret in secrets}
    if digest not in by_digest:
        raise VerificationError(
            f"the copy {row.copy_id} is signed with a key that belongs to no secret which the registry knows"
        )
    signer = by_digest[digest]
    if row.secret is not None and names.index(signer) < names.index(row.secret):
        raise VerificationError(
            f"the copy {row.copy_id} was issued under the secret {row.secret}, but is signed with the key of the "
            f"earlier secret {signer}: the desk signs with the newest, so whoever signed this has an old secret"
        )
    return signer
