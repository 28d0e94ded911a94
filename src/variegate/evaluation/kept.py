"""Files that an experiment leaves next to its record: pictures, and adversarials."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import save
from torch import Tensor

from variegate.attacks.base import AttackResult
from variegate.evaluation.replication import AttackerOutcome
from variegate.files import write_atomic
from variegate.types import Status

_PER_GROUP = 5
_MOST = 40


def collect_pictures(
    inputs: Tensor, labels: Tensor, examples: Mapping[str, AttackerOutcome], predict: Callable[[Tensor], Tensor]
) -> bytes:
    """Return an .npz: clean, adversarial float32 (K, *input_shape), group, label, adversarial_label (the original's).

    Takes the first five successes of each group, 40 pictures at most.
    """
    rows: dict[str, list[np.ndarray]] = {
        "clean": [],
        "adversarial": [],
        "group": [],
        "label": [],
        "adversarial_label": [],
    }
    for group, outcome in examples.items():
        room = _MOST - sum(len(part) for part in rows["label"])
        chosen = outcome.succeeded.nonzero().flatten()[: min(_PER_GROUP, room)]
        if chosen.numel() == 0:
            continue
        rows["clean"].append(inputs[chosen].numpy())
        rows["adversarial"].append(outcome.adversarials[chosen].numpy())
        rows["group"].append(np.array([group] * len(chosen)))
        rows["label"].append(labels[chosen].numpy())
        rows["adversarial_label"].append(torch.as_tensor(predict(outcome.adversarials[chosen])).cpu().numpy())
    return _packed({name: np.concatenate(parts) for name, parts in rows.items() if parts})


def pictures_of(group: str, arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the first ten successes of one attack as such an .npz.

    Args:
        group: what to call them.
        arrays: as `variegate.evaluation.kept` has them.
    """
    chosen = np.isfinite(arrays["distance"]).nonzero()[0][: 2 * _PER_GROUP]
    kept = {name: arrays[name][chosen] for name in ("clean", "adversarial", "label", "adversarial_label")}
    return _packed({**kept, "group": np.array([group] * len(chosen), dtype=np.str_)})


def _packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # the stubs take arrays for allow_pickle
    return buffer.getvalue()


AdversarialFormat = Literal["npz", "safetensors"]

_Arrays = dict[str, npt.NDArray[np.generic]]


def adversarial_arrays(result: AttackResult, clean: Tensor, labels: Tensor, found: Tensor | None) -> _Arrays:
    """Return the arrays of a file of adversarials, one row an input.

    Keys: clean, adversarial float32 (N, *input_shape); label, adversarial_label (-1 where it is unknown), queries int64
    (N,); distance float32 (N,), NaN without success; overshoot float32 (N,) where it was measured; status text (N,).

    Args:
        found: int64 (N,), the attacked model's labels of the adversarials, or None if it failed.
    """
    arrays: _Arrays = {
        "clean": clean.cpu().numpy(),
        "adversarial": result.adversarials.numpy(),
        "label": labels.cpu().numpy(),
        "adversarial_label": np.full(len(labels), -1, np.int64) if found is None else found.cpu().numpy(),
        "status": np.array([status.value for status in result.status]),
        "queries": result.queries.numpy(),
        "distance": result.distances.numpy(),
    }
    if result.overshoot is not None:
        arrays["overshoot"] = result.overshoot.numpy()
    return arrays


def write_adversarials(folder: Path, arrays: _Arrays, kind: AdversarialFormat) -> Path:
    """Write adversarials.npz or adversarials.safetensors, atomically, and return the file.

    In safetensors, which holds no text, `status` becomes int64 (N,), positions in the header's "statuses".
    """
    path = folder / f"adversarials.{kind}"
    for other in {"npz", "safetensors"} - {kind}:  # of an earlier part of the run
        (folder / f"adversarials.{other}").unlink(missing_ok=True)
    if kind == "npz":
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # the stubs take arrays for allow_pickle
        write_atomic(path, buffer.getvalue())
        return path
    names = [status.value for status in Status]
    codes = torch.tensor([names.index(str(status)) for status in arrays["status"]], dtype=torch.int64).numpy()
    header = {"format": "variegate-adversarials-1", "statuses": ",".join(names)}
    tensors = {name: np.ascontiguousarray(array) for name, array in {**arrays, "status": codes}.items()}
    write_atomic(path, save(tensors, metadata=header))
    return path
