"""What the seller's own registry says of an artifact: its copy, the state of the copy, the log. No torch."""

from collections.abc import Sequence
from pathlib import Path

from variegate.artifacts.manifest import MANIFEST_FILE, MAX_MANIFEST_BYTES, ArtifactManifest
from variegate.artifacts.verify import Check, Step
from variegate.errors import NotFoundError, VariegateError, VerificationError
from variegate.files import read_bounded
from variegate.manifest import load_json
from variegate.registry.copies import get_copy
from variegate.registry.records import list_secrets
from variegate.registry.registry import Registry
from variegate.registry.rows import CopyRow, SecretRow, utc
from variegate.registry.verify import verify_log
from variegate.signing import key_digest, read_public_key
from variegate.types import CopyStatus


def signing_pem(registry: Registry, folder: Path) -> bytes:
    """Return the seller's own public key that an artifact claims to be signed with; the current one if it names none.

    Raises:
        NotFoundError: if the registry knows no signing key yet.
    """
    known = [row.public_key.encode() for row in registry.read(list_secrets)]
    if not known:
        raise NotFoundError("this home knows no signing key yet: issue a copy first, or give --public-key")
    try:
        claimed = load_json(read_bounded(folder / MANIFEST_FILE, MAX_MANIFEST_BYTES), MANIFEST_FILE).get("signing_key")
    except VariegateError:
        claimed = None
    return next((pem for pem in known if key_digest(read_public_key(pem)) == claimed), known[-1])


def registry_checks(source: Registry, *, chain: bool = True) -> Sequence[Check]:
    """Return the steps of a verification that ask the seller's own registry: the copy's row, its state, the log.

    A copy passes if it was signed by the key of the secret that it was issued under, or of a later one, and is not
    revoked.

    Args:
        source: the registry.
        chain: whether to check the whole log; it is read once from end to end.
    """

    def registry(manifest: ArtifactManifest) -> Step:
        row = source.read(get_copy, manifest.copy_id)
        facts = {
            "model": row.model,
            "model_digest": row.model_digest,
            "spec_digest": row.spec_digest,
            "buyer": row.buyer,
            "epoch": row.epoch,
            "issued_at": utc(row.issued_at),
            "expires_at": None if row.expires_at is None else utc(row.expires_at),
        }
        for name, value in facts.items():
            if getattr(manifest, name) != value:
                raise VerificationError(f"the registry has another {name} for copy {manifest.copy_id}")
        signer = _signer(source.read(list_secrets), row, manifest.signing_key)
        detail = f"recorded for buyer {row.buyer}; signed with the key of the secret {signer}"
        return Step(number=0, name="registry", outcome="passed", detail=detail)

    def state(manifest: ArtifactManifest) -> Step:
        status = source.read(get_copy, manifest.copy_id).status
        if status is CopyStatus.REVOKED:
            raise VerificationError(f"the copy {manifest.copy_id} is revoked")
        return Step(number=0, name="state", outcome="passed", detail=f"the copy is {status}")

    def log(manifest: ArtifactManifest) -> Step:
        report = source.read(verify_log, expect=manifest.log)
        if not report.ok:
            raise VerificationError(f"the log does not hold: {report.problem}")
        detail = f"{report.entries:,} entries hold, number {manifest.log.seq} as the manifest says"
        return Step(number=0, name="log", outcome="passed", detail=detail)

    return [registry, state, log] if chain else [registry, state]


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
            f"earlier secret {signer}: the authority signs with the newest, so somebody with an old secret signed this"
        )
    return signer
