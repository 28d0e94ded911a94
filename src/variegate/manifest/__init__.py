"""Frozen records of an original and of a copy, their canonical JSON and their digests. Imports no torch.

`canonical` writes and reads JSON, `fields` checks single fields, `records` has the manifests.
"""

from variegate.manifest.canonical import canonical_json, digest, load_json
from variegate.manifest.records import MANIFEST_FORMAT, CopyManifest, ModelManifest

__all__ = ["MANIFEST_FORMAT", "CopyManifest", "ModelManifest", "canonical_json", "digest", "load_json"]
