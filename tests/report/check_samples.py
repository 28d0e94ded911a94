"""Synthetic records of cross-checks."""

from typing import Any

Record = dict[str, Any]


def make_check() -> Record:
    """HopSkipJump by variegate, ART and Foolbox, and GeoDA by variegate and ART, which found nothing there."""
    ours, art = _engine("variegate, art", 50, 0.31), _engine("art", 45, 0.35)
    return {
        "format": 1,
        "kind": "cross_check",
        "created": "2026-01-02T03:04:05+00:00",
        "variegate": "0.1.0",
        "source": "sha256:" + "89abcdef" * 8,
        "torch": "2.13.0",
        "numpy": "2.4.0",
        "python": "3.11.9",
        "libraries": {"art": "1.20.1", "foolbox": None},
        "device": "cpu",
        "command": "variegate audit cross-check --model net --data cifar10/ --out check/",
        "seconds": 754.0,
        "target": {
            "name": "copy 0",
            "digest": "sha256:" + "0123456789abcdef" * 4,
            "num_classes": 10,
            "input_shape": [3, 32, 32],
            "bounds": [0.0, 1.0],
        },
        "victims": ["copy 1", "copy 2"],
        "rewriter": {"rewriter": "qim"},
        "data": {"name": "cifar10", "split": "test", "images": 50, "indices": list(range(50))},
        "budget": 5000,
        "norm": "l2",
        "seed": 0,
        "rule": "closest",
        "attacks": [
            {
                "name": "hopskipjump",
                "engines": [ours, art, _engine("variegate, paper", 50, 0.3), _engine("foolbox", 50, 0.3)],
                "comparisons": [
                    _comparison("variegate, art", "art", 0.89, ("agrees", "differs", "agrees", "agrees"), 45),
                    _comparison("variegate, paper", "foolbox", 1.0, ("agrees",) * 4, 50),
                ],
            },
            {
                "name": "geoda",
                "engines": [_engine("variegate, art", 50, 0.4), _engine("art", 0, None)],
                "comparisons": [
                    _comparison("variegate, art", "art", None, ("differs", "open", "open", "open"), 0),
                ],
            },
        ],
    }


def _engine(name: str, found: int, distance: float | None) -> Record:
    return {
        "name": name,
        "parameters": None,
        "attack": {
            "attempted": 50,
            "succeeded": found,
            "status": {"success": found, "budget_exhausted": 50 - found},
            "queries": {"p10": 4990.0, "median": 5000.0, "p90": 5000.0, "total": 249_000},
            "distance": {"median": distance},
            "distances": [distance] * found,
            "trajectory": None,
            "seconds": 60.0,
        },
        "rates": {
            "attack_success_rate": _rate(found, 50),
            "replication_rate": _rate(found // 5, 2 * found),
            "replication_rate_conditioned": _rate(found // 5, 2 * found),
            "replicated_same_rate": _rate(found // 6, 2 * found),
            "end_to_end_rate": _rate(found // 5, 100),
        },
        "replication_at": [],
        "median_distance": _median(distance, found),
        "median_overshoot": _median(None if distance is None else 0.002, found),
        "distances": [distance] * found + [None] * (50 - found),
    }


def _rate(k: int, n: int) -> Record:
    share = k / n if n else None
    low, high = (None, None) if share is None else (max(0.0, share - 0.05), min(1.0, share + 0.05))
    return {"rate": share, "k": k, "n": n, "low": low, "high": high, "interval": "wilson"}


def _median(value: float | None, n: int) -> Record:
    ends = (None, None) if value is None else (0.9 * value, 1.1 * value)
    return {"value": value, "low": ends[0], "high": ends[1], "n": n}


def _comparison(ours: str, theirs: str, ratio: float | None, verdicts: tuple[str, ...], n: int) -> Record:
    names = ("success", "distance", "replication", "overshoot")
    return {
        "ours": ours,
        "theirs": theirs,
        "distance_ratio": _median(ratio, n),
        "verdicts": dict(zip(names, verdicts, strict=True)),
    }
