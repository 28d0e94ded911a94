"""Saving a training between two steps and going on from there: safetensors, written atomically, bound to its run."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from variegate.errors import FormatError, VerificationError
from variegate.files import file_error, read_bounded, write_atomic
from variegate.training.loop import Loop

_FORMAT = "variegate-training-1"
_LIMIT = 2**35
_HEADER_LIMIT = 2**24


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed:
    """What a training has behind it besides the state of its loop.

    Attributes:
        losses: mean training loss of each whole epoch.
        seconds: wall-clock time of the steps.
        cpu_seconds: processor time of the steps, over all threads.
        resumed: how often it was gone on with.
    """

    losses: tuple[float, ...] = ()
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    resumed: int = 0


def save_training(path: Path, loop: Loop, progressed: Progressed, *, run_digest: str) -> None:
    """Write weights, optimizer, generators, order and losses; to be called within `seeded_torch`.

    Raises:
        InputError, NotFoundError, VariegateError: the file cannot be written.
    """
    tensors = {f"module.{name}": value for name, value in loop.module.state_dict().items()}
    for index, state in loop.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": value for key, value in state.items() if isinstance(value, Tensor)}
    tensors |= {
        "generator": loop.generator.get_state(),
        "torch": torch.get_rng_state(),
        "total": loop.total,
        "losses": torch.tensor(progressed.losses, dtype=torch.float64),
    }
    if loop.device.type == "cuda":
        tensors["cuda"] = torch.cuda.get_rng_state(loop.device)
    if loop.order is not None:
        tensors["order"] = loop.order
    header = {
        "format": _FORMAT,
        "run": run_digest,
        "epoch": str(loop.epoch),
        "position": str(loop.position),
        "seconds": repr(progressed.seconds),
        "cpu_seconds": repr(progressed.cpu_seconds),
        "resumed": str(progressed.resumed),
    }
    # clones, because safetensors refuses tensors that share memory
    plain = {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
    write_atomic(path, save(plain, metadata=header))


def check_run(path: Path, *, run_digest: str) -> None:
    """Check by a checkpoint's header alone that it belongs to the training with this digest.

    Raises:
        FormatError: the file is not a checkpoint.
        VerificationError: it belongs to another recipe, seed, device or other images or classes.
        InputError, NotFoundError, VariegateError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(8)
            start += file.read(min(int.from_bytes(start, "little"), _HEADER_LIMIT))
    except OSError as error:
        raise file_error(error, path, "read") from error
    _header(path, start, run_digest)


def load_training(path: Path, loop: Loop, *, run_digest: str) -> Progressed:
    """Put the saved state into a fresh loop of the same training; to be called within `seeded_torch`.

    Raises:
        FormatError: the file is not a checkpoint, or is truncated.
        VerificationError: it belongs to another recipe, seed, device or other images or classes.
    """
    data = read_bounded(path, min(_LIMIT, path.stat().st_size))  # the limit is allocated
    header, broken = _header(path, data, run_digest), _broken(path)
    try:
        tensors = load(data)
        counts = {name: int(header[name]) for name in ("epoch", "position", "resumed")}
        times = {name: float(header[name]) for name in ("seconds", "cpu_seconds")}
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError(broken) from error
    try:
        _restore(loop, tensors)
        losses = tuple(tensors["losses"].tolist())
    except (RuntimeError, ValueError, KeyError, IndexError) as error:
        raise FormatError(broken) from error
    loop.epoch, loop.position = counts["epoch"], counts["position"]
    return Progressed(losses=losses, resumed=counts["resumed"] + 1, **times)


def _broken(path: Path) -> str:
    return f"{path} is not a training checkpoint or is truncated; delete it to start this network again"


def _header(path: Path, data: bytes, run_digest: str) -> dict[str, Any]:
    """Return the metadata of a checkpoint of this run, given the start of its bytes."""
    try:
        size = int.from_bytes(data[:8], "little")
        header: dict[str, Any] = json.loads(data[8 : 8 + size])["__metadata__"]
        known, run = header["format"] == _FORMAT, header["run"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError(_broken(path)) from error
    if not known:
        raise FormatError(f"{path} is of another format than {_FORMAT}; delete it to start this network again")
    if run != run_digest:
        raise VerificationError(
            f"{path} belongs to another training (other images, settings, network or device); resume with the same, or "
            "choose another folder with --out"
        )
    return header


def _restore(loop: Loop, tensors: dict[str, Tensor]) -> None:
    module = {name.removeprefix("module."): value for name, value in tensors.items() if name.startswith("module.")}
    loop.module.load_state_dict(module)
    _restore_optimizer(loop.optimizer, tensors)
    loop.generator.set_state(tensors["generator"])
    torch.set_rng_state(tensors["torch"])
    if loop.device.type == "cuda":
        torch.cuda.set_rng_state(tensors["cuda"], loop.device)
    loop.total = tensors["total"].to(loop.device)
    loop.order = tensors.get("order")


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    parameters: Sequence[Tensor] = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        kind, _, rest = name.partition(".")
        if kind != "optimizer":
            continue
        index, _, key = rest.partition(".")
        parameter = parameters[int(index)]
        # in the parameter's own layout: the same numbers in another order of memory may be summed in another way
        kept = torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value
        state.setdefault(int(index), {})[key] = kept
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
