"""The payloads that hold tensors, each compared with the copy before it is written."""

from pathlib import Path

from torch import Tensor

from variegate.artifacts.formats.agreement import Agreement, check_agreement
from variegate.artifacts.formats.head_tensors import head_tensors, restore_head
from variegate.artifacts.formats.onnx import onnx_bytes, onnx_labeler
from variegate.artifacts.formats.pt2 import export_program, program_bytes, program_labeler
from variegate.artifacts.formats.safetensors import write_safetensors
from variegate.errors import ConfigurationError
from variegate.files import write_atomic
from variegate.keys import CopyKey
from variegate.manifest import CopyManifest, ModelManifest
from variegate.rewriters.base import RewrittenCopy, original_shape, rewrite
from variegate.rewriters.catalog import spec_from_dict


def write_payload(
    path: Path,
    copy: RewrittenCopy,
    *,
    copy_manifest: CopyManifest,
    model_manifest: ModelManifest,
    artifact: str,
    scores: bool,
    sample: Tensor | None,
) -> Agreement:
    """Write an "onnx", "pt2" or "safetensors" payload to a new file.

    Raises:
        ConfigurationError: if a package is missing, or the rewriter cannot be exported.
        InputError: if the sample does not fit the copy, or the file cannot be written.
        ModelError: if the original cannot be exported, or the payload gives other labels than the copy.
    """
    if artifact == "onnx":
        data = onnx_bytes(copy, scores=scores)
        agreement = check_agreement(copy, onnx_labeler(data), what="the ONNX model", sample=sample)
        write_atomic(path, data)
        return agreement
    if artifact == "pt2":
        program = export_program(copy, scores=scores)
        agreement = check_agreement(copy, program_labeler(program), what="the exported program", sample=sample)
        write_atomic(path, program_bytes(program))
        return agreement
    if artifact == "safetensors":
        agreement = check_restorable(copy, copy_manifest, key=None, sample=sample)
        write_safetensors(path, copy, copy_manifest=copy_manifest, model_manifest=model_manifest)
        return agreement
    raise ConfigurationError(f"a payload must be onnx, pt2 or safetensors; got {artifact!r}")


def check_restorable(
    copy: RewrittenCopy, copy_manifest: CopyManifest, *, key: CopyKey | None, sample: Tensor | None
) -> Agreement:
    """Check that what is to be kept gives the copy back: its key, or without one its head's tensors.

    Raises:
        ModelError: if what comes back gives other labels.
    """
    spec = spec_from_dict(copy_manifest.spec)
    if key is not None:
        return check_agreement(
            copy, rewrite(copy.original, key, spec).predict, what="the copy of the key that was given", sample=sample
        )
    head = restore_head(spec, head_tensors(copy.head), original_shape(copy.original))
    restored = RewrittenCopy(copy.original, head)
    return check_agreement(copy, restored.predict, what="the copy made from its tensors again", sample=sample)
