"""What the measuring commands share: images in the original's range, specs by name, and the device."""

from typing import TYPE_CHECKING, Literal

from variegate.authority.authority import Authority
from variegate.authority.spec_files import SavedSpec
from variegate.cli.options import DeviceChoice
from variegate.errors import ConfigurationError, NotFoundError
from variegate.registry.records import get_model
from variegate.types import check_identifier

if TYPE_CHECKING:
    from variegate.data.images import LabelledImages
    from variegate.types import Bounds

_LONGEST_NAME = 128


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


def find_spec(desk: Authority, name: str, model: str) -> SavedSpec:
    """Return the spec called `name`, or the one that `calibrate` makes for this model and rewriter by default.

    Raises:
        ConfigurationError: if the name is malformed, both exist, or the spec was calibrated for another original.
        NotFoundError: if there is neither.
    """
    check_identifier(name, "a spec's name")
    candidates = [name, f"{model}-{name}"]
    found = [each for each in candidates if len(each) <= _LONGEST_NAME and desk.home.spec(each).is_file()]
    if not found:
        raise NotFoundError(
            f"there is no rewriter spec named {name!r} or {model}-{name}; make one with: variegate calibrate"
        )
    saved = [desk.saved_spec(each) for each in found]
    digest = desk.store.read(get_model, model).digest
    fitting = [each for each in saved if each.model_digest in (None, digest)]
    if not fitting:
        raise ConfigurationError(
            f"the spec {saved[0].name!r} was calibrated for model {saved[0].model!r}; got {model!r}: calibrate for it"
        )
    if len(fitting) > 1:
        raise ConfigurationError(
            f"{name!r} may mean the spec {found[0]!r} or the spec {found[1]!r}; name {found[1]!r}, or save "
            f"{found[0]!r} under another name"
        )
    return fitting[0]


def _split(text: str) -> Literal["train", "test"]:
    if text == "train":
        return "train"
    if text == "test":
        return "test"
    raise ConfigurationError(f'--split must be "train" or "test"; got {text!r}')
