"""The paper's numbers and sizes, and how much of them a preset does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from variegate.errors import ConfigurationError

Cell = tuple[float, float]


@final
@dataclass(frozen=True, slots=True)
class Row:
    """One row of Table 2.

    Attributes:
        letter: (a) to (k).
        label: what is measured.
        rewriter: None for independent training.
        kind: "success" on the attacker's own copy, "rewriting" and "training" for replication on copies of the same
            original and of other ones.
    """

    letter: str
    label: str
    rewriter: str | None
    kind: str


TABLE1: Mapping[str, Mapping[str, Cell]] = {
    "cifar10": {
        "original": (96.3, 1.3),
        "spread_spectrum": (94.3, 0.3),
        "qim": (94.5, 0.2),
        "permutation": (94.0, 1.0),
    },
    "gtsrb": {
        "original": (95.8, 1.7),
        "spread_spectrum": (95.1, 0.3),
        "qim": (95.3, 0.3),
        "permutation": (95.1, 0.8),
    },
}

TABLE2_ROWS = (
    Row("a", "Independent training: attack success", None, "success"),
    Row("b", "Independent training: replication", None, "training"),
    Row("c", "Permutation: attack success", "permutation", "success"),
    Row("d", "Permutation: replication", "permutation", "rewriting"),
    Row("e", "Permutation and training: replication", "permutation", "training"),
    Row("f", "Spread spectrum: attack success", "spread_spectrum", "success"),
    Row("g", "Spread spectrum: replication", "spread_spectrum", "rewriting"),
    Row("h", "Spread spectrum and training: replication", "spread_spectrum", "training"),
    Row("i", "QIM: attack success", "qim", "success"),
    Row("j", "QIM: replication", "qim", "rewriting"),
    Row("k", "QIM and training: replication", "qim", "training"),
)

TABLE2: Mapping[str, Mapping[str, Mapping[str, Cell]]] = {
    "cifar10": {
        "boundary": {
            "a": (96.8, 2.0), "b": (5.5, 0.6), "c": (95.8, 2.2), "d": (22.7, 0.9), "e": (5.4, 0.6), "f": (96.3, 1.9),
            "g": (40.1, 1.0), "h": (5.2, 0.6), "i": (59.1, 5.6), "j": (3.7, 0.2), "k": (3.7, 0.2),
        },
        "hopskipjump": {
            "a": (96.2, 2.4), "b": (5.8, 0.8), "c": (96.7, 2.1), "d": (34.0, 1.2), "e": (4.5, 0.6), "f": (96.9, 1.5),
            "g": (47.7, 1.0), "h": (4.5, 0.4), "i": (97.5, 1.5), "j": (2.5, 0.2), "k": (2.5, 0.2),
        },
        "geoda": {
            "a": (96.5, 2.6), "b": (27.0, 1.9), "c": (96.2, 2.0), "d": (20.5, 0.9), "e": (13.1, 1.3), "f": (97.1, 1.8),
            "g": (39.1, 1.4), "h": (21.5, 0.8), "i": (94.8, 1.4), "j": (9.2, 0.3), "k": (5.3, 0.3),
        },
    },
    "gtsrb": {
        "boundary": {
            "a": (99.1, 1.5), "b": (5.4, 0.6), "c": (97.5, 2.0), "d": (7.9, 0.7), "e": (2.3, 0.5), "f": (97.2, 1.4),
            "g": (28.4, 1.1), "h": (2.7, 0.6), "i": (79.5, 1.4), "j": (0.7, 0.2), "k": (0.7, 0.2),
        },
        "hopskipjump": {
            "a": (99.0, 1.6), "b": (7.0, 0.6), "c": (97.5, 1.7), "d": (19.8, 0.9), "e": (2.7, 0.6), "f": (98.1, 1.5),
            "g": (27.5, 0.6), "h": (1.7, 0.3), "i": (96.4, 1.1), "j": (0.5, 0.1), "k": (0.1, 0.1),
        },
        "geoda": {
            "a": (99.2, 1.8), "b": (7.8, 0.9), "c": (97.8, 1.9), "d": (12.1, 1.0), "e": (4.6, 0.7), "f": (98.4, 1.4),
            "g": (13.5, 0.7), "h": (3.3, 0.2), "i": (97.5, 1.5), "j": (8.4, 0.4), "k": (2.3, 0.2),
        },
    },
}  # fmt: skip

TABLE3: Mapping[str, Mapping[str, float | None]] = {
    "independent": {"training_seconds": 3800.0, "storage_bytes": 78_366e3, "inference_ms": None},
    "qim": {"training_seconds": None, "storage_bytes": 2e3, "inference_ms": 0.4},
    "permutation": {"training_seconds": None, "storage_bytes": None, "inference_ms": None},
}
"""Of a VGG-19 for CIFAR-10 on a Tesla V100: what a further copy costs; None is "not required". Inference: 3.5 ms."""


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
