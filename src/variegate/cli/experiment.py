"""What the measuring commands share: the target, the attack, images in the original's range, and the device."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from variegate.cli.desk import open_desk
from variegate.cli.options import DeviceChoice, parse_integers, split_pairs
from variegate.errors import ConfigurationError
from variegate.types import Bounds, Norm

if TYPE_CHECKING:
    from variegate.attacks.base import Attack
    from variegate.attacks.white_box.base import WhiteBoxAttack
    from variegate.data.images import LabelledImages
    from variegate.experiments.attack import Target


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


def choose_attack(
    name: str, *, preset: str | None, norm: Norm | None, semantics: str | None, parameters: list[str] | None
) -> "Attack | WhiteBoxAttack":
    """Return the attack with its hyper-parameters; --norm and --semantics are short for --set.

    Raises:
        ConfigurationError: there is no such attack, preset or hyper-parameter, a value does not fit, or is given twice.
    """
    from variegate.attacks.catalog import make_attack

    texts = split_pairs(parameters or [], "--set")
    for option, value in (("norm", norm), ("semantics", semantics)):
        if value is None:
            continue
        if option in texts:
            raise ConfigurationError(f"expected --{option} or --set {option}=..., not both")
        texts[option] = str(value)
    return make_attack(name, texts, preset=preset)


def choose_hard_label_attack(
    name: str, *, preset: str | None, norm: Norm | None, semantics: str | None, parameters: list[str] | None
) -> "Attack":
    """Return a hard-label attack; see `choose_attack`.

    Raises:
        ConfigurationError: besides, if the attack needs more than labels.
    """
    from variegate.attacks.catalog import find_attack
    from variegate.attacks.white_box.base import WhiteBoxAttack

    find_attack(name)  # says what is wrong with the name
    attack = choose_attack(name, preset=preset, norm=norm, semantics=semantics, parameters=parameters)
    if isinstance(attack, WhiteBoxAttack):
        raise ConfigurationError(f"{name} needs scores and gradients; choose an attack that sees labels alone")
    return attack


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChosenTarget:
    """A target that is ready to be asked.

    Attributes:
        name: what to call it in the summary.
        digest: identifies its parameters.
        target: answers with labels.
        device: where the attack computes.
    """

    name: str
    digest: str
    target: "Target"
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetChoice:
    """The options that say what is attacked.

    Raises:
        ConfigurationError: if not exactly one of `model`, `copy` and `onnx` is given, or an option is for ONNX files
            alone.
    """

    model: str | None
    copy: str | None
    onnx: Path | None
    input_shape: str | None
    labels: int | None
    bounds: str | None
    device: DeviceChoice

    def __post_init__(self) -> None:
        if sum(option is not None for option in (self.model, self.copy, self.onnx)) != 1:
            raise ConfigurationError("expected exactly one of --model, --copy and --onnx, to say what is attacked")
        if self.onnx is None and any(option is not None for option in (self.input_shape, self.labels, self.bounds)):
            raise ConfigurationError(
                "--input-shape, --labels and --bounds describe an ONNX file; originals and copies have them recorded"
            )
        if self.onnx is not None and self.device is DeviceChoice.CUDA:
            raise ConfigurationError("ONNX files run on the CPU; leave --device out")

    def load(self, home: Path) -> ChosenTarget:
        """Load the target, from the home unless it is an ONNX file."""
        if self.onnx is not None:
            return self._labeler(self.onnx)
        device = choose_device(self.device)
        with open_desk(home, read_only=True) as desk:
            if self.model is not None:
                manifest = desk.model(self.model)
                original = desk.original(self.model).to(device)
                return ChosenTarget(name=self.model, digest=manifest.digest, target=original, device=device)
            copy = desk.load_copy(str(self.copy))
            copy.original.to(device)
            copy.head.to(device)
            # The copy's name does not depend on the secret; its key does.
            digest = f"{desk.copy_manifest(str(self.copy)).digest} {desk.secret().identifier}"
            return ChosenTarget(name=str(self.copy), digest=digest, target=copy, device=device)

    def _labeler(self, path: Path) -> ChosenTarget:
        from variegate.models.onnx import OnnxLabeler

        labeler = OnnxLabeler(
            path,
            input_shape=None if self.input_shape is None else parse_integers(self.input_shape, "--input-shape"),
            num_classes=self.labels,
            bounds=None if self.bounds is None else Bounds.parse(self.bounds),
        )
        return ChosenTarget(name=path.name, digest=labeler.digest, target=labeler, device="cpu")
