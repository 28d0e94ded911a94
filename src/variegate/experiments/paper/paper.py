"""What the paper prints: "Mitigating Adversarial Attacks by Distributing Different Copies to Different Users", 2023.

Rates in per cent, as (mean, standard deviation). Data sets are by the names that a study carries.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

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
