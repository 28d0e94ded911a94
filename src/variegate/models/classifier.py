"""A seller's classifier: one module with its bounds, input shape, labels and normalisation, ready to be queried.

The module is put into evaluation mode and kept there, its parameters are frozen and cast to float32, and every call is
cut into micro-batches of a size that the device likes, so memory is bounded whatever the caller sends. Batch sizes
follow from a budget of bytes of float32 input; the activations of a network are some multiple of its input.

Networks and heads run in full float32: on CUDA devices PyTorch lets cuDNN round the factors of convolutions to TF32
(10 bits) by default, which moves scores by more than rewriters allow for.
"""

import hashlib
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import chain
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from variegate.errors import ConfigurationError, InputError, ModelError, NotFoundError
from variegate.types import Bounds, InputSpec, TakesInputs

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


Outputs = Literal["logits", "probabilities"]

_SLACK = 1e-5  # of the range: what rounding may do to a value at a bound
_ROUNDINGS = 4 * torch.finfo(torch.float32).eps  # of the larger bound, where a narrow range lies far from 0


def weights_digest(module: nn.Module) -> str:
    """Return "sha256:..." over the module's state: names, dtypes, shapes and values in the order of sorted names."""
    sha = hashlib.sha256(b"variegate-weights-v1")
    for name, tensor in sorted(module.state_dict().items()):
        value = tensor.detach().to("cpu").contiguous()
        header = f"{name}\0{str(value.dtype).removeprefix('torch.')}\0{','.join(map(str, value.shape))}\0"
        sha.update(header.encode())
        sha.update(value.reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    return f"sha256:{sha.hexdigest()}"


def check_inputs(inputs: Tensor, spec: InputSpec, *, what: str = "inputs") -> Tensor:
    """Return `inputs` as float32, or raise.

    Args:
        inputs: (N, *spec.shape), any float dtype, values within the bounds (a rounding slack of 1e-5 of the range).
        spec: what an input must be.
        what: names the inputs in an error.

    Raises:
        InputError: wrong rank or shape, not floating point, NaN or infinite, or outside the bounds.
    """
    bounds = spec.bounds
    if tuple(inputs.shape[1:]) != spec.shape or inputs.ndim != len(spec.shape) + 1:
        raise InputError(f"{what} must have shape {spec.batch_shape}; got {tuple(inputs.shape)}")
    if not inputs.is_floating_point():
        raise InputError(f"{what} must be floating point in [{bounds.lower:g}, {bounds.upper:g}]; got {inputs.dtype}")
    if inputs.shape[0] == 0:
        return inputs.to(torch.float32)
    low, high = torch.stack(torch.aminmax(inputs)).tolist()
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError(f"{what} must be finite; got NaN or infinity")
    slack = _SLACK * bounds.range + _ROUNDINGS * max(abs(bounds.lower), abs(bounds.upper))
    if low < bounds.lower - slack or high > bounds.upper + slack:
        raise InputError(
            f"{what} must lie in [{bounds.lower:g}, {bounds.upper:g}]; got values from {low:g} to {high:g}; "
            "rescale the data or state other bounds"
        )
    return inputs.to(torch.float32)


@final
class Classifier(TakesInputs):
    """A trained module that answers with scores and labels.

    Args:
        module: maps float32 (N, *input_shape) to (N, n) logits or probabilities. The classifier takes it over:
            evaluation mode, float32, no gradients of parameters.
        input_shape: shape of one input, without the batch.
        labels: the class names, or how many classes there are.
        bounds: the interval of valid input values; [0, 1] by default.
        input_spec: shape and bounds in one, in place of both.
        mean, std: per-channel normalisation that is applied before the module, if the module does not do it itself.
        outputs: what the module returns.
        digest: digest of the weights, if known already; computed otherwise.
        batch_size: rows of one forward pass; by default as many as `variegate.models.classifier.forward_rows` says.

    Raises:
        ModelError: the module does not map one input to one row of n finite numbers.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        labels: int | Sequence[str],
        input_shape: Sequence[int] | None = None,
        bounds: Bounds | None = None,
        input_spec: InputSpec | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        outputs: Outputs = "logits",
        digest: str | None = None,
        batch_size: int | None = None,
    ) -> None:
        try:
            self.input_spec = InputSpec.resolve(input_spec, input_shape, bounds)
        except ConfigurationError as error:
            raise ModelError(str(error)) from error
        self.labels = tuple(f"class {i}" for i in range(labels)) if isinstance(labels, int) else tuple(labels)
        self.outputs: Outputs = outputs
        if len(self.labels) < 2:
            raise ModelError(f"a classifier needs at least 2 classes; got {len(self.labels)}")
        self.module = module.eval().requires_grad_(False)
        self._submodules = tuple(self.module.modules())  # walking the tree takes 20 times as long
        for parameter in (*self.module.parameters(), *self.module.buffers()):
            if parameter.is_floating_point():
                parameter.data = parameter.data.to(torch.float32)
        self.digest = digest if digest is not None else weights_digest(self.module)
        normalisation = _normalisation(mean, std, self.input_shape)
        self._mean, self._std = (None if value is None else value.to(self.device) for value in normalisation)
        self._batch_size = batch_size
        self._layout = torch.contiguous_format
        self._takes_channels_last = False
        self._probe()

    @property
    def num_classes(self) -> int:
        """How many classes there are (n)."""
        return len(self.labels)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        for tensor in chain(self.module.parameters(), self.module.buffers()):  # asked often: only the first is made
            return tensor.device
        return torch.device("cpu")

    @property
    def batch_size(self) -> int:
        """Rows of one forward pass."""
        if self._batch_size is not None:
            return self._batch_size
        return forward_rows(self.input_shape, self.device)

    def to(self, device: torch.device | str) -> "Classifier":
        """Move to `device` in place and return self."""
        self.module.to(device)
        self._mean, self._std = (None if t is None else t.to(device) for t in (self._mean, self._std))
        if self._takes_channels_last:  # which is faster on a CPU; on an H100, in float32, it takes 1.4 times as long
            self._arrange(torch.channels_last if self.device.type == "cpu" else torch.contiguous_format)
        return self

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        """Return float32 (N, n): the module's logits (log-probabilities for a module that returns probabilities)."""
        return torch.cat([self._logits(part) for part in self._parts(x)])

    @torch.no_grad()
    def scores(self, x: Tensor) -> Tensor:
        """Return float32 (N, n): the softmax scores that the rewriters start from."""
        return torch.cat([self._scores(part) for part in self._parts(x)])

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        """Return int64 (N,): the hard labels."""
        return torch.cat([self._logits(part).argmax(1) for part in self._parts(x)])

    def differentiable_logits(self, x: Tensor) -> Tensor:
        """Return float32 (N, n) with gradients with respect to `x`; one pass, not cut up."""
        return self._logits(x)

    def differentiable_scores(self, x: Tensor) -> Tensor:
        """Return float32 (N, n) softmax scores with gradients with respect to `x`; one pass, not cut up."""
        return self._scores(x)

    @torch.no_grad()
    def scores_and_features(
        self, x: Tensor, layers: Sequence[str]
    ) -> Iterator[tuple[Tensor, Tensor, dict[str, Tensor]]]:
        """Yield (x, scores, features by layer name) per micro-batch; features are flattened to (rows, size).

        Raises:
            NotFoundError: the module has no submodule of that name.
        """
        with self._capture(layers) as captured:
            for part in self._parts(x):
                scores = self._scores(part)
                yield part, scores, {name: value.flatten(1) for name, value in captured.items()}

    def _parts(self, x: Tensor) -> Iterator[Tensor]:
        if tuple(x.shape[1:]) != self.input_spec.shape:
            raise InputError(f"inputs must have shape {self.input_spec.batch_shape}; got {tuple(x.shape)}")
        device = self.device
        for part in x.split(self.batch_size):
            yield part.to(device, torch.float32)  # one by one: the device need not hold them all

    def _logits(self, x: Tensor) -> Tensor:
        if self._mean is not None and self._std is not None:
            x = (x - self._mean) / self._std
        if self._layout is torch.channels_last and x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        if any(submodule.training for submodule in self._submodules):
            self.module.eval()  # someone called train() on what is ours: dropout and batch statistics would answer
        with full_precision(x.device):
            out: Tensor = self.module(x)
        if self.outputs == "probabilities":
            out = out.clamp_min(torch.finfo(torch.float32).tiny).log()
        return out.to(torch.float32)

    def _scores(self, x: Tensor) -> Tensor:
        return self._logits(x).softmax(1)

    @contextmanager
    def _capture(self, layers: Sequence[str]) -> Iterator[dict[str, Tensor]]:
        known = dict(self.module.named_modules()) if layers else {}
        captured: dict[str, Tensor] = {}
        handles = []
        for name in layers:
            if name not in known or not name:
                raise NotFoundError(f"the original has no layer {name!r}; it has {', '.join(k for k in known if k)}")

            def keep(_module: nn.Module, _inputs: object, output: Tensor, *, name: str = name) -> None:
                captured[name] = output

            handles.append(known[name].register_forward_hook(keep))
        try:
            yield captured
        finally:
            for handle in handles:
                handle.remove()

    @torch.no_grad()
    def _probe(self) -> None:
        """Run two inputs: check the answer's shape, and take the layout that is faster on the module's device."""
        x = torch.full((2, *self.input_shape), self.input_spec.middle, device=self.device)
        try:
            plain = self._logits(x)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            first = str(error).strip().splitlines()[0][:200]
            raise ModelError(f"the module fails on an input of shape {self.input_shape}: {first}") from error
        if tuple(plain.shape) != (2, self.num_classes):
            raise ModelError(
                f"the module must return ({2}, {self.num_classes}) for 2 inputs; got {tuple(plain.shape)}; "
                "check the labels and the architecture's arguments"
            )
        if not bool(plain.isfinite().all()):
            raise ModelError("the module must return finite numbers; got NaN or infinity for a constant input")
        if len(self.input_shape) != 3 or not any(p.ndim == 4 for p in self.module.parameters()):
            return
        if self.device.type != "cpu":  # it keeps this layout on a CPU, too: whether it takes the other is not found out
            self._arrange(torch.contiguous_format)
            return
        self._arrange(torch.channels_last)
        try:
            other = self._logits(x)
        except RuntimeError:
            other = None
        self._takes_channels_last = other is not None and torch.allclose(plain, other, rtol=1e-3, atol=1e-3)
        if not self._takes_channels_last:
            self._arrange(torch.contiguous_format)

    def _arrange(self, layout: torch.memory_format) -> None:
        self._layout = layout
        self.module.to(memory_format=layout)  # type: ignore[call-overload]


def _normalisation(
    mean: Sequence[float] | None, std: Sequence[float] | None, input_shape: tuple[int, ...]
) -> tuple[Tensor | None, Tensor | None]:
    if mean is None and std is None:
        return None, None
    if mean is None or std is None or len(mean) != len(std) or len(mean) not in (1, input_shape[0]):
        raise ModelError(f"mean and std must both hold 1 or {input_shape[0]} numbers; got {mean} and {std}")
    if not all(value > 0 for value in std):
        raise ModelError(f"std must be positive; got {tuple(std)}")
    shape = (1, -1, *([1] * (len(input_shape) - 1)))
    return torch.tensor(mean, dtype=torch.float32).view(shape), torch.tensor(std, dtype=torch.float32).view(shape)
