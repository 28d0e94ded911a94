"""Residual networks for 32 x 32 images: ResNet-20 and the CIFAR form of ResNet-18.

Source: He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016). ResNet-20 is section 4.2: three stages of
16, 32 and 64 channels, shortcuts without parameters (option A: take every second pixel, fill new channels with zeros).
ResNet-18 is table 1 with the stem that is usual for small images: one 3 x 3 convolution of stride 1, no pooling, and 1
x 1 convolutions as shortcuts where the shape changes (option B).

ResNet-11 has few multiply-adds, for training on two cores in minutes. It is derived from the nine-layer network of
David Page ("How to train your ResNet", 2018, the CIFAR-10 entry of DAWNBench): convolutions that widen at full
resolution with the pooling right behind them, residual pairs that keep the width, and one maximum over all positions
before the linear layer. Differences: a residual pair after the second pooling too, which costs a sixth and adds two
layers; half the width, so a quarter of the multiply-adds.
"""

import torch
from torch import Tensor, nn

from variegate.errors import ConfigurationError
from variegate.models.architectures.base import check_sizes, initialise


class _SubsampleAndPad(nn.Module):
    """Option A: every `stride`-th pixel, and zeros in the channels that the input does not have."""

    def __init__(self, stride: int, extra_channels: int) -> None:
        super().__init__()
        self.stride = stride
        self.extra_channels = extra_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C + extra_channels, H / stride, W / stride), rounded up."""
        before = self.extra_channels // 2
        x = x[:, :, :: self.stride, :: self.stride]
        return nn.functional.pad(x, (0, 0, 0, 0, before, self.extra_channels - before))


class _Block(nn.Module):
    """Two 3 x 3 convolutions with batch normalisation, added to the shortcut."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, *, projection: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.downsample: nn.Module
        if stride == 1 and channels_in == channels_out:
            self.downsample = nn.Identity()
        elif projection:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride=stride, bias=False), nn.BatchNorm2d(channels_out)
            )
        else:
            self.downsample = _SubsampleAndPad(stride, channels_out - channels_in)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels_in, H, W) to (N, channels_out, H / stride, W / stride)."""
        out = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(out)) + self.downsample(x))


class ResNet(nn.Module):
    """A 3 x 3 stem, stages of residual blocks, average pooling and one linear layer.

    Args:
        widths: channels of each stage; each stage but the first halves the sides of the image.
        blocks: residual blocks per stage.
        num_classes: how many logits.
        in_channels: channels of the images.
        projection: whether shortcuts that change the shape are 1 x 1 convolutions (option B) or free of parameters (A).
    """

    def __init__(
        self, widths: tuple[int, ...], blocks: int, num_classes: int, in_channels: int, *, projection: bool
    ) -> None:
        super().__init__()
        check_sizes(num_classes, in_channels)
        self.conv1 = nn.Conv2d(in_channels, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        stages: list[nn.Module] = []
        channels = widths[0]
        for index, width in enumerate(widths):
            stage: list[nn.Module] = []
            for block in range(blocks):
                stride = 2 if index > 0 and block == 0 else 1
                stage.append(_Block(channels, width, stride, projection=projection))
                channels = width
            stages.append(nn.Sequential(*stage))
        self.stages = nn.Sequential(*stages)
        self.fc = nn.Linear(channels, num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 (N, in_channels, H, W) to logits (N, num_classes)."""
        out = self.stages(torch.relu(self.bn1(self.conv1(x))))
        logits: Tensor = self.fc(out.mean((2, 3)))
        return logits


def resnet20(num_classes: int, in_channels: int = 3) -> ResNet:
    """Return ResNet-20: 0.27 million parameters at 10 classes."""
    return ResNet((16, 32, 64), 3, num_classes, in_channels, projection=False)


def resnet18(num_classes: int, in_channels: int = 3) -> ResNet:
    """Return ResNet-18 in its CIFAR form: 11.17 million parameters at 10 classes."""
    return ResNet((64, 128, 256, 512), 2, num_classes, in_channels, projection=True)


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
