"""`TrainingRecipe`: all that decides a training besides the seed and the images, with a digest."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias, final

import torch
from torch import nn

from variegate.errors import ConfigurationError
from variegate.manifest import digest
from variegate.models.architectures.catalog import Argument
from variegate.training.augmentations import parse_augmentation, parse_size
from variegate.training.loop import find_method, parameter_groups
from variegate.training.muon import Muon

Optimizer: TypeAlias = Literal["sgd", "adamw", "muon"]
Precision: TypeAlias = Literal["float32", "bfloat16"]
ScheduleName: TypeAlias = Literal["one_cycle", "cosine", "steps", "constant"]

_WARM_UP = 0.2  # of the steps, in one_cycle
_FALLS = (0.5, 0.75)  # of the steps, in steps
_CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": ("sgd", "adamw", "muon"),
    "schedule": ("one_cycle", "cosine", "steps", "constant"),
    "precision": ("float32", "bfloat16"),
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecipe:
    """How a network is trained; the seed and the images come to it.

    Attributes:
        architecture: a name of the catalog, or "module:function" of the seller's own code.
        arguments: the architecture's.
        code: file name -> SHA-256 of the seller's own code; empty for the catalog's architectures.
        method: a name of `variegate.training.loop`.
        epochs: passes over the images.
        batch_size: images of one step, at least 2.
        optimizer: "sgd" with Nesterov's momentum; "adamw"; or "muon", which is sgd but for the kernels of convolutions
            (`variegate.training.muon`).
        learning_rate: the highest.
        momentum: of sgd and of what muon leaves to it; adamw has torch's own (0.9 and 0.999).
        weight_decay: for kernels and matrices, with muon for matrices alone; biases and normalisation have none.
        schedule: "one_cycle" rises linearly in the first fifth of the steps and falls linearly to zero; "cosine" falls
            from the start; "steps" falls to a tenth after half and after three quarters; "constant" stays.
        label_smoothing: the share of the target that is spread over all classes.
        sizes: "SIDExEPOCHS" for the first epochs, which see smaller images; those after them see whole ones.
        augmentations: in order, as `variegate.training.augmentations.parse_augmentation` reads them.
        mean, std: normalisation before the network, one number or one per channel; None if the network does it. It is
            no part of the saved weights: the importing command names it, and the classifier applies it to [0, 1].
        precision: what the forward pass computes in where that is safe; weights are float32 always.
        channels_last: whether channels lie innermost in memory, which convolutions like better.

    Raises:
        ConfigurationError: if a value is out of range.
    """

    architecture: str
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    code: Mapping[str, str] = field(default_factory=dict)
    method: str = "independent"
    epochs: int
    batch_size: int = 128
    optimizer: Optimizer = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: ScheduleName = "one_cycle"
    label_smoothing: float = 0.0
    sizes: tuple[str, ...] = ()
    augmentations: tuple[str, ...] = ()
    mean: tuple[float, ...] | None = (0.5,)
    std: tuple[float, ...] | None = (0.25,)
    precision: Precision = "float32"
    channels_last: bool = True

    def __post_init__(self) -> None:
        _check_whole("epochs", self.epochs, 1)
        _check_whole("batch_size", self.batch_size, 2)
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigurationError(f"{name} must be {' or '.join(choices)}; got {getattr(self, name)!r}")
        for name in ("learning_rate", "momentum", "weight_decay", "label_smoothing"):
            _check_number(name, getattr(self, name))
        if self.learning_rate == 0.0:
            raise ConfigurationError("learning_rate must be above 0; got 0")
        for name in ("momentum", "label_smoothing"):
            if getattr(self, name) >= 1.0:
                raise ConfigurationError(f"{name} must be below 1; got {getattr(self, name):g}")
        find_method(self.method)
        for text in self.augmentations:
            parse_augmentation(text)
        small = sum(epochs for _, epochs in map(parse_size, self.sizes))
        if small > self.epochs:
            raise ConfigurationError(
                f"sizes must leave to other epochs what is left of {self.epochs}; they name {small}"
            )
        _check_normalisation(self.mean, self.std)

    @property
    def digest(self) -> str:
        """Return "sha256:..." over everything that `to_dict` returns."""
        return digest({"format": 1, **self.to_dict()})

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as a record holds it."""
        plain: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            plain[each.name] = list(value) if isinstance(value, tuple) else value
        return plain | {"arguments": dict(self.arguments), "code": dict(self.code)}

    def make_optimizer(self, module: nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer over the module's parameters.

        Raises:
            ModelError: if the module has none.
        """
        groups = parameter_groups(module, self.weight_decay)
        if self.optimizer == "adamw":
            return torch.optim.AdamW(groups, lr=self.learning_rate)
        if self.optimizer == "muon":
            return Muon(groups, lr=self.learning_rate, momentum=self.momentum)
        nesterov = self.momentum > 0
        return torch.optim.SGD(groups, lr=self.learning_rate, momentum=self.momentum, nesterov=nesterov)


@final
class RateSchedule:
    """Sets the learning rate from the number of steps done and nothing else, so that a resumed training goes on alike.

    Args:
        optimizer: whose rate is set, at once for the first step and by `step` for the next ones.
        schedule: as in `TrainingRecipe`.
        highest: the highest rate.
        steps: how many there are in all.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, schedule: ScheduleName, *, highest: float, steps: int) -> None:
        self._optimizer, self._highest, self._steps = optimizer, highest, steps
        self._share = _SHARES[schedule]
        self.go_to(0)

    def step(self) -> None:
        """Set the rate of the next step."""
        self.go_to(self._done + 1)

    def go_to(self, done: int) -> None:
        """Set the rate of the step that follows `done` steps."""
        self._done = done
        rate = self._highest * self._share(min(done, self._steps - 1), self._steps)
        for group in self._optimizer.param_groups:
            group["lr"] = rate


def _one_cycle(done: int, steps: int) -> float:
    top = max(1, round(_WARM_UP * steps))
    return (done + 1) / top if done < top else (steps - done) / (steps - top + 1)


def _cosine(done: int, steps: int) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * done / steps))


def _in_steps(done: int, steps: int) -> float:
    return 0.1 ** sum(done >= share * steps for share in _FALLS)


_SHARES: dict[str, Callable[[int, int], float]] = {
    "one_cycle": _one_cycle,
    "cosine": _cosine,
    "steps": _in_steps,
    "constant": lambda _done, _steps: 1.0,
}


def parse_settings(texts: Mapping[str, str]) -> dict[str, Any]:
    """Return keyword arguments for a recipe from NAME -> text.

    "none" is no size, no augmentation, no mean and no std; several are written with commas.

    Raises:
        ConfigurationError: if a recipe has no such setting, or the text is not what it takes.
    """
    values: dict[str, Any] = {}
    for name, text in texts.items():
        if name not in _READERS:
            raise ConfigurationError(f"a recipe has no setting {name!r}; it has {', '.join(_READERS)}")
        read, takes = _READERS[name]
        try:
            values[name] = read(text)
        except ValueError as error:
            raise ConfigurationError(f"{name} takes {takes}; got {text!r}") from error
    return values


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _numbers(text: str) -> tuple[float, ...] | None:
    return None if text.lower() == "none" else tuple(float(part) for part in text.split(","))


def _names(text: str) -> tuple[str, ...]:
    return () if text.lower() == "none" else tuple(part.strip() for part in text.split(","))


_WHOLE = (int, "a whole number")
_NUMBER = (float, "a number")
_TEXT = (str, "a name")
_SEVERAL = (_numbers, "numbers with commas, or none")
_READERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "epochs": _WHOLE,
    "batch_size": _WHOLE,
    "optimizer": _TEXT,
    "learning_rate": _NUMBER,
    "momentum": _NUMBER,
    "weight_decay": _NUMBER,
    "schedule": _TEXT,
    "label_smoothing": _NUMBER,
    "sizes": (_names, "SIDExEPOCHS with commas, or none"),
    "augmentations": (_names, "names with commas, or none"),
    "mean": _SEVERAL,
    "std": _SEVERAL,
    "precision": _TEXT,
    "channels_last": (_truth, "true or false"),
    "method": _TEXT,
}


def _check_whole(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(f"{name} must be a whole number of at least {least}; got {value!r}")


def _check_number(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value >= 0):
        raise ConfigurationError(f"{name} must be 0 or a positive number; got {value!r}")


def _check_normalisation(mean: tuple[float, ...] | None, std: tuple[float, ...] | None) -> None:
    if mean is None and std is None:
        return
    if mean is None or std is None:
        raise ConfigurationError("mean and std must both be given, or both be none; got one of them")
    if len(mean) != len(std):
        raise ConfigurationError(f"mean and std must be as many numbers each; got {len(mean)} and {len(std)}")
    if not all(map(math.isfinite, (*mean, *std))) or min(std) <= 0:
        raise ConfigurationError(f"mean must be finite and std positive numbers; got {mean} and {std}")


NOT_MIRRORED = ("digits", "gtsrb", "mnist", "sign", "svhn")
"""Parts of names of data sets whose classes change in a mirror: `flip` is left out of a preset for them."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPreset:
    """Settings under a name.

    Attributes:
        summary: what it is for, in a few words.
        architecture: its own network.
        arguments: of this network; "mirror" goes to data sets alone whose classes stay the same in a mirror.
        settings: of the recipe, as its attributes.
        limit: how many images of each split it takes; None for all.
    """

    summary: str
    architecture: str
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    settings: Mapping[str, Any]
    limit: int | None = None

    def recipe(
        self,
        *,
        data_name: str,
        architecture: str | None = None,
        arguments: Mapping[str, Argument] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> TrainingRecipe:
        """Return the preset's recipe for a data set.

        Args:
            data_name: decides, with `is_mirrored`, whether `flip` stays among the preset's augmentations, and `mirror`
                among its arguments.
            architecture: another network than the preset's, which then has none of the preset's arguments.
            arguments: more arguments of the network, or other values.
            settings: other values of the recipe; augmentations given here are taken as they are.

        Raises:
            ConfigurationError: if a value is out of range.
        """
        chosen = dict(self.settings)
        if not is_mirrored(data_name):
            chosen["augmentations"] = tuple(name for name in chosen["augmentations"] if name != "flip")
        own = {} if architecture not in (None, self.architecture) else dict(self.arguments)
        if not is_mirrored(data_name):
            own.pop("mirror", None)
        return TrainingRecipe(
            architecture=architecture or self.architecture,
            arguments={**own, **(arguments or {})},
            **{**chosen, **(settings or {})},
        )


PRESETS: dict[str, TrainingPreset] = {
    "paper": TrainingPreset(
        summary="VGG-19 for 200 epochs, as the ASIACCS 2023 paper says; what it leaves open is the usual",
        architecture="vgg19",
        settings={
            "epochs": 200,
            "batch_size": 128,
            "learning_rate": 0.05,
            "weight_decay": 5e-4,
            "schedule": "cosine",
            "augmentations": ("resized_crop", "flip"),
        },
    ),
    "laptop": TrainingPreset(
        summary="a whitened network in bfloat16, for half an hour of one core",
        architecture="whitened_cnn",
        arguments={"width": 48, "mirror": True},
        settings={
            "epochs": 17,
            "batch_size": 256,
            "optimizer": "muon",
            "learning_rate": 0.2,
            "weight_decay": 1.3e-3,
            "sizes": ("24x10",),
            "schedule": "one_cycle",
            "label_smoothing": 0.2,
            "augmentations": ("crop:2", "flip"),
            "precision": "bfloat16",
        },
    ),
    "smoke": TrainingPreset(
        summary="a narrow ResNet-11 on 512 images, in seconds: whether everything runs, not what it reaches",
        architecture="resnet11",
        arguments={"width": 8},
        settings={
            "epochs": 4,
            "batch_size": 32,
            "learning_rate": 0.05,
            "schedule": "one_cycle",
            "augmentations": ("crop:1", "flip"),
        },
        limit=512,
    ),
}
"""Name -> preset."""


def find_preset(name: str) -> TrainingPreset:
    """Return the preset of that name.

    Raises:
        ConfigurationError: if there is none.
    """
    if name not in PRESETS:
        raise ConfigurationError(f"there is no training preset {name!r}; choose from {', '.join(PRESETS)}")
    return PRESETS[name]


def is_mirrored(data_name: str) -> bool:
    """Say whether a mirrored image of this data set still shows its class, judged by the data set's name alone."""
    return not any(part in data_name.lower() for part in NOT_MIRRORED)
