"""Writing an artifact: payload, manifest and signature in one folder, which appears atomically.

Importing this module imports no torch; the payloads that hold tensors do, when they are written.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.asymmetric import ec

from variegate import __version__
from variegate.artifacts.manifest import MANIFEST_FILE, PAYLOADS, ArtifactKind, ArtifactManifest, utc_text
from variegate.artifacts.vgc import Content, check_together, seal_copy
from variegate.artifacts.vgc_header import Recipient
from variegate.errors import ConfigurationError
from variegate.files import folder_that_appears_whole, sha256_file, write_atomic
from variegate.keys import CopyKey
from variegate.manifest import CopyManifest, ModelManifest
from variegate.manifest.canonical import canonical_json
from variegate.registry.rows import LogHead
from variegate.signing import BUNDLE_FILE, key_digest, sign_folder

if TYPE_CHECKING:
    from torch import Tensor

    from variegate.rewriters.base import RewrittenCopy

_GRAPHS: Final = ("onnx", "pt2")


def write_artifact(
    folder: str | Path,
    *,
    copy_manifest: CopyManifest,
    model_manifest: ModelManifest,
    copy: "RewrittenCopy | None",
    key: CopyKey | None = None,
    signing: ec.EllipticCurvePrivateKey,
    artifact: ArtifactKind,
    log: LogHead,
    created_at: float,
    expires_at: float | None = None,
    scores: bool = False,
    sample: "Tensor | None" = None,
    recipient: Recipient | None = None,
    content: Content = "key",
    before_it_appears: Callable[[], None] | None = None,
) -> ArtifactManifest:
    """Write a copy as a signed folder and return its manifest.

    Args:
        folder: the place, which must not exist or be an empty folder.
        copy_manifest: of the copy.
        model_manifest: of its original.
        copy: the copy; may be None only for a vgc with the key.
        key: the copy's key; needed for a vgc with the key, and used for nothing else.
        signing: the seller's signing key.
        artifact: "onnx", "pt2", "safetensors" or "vgc".
        log: the end of the seller's log.
        created_at: now, Unix time in seconds.
        expires_at: from when the copy is no longer valid, Unix time in seconds.
        scores: for onnx and pt2: give scores next to the label. The caller warns: with scores, attacks take far fewer
            queries. Anyone who holds safetensors or an opened vgc can compute scores anyway.
        sample: inputs (N, *input_shape) on which the payload's labels are compared with the copy's; uniform noise
            within the bounds by default.
        recipient: for vgc: who can open it.
        content: for vgc: the copy's "key" or its "overlay".
        before_it_appears: called when all is written and before the folder appears; what it raises prevents that.

    Raises:
        ConfigurationError: if options contradict each other, or a package for the format is missing.
        ConflictError: if the folder exists and is not empty.
        InputError: if the folder may not be written, or the sample does not fit.
        ModelError: if the copy cannot be exported, or the payload's labels are not the copy's.
    """
    _check_options(copy, key, artifact, recipient, content, scores=scores)
    check_together(copy_manifest, model_manifest)
    place = Path(folder)
    with folder_that_appears_whole(place) as building:
        payload = building / PAYLOADS[artifact]
        if recipient is not None:
            sealed_key = key if content == "key" else None
            head = copy.head if copy is not None and content == "overlay" else None
            if copy is not None:
                from variegate.artifacts.payloads import check_restorable

                check_restorable(copy, copy_manifest, key=sealed_key, sample=sample)
            write_atomic(
                payload, seal_copy(copy_manifest, model_manifest, recipient=recipient, key=sealed_key, head=head)
            )
        elif copy is not None:
            from variegate.artifacts.payloads import write_payload

            write_payload(
                payload,
                copy,
                copy_manifest=copy_manifest,
                model_manifest=model_manifest,
                artifact=artifact,
                scores=scores,
                sample=sample,
            )
        manifest = ArtifactManifest(
            artifact=artifact,
            files={payload.name: sha256_file(payload)},
            **copy_manifest.identity,
            issued_at=copy_manifest.issued_at,
            expires_at=None if expires_at is None else utc_text(expires_at),
            created_at=utc_text(created_at),
            signing_key=key_digest(signing),
            log=log,
            input_shape=model_manifest.input_shape,
            bounds=model_manifest.bounds,
            num_classes=len(model_manifest.labels),
            output="scores" if scores or artifact not in _GRAPHS else "label",
            made_with=__version__,
        )
        write_atomic(building / MANIFEST_FILE, canonical_json(manifest.to_dict()))
        write_atomic(building / BUNDLE_FILE, sign_folder(building, signing, name=copy_manifest.copy_id))
        if before_it_appears is not None:
            before_it_appears()
    return manifest


def _check_options(
    copy: "RewrittenCopy | None",
    key: CopyKey | None,
    artifact: str,
    recipient: Recipient | None,
    content: str,
    *,
    scores: bool,
) -> None:
    if artifact not in PAYLOADS:
        raise ConfigurationError(f"an artifact must be one of {', '.join(PAYLOADS)}; got {artifact!r}")
    if (artifact == "vgc") != (recipient is not None):
        raise ConfigurationError(
            "a vgc is sealed to a recipient: give an X25519 public key or a passphrase"
            if recipient is None
            else f"only a vgc is sealed to a recipient; {artifact} is readable by anyone who holds it"
        )
    if scores and artifact not in _GRAPHS:
        raise ConfigurationError(f"scores can be asked for with {' and '.join(_GRAPHS)}; got {artifact}")
    if content not in ("key", "overlay"):
        raise ConfigurationError(f"a vgc's content must be key or overlay; got {content!r}")
    by_key = artifact == "vgc" and content == "key"
    if by_key and key is None:
        raise ConfigurationError("a vgc with the copy's key needs the key; it was not given")
    if not by_key and copy is None:
        raise ConfigurationError(f"an artifact of kind {artifact} needs the copy; it was not given")
