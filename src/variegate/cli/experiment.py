"""What the measuring commands share: images in the original's range, and specs by name."""

from typing import TYPE_CHECKING, Literal

from variegate.authority.authority import Authority
from variegate.authority.spec_files import SavedSpec
from variegate.errors import ConfigurationError, NotFoundError

if TYPE_CHECKING:
    from variegate.data.images import LabelledImages
    from variegate.types import Bounds

__all__ = ["find_spec", "load_images", "scale_to"]


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


def find_spec(desk: Authority, name: str, model: str) -> SavedSpec:
    """Return the spec called `name`, or the one that `calibrate` makes for this model and rewriter by default.

    Raises:
        NotFoundError: if there is neither.
    """
    for candidate in (name, f"{model}-{name}"):
        if desk.home.spec(candidate).is_file():
            return desk.saved_spec(candidate)
    raise NotFoundError(
        f"there is no rewriter spec named {name!r} or {model}-{name}; make one with: variegate calibrate"
    )


def _split(text: str) -> Literal["train", "test"]:
    if text == "train":
        return "train"
    if text == "test":
        return "test"
    raise ConfigurationError(f'--split must be "train" or "test"; got {text!r}')
