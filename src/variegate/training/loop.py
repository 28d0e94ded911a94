"""The inner loop of every training: one step after the other, in a state that can be saved between any two."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Protocol, TypeAlias, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from variegate.errors import ConfigurationError, InputError, ModelError
from variegate.training.augmentations import Augmentation, shrink

Loss: TypeAlias = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""(module in training mode, images, labels) -> a scalar to minimise."""


class Schedule(Protocol):
    """Sets the optimizer's learning rate; torch's schedulers are such."""

    def step(self) -> object:
        """Set the rate of the next step."""


@final
class Loop:
    """A training between two steps.

    The order of an epoch and the augmentations draw from `generator`, in turn; what the module draws (dropout) comes
    from torch's global generators, which `seeded_torch` sets. So weights, optimizer, generators and the attributes
    below are the whole state.

    Args:
        module: in training mode, on its device.
        images: float32 (N, C, H, W).
        labels: int64 (N,).
        batch_size: images of one step; a last batch of one image is left out.
        loss: what is minimised.
        augmentations: applied to every batch, in order.
        optimizer: over the module's parameters.
        schedule: asked for the next rate after every step.
        generator: on the CPU.
        autocast: the type in which the forward pass computes where that is safe; None for float32.
        memory_format: layout of the batches.
        side: epoch, counted from 0 -> the side to which its images are shrunk; None for as they are.

    Attributes:
        epoch: how many epochs are done.
        position: how many steps of the current epoch are done.
        order: int64 (N,), the images of the current epoch in order; None before its first step.
        total: float64, the sum of the losses of the current epoch's steps.
    """

    def __init__(
        self,
        module: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        batch_size: int,
        loss: Loss,
        augmentations: Sequence[Augmentation],
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        generator: torch.Generator,
        autocast: torch.dtype | None = None,
        memory_format: torch.memory_format = torch.preserve_format,
        side: Callable[[int], int | None] = lambda _epoch: None,
    ) -> None:
        self.module, self.optimizer, self.generator = module, optimizer, generator
        self.steps = batches_per_epoch(len(images), batch_size)
        self.epoch = 0
        self.position = 0
        self.order: Tensor | None = None
        self._images, self._labels, self._batch_size = images, labels, batch_size
        self._loss, self._augmentations, self._schedule = loss, tuple(augmentations), schedule
        self._autocast, self._format, self._side = autocast, memory_format, side
        self.device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
        self.total = torch.zeros((), dtype=torch.float64, device=self.device)

    def step(self) -> float | None:
        """Take one step; return the epoch's mean loss if it was the epoch's last one, which may be NaN, else None."""
        if self.order is None:
            self.order = torch.randperm(len(self._images), generator=self.generator)
            self.total = torch.zeros((), dtype=torch.float64, device=self.device)
        first = self.position * self._batch_size
        rows = self.order[first : first + self._batch_size]
        images = self._images[rows.to(self._images.device, non_blocking=True)]
        batch = images.to(self.device)
        for augmentation in self._augmentations:
            batch = augmentation(batch, self.generator)
        if (side := self._side(self.epoch)) is not None:
            batch = shrink(batch, side)
        if self._format is not torch.preserve_format:
            batch = batch.contiguous(memory_format=self._format)
        with torch.autocast(self.device.type, self._autocast) if self._autocast is not None else nullcontext():
            value = self._loss(self.module, batch, self._labels[rows].to(self.device, non_blocking=True))
        self.optimizer.zero_grad(set_to_none=True)
        value.backward()
        self.optimizer.step()
        self._schedule.step()
        self.total += value.detach().double().view(())
        self.position += 1
        if self.position < self.steps:
            return None
        self.epoch, self.position, self.order = self.epoch + 1, 0, None
        return float(self.total) / self.steps


@contextmanager
def seeded_torch(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators and switch gradients on for the block; put both back after it."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), torch.enable_grad():
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            torch.cuda.manual_seed(seed)
        yield


def diverged(epoch: int, learning_rate: float) -> ModelError:
    """Return the error for a loss that stopped being finite in `epoch`."""
    return ModelError(
        f"the training loss is no longer finite in epoch {epoch}; lower the learning rate from {learning_rate:g}"
    )


def batches_per_epoch(count: int, batch_size: int) -> int:
    """Return how many steps an epoch has: a last batch of one image is left out, as batch normalisation fails on it."""
    whole, rest = divmod(count, batch_size)
    return whole + (1 if rest > 1 else 0)


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Return an optimizer's groups: weight decay for kernels and matrices, none for biases and normalisation.

    Raises:
        ModelError: if the module has no parameters.
    """
    decayed = [parameter for parameter in module.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in module.parameters() if parameter.ndim <= 1]
    if not decayed and not others:
        raise ModelError("the module has no parameters; there is nothing to train")
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]


def check_data(images: Tensor | NDArray[np.float32], labels: Tensor | NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Return images as float32 and labels, as tensors.

    Raises:
        InputError: if their shapes or types do not fit, they hold NaN, or there are fewer than 2 images.
    """
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
def check_fit(module: nn.Module, sample: Tensor, labels: Tensor) -> None:
    """Ask a copy in evaluation mode, so that running statistics stay as they are, for two images.

    Raises:
        InputError: if a label has no logit.
        ModelError: if the module fails or does not return one row of logits an image.
    """
    try:
        logits = copy.deepcopy(module).eval()(sample)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"the module fails on images of shape {tuple(sample.shape[1:])}: {reason}") from error
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(sample):
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ModelError(f"the module must return (2, n) logits for 2 images; got {found}")
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= logits.shape[1]:
        raise InputError(
            f"labels must lie in 0 .. {logits.shape[1] - 1}, one for each logit; got {lowest} .. {highest}"
        )


class TrainingMethod(Protocol):
    """What a method decides: the loss of each network."""

    def loss(self, *, label_smoothing: float) -> Loss:
        """Return what a network minimises.

        Args:
            label_smoothing: the share of the target that is spread over all classes, from 0 to below 1.
        """


@final
class Independent:
    """Each network for itself: cross-entropy."""

    def loss(self, *, label_smoothing: float) -> Loss:
        """Return the mean cross-entropy, computed in float32 whatever the forward pass computes in."""

        def smoothed(module: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
            return nn.functional.cross_entropy(module(images).float(), labels, label_smoothing=label_smoothing)

        return smoothed


METHODS: dict[str, TrainingMethod] = {"independent": Independent()}
"""Name -> method."""


def find_method(name: str) -> TrainingMethod:
    """Return the method of that name.

    Raises:
        ConfigurationError: if there is none.
    """
    if name not in METHODS:
        raise ConfigurationError(f"there is no training method {name!r}; choose from {', '.join(METHODS)}")
    return METHODS[name]
