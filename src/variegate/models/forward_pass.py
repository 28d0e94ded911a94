"""How a forward pass is run: on how many rows at once, and in which precision.

Rows follow from a budget of bytes of float32 input, so that memory is bounded for large images too; the activations of
a network are some multiple of its input. Networks and heads run in full float32: on CUDA devices PyTorch lets cuDNN
round the factors of convolutions to TF32 (10 bits) by default, which moves scores by more than rewriters allow for.
"""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

_CPU_ROWS, _CPU_BYTES = 64, 2**26  # larger batches fall out of the cache of a core and run slower
_CPU_PASSES = 16
# Seen on one H100, in float32 without TF32: a residual network of 0.7 million weights labelled 183, 202 and 185
# thousand inputs of (3, 32, 32) a second in passes of 256, 1,024 and 8,192 rows, and VGG-19 23 thousand in passes of
# 256, 16 in those of 1,024; cuDNN's work memory grew with the rows, to 17 GiB. 512 lies between what suits the two.
_ACCELERATOR_ROWS, _ACCELERATOR_BYTES = 512, 2**26
_ACCELERATOR_PASSES = 8
_ROWS_PER_GRADIENT_ROW = 2  # a backward pass keeps the activations of all layers, a forward pass of two at a time


def forward_rows(input_shape: Sequence[int], device: torch.device | str) -> int:
    """Return how many rows a forward pass takes: a power of two, at least 1.

    At most 64 MiB of float32 input, and 64 rows on a CPU, 512 on an accelerator; so 64 rows of (3, 224, 224) on both.
    """
    most, budget = (_CPU_ROWS, _CPU_BYTES) if _on_cpu(device) else (_ACCELERATOR_ROWS, _ACCELERATOR_BYTES)
    fitting = budget // (4 * math.prod(input_shape))
    return min(most, 1 << (max(1, fitting).bit_length() - 1))


def gradient_rows(rows: int, device: torch.device | str) -> int:
    """Return how many rows a forward and backward pass takes, where a forward pass alone takes `rows`."""
    return rows if _on_cpu(device) else max(1, rows // _ROWS_PER_GRADIENT_ROW)


def question_rows(input_shape: Sequence[int], device: torch.device | str) -> int:
    """Return how many rows an attack sends at once: 8 forward passes on an accelerator, up to 16 on a CPU.

    On a CPU all of them stay within the bytes of one; the more rows, the less overhead each has on a tiny network.
    """
    rows = forward_rows(input_shape, device)
    most, budget = (
        (_CPU_PASSES, _CPU_BYTES)
        if _on_cpu(device)
        else (_ACCELERATOR_PASSES, _ACCELERATOR_PASSES * _ACCELERATOR_BYTES)
    )
    return rows * max(1, min(most, budget // (4 * math.prod(input_shape) * rows)))


def full_precision(device: torch.device | str) -> AbstractContextManager[None]:
    """Keep float32 products on CUDA devices unrounded (no TF32) inside the context; the settings are put back after.

    The settings belong to the process: contexts may be nested and may overlap in threads, and the last one to end puts
    back what the first one found.
    """
    return _without_tf32() if torch.device(device).type == "cuda" else nullcontext()


def _on_cpu(device: torch.device | str) -> bool:
    return torch.device(device).type == "cpu"


_LOCK = threading.Lock()
_FOUND: list[str] = []  # the settings before the first of the open contexts
_OPEN = [0]


def _settings() -> tuple[Any, ...]:
    """Return the places with an attribute `fp32_precision` that decide a float32 product on a CUDA device."""
    backends: Any = torch.backends
    return backends.cudnn.conv, backends.cudnn.rnn, backends.cuda.matmul


def _locked(change: Callable[[], None], step: int, *, when: int) -> None:
    with _LOCK:
        if _OPEN[0] == when:
            change()
        _OPEN[0] += step


def _round_nothing() -> None:
    _FOUND[:] = [place.fp32_precision for place in _settings()]
    for place in _settings():
        place.fp32_precision = "ieee"


def _put_back() -> None:
    for place, value in zip(_settings(), _FOUND, strict=True):
        place.fp32_precision = value


@contextmanager
def _without_tf32() -> Iterator[None]:
    _locked(_round_nothing, 1, when=0)
    try:
        yield
    finally:
        _locked(_put_back, -1, when=1)
