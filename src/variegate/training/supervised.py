"""Supervised training of one classifier: AdamW with a one-cycle learning rate, the same weights for the same seed."""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from variegate.errors import ConfigurationError, InputError, ModelError

__all__ = ["Augmentation", "EpochReport", "Loss", "cross_entropy", "train_classifier"]

Loss: TypeAlias = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""(module in training mode, images, labels) -> a scalar to minimise."""

Augmentation: TypeAlias = Callable[[Tensor, torch.Generator], Tensor]
"""(images, generator) -> images of the same shape."""


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
    x, y = _check_data(images, labels)
    trained = copy.deepcopy(module).requires_grad_(True).train()
    device = next((parameter.device for parameter in trained.parameters()), torch.device("cpu"))
    _check_fit(trained, x[:2].to(device), y)
    steps = _batches_per_epoch(len(x), batch_size)
    optimizer = torch.optim.AdamW(_parameter_groups(trained, weight_decay), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=learning_rate, total_steps=epochs * steps)
    generator = torch.Generator().manual_seed(seed)
    start = time.monotonic()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.enable_grad():
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)
        for epoch in range(1, epochs + 1):
            total = 0.0
            for rows in torch.randperm(len(x), generator=generator).split(batch_size)[:steps]:
                batch = x[rows].to(device)
                for augmentation in augmentations:
                    batch = augmentation(batch, generator)
                value = loss(trained, batch, y[rows].to(device))
                optimizer.zero_grad(set_to_none=True)
                value.backward()
                optimizer.step()
                schedule.step()
                total += float(value.detach())
            if not np.isfinite(total):
                raise ModelError(
                    f"the training loss is no longer finite in epoch {epoch}; lower the learning rate from "
                    f"{learning_rate:g}"
                )
            if progress is not None:
                seconds = time.monotonic() - start
                progress(EpochReport(epoch=epoch, epochs=epochs, loss=total / steps, seconds=seconds))
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


def _check_data(images: Tensor | NDArray[np.float32], labels: Tensor | NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    x, y = (
        values if isinstance(values, Tensor) else torch.from_numpy(np.require(values, requirements=["C", "W"]))
        for values in (images, labels)
    )
    if x.ndim < 2 or not x.is_floating_point():
        raise InputError(f"images must be floating point (N, C, H, W); got {x.dtype} of shape {tuple(x.shape)}")
    if y.shape != (len(x),) or y.dtype != torch.int64:
        raise InputError(f"expected {len(x)} int64 labels, one per image; got {y.dtype} of shape {tuple(y.shape)}")
    if len(x) < 2:
        raise InputError(f"training needs at least 2 images; got {len(x)}")
    if not bool(torch.isfinite(x).all()):
        raise InputError("training images must be finite; some hold NaN or infinity, so clean the data")
    return x.to(torch.float32), y


@torch.no_grad()
def _check_fit(module: nn.Module, sample: Tensor, labels: Tensor) -> None:
    """Ask a copy in evaluation mode, so that running statistics stay as they are, for two images."""
    try:
        logits = copy.deepcopy(module).eval()(sample)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"the module fails on images of shape {tuple(sample.shape[1:])}: {reason}") from error
    if logits.ndim != 2 or len(logits) != len(sample):
        raise ModelError(f"the module must return (2, n) logits for 2 images; got {tuple(logits.shape)}")
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= logits.shape[1]:
        raise InputError(
            f"labels must lie in 0 .. {logits.shape[1] - 1}, one for each logit; got {lowest} .. {highest}"
        )


def _batches_per_epoch(count: int, batch_size: int) -> int:
    whole, rest = divmod(count, batch_size)
    return whole + (1 if rest > 1 else 0)


def _parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    decayed = [parameter for parameter in module.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in module.parameters() if parameter.ndim <= 1]
    if not decayed and not others:
        raise ModelError("the module has no parameters; there is nothing to train")
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
