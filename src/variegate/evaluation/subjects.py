"""What an experiment looks at: its copies, its images, jittered inputs, and how accurate copies are."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import torch
from torch import Tensor

from variegate.errors import InputError
from variegate.keys import CopyKey, KeyContext, SellerSecret
from variegate.models.bank import CopyBank
from variegate.models.classifier import Classifier
from variegate.records.base import Accuracy
from variegate.records.replication import Accuracies
from variegate.rewriters.base import AbstractHead, AbstractSpec, original_shape
from variegate.types import Bounds

Purpose = Literal["audit", "calibration"]


def experiment_key(purpose: Purpose, seed: int, weights_digest: str, spec: AbstractSpec, copy: int) -> CopyKey:
    """Return the key of copy number `copy` in the experiment of this purpose and seed.

    A calibration chooses a spec by how its copies do, so an audit must not look at the same copies again.
    """
    secret = SellerSecret.from_bytes(hashlib.sha256(f"variegate {purpose} experiment {seed}".encode()).digest())
    return secret.derive(
        KeyContext(
            model_digest=weights_digest, rewriter=spec.rewriter, spec_digest=spec.digest, buyer=f"copy-{copy}", epoch=1
        )
    )


def experiment_heads(
    original: Classifier, spec: AbstractSpec, *, copies: int | Sequence[int], seed: int, purpose: Purpose = "audit"
) -> list[AbstractHead]:
    """Return the heads of the copies 0, 1, ... (or of the given numbers) of an experiment, on the original's device."""
    numbers = range(copies) if isinstance(copies, int) else copies
    shape = original_shape(original)
    return [
        spec.build(experiment_key(purpose, seed, original.digest, spec, i), shape).to(original.device) for i in numbers
    ]


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


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyTable:
    """Counts over n clean inputs.

    Attributes:
        n: inputs.
        original: how many the original gets right.
        copies: how many each copy gets right.
        changed: for each copy, on how many inputs its label differs from the original's.
    """

    n: int
    original: int
    copies: tuple[int, ...]
    changed: tuple[int, ...]

    @property
    def change_rate(self) -> float:
        """Share of labels that the copies change, mean over copies."""
        return sum(self.changed) / (self.n * len(self.changed)) if self.n and self.changed else 0.0

    def record(self) -> Accuracies:
        """Return the table as a record holds it."""
        counted = zip(self.copies, self.changed, strict=True)
        return Accuracies(
            original=Accuracy(n=self.n, correct=self.original),
            copies=tuple(Accuracy(n=self.n, correct=right, labels_changed=changed) for right, changed in counted),
        )


def measure_accuracy(bank: CopyBank, inputs: Tensor, labels: Tensor) -> AccuracyTable:
    """Label `inputs` by the original and by every copy of the bank, in one forward of the original for the copies.

    Args:
        inputs: float32 (N, *input_shape).
        labels: int64 (N,).
    """
    original = bank.original.predict(inputs).cpu()
    copies = bank.predict_all(inputs).cpu()
    return AccuracyTable(
        n=int(labels.shape[0]),
        original=int((original == labels).sum()),
        copies=tuple(torch.sum(copies == labels[:, None], 0).tolist()),
        changed=tuple(torch.sum(copies != original[:, None], 0).tolist()),
    )


_SHIFT = 1 / 16  # of the image's extent, each way
_ZOOM = 0.1
_CONTRAST = 0.3
_BRIGHTNESS = 0.15  # of the range
_FEWEST_PIXELS = 16


def natural_jitter(images: Tensor, *, bounds: Bounds, seed: int) -> Tensor:
    """Return float32 (N, C, H, W): each image moved, zoomed, and changed in contrast and brightness, once.

    Inputs that are not images of at least 16 x 16 pixels come back as they are.

    Args:
        images: float32 (N, C, H, W), within `bounds`.
        bounds: to which the result is clipped.
        seed: decides the jitter of every image.
    """
    if images.ndim != 4 or min(images.shape[2:]) < _FEWEST_PIXELS or images.shape[0] == 0:
        return images
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.rand((images.shape[0], *shape), generator=generator) * 2.0 - 1.0

    placement = torch.zeros(images.shape[0], 2, 3)
    placement[:, 0, 0] = placement[:, 1, 1] = 1.0 + _ZOOM * draw()
    placement[:, :, 2] = 2.0 * _SHIFT * draw(2)  # the sampling grid is 2 wide
    contrast, brightness = 1.0 + _CONTRAST * draw(1, 1, 1), _BRIGHTNESS * bounds.range * draw(1, 1, 1)
    grid = torch.nn.functional.affine_grid(placement, list(images.shape), align_corners=False)
    moved = torch.nn.functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    mean = moved.mean((1, 2, 3), keepdim=True)
    return ((moved - mean) * contrast + mean + brightness).clamp(bounds.lower, bounds.upper)
