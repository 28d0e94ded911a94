"""Convolutional networks without shortcuts: a small one for digits, VGG, and a fast one behind a whitening layer.

The network for digits of 8 x 8 pixels is the quickstart's; it trains in seconds on one core.

VGG for 32 x 32 images: the paper's networks (VGG-19), with batch normalisation and one linear layer as head. Source:
Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (ICLR 2015), table 1,
columns A, B, D and E, with batch normalisation (Ioffe and Szegedy, 2015) after every convolution. After five poolings a
32 x 32 image is 1 x 1, so the three large fully connected layers of the ImageNet form shrink to one.

The whitened network trains in few epochs on a small machine. After Keller Jordan, "94% on CIFAR-10 in 3.29 Seconds on a
Single GPU" (arXiv 2404.00498, 2024), section 3: the first layer's kernels are the principal patches of the training
images, scaled to unit variance, and are not trained; the other kernels start close to the identity; biases move faster
than kernels; the logits are scaled down. Differences: written from the paper alone; biases are multiplied by 8 in the
forward pass, which has the effect of the paper's 64-fold learning rate under any optimizer; no averaging of weights; at
inference the mean over an image and its mirror image only, without the six shifted views, and only on request.
"""

from typing import Final

import torch
from torch import Tensor, nn

from variegate.errors import ConfigurationError, InputError
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


# Channels of the convolutions, block by block; 2 x 2 max pooling after each block.
_BLOCKS: dict[str, tuple[tuple[int, ...], ...]] = {
    "vgg11": ((64,), (128,), (256,) * 2, (512,) * 2, (512,) * 2),
    "vgg13": ((64,) * 2, (128,) * 2, (256,) * 2, (512,) * 2, (512,) * 2),
    "vgg16": ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3),
    "vgg19": ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4),
}


class Vgg(nn.Module):
    """Blocks of 3 x 3 convolution, batch normalisation and ReLU; average pooling; one linear layer.

    Args:
        blocks: channels of the convolutions of each block.
        num_classes: how many logits.
        in_channels: channels of the images; their sides must be at least 2 to the number of blocks.
    """

    def __init__(self, blocks: tuple[tuple[int, ...], ...], num_classes: int, in_channels: int) -> None:
        super().__init__()
        check_sizes(num_classes, in_channels)
        layers: list[nn.Module] = []
        channels = in_channels
        for block in blocks:
            for width in block:
                layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(channels, num_classes)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 (N, in_channels, H, W) to logits (N, num_classes)."""
        out: Tensor = self.classifier(self.pool(self.features(x)).flatten(1))
        return out


def vgg11(num_classes: int, in_channels: int = 3) -> Vgg:
    """Return VGG-11: 8 convolutions, 9.2 million parameters at 10 classes."""
    return Vgg(_BLOCKS["vgg11"], num_classes, in_channels)


def vgg13(num_classes: int, in_channels: int = 3) -> Vgg:
    """Return VGG-13: 10 convolutions, 9.4 million parameters at 10 classes."""
    return Vgg(_BLOCKS["vgg13"], num_classes, in_channels)


def vgg16(num_classes: int, in_channels: int = 3) -> Vgg:
    """Return VGG-16: 13 convolutions, 14.7 million parameters at 10 classes."""
    return Vgg(_BLOCKS["vgg16"], num_classes, in_channels)


def vgg19(num_classes: int, in_channels: int = 3) -> Vgg:
    """Return VGG-19: 16 convolutions, 20.0 million parameters at 10 classes."""
    return Vgg(_BLOCKS["vgg19"], num_classes, in_channels)


_PATCH: Final = 2
_MIN_VARIANCE: Final = 5e-4
_BIAS_SCALE: Final = 8.0
_LOGIT_SCALE: Final = 1.0 / 9.0


class WhitenedCnn(nn.Module):
    """Whitening, then three blocks of two convolutions with one 2 x 2 pooling each, then a linear layer.

    Before training, `prepare` sets the first layer from the training images.

    Args:
        num_classes: how many logits.
        in_channels: channels of the images, whose sides must be at least 9.
        width: channels of the first block; the others have four times as many. Multiply-adds grow with its square.
        mirror: whether, in evaluation mode, the logits are the mean of those of an image and of its mirror image, which
            costs twice as much. The weights are the same either way. Not for images whose meaning changes in a mirror.

    Raises:
        ConfigurationError: if an argument is out of range.
    """

    def __init__(self, num_classes: int, in_channels: int = 3, width: int = 64, *, mirror: bool = False) -> None:
        super().__init__()
        check_sizes(num_classes, in_channels)
        if not isinstance(mirror, bool):
            raise ConfigurationError(f"mirror must be true or false; got {mirror!r}")
        self.mirror = mirror
        if isinstance(width, bool) or not isinstance(width, int) or width < 8:
            raise ConfigurationError(f"width must be an integer of at least 8; got {width!r}")
        channels = 2 * in_channels * _PATCH**2  # each principal patch and its negative
        self.whiten = nn.Conv2d(in_channels, channels, _PATCH)
        nn.init.zeros_(self.whiten.bias)  # type: ignore[arg-type]
        self.blocks = nn.Sequential(
            nn.GELU(), _Block(channels, width), _Block(width, 4 * width), _Block(4 * width, 4 * width)
        )
        self.classifier = nn.Linear(4 * width, num_classes, bias=False)

    @torch.no_grad()
    def prepare(self, images: Tensor) -> None:
        """Set the first layer so that the patches of these images come out uncorrelated and with unit variance.

        Args:
            images: float32 (N, in_channels, H, W), as the network will be given them.

        Raises:
            InputError: if their channels are not the network's.
        """
        channels = self.whiten.in_channels
        if images.ndim != 4 or images.shape[1] != channels:
            raise InputError(f"expected images (N, {channels}, H, W); got {tuple(images.shape)}")
        patches = images.unfold(2, _PATCH, 1).unfold(3, _PATCH, 1)  # (N, C, H - 1, W - 1, p, p)
        flat = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, channels * _PATCH**2).double()
        flat = flat - flat.mean(0)
        values, vectors = torch.linalg.eigh(flat.T @ flat / len(flat))
        # The sign of an eigenvector is free: the largest entry is made positive, so that all machines agree.
        signs = vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()
        kernels = (vectors * signs / (values + _MIN_VARIANCE).sqrt()).T.reshape(-1, channels, _PATCH, _PATCH)
        self.whiten.weight.copy_(torch.cat([kernels, -kernels]).to(self.whiten.weight))
        self.whiten.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Map float32 (N, in_channels, H, W) to logits (N, num_classes)."""
        logits = self._logits(x)
        if self.mirror and not self.training:
            logits = 0.5 * (logits + self._logits(x.flip(3)))
        return logits

    def _logits(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.blocks(self.whiten(x)).amax((2, 3)))
        return _LOGIT_SCALE * logits


class _Block(nn.Module):
    """Widen, halve the sides, and once more at the same width."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.widen = _convolution(channels_in, channels_out)
        self.pool = nn.MaxPool2d(2)
        self.normalise = _BiasedNorm(channels_out)
        self.deepen = _convolution(channels_out, channels_out)
        self.normalise_again = _BiasedNorm(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels_in, H, W) to (N, channels_out, H / 2, W / 2), rounded down."""
        x = nn.functional.gelu(self.normalise(self.pool(self.widen(x))))
        return nn.functional.gelu(self.normalise_again(self.deepen(x)))


class _BiasedNorm(nn.Module):
    """Batch normalisation without a weight, whose bias moves fast."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, momentum=0.4, affine=False)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to the same shape."""
        out: Tensor = self.norm(x) + (_BIAS_SCALE * self.bias).to(x.dtype).view(1, -1, 1, 1)
        return out


def _convolution(channels_in: int, channels_out: int) -> nn.Conv2d:
    """Return a 3 x 3 convolution whose first outputs are its inputs, and whose others are torch's own draw."""
    convolution = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
    with torch.no_grad():
        nn.init.dirac_(convolution.weight[: min(channels_in, channels_out)])
    return convolution


def whitened_cnn(num_classes: int, in_channels: int = 3, width: int = 64, *, mirror: bool = False) -> WhitenedCnn:
    """Return the network: 1.97 million parameters and 118 million multiply-adds at width 64 and 32 x 32 pixels."""
    return WhitenedCnn(num_classes, in_channels, width, mirror=mirror)
