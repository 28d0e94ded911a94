"""Synthetic records for the tests of the reports: plausible numbers from closed formulas, no experiment behind them."""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.report.attack_samples import make_attack, save_attack

STEPS = (1.0, 1.05, 1.1, 1.25, 1.5, 2.0, 3.0)
NORMS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 1.0, 1.5, 2.0)
SETTINGS: dict[str, tuple[float, float, float]] = {
    # name: (median norm, rate at s = 1, rate at s = 3)
    "identical": (0.483, 1.0, 1.0),
    "independent": (0.479, 0.05, 0.66),
    "noise": (0.483, 0.012, 0.02),
    "spread_spectrum": (0.47, 0.62, 0.97),
    "permutation": (0.46, 0.52, 0.96),
    "qim": (0.404, 0.02, 0.68),
}

Record = dict[str, Any]


def wilson(k: int, n: int) -> dict[str, Any]:
    """A rate as the record writes it, with Wilson's interval."""
    if n == 0:
        return {"rate": None, "k": 0, "n": 0, "low": None, "high": None, "interval": "wilson"}
    p, z = k / n, 1.959964
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)
    return {"rate": p, "k": k, "n": n, "low": max(0.0, low), "high": min(1.0, high), "interval": "bootstrap"}


def make_group(name: str, *, copies: int, images: int, seed: int = 0) -> Record:
    """One group of a record."""
    generator = np.random.default_rng([seed, sum(name.encode())])
    median, low, high = SETTINGS.get(name, (0.3, 0.03, 0.29))
    attackers = list(range(min(copies, 3) if copies < 20 else copies))
    pairs = len(attackers) * max(copies - 1, 0)

    def curve(s: float) -> float:
        weight = min(1.0, max(0.0, (s - 1.0) / 2.0)) ** 0.7
        return low + (high - low) * weight

    def rate(p: float, n: int = pairs * images) -> dict[str, Any]:
        return wilson(round(p * n), n)

    def within(epsilon: float) -> float:
        return curve(epsilon / median) / (1.0 + math.exp(-14.0 * (epsilon / median - 0.95)))

    rewriter = None
    if name in ("spread_spectrum", "permutation", "qim", "composed"):
        rewriter = {"rewriter": name, "strength": 2.0, "messages_per_class": 16, "projection": {"kind": "auto"}}
    distances = [np.round(generator.lognormal(math.log(median), 0.35, images), 4).tolist() for _ in attackers]
    return {
        "name": name,
        "rewriter": rewriter,
        "copies": [f"{name}-{index:03d}" for index in range(copies)],
        "attackers": attackers,
        "accuracy": {
            "original": {"n": 2000, "correct": 1730},
            "copies": [
                {
                    "n": 2000,
                    "correct": 1730 - int(generator.integers(0, 16)) * (low < 1.0),
                    "labels_changed": 70 * (low < 1.0),
                }
                for _ in range(copies)
            ],
        },
        "attack": {
            "attackers": [
                {
                    "attempted": images,
                    "succeeded": images,
                    "status": {"success": images, "budget_exhausted": 0},
                    "queries": {"median": 3060.0, "p10": 3011.0, "p90": 3102.5, "total": 3060 * images},
                    "distance": {
                        key: float(np.percentile(values, q))
                        for key, q in (("median", 50), ("p25", 25), ("p75", 75), ("p10", 10), ("p90", 90))
                    },
                    "distances": values,
                    "trajectory": {
                        "queries": [25, 140, 350, 700, 1200, 2000, 3060],
                        "median_distance": [
                            round(float(np.median(values)) * factor, 4) for factor in (14, 5.5, 2.9, 1.8, 1.3, 1.1, 1.0)
                        ],
                    },
                }
                for values in distances
            ],
            "reverified": images * len(attackers),
        },
        "rates": {
            "attack_success_rate": wilson(images * len(attackers), images * len(attackers)),
            "replication_rate": rate(low),
            "replication_rate_conditioned": rate(low * 0.9 if low < 1 else 1.0),
            "replicated_same_rate": rate(low * 0.7 if low < 1 else 1.0),
            "end_to_end_rate": rate(low),
        },
        "replication_at": [
            {"s": s, "rate": rate(curve(s)), "conditioned": rate(curve(s) * (1.0 if low == 1.0 else 0.97))}
            for s in STEPS
        ],
        "noise_at": [{"s": s, "rate": rate(0.01 * s), "conditioned": rate(0.004 * s)} for s in STEPS],
        "replication_within": [{"epsilon": epsilon, "rate": rate(within(epsilon))} for epsilon in NORMS],
        "matrix": {
            "attackers": attackers,
            "victims": list(range(copies)),
            "replicated": [
                [None if a == v else int(generator.binomial(images, low)) for v in range(copies)] for a in attackers
            ],
            "n": [[None if a == v else images for v in range(copies)] for a in attackers],
        },
    }


def make_record(
    *, groups: tuple[str, ...] = tuple(SETTINGS), copies: int = 6, images: int = 120, name: str = "cifar10-s0"
) -> Record:
    """A replication record."""
    return {
        "format": 1,
        "kind": "replication",
        "created": "2026-01-02T03:04:05Z",
        "variegate": "0.1.0",
        "source": "sha256:" + "fedcba98" * 8,
        "torch": "2.13.0",
        "python": "3.11.9",
        "device": "cpu",
        "command": f"variegate audit replicate --model {name} --copies {copies} --seed 0",
        "seconds": 754.2,
        "model": {
            "name": name,
            "digest": "sha256:" + "0123456789abcdef" * 4,
            "num_classes": 10,
            "input_shape": [3, 32, 32],
            "bounds": [0.0, 1.0],
        },
        "data": {"name": "cifar10", "split": "test", "images": images, "indices": list(range(images))},
        "attack": {
            "name": "hopskipjump",
            "parameters": {"iterations": 12, "probe_radius": 0.01, "semantics": "art", "starts": {"trials": 100}},
            "budget": 3200,
            "norm": "l2",
            "seed": 0,
        },
        "groups": [make_group(group, copies=copies, images=images) for group in groups],
        "efficiency": {
            "queries": 6_610_000,
            "seconds": 700.0,
            "queries_per_second": 9443.0,
            "raw_queries_per_second": 11020.0,
        },
    }


def make_calibration() -> Record:
    """A calibration record of a QIM search."""
    candidates = []
    for strength in (1.0, 2.0, 4.0):
        for messages in (4, 8, 16, 32):
            for step in (0.05, 0.1):
                change = 0.08 * strength / math.sqrt(messages) / 2
                measured = messages >= 8
                at_one = 0.3 / strength**2 + 0.002 * messages * step * 10
                candidates.append(
                    {
                        "spec": {"rewriter": "qim"},
                        "strength": strength,
                        "messages_per_class": messages,
                        "quantization_step": step,
                        "predicted_change": change,
                        "measured_change": change * (0.8 + 2.0 * step),
                        "replication": {"1.0": at_one, "1.5": min(1.0, 4 * at_one), "2.0": min(1.0, 6 * at_one)}
                        if measured
                        else None,
                        "median_distance": 0.48 / strength**0.6 * (0.9 + step) if measured else None,
                        "original_median_distance": 0.483 if measured else None,
                        "feasible": change * (0.8 + 2.0 * step) <= 0.03,
                        "chosen": (strength, messages, step) == (2.0, 32, 0.1),
                    }
                )
    return {"format": 1, "kind": "calibration", "rewriter": "qim", "max_change": 0.03, "candidates": candidates}


@pytest.fixture(scope="session")
def _record() -> Record:
    return make_record()


@pytest.fixture
def record(_record: Record) -> Record:
    """A record of six groups with six copies each; every test has its own."""
    return copy.deepcopy(_record)


@pytest.fixture
def calibration() -> Record:
    """A calibration record of 24 candidates."""
    return make_calibration()


@pytest.fixture(scope="session")
def make() -> Callable[..., Record]:
    """`make_record`, for tests that want other groups or sizes."""
    return make_record


@pytest.fixture
def attack() -> Record:
    """The record of a HopSkipJump run on 120 images."""
    return make_attack()


@pytest.fixture
def attacks() -> list[Record]:
    """Six attacks on one target, in both norms, one of them with gradients, one of them with failures."""
    return [
        make_attack(),
        make_attack(parameters={"semantics": "art"}, median=0.55, overshoot=0.031),
        make_attack("geoda", median=0.41, parameters={"subspace": "dct:8"}, failed={"no_starting_point": 9}),
        make_attack("deepfool", kind="white_box", median=0.17, parameters={"overshoot": 0.02}),
        make_attack(norm="linf", median=0.031),
        make_attack("rays", norm="linf", median=0.024, parameters={}, overshoot=0.0004),
    ]


@pytest.fixture
def attack_folders(attacks: list[Record], tmp_path: Path) -> list[Path]:
    """The six attacks as folders with record.json and pictures.npz."""
    return [save_attack(record, tmp_path / f"attack{number}") for number, record in enumerate(attacks, start=1)]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures beside a record: smooth colour images, 3 in each of 4 groups."""
    generator = np.random.default_rng(0)
    axis = np.linspace(0.0, 1.0, 32, dtype=np.float32)
    clean, adversarial, groups = [], [], []
    for group in ("identical", "independent", "permutation", "qim"):
        for _ in range(3):
            waves = [np.sin(6 * generator.random() * axis[:, None] + 9 * generator.random() * axis) for _ in range(3)]
            image = (np.stack(waves) * 0.4 + 0.5).astype(np.float32)
            noise = generator.normal(size=image.shape).astype(np.float32)
            noise *= SETTINGS[group][0] / float(np.linalg.norm(noise))
            clean.append(image)
            adversarial.append(np.clip(image + noise, 0.0, 1.0))
            groups.append(group)
    path = tmp_path_factory.mktemp("pictures") / "pictures.npz"
    count = len(groups)
    np.savez(
        path,
        clean=np.stack(clean),
        adversarial=np.stack(adversarial),
        group=np.array(groups),
        label=np.arange(count) % 10,
        adversarial_label=(np.arange(count) + 3) % 10,
    )
    return path
