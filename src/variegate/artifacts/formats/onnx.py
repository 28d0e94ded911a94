"""A copy as one ONNX file: self-contained, any batch size, ends in the label alone unless scores are asked for."""

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

import torch
from torch import Tensor

from variegate.artifacts.formats.copy_module import CopyModule, example_inputs, quiet
from variegate.errors import ConfigurationError, ModelError
from variegate.rewriters.base import RewrittenCopy

INPUT: Final = "input"
LABEL: Final = "label"
SCORES: Final = "scores"

_MOST_BYTES: Final = 2**31 - 1  # of a protobuf


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
            data: bytes = model.SerializeToString() if size <= _MOST_BYTES else b""
            _import("onnx").checker.check_model(model)
    except ConfigurationError:
        raise
    except Exception as error:  # the exporter raises whatever its passes raise
        raise ModelError(f"the copy cannot be exported as ONNX for any batch size: {_short(error)}") from error
    if not data:
        raise ModelError(f"the copy takes {size} bytes, and one ONNX file at most {_MOST_BYTES}; choose pt2")
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
