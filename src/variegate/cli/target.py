"""What `variegate attack` attacks: an original, an issued copy or an ONNX file."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from variegate.cli.desk import open_desk
from variegate.cli.experiment import choose_device
from variegate.cli.options import DeviceChoice, parse_integers
from variegate.errors import ConfigurationError
from variegate.types import Bounds

if TYPE_CHECKING:
    from variegate.experiments.attack import Target


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
