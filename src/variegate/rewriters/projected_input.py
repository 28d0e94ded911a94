"""The input as the attractors project it: in units of its range, flattened, optionally normalised."""

import torch
from torch import Tensor

from variegate.types import Bounds

TYPICAL_DEVIATION = 0.25  # of natural images in [0, 1]; keeps normalised inputs on the scale of plain ones


def unit_input(x: Tensor, bounds: Bounds, *, normalise: bool) -> Tensor:
    """Return float32 (N, d): `x` flattened and mapped from `bounds` to [0, 1].

    With `normalise`, each input is divided by its own standard deviation and multiplied by `TYPICAL_DEVIATION`: with
    zero-mean messages this cancels any change of contrast and brightness (`docs/threat-model.md`).
    """
    flat = x.flatten(1)
    if bounds.lower != 0.0 or bounds.upper != 1.0:
        flat = (flat - bounds.lower) * (1.0 / bounds.range)
    if normalise:
        centred = flat - flat.mean(1, keepdim=True)
        variance = (centred * centred).mean(1, keepdim=True)
        least = torch.finfo(torch.float32).eps ** 2  # under the root: at 0 its gradient would be infinite
        flat = centred * (TYPICAL_DEVIATION / variance.clamp_min(least).sqrt())
    return flat
