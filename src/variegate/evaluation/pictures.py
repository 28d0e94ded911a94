"""A few clean images and their adversarials, for the report's picture grid."""

import io
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from variegate.evaluation.replication import AttackerOutcome

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
        arrays: as `variegate.evaluation.adversarial_files` has them.
    """
    chosen = np.isfinite(arrays["distance"]).nonzero()[0][: 2 * _PER_GROUP]
    kept = {name: arrays[name][chosen] for name in ("clean", "adversarial", "label", "adversarial_label")}
    return _packed({**kept, "group": np.array([group] * len(chosen), dtype=np.str_)})


def _packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]  # the stubs take arrays for allow_pickle
    return buffer.getvalue()
