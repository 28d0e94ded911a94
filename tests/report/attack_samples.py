"""Synthetic records of single attacks: plausible numbers from closed formulas, no attack behind them."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

Record = dict[str, Any]

_QUERIES = (100, 250, 500, 750, 1000, 1500, 2000)


def make_attack(
    name: str = "hopskipjump",
    *,
    kind: str = "hard_label",
    norm: str = "l2",
    median: float = 0.483,
    images: int = 120,
    parameters: Mapping[str, Any] | None = None,
    failed: Mapping[str, int] | None = None,
    overshoot: float = 0.0021,
    unconfirmed: int = 0,
    budget: int | None = 2000,
    target: str = "net",
) -> Record:
    """The record of one attack.

    Args:
        name, kind, norm, budget, target: as in the record; a white-box attack has neither a budget nor a trajectory.
        median: of the norms.
        images: how many were given; two of them are misclassified already.
        parameters: added to the usual ones.
        failed: inputs by status, beside those.
        overshoot: its median.
        unconfirmed: adversarials that the target got right when it was asked again.
    """
    lost = {"already_misclassified": 2, **(failed or {})}
    attempted, found = images - 2, images - sum(lost.values())
    gaussian = NormalDist()
    spread = [round(math.exp(0.35 * gaussian.inv_cdf((i + 0.5) / found)), 4) for i in range(found)]

    def quantiles(scale: float, names: tuple[str, ...]) -> dict[str, float | None]:
        share = {each: 50 if each == "median" else int(each[1:]) for each in names}
        return {
            each: round(scale * float(np.percentile(spread, q)), 6) if spread else None for each, q in share.items()
        }

    white = kind == "white_box"
    slope = 0.6 + 0.1 * (sum(name.encode()) % 5)
    steps = (
        [] if white or not spread else [(q, median * (1 + 24 * (1 - q / 2000) * (100 / q) ** slope)) for q in _QUERIES]
    )
    share = found / attempted if attempted else None
    return {
        "format": 1,
        "kind": "attack",
        "created": "2026-01-02T03:04:05+00:00",
        "variegate": "0.1.0",
        "torch": "2.13.0",
        "source": "sha256:" + "89abcdef" * 8,
        "command": f"variegate attack {name} --model {target} --data cifar10/ --images {images} --norm {norm}",
        "seconds": 61.5,
        "target": {
            "name": target,
            "digest": "sha256:" + "0123456789abcdef" * 4,
            "num_classes": 10,
            "input_shape": [3, 32, 32],
            "bounds": [0.0, 1.0],
        },
        "data": {"name": "cifar10", "images": images},
        "attack": {
            "name": name,
            "kind": kind,
            "parameters": {"norm": norm, "semantics": "paper", **(parameters or {})},
            "norm": norm,
            "budget": None if white else budget,
            "targeted": False,
            "seed": 0,
            "oracle": None,
        },
        "outcome": {
            "attempted": attempted,
            "succeeded": found,
            "status": {"success": found, **lost},
            "queries": {"p10": 31.0, "median": 40.0, "p90": 52.0, "total": 40 * attempted}
            if white
            else {"p10": 1988.0, "median": 1999.0, "p90": 2000.0, "total": 1995 * attempted},
            "distance": quantiles(median, ("p10", "p25", "median", "p75", "p90")),
            "distances": [round(median * value, 6) for value in spread],
            "trajectory": {"queries": [q for q, _ in steps], "median_distance": [round(m, 6) for _, m in steps]},
            "attack_success_rate": {
                "rate": share,
                "k": found,
                "n": attempted,
                "low": None if share is None else max(0.0, share - 0.05),
                "high": None if share is None else min(1.0, share + 0.02),
                "interval": "wilson",
            },
            "confirmed": {
                "rate": (found - unconfirmed) / found if found else None,
                "k": found - unconfirmed,
                "n": found,
                "low": 0.0 if found else None,
                "high": 1.0 if found else None,
                "interval": "wilson",
            },
            "overshoot": {
                **quantiles(overshoot, ("p10", "median", "p90")),
                "values": [min(1.0, round(overshoot * value, 7)) for value in spread],
            },
        },
        "efficiency": {
            "queries": 1995 * attempted,
            "seconds": 60.1,
            "queries_per_second": 3917.0,
            "raw_queries_per_second": 4123.2,
            "share_of_raw": 0.95,
        },
        "error": None,
    }


def save_attack(record: Record, folder: Path) -> Path:
    """Write record.json and, for five successes, pictures.npz, as `variegate attack` does; returns the folder."""
    folder.mkdir()
    (folder / "record.json").write_text(json.dumps(record, allow_nan=False))
    generator = np.random.default_rng(len(record["attack"]["name"]))
    axis = np.linspace(0.0, 1.0, 32, dtype=np.float32)
    distances = record["outcome"]["distances"][:5]
    slopes = generator.uniform(2.0, 9.0, (len(distances), 3, 1, 1)).astype(np.float32)
    clean = np.float32(0.5) + np.float32(0.4) * np.sin(slopes * (axis[:, None] + 2.0 * axis))
    noise = generator.normal(size=clean.shape).astype(np.float32)
    sizes = np.abs(noise).max((1, 2, 3)) if record["attack"]["norm"] == "linf" else np.sqrt((noise**2).sum((1, 2, 3)))
    noise *= (np.asarray(distances, np.float32) / sizes)[:, None, None, None]
    count = len(distances)
    np.savez(
        folder / "pictures.npz",
        clean=clean,
        adversarial=np.clip(clean + noise, 0.0, 1.0),
        group=np.array([record["attack"]["name"]] * count, dtype=np.str_),
        label=np.arange(count),
        adversarial_label=np.arange(count) + 3,
    )
    return folder
