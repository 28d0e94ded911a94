"""Does what was exported give the copy's labels? Asked before an artifact leaves the house.

An exporter may order float32 sums differently, so scores differ in their last bits. Labels may differ where the copy's
own scores nearly tie: within `TIE`. Of all others, at most the share `MOST_DISAGREEING` may differ.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor

from variegate.artifacts.formats.copy_module import example_inputs
from variegate.errors import ModelError
from variegate.models.classifier import check_inputs
from variegate.rewriters.base import RewrittenCopy

TIE: Final = 1e-6
"""Scores of a copy sum to 1 in magnitude; two that differ by less than this are a tie."""
MOST_DISAGREEING: Final = 0.01
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
    x = check_inputs(x, copy.input_shape, copy.bounds, what="the sample").detach().cpu()
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
    if inputs == 0 or disagreeing > MOST_DISAGREEING * inputs:
        raise ModelError(
            f"{what} gives other labels than the copy for {disagreeing} of {inputs} inputs (allowed: "
            f"{MOST_DISAGREEING:.0%}, scores within {TIE:g} not counted); it was not written: a larger quantization "
            "step depends less on rounding"
        )
    return Agreement(inputs=inputs, ties=ties, disagreeing=disagreeing)
