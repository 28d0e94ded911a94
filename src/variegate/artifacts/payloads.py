"""The payloads that hold tensors, each compared with the copy before it is written.

An exporter may order float32 sums differently, so scores differ in their last bits. Labels may differ where the copy's
own scores nearly tie: within `TIE`. Of all others, at most the share `MAX_DISAGREEING` may differ.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import torch
from torch import Tensor

from variegate.artifacts.graphs import (
    example_inputs,
    export_program,
    onnx_bytes,
    onnx_labeler,
    program_bytes,
    program_labeler,
)
from variegate.artifacts.tensors import head_tensors, restore_head, write_safetensors
from variegate.errors import ConfigurationError, ModelError
from variegate.files import write_atomic
from variegate.keys import CopyKey
from variegate.manifest import CopyManifest, ModelManifest
from variegate.models.classifier import check_inputs
from variegate.rewriters.base import RewrittenCopy, original_shape, rewrite
from variegate.rewriters.catalog import spec_from_dict

TIE: Final = 1e-6
"""Scores of a copy sum to 1 in magnitude; two that differ by less than this are a tie."""
MAX_DISAGREEING: Final = 0.01
BATCH_SIZES: Final = (1, 2, 7, 64)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How the exported labels compare with the copy's.

    Attributes:
        inputs: how many inputs were labelled by both.
        ties: how many labels differ where the copy's scores tie.
        disagreeing: how many labels differ elsewhere.
    """

    inputs: int
    ties: int
    disagreeing: int


def check_agreement(
    copy: RewrittenCopy, predict: Callable[[Tensor], Tensor], *, what: str, sample: Tensor | None = None
) -> Agreement:
    """Compare labels in batches of 1, 2, 7 and 64 rows, and 64 from there on.

    Args:
        copy: the copy.
        predict: float32 (N, *input_shape) to the exported int64 (N,) labels.
        what: names the artifact in an error.
        sample: inputs to compare on, (N, *input_shape); uniform noise within the bounds by default.

    Raises:
        InputError: if the sample does not fit the copy, or is empty.
        ModelError: if more labels differ than rounding explains.
    """
    x = example_inputs(copy, sum(BATCH_SIZES)) if sample is None else sample
    x = check_inputs(x, copy.input_spec, what="the sample").detach().cpu()
    inputs = ties = disagreeing = start = 0
    sizes = iter(BATCH_SIZES)
    while start < len(x):
        part = x[start : start + next(sizes, BATCH_SIZES[-1])]
        start += len(part)
        scores, labels = copy.scores(part).cpu(), predict(part).cpu()
        if labels.shape != (len(part),) or labels.dtype != torch.int64:
            raise ModelError(
                f"{what} must return int64 ({len(part)},); it returns {labels.dtype} {tuple(labels.shape)}"
            )
        differs = labels != scores.argmax(1)
        given = scores.gather(1, labels.clamp(0, copy.num_classes - 1)[:, None])[:, 0]
        tied = differs & (scores.amax(1) - given <= TIE) & (labels >= 0) & (labels < copy.num_classes)
        inputs, ties, disagreeing = (
            inputs + len(part),
            ties + int(tied.sum()),
            disagreeing + int((differs & ~tied).sum()),
        )
    if inputs == 0 or disagreeing > MAX_DISAGREEING * inputs:
        raise ModelError(
            f"{what} gives other labels than the copy for {disagreeing} of {inputs} inputs (allowed: "
            f"{MAX_DISAGREEING:.0%}, scores within {TIE:g} not counted); it was not written: a larger quantization "
            "step depends less on rounding"
        )
    return Agreement(inputs=inputs, ties=ties, disagreeing=disagreeing)


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
