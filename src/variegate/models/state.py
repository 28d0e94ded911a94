"""Weights from safetensors files into modules: read without running code, cast to float32, fitted name by name."""

import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from variegate.errors import FormatError, ModelError, UnsafeFormatError
from variegate.files import file_error

PICKLE_SUFFIXES = frozenset({".bin", ".ckpt", ".joblib", ".p", ".pickle", ".pkl", ".pt", ".pt2", ".pth", ".th"})

_ZIP = b"PK\x03\x04"  # what torch.save writes
_PROTOCOLS = (b"\2", b"\3", b"\4", b"\5")  # a pickle begins with 0x80 and its protocol
_SHOWN = 4  # names in an error message


def load_state(path: Path | str) -> dict[str, Tensor]:
    """Read named tensors from a safetensors file.

    Floating point of other widths (float16, bfloat16, float64, float8) is cast to float32; integers and booleans stay.

    Raises:
        FormatError: if the file is truncated or no safetensors file.
        InputError: if it is a folder or cannot be read.
        ModelError: if it holds no tensors, complex numbers, NaN or infinity.
        NotFoundError: if there is no such file.
        UnsafeFormatError: if it is a pickle, by its suffix or its first bytes.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start, size = file.read(9), path.stat().st_size
    except OSError as error:
        raise file_error(error, path, "read") from error
    _check_start(path, start, size)
    try:
        state = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise FormatError(f"{path} is not a whole safetensors file ({size} bytes): {str(error)[:160]}") from error
    if not state:
        raise ModelError(f"{path} holds no tensors; expected a classifier's weights")
    return {name: _to_float32(name, tensor, path) for name, tensor in state.items()}


def fit_state(module: nn.Module, state: Mapping[str, Tensor], what: str) -> None:
    """Copy `state` into `module`, in place: every name must fit, in shape and in kind, and none may be left over.

    The module's floating-point tensors become float32. Tensors that the module shares between names need only one of
    the names, which is how safetensors stores them.

    Raises:
        ModelError: names the missing, unexpected and ill-fitting tensors.
    """
    module.float()
    expected = module.state_dict()
    complete = dict(state)
    for name, tensor in expected.items():
        if name not in complete:
            twin = next((other for other in state if other in expected and _shared(tensor, expected[other])), None)
            if twin is not None:
                complete[name] = state[twin]
    problems = []
    missing = sorted(expected.keys() - complete.keys())
    unexpected = sorted(complete.keys() - expected.keys())
    if missing:
        problems.append(f"missing {_some(missing)}")
    if unexpected:
        problems.append(f"unexpected {_some(unexpected)}")
    unfit = [
        f"{name} is {_kind(complete[name])}, expected {_kind(tensor)}"
        for name, tensor in expected.items()
        if name in complete and _kind(complete[name]) != _kind(tensor)
    ]
    if unfit:
        problems.append(_some(unfit))
    if problems:
        raise ModelError(f"the weights do not fit {what}: {'; '.join(problems)}; check the architecture's arguments")
    try:
        module.load_state_dict(complete, strict=True)
    except Exception as error:  # a module may override how it loads
        raise ModelError(f"{what} refuses its weights: {str(error).strip()[:200]}") from error


def _check_start(path: Path, start: bytes, size: int) -> None:
    """Refuse pickles, and what cannot be a safetensors file, by the suffix and the first 9 bytes."""
    suffix = path.suffix.lower()
    header = struct.unpack("<Q", start[:8])[0] if len(start) == 9 else 0
    is_pickle = start[8:] != b"{" and (start[:4] == _ZIP or (start[:1] == b"\x80" and start[1:2] in _PROTOCOLS))
    if suffix in PICKLE_SUFFIXES or is_pickle:
        raise UnsafeFormatError(
            f"{path} can hold pickles, which may run code when they are read; where you trust it, convert it to "
            'safetensors: safetensors.torch.save_file(torch.load("FILE", weights_only=True), "weights.safetensors")'
        )
    if suffix == ".onnx":
        raise ModelError(
            f"{path} is an ONNX file, which can only be asked for labels; a seller's model needs its weights as "
            "safetensors and its architecture"
        )
    if start[8:] != b"{" or header > size - 8:
        raise FormatError(f"{path} is not a whole safetensors file: {size} bytes and no complete header")


def _to_float32(name: str, tensor: Tensor, path: Path) -> Tensor:
    if tensor.is_complex():
        raise ModelError(f"{path}: {name} holds complex numbers ({tensor.dtype}); expected real ones")
    if not tensor.is_floating_point():
        return tensor
    tensor = tensor.to(torch.float32)
    if not bool(tensor.isfinite().all()):
        raise ModelError(f"{path}: {name} holds NaN or infinity as float32; expected finite weights")
    return tensor


def _shared(one: Tensor, other: Tensor) -> bool:
    return one.numel() > 0 and one.data_ptr() == other.data_ptr() and one.shape == other.shape


def _kind(tensor: Tensor) -> str:
    number = "float" if tensor.is_floating_point() else str(tensor.dtype).removeprefix("torch.")
    return f"{number} {tuple(tensor.shape)}"


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
