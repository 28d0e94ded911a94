"""Supervised training of one classifier: AdamW with a one-cycle learning rate, the same weights for the same seed."""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from variegate.errors import ConfigurationError
from variegate.training.augmentations import Augmentation
from variegate.training.loop import (
    Loop,
    Loss,
    batches_per_epoch,
    check_data,
    check_fit,
    diverged,
    parameter_groups,
    seeded_torch,
)

__all__ = ["Augmentation", "EpochReport", "Loss", "cross_entropy", "train_classifier"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochReport:
    """What the progress callback is told after every epoch.

    Attributes:
        epoch: 1 .. epochs.
        epochs: how many there will be.
        loss: mean training loss of the epoch.
        seconds: since the training began.
    """

    epoch: int
    epochs: int
    loss: float
    seconds: float


def cross_entropy(module: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of the module's logits."""
    return nn.functional.cross_entropy(module(images), labels)


def train_classifier(
    module: nn.Module,
    images: Tensor | NDArray[np.float32],
    labels: Tensor | NDArray[np.int64],
    *,
    epochs: int,
    batch_size: int = 64,
    learning_rate: float = 1e-2,
    weight_decay: float = 5e-2,
    seed: int = 0,
    loss: Loss = cross_entropy,
    augmentations: Sequence[Augmentation] = (),
    progress: Callable[[EpochReport], None] | None = None,
) -> nn.Module:
    """Train a copy of `module` and return it in evaluation mode; the argument is left as it was.

    AdamW (Loshchilov and Hutter, 2019) without weight decay on biases and normalisation; one-cycle learning rate (Smith
    and Topin, 2018): up to `learning_rate` in the first 30 % of the steps, then down to almost zero along a cosine.

    The same arguments give the same weights on one machine with one number of threads: order, augmentation and whatever
    the module draws (dropout) follow from `seed`, and torch's global generator is left as it was. The initial weights
    are the module's: for independent training build it with another seed too.

    Args:
        module: maps float32 (N, C, H, W) to logits (N, n); it is trained on the device that it is on.
        images: float32 (N, C, H, W).
        labels: int64 (N,).
        epochs: passes over the images, at least 1.
        batch_size: images per step, at least 2; a last batch of one image is left out, as batch normalisation fails on
            it. Fewer images than `batch_size` make one batch.
        learning_rate: the highest of the cycle.
        weight_decay: AdamW's.
        seed: decides the order, the augmentation and what the module draws.
        loss: what is minimised; another method may put its own here.
        augmentations: applied to every batch, in order.
        progress: called after every epoch; what it raises ends the training.

    Raises:
        ConfigurationError: if an option is out of range.
        InputError: if the images or labels do not have these shapes or types, hold NaN, or are fewer than 2.
        ModelError: if the module fails on the images, a label has no logit, or the loss stops being finite.
    """
    _check_options(epochs, batch_size, learning_rate, weight_decay)
    x, y = check_data(images, labels)
    trained = copy.deepcopy(module).requires_grad_(True).train()
    device = next((parameter.device for parameter in trained.parameters()), torch.device("cpu"))
    check_fit(trained, x[:2].to(device), y)
    steps = epochs * batches_per_epoch(len(x), batch_size)
    optimizer = torch.optim.AdamW(parameter_groups(trained, weight_decay), lr=learning_rate)
    loop = Loop(
        trained,
        x,
        y,
        batch_size=batch_size,
        loss=loss,
        augmentations=augmentations,
        optimizer=optimizer,
        schedule=torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=learning_rate, total_steps=steps),
        generator=torch.Generator().manual_seed(seed),
    )
    start = time.monotonic()
    with seeded_torch(seed, device):
        while loop.epoch < epochs:
            mean = loop.step()
            if mean is None:
                continue
            if not np.isfinite(mean):
                raise diverged(loop.epoch, learning_rate)
            if progress is not None:
                seconds = time.monotonic() - start
                progress(EpochReport(epoch=loop.epoch, epochs=epochs, loss=mean, seconds=seconds))
    return trained.eval().requires_grad_(False)


def _check_options(epochs: int, batch_size: int, learning_rate: float, weight_decay: float) -> None:
    if epochs < 1:
        raise ConfigurationError(f"epochs must be at least 1; got {epochs}")
    if batch_size < 2:
        raise ConfigurationError(f"batch_size must be at least 2, for batch normalisation; got {batch_size}")
    if not (np.isfinite(learning_rate) and learning_rate > 0):
        raise ConfigurationError(f"learning_rate must be a positive number; got {learning_rate}")
    if not (np.isfinite(weight_decay) and weight_decay >= 0):
        raise ConfigurationError(f"weight_decay must be 0 or a positive number; got {weight_decay}")
