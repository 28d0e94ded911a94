"""Random changes of training images; each takes its randomness from the generator that it is given."""

import torch
from torch import Tensor

__all__ = ["flip", "shift"]


def flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each image left to right with probability 1/2; (N, C, H, W) in and out.

    Not for images whose meaning changes in a mirror, such as traffic signs and digits.
    """
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    return torch.where(mirrored.to(images.device).view(-1, 1, 1, 1), images.flip(3), images)


def shift(images: Tensor, generator: torch.Generator, *, pixels: int = 4) -> Tensor:
    """Move each image by up to `pixels` in both directions, zeros coming in; (N, C, H, W) in and out."""
    count, channels, height, width = images.shape
    padded = torch.nn.functional.pad(images, (pixels,) * 4)
    corner = torch.randint(0, 2 * pixels + 1, (2, count, 1), generator=generator).to(images.device)
    rows = (corner[0] + torch.arange(height, device=images.device)).view(count, 1, height, 1)
    columns = (corner[1] + torch.arange(width, device=images.device)).view(count, 1, 1, width)
    sample = torch.arange(count, device=images.device).view(count, 1, 1, 1)
    channel = torch.arange(channels, device=images.device).view(1, channels, 1, 1)
    return padded[sample, channel, rows, columns]
