"""Training networks that differ in the seed alone, one after the other, into a folder; a killed run goes on alike.

The seed decides the initial weights, the order of the images and the augmentations (the paper's section 5.1 names the
last two), and whatever the network draws while it learns.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch

from variegate.data.images import LabelledImages
from variegate.errors import (
    ConfigurationError,
    ConflictError,
    FormatError,
    InputError,
    NotFoundError,
    VerificationError,
)
from variegate.files import make_folder, read_bounded, write_atomic
from variegate.training.augmentations import parse_size
from variegate.training.job import Job, Progress, Rate
from variegate.training.loop import check_data
from variegate.training.networks import data_digest, find_network
from variegate.training.recipe import TrainingRecipe
from variegate.types import check_identifier

__all__ = ["CHECKPOINT_SECONDS", "Progress", "Rate", "train_models", "training_name"]

CHECKPOINT_SECONDS: Final = 60.0
_MOST_SEED = 2**31 - 1
_LABELS_LIMIT: Final = 2**24


def training_name(architecture: str, data_name: str) -> str:
    """Return "ARCH-DATA", with which the names of all files of a training begin.

    Raises:
        ConfigurationError: if that makes no name.
    """
    parts = (re.sub(r"[^A-Za-z0-9._+]+", "-", part).strip("-.") or "data" for part in (architecture, data_name))
    return check_identifier("-".join(parts), "the name of the networks (architecture and data)")


def _count(correct: int, n: int) -> Mapping[str, Any]:
    return {"rate": correct / n, "k": correct, "n": n}


def train_models(
    recipe: TrainingRecipe,
    train: LabelledImages,
    test: LabelledImages | None,
    *,
    seeds: Sequence[int],
    out: Path,
    data_name: str | None = None,
    code_path: Path | None = None,
    device: str = "cpu",
    resume: bool = False,
    command: str = "",
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    rate: Rate = _count,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Train one network for each seed and write weights, record and model card of each into `out`.

    For the seed s: NAME-sS.safetensors, NAME-sS.json (last: what has it is done) and NAME-sS.md, with NAME from
    `training_name`; NAME-labels.json holds the class names. While a network is trained, NAME-sS.checkpoint is written
    every `checkpoint_seconds` and removed at the end.

    On one machine, with one number of threads and one version of PyTorch, the same arguments give the same weights bit
    for bit, interrupted and resumed or not. On a GPU cuDNN is told to choose its reproducible algorithms.

    Args:
        recipe: how; `arguments` and `code` are completed from the data and the code.
        train: images to learn from.
        test: images to count correct answers on, at the end; None for no count.
        seeds: distinct, 0 or more.
        out: the folder, made if need be.
        data_name: what records and file names call the data; the data's own name if None.
        code_path: file or folder of a seller's own architecture.
        device: "cpu" or "cuda".
        resume: go on with what `out` holds: networks that are done stay, a checkpoint is gone on with.
        command: what was typed, for the record.
        checkpoint_seconds: time between two checkpoints; 0 for one after every step.
        rate: makes the record's entry of the accuracy.
        progress: called after every step; what it raises ends the training between two steps.

    Returns:
        The records in the order of the seeds.

    Raises:
        ConfigurationError: if options contradict each other or are out of range.
        InputError: if train and test images do not fit each other, or there are too few.
        ModelError: if the network does not fit the images, or the loss stops being finite.
        ConflictError: if `out` holds a training of this name and `resume` is False.
        NotFoundError: if there is nothing to resume.
        VerificationError: if what `out` holds is of another training (other class names, too), or was changed; nothing
            is written then.
        FormatError: if a file of `out` that is resumed cannot be read.
        VariegateError: if a file cannot be written.
    """
    _check_seeds(seeds)
    _check_data_sets(train, test)
    network = find_network(
        recipe.architecture,
        recipe.arguments,
        code_path=code_path,
        num_classes=train.num_classes,
        in_channels=train.image_shape[0],
    )
    recipe = replace(recipe, arguments=network.arguments, code=network.code)
    _check_channels(recipe, train)
    _check_sizes(recipe, train)
    name = training_name(recipe.architecture, data_name or train.name)
    labels = out / f"{name}-labels.json"
    if resume and not labels.is_file():
        raise NotFoundError(f"{out} holds no training of {name} to resume; start it with --out")
    if not resume and labels.exists():
        raise ConflictError(f"{out} holds a training of {name} already; resume it, or choose another folder")
    if resume:
        _require_classes(labels, train)
    x, y = check_data(train.images, train.labels)
    job = Job(
        recipe=recipe,
        network=network,
        train=train,
        test=test,
        images=x,
        labels=y,
        out=out,
        name=name,
        data_name=data_name or train.name,
        code_path=code_path,
        device=torch.device(device),
        command=command,
        checkpoint_seconds=checkpoint_seconds,
        rate=rate,
        train_digest=data_digest(train),
        test_digest=None if test is None else data_digest(test),
    )
    done = {seed: job.finished(seed) for seed in seeds}
    for seed in (seed for seed, record in done.items() if record is None):
        job.check_begun(seed)
    job.check_network(seeds[0])
    if not resume:
        make_folder(out)
        write_atomic(labels, (json.dumps(list(train.class_names), ensure_ascii=False, indent=1) + "\n").encode())
    records = []
    for index, seed in enumerate(seeds):
        record = done[seed]
        records.append(job.run(seed, _part(progress, index, len(seeds))) if record is None else record)
    return records


def _part(progress: Progress | None, index: int, count: int) -> Progress:
    """Return the progress of one network out of `count` as a part of the whole."""

    def say(what: str, done: int, steps: int) -> None:
        if progress is not None:
            progress(what, index * steps + done, count * steps)

    return say


def _require_classes(labels: Path, train: LabelledImages) -> None:
    """Raise if the training to be resumed has other class names, which its networks' records and imports refer to."""
    try:
        known = json.loads(read_bounded(labels, _LABELS_LIMIT))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{labels} holds no list of class names; choose another folder with --out") from error
    if known != list(train.class_names):
        raise VerificationError(
            f"{labels} names other classes than the images given; resume with the same data, or choose another folder "
            "with --out"
        )


def _check_seeds(seeds: Sequence[int]) -> None:
    if not seeds or len(set(seeds)) != len(seeds) or not all(0 <= seed <= _MOST_SEED for seed in seeds):
        raise ConfigurationError(
            f"seeds must be distinct whole numbers from 0 to {_MOST_SEED}; got {list(seeds)!r:.80}"
        )


def _check_data_sets(train: LabelledImages, test: LabelledImages | None) -> None:
    if train.num_classes < 2:
        raise InputError(f"{train.name}: a classifier needs at least 2 classes; got {train.num_classes}")
    if test is None:
        return
    if test.image_shape != train.image_shape:
        raise InputError(
            f"test images must have the shape of the training images, {train.image_shape}; got {test.image_shape}"
        )
    if test.class_names != train.class_names:
        raise InputError(
            f"test images must have the classes of the training images, {train.num_classes} in the same order; got "
            f"{test.num_classes}"
        )


def _check_channels(recipe: TrainingRecipe, train: LabelledImages) -> None:
    channels = train.image_shape[0]
    if recipe.mean is not None and len(recipe.mean) not in (1, channels):
        raise ConfigurationError(
            f"mean and std must hold 1 number, or {channels}, one for each channel; got {len(recipe.mean)}"
        )


def _check_sizes(recipe: TrainingRecipe, train: LabelledImages) -> None:
    rows = train.image_shape[1]
    for text in recipe.sizes:
        if parse_size(text)[0] >= rows:
            raise ConfigurationError(f"sizes are smaller than the images, which have {rows} rows; got {text}")
