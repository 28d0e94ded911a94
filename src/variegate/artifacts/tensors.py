"""A copy as tensors with names (`model.safetensors`): the original's, the head's, and the records that join them.

    original.<name>     the original's weights
    head.<name>         the tensors that the copy's key decides
    metadata            "variegate": canonical JSON {"copy": CopyManifest, "format": 1, "model": ModelManifest}

Reading it runs no code of the file; the original's architecture comes from the catalog, or from the seller's own files,
which the reader must have and whose digests are checked.

A rewriter keeps all that depends on the key in buffers or parameters of its head; everything else follows from spec and
shape. So a head built from any key becomes the copy's head when its tensors are replaced. A plugin's head that breaks
this rule is found when an artifact is written: the restored copy must answer as the copy does.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from variegate.artifacts.manifest import PAYLOADS
from variegate.errors import FormatError, ModelError, VerificationError
from variegate.files import read_bounded, write_atomic
from variegate.keys import SECRET_BYTES, CopyKey
from variegate.manifest import CopyManifest, ModelManifest
from variegate.manifest.canonical import canonical_json, load_json, shown
from variegate.models.architectures.catalog import call_factory, find_architecture
from variegate.models.classifier import Classifier
from variegate.models.seller_code import import_factory, is_reference
from variegate.models.state import fit_state, load_state
from variegate.rewriters.base import AbstractHead, AbstractSpec, OriginalShape, RewrittenCopy, original_shape
from variegate.rewriters.catalog import spec_from_dict


def head_tensors(head: AbstractHead) -> dict[str, Tensor]:
    """Return the head's buffers and parameters by name, as copies on the CPU that share no memory."""
    named = (*head.named_buffers(remove_duplicate=False), *head.named_parameters(remove_duplicate=False))
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in named}


@torch.no_grad()
def restore_head(spec: AbstractSpec, tensors: Mapping[str, Tensor], shape: OriginalShape) -> AbstractHead:
    """Return the head that has these tensors.

    Raises:
        FormatError: if names, shapes or types are not those of the spec's head.
    """
    head = spec.build(CopyKey.from_bytes(bytes(SECRET_BYTES)), shape)  # whose tensors are all replaced
    expected = {**dict(head.named_buffers(remove_duplicate=False)), **dict(head.named_parameters())}
    if expected.keys() != tensors.keys():
        raise FormatError(
            f"the tensors of a {spec.rewriter} head must be {', '.join(sorted(expected))}; got "
            f"{', '.join(sorted(tensors))[:200]}"
        )
    for name, place in expected.items():
        tensor = tensors[name]
        if tensor.shape != place.shape or tensor.dtype != place.dtype:
            raise FormatError(
                f"the head's tensor {name} must be {place.dtype} {tuple(place.shape)}; got {tensor.dtype} "
                f"{tuple(tensor.shape)}"
            )
        place.copy_(tensor)
    return head


def tensors_to_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Return the tensors as safetensors."""
    return save(dict(tensors))


def tensors_from_bytes(data: bytes) -> dict[str, Tensor]:
    """Read what `tensors_to_bytes` wrote.

    Raises:
        FormatError: if it is no safetensors.
    """
    try:
        return load(data)
    except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise FormatError(f"the tensors are no whole safetensors: {str(error)[:160]}") from error


SAFETENSORS_FORMAT: Final = 1

_ORIGINAL: Final = "original."
_HEAD: Final = "head."
_METADATA: Final = "variegate"
_MAX_CODE_BYTES: Final = 2**20


def write_safetensors(
    path: Path, copy: RewrittenCopy, *, copy_manifest: CopyManifest, model_manifest: ModelManifest
) -> None:
    """Write the copy to a file, whole or not at all; the file's bytes are held in memory for that.

    Raises:
        InputError, NotFoundError, VariegateError: if the file cannot be written.
    """
    tensors: dict[str, Tensor] = {
        f"{_ORIGINAL}{name}": tensor.detach().cpu().contiguous().clone()
        for name, tensor in copy.original.module.state_dict().items()
    }
    tensors.update({f"{_HEAD}{name}": tensor for name, tensor in head_tensors(copy.head).items()})
    records = {"copy": copy_manifest.to_dict(), "format": SAFETENSORS_FORMAT, "model": model_manifest.to_dict()}
    write_atomic(path, save(tensors, metadata={"format": "pt", _METADATA: canonical_json(records).decode()}))


def load_safetensors_copy(path: Path | str, *, code: Path | str | None = None) -> RewrittenCopy:
    """Make the copy that `write_safetensors` wrote; verify the artifact first (`variegate.artifacts.verify`).

    Args:
        path: the file, or the artifact's folder.
        code: the folder with the seller's own Python files (or the one file), if the architecture is not in the
            catalog.

    Raises:
        ConfigurationError: if the rewriter is not known here.
        FormatError: if the file is no such copy.
        ModelError: if the architecture needs code that was not given, or the weights do not fit it.
        NotFoundError: if there is no such file or architecture.
        VerificationError: if the code or the weights are not those of the original's manifest.
    """
    path = Path(path)
    path = path / PAYLOADS["safetensors"] if path.is_dir() else path
    state = load_state(path)
    copy_manifest, model_manifest = _records(path)
    parts = {
        prefix: {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        for prefix in (_ORIGINAL, _HEAD)
    }
    if len(parts[_ORIGINAL]) + len(parts[_HEAD]) != len(state):
        raise FormatError(f"{path} must hold tensors named {_ORIGINAL}... and {_HEAD}... only; it holds others")
    original = _original(model_manifest, parts[_ORIGINAL], code)
    spec = spec_from_dict(copy_manifest.spec)
    return RewrittenCopy(original, restore_head(spec, parts[_HEAD], original_shape(original)))


def _records(path: Path) -> tuple[CopyManifest, ModelManifest]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata: Mapping[str, str] = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path} is not a whole safetensors file: {str(error)[:160]}") from error
    if _METADATA not in metadata:
        raise FormatError(f"{path} holds no record of a copy; it is another kind of safetensors file")
    values: dict[str, Any] = load_json(metadata[_METADATA].encode(), f"the record in {path}")
    if values.get("format") != SAFETENSORS_FORMAT or isinstance(values["format"], bool):
        raise FormatError(
            f"{path} has format {shown(values.get('format'))}, expected {SAFETENSORS_FORMAT}: it needs another version "
            "of variegate"
        )
    copy, model = CopyManifest.from_dict(values.get("copy", {})), ModelManifest.from_dict(values.get("model", {}))
    if copy.model_digest != model.digest:
        raise FormatError(f"{path} holds the records of a copy and of another original")
    return copy, model


def _original(manifest: ModelManifest, state: Mapping[str, Tensor], code: Path | str | None) -> Classifier:
    if is_reference(manifest.architecture):
        sources = _sources(manifest, code)
        factory = import_factory(manifest.architecture, sources, origin=Path(code) if code is not None else None)
    else:
        factory = find_architecture(manifest.architecture)
    what = f"architecture {manifest.architecture!r} of model {manifest.name}"
    module = call_factory(factory, what, manifest.arguments)
    fit_state(module, state, what)
    with torch.no_grad():
        original = Classifier(
            module,
            input_shape=manifest.input_shape,
            labels=manifest.labels,
            bounds=manifest.bounds,
            mean=manifest.mean,
            std=manifest.std,
            outputs=manifest.outputs,
        )
    if original.digest != manifest.weights_digest:
        raise VerificationError(
            f"the weights have digest {original.digest[:23]}..., the original's manifest says "
            f"{manifest.weights_digest[:23]}..."
        )
    return original


def _sources(manifest: ModelManifest, code: Path | str | None) -> dict[str, bytes]:
    expected = {name.removeprefix("code/"): sha for name, sha in manifest.files.items() if name.startswith("code/")}
    if code is None:
        raise ModelError(
            f"the architecture {manifest.architecture!r} is the seller's own; give the folder with its code: "
            f"{', '.join(sorted(expected))}"
        )
    folder = Path(code) if Path(code).is_dir() else Path(code).parent
    sources = {name: read_bounded(folder / name, _MAX_CODE_BYTES) for name in expected}
    for name, content in sources.items():
        if hashlib.sha256(content).hexdigest() != expected[name]:
            raise VerificationError(
                f"{folder / name} is not the seller's file: its SHA-256 differs from the manifest's"
            )
    return sources
