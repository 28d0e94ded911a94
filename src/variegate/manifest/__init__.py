"""Signed and hashed documents: canonical JSON, digests, and the manifests of originals and copies. Imports no torch.

`canonical` writes and reads JSON, `document` is the base of every document, `manifests` has the two manifests, which
load pydantic when they are first used.
"""

from typing import TYPE_CHECKING, Any

from variegate.manifest.canonical import canonical_json, copy_id, digest, load_json

if TYPE_CHECKING:
    from variegate.manifest.manifests import MANIFEST_FORMAT, CopyManifest, ModelManifest

__all__ = ["MANIFEST_FORMAT", "CopyManifest", "ModelManifest", "canonical_json", "copy_id", "digest", "load_json"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the module holds
    if name in ("MANIFEST_FORMAT", "CopyManifest", "ModelManifest"):
        from variegate.manifest import manifests

        return getattr(manifests, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
