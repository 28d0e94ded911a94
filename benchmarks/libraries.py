"""ART and Foolbox on a variegate classifier, with the shims that they need."""

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from torch import Tensor, nn

from variegate.models.classifier import Classifier

__all__ = ["ToFloat32", "art_classifier", "foolbox_model", "library_versions"]


class ToFloat32(nn.Module):
    """ART 1.20 on NumPy 2 sends float64, which a float32 module refuses; this casts first."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, *input_shape) to what the module gives for float32."""
        result: Tensor = self.module(x.float())
        return result


def art_classifier(module: nn.Module, classifier: Classifier) -> Any:  # noqa: ANN401 - ART ships no types
    """Return ART's classifier over `module`, with the shape, classes and bounds of `classifier`."""
    from art.estimators.classification import PyTorchClassifier

    return PyTorchClassifier(
        module,
        loss=nn.CrossEntropyLoss(),
        input_shape=classifier.input_shape,
        nb_classes=classifier.num_classes,
        clip_values=(classifier.bounds.lower, classifier.bounds.upper),
        device_type="cpu" if classifier.device.type == "cpu" else "gpu",
    )


def foolbox_model(module: nn.Module, classifier: Classifier) -> Any:  # noqa: ANN401 - Foolbox is untyped here
    """Return Foolbox's model over `module`."""
    from foolbox.models.pytorch import PyTorchModel

    bounds = (classifier.bounds.lower, classifier.bounds.upper)
    return PyTorchModel(module.eval(), bounds=bounds, device=classifier.device)


def library_versions() -> dict[str, str | None]:
    """Return the versions of the two libraries; None where one is not installed."""
    found: dict[str, str | None] = {}
    for name in ("adversarial-robustness-toolbox", "foolbox"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found
