"""A copy as a graph for other programs: ONNX (`model.onnx`) and a program of torch.export (`model.pt2`).

Both take any batch size and end in the label alone, unless scores are asked for. A program is written for buyers who
run PyTorch and never read here: `torch.export.load` falls back to unpickling, which can run code, so what was exported
is compared before it is saved.
"""

import copy as copying
import importlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Final, final

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from variegate.errors import ConfigurationError, ModelError
from variegate.rewriters.base import NeverPickled, RewrittenCopy


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


INPUT: Final = "input"
LABEL: Final = "label"
SCORES: Final = "scores"

_MAX_BYTES: Final = 2**31 - 1  # of a protobuf


def onnx_bytes(copy: RewrittenCopy, *, scores: bool = False) -> bytes:
    """Return the copy as an ONNX model: `input` float32 (N, *input_shape) to `label` int64 (N,).

    Args:
        copy: the copy.
        scores: also give `scores` float32 (N, n); they help an attacker, so ask for them only where they are needed.

    Raises:
        ConfigurationError: if onnx or onnxscript is missing, or the rewriter cannot be exported.
        ModelError: if the original cannot be exported, or is too large for one file.
    """
    for package in ("onnx", "onnxscript"):
        _import(package)
    module = CopyModule(copy, scores=scores)
    try:
        with quiet(), torch.no_grad():
            model = _export(module, example_inputs(copy, 2))
            _strip(model)
            size = model.ByteSize()
            data: bytes = model.SerializeToString() if size <= _MAX_BYTES else b""
            _import("onnx").checker.check_model(model)
    except ConfigurationError:
        raise
    except Exception as error:  # the exporter raises whatever its passes raise
        raise ModelError(f"the copy cannot be exported as ONNX for any batch size: {_short(error)}") from error
    if not data:
        raise ModelError(f"the copy takes {size} bytes, and one ONNX file at most {_MAX_BYTES}; choose pt2")
    return data


def onnx_labeler(data: bytes) -> Callable[[Tensor], Tensor]:
    """Return a function from float32 (N, *input_shape) to int64 (N,), which runs the model in onnxruntime.

    Raises:
        ConfigurationError: if onnxruntime is missing.
        ModelError: if it cannot run the model.
    """
    runtime = _import("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a class of its own for each kind of failure
        raise ModelError(f"onnxruntime cannot run the exported model: {_short(error)}") from error

    def predict(x: Tensor) -> Tensor:
        try:
            (labels,) = session.run([LABEL], {INPUT: x.numpy()})
        except Exception as error:
            raise ModelError(f"onnxruntime fails on a batch of {len(x)} inputs: {_short(error)}") from error
        return torch.from_numpy(labels)

    return predict


def _export(module: CopyModule, example: Tensor) -> Any:  # noqa: ANN401 - onnx ships no types
    program = torch.onnx.export(
        module,
        (example,),
        dynamo=True,
        input_names=[INPUT],
        output_names=[LABEL, SCORES] if module.with_scores else [LABEL],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
        external_data=False,
        verbose=False,
    )
    if program is None:
        raise ModelError("torch returned no program")
    return program.model_proto


def _strip(model: Any) -> None:  # noqa: ANN401 - onnx ships no types
    """Take out what the exporter wrote about the program that made the model: paths, stack traces, class names."""
    for part in (model, model.graph, *model.graph.node, *model.functions):
        part.doc_string = ""
    named = (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output)
    for part in (*named, *model.graph.initializer, *model.functions):
        del part.metadata_props[:]
    for number, node in enumerate(model.graph.node):
        node.name = f"n{number}"


def _import(package: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ConfigurationError(f'exporting ONNX needs {package}; run: pip install "variegate[onnx]"') from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def export_program(copy: RewrittenCopy, *, scores: bool = False) -> ExportedProgram:
    """Return the copy as a program: float32 (N, *input_shape) to int64 (N,) labels, and scores if asked for.

    Raises:
        ConfigurationError: if the rewriter cannot be exported.
        ModelError: if the original cannot be exported.
    """
    module = CopyModule(copy, scores=scores)
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(
                module, (example_inputs(copy, 2),), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},)
            )
    except ConfigurationError:
        raise
    except Exception as error:  # torch.export raises whatever its passes raise
        raise ModelError(
            f"the copy cannot be exported by torch.export for any batch size: {' '.join(str(error).split())[:200]}"
        ) from error
    for node in program.graph.nodes:
        for said in ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node"):
            node.meta.pop(said, None)  # paths and names of the seller's machine and of the rewriter
    program.example_inputs = None  # they would be pickled into the file
    return program


def program_labeler(program: ExportedProgram) -> Callable[[Tensor], Tensor]:
    """Return a function from float32 (N, *input_shape) to int64 (N,), which runs the program in memory."""
    module = program.module()

    def predict(x: Tensor) -> Tensor:
        with torch.no_grad():
            out = module(x)
        labels: Tensor = out[0] if isinstance(out, tuple) else out
        return labels

    return predict


def program_bytes(program: ExportedProgram) -> bytes:
    """Return the file of the program, which torch's own writer makes."""
    file = io.BytesIO()
    with quiet():
        torch.export.save(program, file)
    return file.getvalue()
