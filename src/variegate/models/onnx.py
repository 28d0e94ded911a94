"""ONNX files as hard-label classifiers: they can be asked for labels, not rewritten.

For attacks and audits on a model whose weights and architecture are not at hand. A rewriter needs the scores of a
`Classifier`; see `variegate.models.loading`.
"""

import importlib
from pathlib import Path
from types import ModuleType
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from variegate.errors import ConfigurationError, FormatError, ModelError
from variegate.files import sha256_file
from variegate.models.classifier import check_inputs
from variegate.types import Bounds, InputSpec, TakesInputs

_NUMBERS = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}


@final
class OnnxLabeler(TakesInputs):
    """Labels inputs with an ONNX model on the CPU: the class of the highest output.

    The model takes one floating-point tensor (N, *input_shape), and its first output is floating point (N, n) or int64
    labels (N,). Where N is fixed in the file, inputs are cut and padded to it.

    Args:
        path: the file.
        input_shape: shape of one input; only needed where the file leaves sizes open.
        num_classes: n; only needed where the file leaves it open or its output is labels.
        bounds: the interval of valid input values.
        batch_size: the most rows of one run.
        threads: how many threads one run uses.

    Raises:
        ConfigurationError: if onnxruntime is missing or an option contradicts the file.
        FormatError: if the file is no ONNX model or cannot be run.
        InputError: if it is a folder or cannot be read.
        ModelError: if its inputs or outputs are not a classifier's.
        NotFoundError: if there is no such file.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        input_shape: tuple[int, ...] | None = None,
        num_classes: int | None = None,
        bounds: Bounds | None = None,
        batch_size: int = 256,
        threads: int = 1,
    ) -> None:
        if batch_size < 1 or threads < 1:
            raise ConfigurationError(f"batch_size and threads must be at least 1; got {batch_size} and {threads}")
        self.digest = f"sha256:{sha256_file(path)}"
        runtime = _import_runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has a class of its own for each kind of failure
            raise FormatError(f"{path} is not an ONNX model that can be run: {_short(error)}") from error
        inputs, output = self._session.get_inputs(), self._session.get_outputs()[0]
        if len(inputs) != 1 or inputs[0].type not in _NUMBERS or len(inputs[0].shape) < 2:
            found = ", ".join(f"{one.name}: {one.type} {one.shape}" for one in inputs)
            raise ModelError(f"{path} must take one floating-point tensor (N, ...); it takes {found or 'nothing'}")
        if output.type not in (*_NUMBERS, "tensor(int64)"):
            raise ModelError(f"{path} must return scores (N, n) or int64 labels (N,); it returns {output.type}")
        self._input, self._dtype, self._output = inputs[0].name, _NUMBERS[inputs[0].type], output.name
        rows, *sizes = inputs[0].shape
        self._fixed_rows = rows if isinstance(rows, int) and rows > 0 else None
        self._batch_size = self._fixed_rows or batch_size
        self.input_spec = InputSpec.resolve(None, _settle(sizes, input_shape, f"{path}: input_shape"), bounds)
        declared = output.shape[1:] if output.type != "tensor(int64)" and len(output.shape) == 2 else [None]
        self.num_classes = _settle(declared, None if num_classes is None else (num_classes,), f"{path}: num_classes")[0]
        self._path = path
        self._run(np.full((1, *self.input_shape), self.input_spec.middle, dtype=self._dtype))

    def predict(self, x: Tensor) -> Tensor:
        """Return int64 (N,) labels of float32 (N, *input_shape), on the device of `x`.

        Raises:
            InputError: if the inputs have another shape, are not finite or lie outside the bounds.
            ModelError: if the model answers with something else than one row of finite numbers per input.
        """
        values = check_inputs(x, self.input_spec).detach().cpu().numpy()
        labels = np.empty(len(values), dtype=np.int64)
        for start in range(0, len(values), self._batch_size):
            part = slice(start, start + self._batch_size)
            labels[part] = self._run(values[part].astype(self._dtype))
        return torch.from_numpy(labels).to(x.device)

    def _run(self, batch: NDArray[np.floating]) -> NDArray[np.int64]:
        count = len(batch)
        if self._fixed_rows is not None and count < self._fixed_rows:
            batch = np.concatenate([batch, np.repeat(batch[-1:], self._fixed_rows - count, axis=0)])
        try:
            (out,) = self._session.run([self._output], {self._input: batch})
        except Exception as error:
            raise ModelError(f"{self._path} fails on inputs of shape {batch.shape}: {_short(error)}") from error
        out = np.asarray(out)
        if out.dtype == np.int64 and out.shape == (len(batch),):
            if out.min() < 0 or out.max() >= self.num_classes:
                raise ModelError(
                    f"{self._path} must return labels 0 .. {self.num_classes - 1}; got {out.min()} .. {out.max()}"
                )
            return out[:count]
        if out.shape != (len(batch), self.num_classes) or not np.isfinite(out).all():
            raise ModelError(
                f"{self._path} must return finite scores ({len(batch)}, {self.num_classes}); got {out.dtype} "
                f"{out.shape}"
            )
        return np.asarray(out[:count].argmax(1), dtype=np.int64)


def _settle(declared: list[object], given: tuple[int, ...] | None, what: str) -> tuple[int, ...]:
    """Return the sizes that the file declares, completed by and compared with those that the caller gave."""
    if given is not None and (len(given) != len(declared) or min(given) < 1):
        raise ConfigurationError(f"{what} must be {len(declared)} positive sizes; got {given}")
    sizes = []
    for position, size in enumerate(declared):
        known = size if isinstance(size, int) and size > 0 else None
        if known is None and given is None:
            raise ConfigurationError(f"{what} is left open by the file ({declared}); say it")
        if known is not None and given is not None and known != given[position]:
            raise ConfigurationError(f"{what} is {declared} in the file; got {given}")
        sizes.append(known if known is not None else given[position] if given is not None else 0)
    return tuple(sizes)


def _import_runtime() -> ModuleType:
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise ConfigurationError('ONNX models need onnxruntime; run: pip install "variegate[onnx]"') from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
