"""Named recipes: `paper`, `laptop` and `smoke`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

from variegate.errors import ConfigurationError
from variegate.models.architectures.catalog import Argument
from variegate.training.recipe import TrainingRecipe

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
