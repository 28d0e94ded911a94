"""Small classifiers for replays."""

import torch
from torch import Tensor, nn

from variegate.models.classifier import Classifier

SHAPE = (3, 4, 4)


class Slab(nn.Module):
    """Class 1 within 0.05 of a plane at distance 0.35 of the grey image, else class 0: most steps go too far."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        direction = torch.randn(48, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("normal", direction / direction.norm())

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, 3, 4, 4) to two logits."""
        depth = (x - 0.5).flatten(1) @ self.normal - 0.35
        return torch.stack((depth.abs(), torch.full_like(depth, 0.05)), 1)


def small_network(seed: int) -> tuple[Classifier, Tensor, Tensor]:
    """Return a convolutional network of four classes, images with the surest first, and its labels for them."""
    generator = torch.Generator().manual_seed(seed)
    module = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4))
    for parameter in module.parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
        scale = 1.5 / fan_in**0.5 if parameter.ndim > 1 else 0.0
        parameter.data = scale * torch.randn(parameter.shape, generator=generator)
    classifier = Classifier(module, input_shape=SHAPE, labels=4)
    images = torch.rand((256, *SHAPE), generator=generator)
    module[-1].bias.data -= classifier.logits(images).mean(0)  # so that all classes occur
    logits = classifier.logits(images)
    best = logits.topk(2).values
    order = (best[:, 0] - best[:, 1]).argsort(descending=True)
    return classifier, images[order], logits[order].argmax(1)
