"""Saving an attack between two steps and resuming it: safetensors, written atomically, bound to its run by a digest."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from variegate.attacks.base import AttackState
from variegate.errors import FormatError, VerificationError
from variegate.files import read_bounded, write_atomic

_FORMAT = "variegate-attack-1"
_LIMIT = 2**33
_FIELDS = ("points", "best", "best_distance", "status")


def save_checkpoint(
    path: Path,
    state: AttackState,
    *,
    run_digest: str,
    per_sample: Tensor,
    queries: Sequence[Tensor],
    distances: Sequence[Tensor],
    seconds: float,
) -> None:
    """Write the state, the meter (int64 (N,)), the trajectory and the time so far, atomically."""
    tensors = {name: getattr(state, name).cpu().contiguous() for name in _FIELDS}
    tensors |= {f"extra.{name}": value.cpu().contiguous() for name, value in state.extra.items()}
    tensors |= {
        "meter": per_sample.clone(),
        "queries": torch.stack(tuple(queries)),
        "distances": torch.stack(tuple(distances)),
    }
    header = {"format": _FORMAT, "run": run_digest, "iteration": str(state.iteration), "seconds": repr(seconds)}
    write_atomic(path, save(tensors, metadata=header))


def load_checkpoint(
    path: Path, *, run_digest: str, device: torch.device
) -> tuple[AttackState, Tensor, list[Tensor], list[Tensor], float]:
    """Return (state, meter, queries, distances, seconds) of the run with this digest.

    Raises:
        FormatError: the file is not a checkpoint, or is truncated.
        VerificationError: it belongs to another attack, seed, budget or other inputs.
    """
    data = read_bounded(path, _LIMIT)
    try:
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])["__metadata__"]
        tensors = load(data)
        iteration = int(header["iteration"])
        extra = {k.removeprefix("extra."): v.to(device) for k, v in tensors.items() if k.startswith("extra.")}
        kept = {name: tensors[name].to(device) for name in _FIELDS}
        meter, queries, distances = tensors["meter"], tensors["queries"], tensors["distances"]
        run, seconds, known = header["run"], float(header["seconds"]), header["format"] == _FORMAT
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError(f"{path} is not an attack checkpoint or is truncated; delete it to start again") from error
    if not known:
        raise FormatError(f"{path} is of another format than {_FORMAT}; delete it to start again")
    if run != run_digest:
        raise VerificationError(
            f"{path} belongs to another attack (other inputs, parameters, seed or budget, or another version or "
            "device); resume with the same, "
            "or delete it"
        )
    return AttackState(iteration=iteration, extra=extra, **kept), meter, list(queries), list(distances), seconds
