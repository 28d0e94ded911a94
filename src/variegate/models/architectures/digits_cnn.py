"""A small convolutional network for 8 x 8 digits: the quickstart's, trained in seconds on one core."""

from torch import Tensor, nn

from variegate.models.architectures.base import check_sizes, initialise


class DigitsCnn(nn.Module):
    """Three 3 x 3 convolutions with batch normalisation, one pooling, average pooling, one linear layer.

    Args:
        num_classes: how many logits.
        in_channels: channels of the images, whose sides must be at least 2.
    """

    def __init__(self, num_classes: int, in_channels: int = 1) -> None:
        super().__init__()
        check_sizes(num_classes, in_channels)
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
        )
        self.classifier = nn.Linear(4 * 64, num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 (N, in_channels, H, W) to logits (N, num_classes)."""
        out: Tensor = self.classifier(self.features(x).flatten(1))
        return out


def digits_cnn(num_classes: int, in_channels: int = 1) -> DigitsCnn:
    """Return the network: 26 thousand parameters at 10 classes."""
    return DigitsCnn(num_classes, in_channels)
