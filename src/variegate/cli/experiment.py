"""What the measuring commands share: images in the original's range, and the device."""

from typing import TYPE_CHECKING, Literal

from variegate.cli.options import DeviceChoice
from variegate.errors import ConfigurationError

if TYPE_CHECKING:
    from variegate.data.images import LabelledImages
    from variegate.types import Bounds


def choose_device(choice: DeviceChoice) -> str:
    """Return the name of the device that the option means, "cpu" or "cuda".

    Raises:
        ConfigurationError: if a GPU was asked for and torch can use none.
    """
    if choice is DeviceChoice.CPU:
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if choice is DeviceChoice.CUDA:
        raise ConfigurationError("--device cuda needs a GPU that torch can use; there is none: use --device cpu")
    return "cpu"


def load_images(data: str, split: str, *, limit: int | None) -> "LabelledImages":
    """Read a data set's images in [0, 1] and their labels.

    Raises:
        ConfigurationError: if the split is neither "train" nor "test".
    """
    from variegate.data.catalog import load_dataset

    return load_dataset(data, split=_split(split), limit=limit)


def scale_to(data: "LabelledImages", bounds: "Bounds") -> "LabelledImages":
    """Return images in [0, 1] as values from the lower to the upper bound; the data's own checks are behind us."""
    if (bounds.lower, bounds.upper) != (0.0, 1.0):
        data.images[...] = data.images * bounds.range + bounds.lower
    return data


def _split(text: str) -> Literal["train", "test"]:
    if text == "train":
        return "train"
    if text == "test":
        return "test"
    raise ConfigurationError(f'--split must be "train" or "test"; got {text!r}')
