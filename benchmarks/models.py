"""The classifiers and images that the benchmarks run on."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn

from variegate.data.catalog import load_dataset
from variegate.errors import NotFoundError
from variegate.keys import CopyKey, KeyContext, SellerSecret
from variegate.models.architectures.catalog import ARCHITECTURES, build_architecture
from variegate.models.classifier import Classifier
from variegate.models.loading import load_factory, load_state

CIFAR_LIKE = (3, 32, 32)


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subject:
    """A classifier with images to ask it.

    Attributes:
        name: what tables call it.
        classifier: ready to be asked.
        images: float32 (N, *input_shape).
        labels: int64 (N,): the true labels, or for a network with random weights the ones that it gives.
        trained: whether the weights are trained.
    """

    name: str
    classifier: Classifier
    images: Tensor
    labels: Tensor
    trained: bool
    cache: dict[str, Tensor] = field(default_factory=dict)

    @property
    def predicted(self) -> Tensor:
        """Return int64 (N,): the labels that the classifier gives."""
        if "predicted" not in self.cache:
            self.cache["predicted"] = self.classifier.predict(self.images)
        return self.cache["predicted"]

    def correct(self, count: int) -> Tensor:
        """Return int64 (count or fewer,): the first positions of images that the classifier labels correctly."""
        return (self.predicted == self.labels).nonzero().flatten()[:count]


def named_subject(shared: Path, name: str, *, images: int) -> Subject:
    """Return "digits_cnn" (trained now), an architecture of the catalog (random weights), or a trained shared model."""
    if name == "digits_cnn":
        return digits_subject(images=images)
    if name in ARCHITECTURES:
        return random_subject(name, images=images)
    return shared_subject(shared, name, images=images)


def shared_subject(shared: Path, name: str, *, images: int) -> Subject:
    """Return a trained classifier of the folder with data/ and models/, with its first test images.

    Raises:
        NotFoundError: if there is no such folder, or it has no such model.
    """
    if not (shared / "models" / "models.json").is_file():
        raise NotFoundError(f"{shared} has no models/models.json; name the folder with data/ and models/ by --shared")
    listed = json.loads((shared / "models" / "models.json").read_text(encoding="utf-8"))
    if name not in listed:
        raise NotFoundError(f"{shared / 'models'} has no model {name!r}; it has {', '.join(sorted(listed))}")
    entry = listed[name]
    factory = load_factory(entry["factory"], shared / "models" / "seller_net.py")
    module = factory(num_classes=entry["num_classes"])
    module.load_state_dict(load_state(shared / "models" / f"{name}.safetensors"))
    classifier = Classifier(module, input_shape=CIFAR_LIKE, labels=entry["num_classes"])
    data = load_dataset(shared / "data" / entry["dataset"], split="test", limit=images)
    return Subject(
        name=name,
        classifier=classifier,
        images=torch.from_numpy(data.images),
        labels=torch.from_numpy(data.labels),
        trained=True,
    )


def random_subject(architecture: str, *, images: int, seed: int = 0, classes: int = 10) -> Subject:
    """Return a network with random weights whose labels vary: for timings, which do not depend on the weights.

    Batch normalisations take the statistics of the images, and the last layer's bias makes all classes equal on
    average. The images are smooth noise.
    """
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand((images, 3, 8, 8), generator=generator)
    pictures = nn.functional.interpolate(coarse, size=CIFAR_LIKE[1:], mode="bilinear")
    module = build_architecture(architecture, {"num_classes": classes}, seed=seed)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None  # the mean over all batches
    module.train()
    with torch.no_grad():
        module(pictures[:128])
    classifier = Classifier(module, input_shape=CIFAR_LIKE, labels=classes)
    last = [part for part in module.modules() if isinstance(part, nn.Linear)][-1]
    last.bias.data -= classifier.logits(pictures[:128]).mean(0)
    return Subject(
        name=architecture,
        classifier=classifier,
        images=pictures,
        labels=classifier.predict(pictures),
        trained=False,
    )


def digits_subject(*, images: int, epochs: int = 20) -> Subject:
    """Return the small CNN of the quickstart, trained on scikit-learn's digits here and now, and its test images."""
    train = load_dataset("digits", split="train")
    test = load_dataset("digits", split="test", limit=images)
    module = build_architecture("digits_cnn", {"num_classes": 10, "in_channels": 1}, seed=0)
    x, y = torch.from_numpy(train.images), torch.from_numpy(train.labels)
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
    module.train()
    for _ in range(epochs):
        for rows in torch.randperm(x.shape[0], generator=generator).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(x[rows]), y[rows]).backward()
            optimizer.step()
    classifier = Classifier(module, input_shape=(1, 8, 8), labels=10)
    return Subject(
        name="digits_cnn",
        classifier=classifier,
        images=torch.from_numpy(test.images),
        labels=torch.from_numpy(test.labels),
        trained=True,
    )


def timing_keys(count: int) -> list[CopyKey]:
    """Return keys of a secret that is not secret, for timings."""
    secret = SellerSecret.from_bytes(bytes(range(32)))
    return [
        secret.derive(KeyContext(model_digest="-", rewriter="qim", spec_digest="-", buyer=f"buyer-{i}", epoch=1))
        for i in range(count)
    ]


def count_macs(module: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Return the multiply-adds of convolutions and linear layers for one input."""
    total = 0

    def add(part: nn.Module, _inputs: object, output: Tensor) -> None:
        nonlocal total
        if isinstance(part, nn.Conv2d):
            total += output[0].numel() * part.weight[0].numel()
        elif isinstance(part, nn.Linear):
            total += part.weight.numel()

    handles = [part.register_forward_hook(add) for part in module.modules()]
    try:
        with torch.no_grad():
            module(torch.zeros((1, *input_shape)))
    finally:
        for handle in handles:
            handle.remove()
    return total


def imagenet_sized_stack() -> nn.Module:
    """Return a plain stack of 3 x 3 convolutions for 3 x 224 x 224 and 1000 classes that costs what a ResNet-50 costs.

    About 4.1 thousand million multiply-adds (He et al., 2016, table 1 gives 3.8 for the version with strides in the
    1 x 1 convolutions), in the resolutions and widths of a ResNet-18.
    """
    parts: list[nn.Module] = [nn.Conv2d(3, 64, 7, stride=2, padding=3), nn.ReLU(), nn.MaxPool2d(2)]
    channels = 64
    for width, depth in ((64, 8), (128, 8), (256, 9), (512, 8)):
        if width != channels:
            parts += [nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.ReLU()]
        parts += [part for _ in range(depth) for part in (nn.Conv2d(width, width, 3, padding=1), nn.ReLU())]
        channels = width
    parts += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 1000)]
    return nn.Sequential(*parts).eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
