"""Natural jitter: the small changes of position, size, contrast and brightness that photographs differ by.

Calibration looks at training images, and a network is surer of those than of new ones: margins on them, and so the
labels that a copy changes, look better than they are. Jittered training images come closer. The constants were set by
looking at two classifiers' changed labels on jittered training images beside those on test images (`docs/results`
says which): for QIM within a factor 1.3, for spread spectrum on GTSRB 1.7 too low, against a factor 3 without jitter.
"""

import torch
from torch import Tensor

from variegate.types import Bounds

_SHIFT = 1 / 16  # of the image's extent, each way
_ZOOM = 0.1
_CONTRAST = 0.3
_BRIGHTNESS = 0.15  # of the range
_FEWEST_PIXELS = 16


def natural_jitter(images: Tensor, *, bounds: Bounds, seed: int) -> Tensor:
    """Return float32 (N, C, H, W): each image moved, zoomed, and changed in contrast and brightness, once.

    Inputs that are not images of at least 16 x 16 pixels come back as they are.

    Args:
        images: float32 (N, C, H, W), within `bounds`.
        bounds: to which the result is clipped.
        seed: decides the jitter of every image.
    """
    if images.ndim != 4 or min(images.shape[2:]) < _FEWEST_PIXELS or images.shape[0] == 0:
        return images
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.rand((images.shape[0], *shape), generator=generator) * 2.0 - 1.0

    placement = torch.zeros(images.shape[0], 2, 3)
    placement[:, 0, 0] = placement[:, 1, 1] = 1.0 + _ZOOM * draw()
    placement[:, :, 2] = 2.0 * _SHIFT * draw(2)  # the sampling grid is 2 wide
    contrast, brightness = 1.0 + _CONTRAST * draw(1, 1, 1), _BRIGHTNESS * bounds.range * draw(1, 1, 1)
    grid = torch.nn.functional.affine_grid(placement, list(images.shape), align_corners=False)
    moved = torch.nn.functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
    mean = moved.mean((1, 2, 3), keepdim=True)
    return ((moved - mean) * contrast + mean + brightness).clamp(bounds.lower, bounds.upper)
