"""Which images an audit attacks: a seeded draw from those that all originals classify correctly."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from variegate.errors import InputError
from variegate.models.classifier import Classifier


def choose_images(trained: Sequence[Classifier], pool: Tensor, truth: Tensor, *, count: int, seed: int) -> Tensor:
    """Return int64 (count,), sorted: the first images of a seeded order that every classifier labels correctly.

    Independent classifiers have to be right as well: their errors on clean images are not replication.

    Args:
        trained: the original first, then those trained independently.
        pool: float32 (P, *input_shape), within the bounds.
        truth: int64 (P,), the correct labels.
        count: how many are wanted.
        seed: of the order.

    Raises:
        InputError: the labels do not fit, or the pool holds fewer such images.
    """
    original = trained[0]
    if truth.shape != (pool.shape[0],) or truth.dtype != torch.int64:
        raise InputError(f"labels must be int64 of shape ({pool.shape[0]},); got {truth.dtype} {tuple(truth.shape)}")
    if truth.numel() and not 0 <= int(truth.min()) <= int(truth.max()) < original.num_classes:
        raise InputError(
            f"labels must be from 0 to {original.num_classes - 1}; got {int(truth.min())} to {int(truth.max())}"
        )
    order = torch.from_numpy(np.random.default_rng(seed).permutation(pool.shape[0]))
    found: list[int] = []
    for block in order.split(max(64, 2 * count)):
        right = torch.stack([classifier.predict(pool[block]).cpu() == truth[block] for classifier in trained]).all(0)
        found.extend(block[right].tolist())
        if len(found) >= count:
            return torch.tensor(sorted(found[:count]))
    raise InputError(
        f"the audit needs {count} images that the original and the independent classifiers get right; "
        f"the {pool.shape[0]} given hold {len(found)}"
    )
