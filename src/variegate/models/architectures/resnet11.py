"""ResNet-11: a residual network with few multiply-adds, for training on two cores in minutes.

Derived from the nine-layer network of David Page ("How to train your ResNet", 2018, the CIFAR-10 entry of DAWNBench):
convolutions that widen at full resolution with the pooling right behind them, residual pairs that keep the width, and
one maximum over all positions before the linear layer. Differences: a residual pair after the second pooling too, which
costs a sixth and adds two layers; half the width, so a quarter of the multiply-adds.
"""

from torch import Tensor, nn

from variegate.errors import ConfigurationError
from variegate.models.architectures.base import check_sizes, initialise

_SCALE = 0.125  # of the logits, Page's: the maxima are large, and usual learning rates would make the loss explode


class ResNet11(nn.Module):
    """A stem, then three times: convolution that doubles the width, 2 x 2 pooling, residual pair; one linear layer.

    Args:
        num_classes: how many logits.
        in_channels: channels of the images, whose sides must be at least 8.
        width: channels of the stem; the last stage has 8 times as many. Multiply-adds grow with its square.

    Raises:
        ConfigurationError: if an argument is out of range.
    """

    def __init__(self, num_classes: int, in_channels: int = 3, width: int = 32) -> None:
        super().__init__()
        check_sizes(num_classes, in_channels)
        if isinstance(width, bool) or not isinstance(width, int) or width < 1:
            raise ConfigurationError(f"width must be an integer of at least 1; got {width!r}")
        self.stem = _convolution(in_channels, width)
        self.stages = nn.Sequential(*(_Stage(width * 2**index, width * 2 ** (index + 1)) for index in range(3)))
        self.classifier = nn.Linear(8 * width, num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 (N, in_channels, H, W) to logits (N, num_classes)."""
        logits: Tensor = self.classifier(self.stages(self.stem(x)).amax((2, 3)))
        return _SCALE * logits


class _Stage(nn.Module):
    """Widen, halve the sides, and add two convolutions to what came out."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.widen = _convolution(channels_in, channels_out, nn.MaxPool2d(2))
        self.residual = nn.Sequential(
            _convolution(channels_out, channels_out), _convolution(channels_out, channels_out)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels_in, H, W) to (N, channels_out, H / 2, W / 2), rounded down."""
        x = self.widen(x)
        out: Tensor = x + self.residual(x)
        return out


def _convolution(channels_in: int, channels_out: int, *after: nn.Module) -> nn.Sequential:
    convolution = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
    return nn.Sequential(convolution, *after, nn.BatchNorm2d(channels_out), nn.ReLU())


def resnet11(num_classes: int, in_channels: int = 3, width: int = 32) -> ResNet11:
    """Return ResNet-11: 1.94 million parameters and 114 million multiply-adds at width 32 and 32 x 32 pixels."""
    return ResNet11(num_classes, in_channels, width)
