"""How much of the paper's work is done: the presets of `variegate reproduce`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from variegate.errors import ConfigurationError

ATTACKS = ("boundary", "hopskipjump", "geoda")
"""In the order of the paper's Table 2."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """Sizes of every table and figure.

    Attributes:
        name: of the preset.
        copies: copies of each rewriter and original.
        accuracy_images: clean test images of Table 1; None for all.
        attack_images: images that are attacked, for each attack and group of Table 2.
        deal: whether each image is attacked from one original and one copy only, dealt out in turn, so that the same
            number of attacks covers all attackers; else from every one of them, as the paper does.
        queries: budget of an attack for one image, by attack.
        shard_images: images of one shard of attacks.
        gradient_images: clean test images of Figure 3.
        boundary_images: of these, how many are also brought to the boundary, and measured with smoothed gradients.
        smoothing: noise levels of smoothed gradients, in parts of the range.
        smoothing_samples: noisy inputs that one smoothed gradient averages.
        binding_images: images of Figure 4.
        collusion_images: images of Figure 5.
        colluders: the largest number of colluders (r).
        timing_repeats: of every timing in Table 3.
    """

    name: str
    copies: int
    accuracy_images: int | None
    attack_images: int
    deal: bool
    queries: Mapping[str, int]
    shard_images: int
    gradient_images: int
    boundary_images: int
    smoothing: tuple[float, ...] = (0.01, 0.03)
    smoothing_samples: int
    binding_images: int
    collusion_images: int
    colluders: int
    timing_repeats: int


EFFORTS: Mapping[str, Effort] = {
    "smoke": Effort(
        name="smoke",
        copies=3,
        accuracy_images=200,
        attack_images=12,
        deal=True,
        queries={"boundary": 400, "hopskipjump": 400, "geoda": 500},
        shard_images=6,
        gradient_images=60,
        boundary_images=20,
        smoothing_samples=4,
        binding_images=12,
        collusion_images=20,
        colluders=3,
        timing_repeats=3,
    ),
    "laptop": Effort(
        name="laptop",
        copies=5,
        accuracy_images=None,
        attack_images=105,
        deal=True,
        queries={"boundary": 3000, "hopskipjump": 3000, "geoda": 3000},
        shard_images=7,
        gradient_images=2000,
        boundary_images=300,
        smoothing_samples=16,
        binding_images=70,
        collusion_images=80,
        colluders=8,
        timing_repeats=20,
    ),
    "gpu": Effort(
        name="gpu",
        copies=2,
        accuracy_images=None,
        attack_images=600,
        deal=True,
        queries={"boundary": 3000, "hopskipjump": 3000, "geoda": 3000},
        shard_images=100,
        gradient_images=10_000,
        boundary_images=1000,
        smoothing_samples=16,
        binding_images=1000,
        collusion_images=400,
        colluders=8,
        timing_repeats=100,
    ),
    "paper": Effort(
        name="paper",
        copies=10,
        accuracy_images=None,
        attack_images=1000,
        deal=False,
        queries={"boundary": 200_000, "hopskipjump": 25_000, "geoda": 4000},
        shard_images=250,
        gradient_images=10_000,
        boundary_images=2000,
        smoothing_samples=32,
        binding_images=10_000,
        collusion_images=10_000,
        colluders=8,
        timing_repeats=100,
    ),
}


def effort_of(preset: str) -> Effort:
    """Return a preset.

    Raises:
        ConfigurationError: there is no such preset.
    """
    if preset not in EFFORTS:
        raise ConfigurationError(f"there is no preset {preset!r}; choose from {', '.join(EFFORTS)}")
    return EFFORTS[preset]
