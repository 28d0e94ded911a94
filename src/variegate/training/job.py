"""One network's training within a run: learn, with checkpoints; write weights, record and model card; measure."""

import contextlib
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias, final, runtime_checkable

import torch
from safetensors.torch import save
from torch import Tensor, nn

from variegate.data.images import LabelledImages
from variegate.errors import VerificationError
from variegate.files import read_bounded, sha256_file, write_atomic
from variegate.manifest import digest, load_json
from variegate.models.classifier import Classifier
from variegate.models.loading import prepare_import
from variegate.training.augmentations import Augmentation, parse_augmentation, parse_size, shrink, side_in_epoch
from variegate.training.checkpoint import Progressed, check_run, load_training, save_training
from variegate.training.loop import Loop, batches_per_epoch, check_fit, diverged, find_method, seeded_torch
from variegate.training.networks import Network, import_command, model_card, versions
from variegate.training.recipe import RateSchedule, TrainingRecipe

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with (what is being done, steps done, steps in all)."""

Rate: TypeAlias = Callable[[int, int], Mapping[str, Any]]
"""(correct, n) -> what the record says of it."""

_RECORD_LIMIT: Final = 64 * 2**20
_PREPARING: Final = 5000  # images
_ON_DEVICE: Final = 2**31  # bytes of images that are kept in a GPU's memory


@runtime_checkable
class Prepared(Protocol):
    """A network that is set from training images before its first step."""

    def prepare(self, images: Tensor) -> None:
        """Take images as the network will be given them, float32 (N, C, H, W)."""
        ...


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """Everything that the networks of a run share.

    Attributes:
        recipe: complete.
        network: builds a module from a seed.
        train, test: the images; test may be None.
        images, labels: those of `train` as tensors.
        out: the folder of the results.
        name: what the files' names begin with.
        data_name: what the record calls the data.
        code_path: file or folder of a seller's own architecture.
        device: where to train.
        command: what was typed.
        checkpoint_seconds: time between two checkpoints.
        rate: makes the record's entry of the accuracy.
        train_digest, test_digest: of images and labels.
    """

    recipe: TrainingRecipe
    network: Network
    train: LabelledImages
    test: LabelledImages | None
    images: Tensor
    labels: Tensor
    out: Path
    name: str
    data_name: str
    code_path: Path | None
    device: torch.device
    command: str
    checkpoint_seconds: float
    rate: Rate
    train_digest: str
    test_digest: str | None

    def file(self, seed: int, suffix: str) -> Path:
        """Return the path of one of a seed's files."""
        return self.out / f"{self.name}-s{seed}{suffix}"

    def run_digest(self, seed: int) -> str:
        """Return the digest of what decides the weights of this seed."""
        return digest(
            {
                "recipe": self.recipe.digest,
                "seed": seed,
                "data": self.train_digest,
                "class_names": list(self.train.class_names),
                "device": self.device.type,
            }
        )

    def finished(self, seed: int) -> dict[str, Any] | None:
        """Return the record of a network that is done; None if it is not.

        Raises:
            VerificationError: if it is of another training, or the weights are missing or changed.
        """
        file, weights = self.file(seed, ".json"), self.file(seed, ".safetensors")
        if not file.exists():
            return None
        record: dict[str, Any] = load_json(read_bounded(file, _RECORD_LIMIT), f"the record {file}")
        if record.get("run_digest") != self.run_digest(seed):
            raise VerificationError(
                f"{file} is of another training (other images, settings, network or device); resume with the same, or "
                "choose another folder with --out"
            )
        if not weights.is_file() or sha256_file(weights) != record["weights"]["sha256"]:
            raise VerificationError(f"{weights} is missing or was changed; delete {file} to train this network again")
        return record

    def check_begun(self, seed: int) -> None:
        """Check that a network that was begun, if it was, can be gone on with.

        Raises:
            FormatError: the checkpoint is none.
            VerificationError: it is of another training.
        """
        if (checkpoint := self.file(seed, ".checkpoint")).exists():
            check_run(checkpoint, run_digest=self.run_digest(seed))

    def check_network(self, seed: int) -> None:
        """Check that the network takes the images, of every size that it will see, and has a logit for each label.

        Raises:
            ConfigurationError: if an augmentation does not fit the images.
            ModelError: if it fails on them, or cannot be built.
            InputError: if a label has no logit.
        """
        for text in self.recipe.augmentations:
            parse_augmentation(text)(self.images[:2], torch.Generator())
        module = self.network.build(seed).train()
        check_fit(module, self.images[:2], self.labels)
        for side, _ in map(parse_size, self.recipe.sizes):
            check_fit(module, shrink(self.images[:2], side), self.labels)

    def run(self, seed: int, progress: Progress) -> dict[str, Any]:
        """Train, write and measure one network."""
        module = self.network.build(seed).requires_grad_(True).train()
        if isinstance(module, Prepared):
            module.prepare(self._first_images())
        if self.recipe.channels_last:
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        module.to(self.device)
        reproducible = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)
        with reproducible, seeded_torch(seed, self.device):
            progressed = self._learn(module, seed, progress)
        return self._write(module, seed, progressed)

    def _first_images(self) -> Tensor:
        """Return some images as the network is given them."""
        images = self.images[:_PREPARING]
        if self.recipe.mean is None or self.recipe.std is None:
            return images
        normalise = _normalisation(self.recipe.mean, self.recipe.std, images.device)
        return normalise(images, torch.Generator())

    def _learn(self, module: nn.Module, seed: int, progress: Progress) -> Progressed:
        loop, schedule = self._loop(module, seed)
        checkpoint, run = self.file(seed, ".checkpoint"), self.run_digest(seed)
        progressed = Progressed()
        if checkpoint.exists():
            progressed = load_training(checkpoint, loop, run_digest=run)
            schedule.go_to(loop.epoch * loop.steps + loop.position)
        epochs, what = self.recipe.epochs, f"training {self.name}-s{seed}"
        before, saved, start, cpu = progressed, time.monotonic(), time.monotonic(), time.process_time()
        while loop.epoch < epochs:
            done = loop.epoch * loop.steps + loop.position
            progress(f"{what}, epoch {loop.epoch + 1} of {epochs}", done, epochs * loop.steps)
            mean = loop.step()
            losses = progressed.losses
            if mean is not None:
                if not math.isfinite(mean):
                    raise diverged(loop.epoch, self.recipe.learning_rate)
                losses = (*losses, mean)
            progressed = replace(
                progressed,
                losses=losses,
                seconds=before.seconds + time.monotonic() - start,
                cpu_seconds=before.cpu_seconds + time.process_time() - cpu,
            )
            if loop.epoch < epochs and time.monotonic() - saved >= self.checkpoint_seconds:
                if not math.isfinite(float(loop.total)):
                    raise diverged(loop.epoch + 1, self.recipe.learning_rate)
                save_training(checkpoint, loop, progressed, run_digest=run)
                saved = time.monotonic()
        return progressed

    def _loop(self, module: nn.Module, seed: int) -> tuple[Loop, RateSchedule]:
        recipe, images, labels = self.recipe, self.images, self.labels
        if self.device.type == "cuda" and images.nbytes <= _ON_DEVICE:
            images, labels = images.to(self.device), labels.to(self.device)
        optimizer = recipe.make_optimizer(module)
        augmentations = [parse_augmentation(text) for text in recipe.augmentations]
        if recipe.mean is not None and recipe.std is not None:
            augmentations.append(_normalisation(recipe.mean, recipe.std, self.device))
        steps = recipe.epochs * batches_per_epoch(len(images), recipe.batch_size)
        schedule = RateSchedule(optimizer, recipe.schedule, highest=recipe.learning_rate, steps=steps)
        loop = Loop(
            module,
            images,
            labels,
            batch_size=recipe.batch_size,
            loss=find_method(recipe.method).loss(label_smoothing=recipe.label_smoothing),
            augmentations=augmentations,
            optimizer=optimizer,
            schedule=schedule,
            generator=torch.Generator().manual_seed(seed),
            autocast=torch.bfloat16 if recipe.precision == "bfloat16" else None,
            memory_format=torch.channels_last if recipe.channels_last else torch.preserve_format,
            side=partial(side_in_epoch, recipe.sizes),
        )
        return loop, schedule

    def _write(self, module: nn.Module, seed: int, progressed: Progressed) -> dict[str, Any]:
        weights = self.file(seed, ".safetensors")
        # clones, because safetensors refuses tensors that share memory
        state = {
            name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, value in module.state_dict().items()
        }
        # one entry: safetensors writes several in any order, and the same weights are to be the same file
        write_atomic(weights, save(state, metadata={"run": self.run_digest(seed)}))
        recipe = self.recipe
        imported = prepare_import(
            weights,
            name=f"{self.name}-s{seed}",
            architecture=recipe.architecture,
            arguments=recipe.arguments,
            code_path=self.code_path,
            labels=self.train.class_names,
            input_shape=self.train.image_shape,
            mean=recipe.mean,
            std=recipe.std,
        )
        record = {
            "format": 1,
            "kind": "training",
            "name": f"{self.name}-s{seed}",
            "command": self.command,
            "run_digest": self.run_digest(seed),
            "recipe": recipe.to_dict(),
            "recipe_digest": recipe.digest,
            "seed": seed,
            "data": {
                "name": self.data_name,
                "digest": self.train_digest,
                "n": len(self.train),
                "image_shape": list(self.train.image_shape),
            },
            "class_names": list(self.train.class_names),
            "losses": list(progressed.losses),
            "test": self._measure(module, imported.manifest.mean, imported.manifest.std),
            "seconds": progressed.seconds,
            "cpu_seconds": progressed.cpu_seconds,
            "images_per_second": recipe.epochs * len(self.train) / max(progressed.seconds, 1e-9),
            "resumed": progressed.resumed,
            "device": self.device.type,
            "device_name": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else None,
            "threads": torch.get_num_threads(),
            "versions": versions(),
            "weights": {
                "file": weights.name,
                "sha256": sha256_file(weights),
                "digest": imported.manifest.weights_digest,
                "parameters": sum(parameter.numel() for parameter in module.parameters()),
            },
        }
        record["import_command"] = import_command(record, self.out, self.code_path)
        write_atomic(self.file(seed, ".md"), model_card(record).encode())
        text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
        write_atomic(self.file(seed, ".json"), f"{text}\n".encode())
        with contextlib.suppress(OSError):
            self.file(seed, ".checkpoint").unlink()
        return record

    def _measure(
        self, module: nn.Module, mean: tuple[float, ...] | None, std: tuple[float, ...] | None
    ) -> dict[str, Any] | None:
        """Return the count of correct answers on the test images, as the importing seller's classifier answers."""
        if self.test is None:
            return None
        classifier = Classifier(
            module, input_shape=self.train.image_shape, labels=self.train.class_names, mean=mean, std=std
        ).to(self.device)
        found = classifier.predict(torch.from_numpy(self.test.images)).cpu()
        correct = int((found == torch.from_numpy(self.test.labels)).sum())
        n = len(self.test)
        return {"digest": self.test_digest, "n": n, "accuracy": dict(self.rate(correct, n))}


def _normalisation(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> Augmentation:
    """Return (x - mean) / std as the last change of a batch; it draws nothing."""
    shift, scale = (torch.tensor(values, device=device).view(1, -1, 1, 1) for values in (mean, std))

    def normalise(images: Tensor, _generator: torch.Generator) -> Tensor:
        return (images - shift) / scale

    return normalise
