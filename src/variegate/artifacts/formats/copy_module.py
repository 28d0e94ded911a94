"""A copy as one module, to be exported: input to label, or to label and scores."""

import copy as copying
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

import torch
from torch import Tensor, nn

from variegate.errors import ConfigurationError
from variegate.rewriters.base import RewrittenCopy
from variegate.rewriters.secrecy import NeverPickled


@final
class CopyModule(NeverPickled, nn.Module):
    """float32 (N, *input_shape) to int64 (N,) labels; with `scores` to a pair, the float32 (N, n) scores second.

    Args:
        copy: the copy; one on another device is brought to the CPU, as a copy of its own.
        scores: whether the scores come out too.

    Raises:
        ConfigurationError: if the head reads layers of the original, which an exported graph does not carry.
    """

    def __init__(self, copy: RewrittenCopy, *, scores: bool) -> None:
        super().__init__()
        if copy.head.layers:
            raise ConfigurationError(
                f"a copy whose rewriter reads layers {', '.join(copy.head.layers)} of the original cannot be exported "
                "as a graph; choose safetensors or vgc"
            )
        original, head = copy.original, copy.head
        if original.device.type != "cpu":
            original, head = copying.deepcopy(original).to("cpu"), copying.deepcopy(head).to("cpu")
        self.network = original.module  # registered here, so that an exporter finds its parameters
        self.head = head
        self.with_scores = scores
        self._differentiable_scores = original.differentiable_scores
        self.eval()

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return the labels, or the labels and the scores."""
        scores: Tensor = self.head(x, self._differentiable_scores(x), {})
        labels = scores.argmax(1)
        return (labels, scores) if self.with_scores else labels


def example_inputs(copy: RewrittenCopy, rows: int, *, seed: int = 0) -> Tensor:
    """Return float32 (rows, *input_shape): uniform noise within the bounds."""
    noise = torch.rand((rows, *copy.input_shape), generator=torch.Generator().manual_seed(seed))
    return copy.bounds.lower + copy.bounds.range * noise


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporters' talk from the user: warnings and log lines, such as "torchvision is not installed"."""
    names = ("torch.onnx", "torch.export", "torch._export", "onnxscript", "onnx_ir")
    loggers = [logging.getLogger(name) for name in names]
    before = [(logger, logger.level, logger.disabled) for logger in loggers]
    known = [one for name, one in logging.root.manager.loggerDict.items() if name.startswith(names)]
    before += [(one, one.level, one.disabled) for one in known if isinstance(one, logging.Logger)]
    try:
        for logger, _, _ in before:
            logger.setLevel(logging.CRITICAL + 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level, disabled in before:
            logger.setLevel(level)
            logger.disabled = disabled
