"""VGG for 32 x 32 images: the paper's networks (VGG-19), with batch normalisation and one linear layer as head.

Source: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (ICLR 2015),
table 1, columns A, B, D and E, with batch normalisation (Ioffe and Szegedy, 2015) after every convolution. After five
poolings a 32 x 32 image is 1 x 1, so the three large fully connected layers of the ImageNet form shrink to one.
"""

from torch import Tensor, nn

from variegate.models.architectures.base import check_sizes, initialise

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
