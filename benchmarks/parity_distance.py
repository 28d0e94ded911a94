"""Distance at equal queries: the median L2 of variegate's HopSkipJump against ART's and Foolbox's, image by image.

Untargeted, on the first correctly classified test images of trained models, one image at a time, each library with its
own defaults and its own random starts, numbers from seeds. Queries are counted and distances taken by `ClosestSeen`,
the same for all. Results are kept in a file of JSON lines, one for each image and engine: a run that was interrupted,
or is asked for more images, goes on where it stopped.
"""

import argparse
import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.closest import BudgetSpentError, ClosestSeen
from benchmarks.libraries import art_classifier, foolbox_model
from benchmarks.models import Subject, shared_subject
from benchmarks.replay.common import seeded_numpy
from benchmarks.tables import print_table
from variegate.attacks.driver import run_attack
from variegate.attacks.hopskipjump import HopSkipJump
from variegate.errors import ConfigurationError, FormatError
from variegate.models.oracle import HardLabelOracle

__all__ = ["CHECKPOINTS", "add_arguments", "run"]

_Array = np.ndarray[Any, np.dtype[np.float64]]

CHECKPOINTS = (250, 500, 1000, 2500, 5000)
_MORE_THAN_ENOUGH = 1000  # iterations: the budget ends the attack before
_PAIRS = (("ours-art", "art"), ("ours-paper", "foolbox"), ("ours-paper", "art"))
_MARGIN = 1.05


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--models", nargs="+", default=["cifar10-s0", "gtsrb-s0"])
    parser.add_argument("--images", type=int, default=2, help="correctly classified images a model (default: 2)")
    parser.add_argument("--engines", nargs="+", choices=sorted(_ENGINES), default=list(_ENGINES))
    parser.add_argument("--resamples", type=int, default=10_000, help="of the bootstrap over images")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("build/benchmarks"),
        help="folder for the results so far, MODEL.jsonl each (default: build/benchmarks)",
    )


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Attack what is not done yet, print, and return medians, ratios and intervals."""
    results = {}
    for name in options.models:
        subject = shared_subject(options.shared, name, images=20 + 2 * options.images)
        chosen = subject.correct(options.images).tolist()
        path = options.work / f"parity_distance-{name}.jsonl"
        done = _read(path)
        for position in chosen:
            for engine in options.engines:
                if (position, engine) not in done:
                    done[position, engine] = _attack(subject, position, engine)
                    _append(path, done[position, engine])
        results[name] = _summarise(name, chosen, options.engines, done, options.resamples)
    return {"rule": "the closest adversarial row that the model has labelled within q queries", "models": results}


def _ours(semantics: str) -> Callable[[Subject, Tensor, Tensor, ClosestSeen, int], None]:
    attack = HopSkipJump(semantics="art", starts="uniform") if semantics == "art" else HopSkipJump()

    def attack_one(subject: Subject, image: Tensor, label: Tensor, seen: ClosestSeen, seed: int) -> None:
        classifier = subject.classifier
        oracle = HardLabelOracle(
            seen.predict,
            input_shape=classifier.input_shape,
            bounds=classifier.bounds,
            num_classes=classifier.num_classes,
            samples=1,
            budget=CHECKPOINTS[-1],
        )
        run_attack(attack, oracle, image, label, seed=0, identities=[seed])

    return attack_one


def _art(subject: Subject, image: Tensor, label: Tensor, seen: ClosestSeen, seed: int) -> None:
    from art.attacks.evasion import HopSkipJump as ArtHopSkipJump

    attack = ArtHopSkipJump(art_classifier(seen, subject.classifier), max_iter=_MORE_THAN_ENOUGH, verbose=False)
    with seeded_numpy(seed, seed):
        attack.generate(image.numpy(), y=label.numpy())


def _foolbox(subject: Subject, image: Tensor, label: Tensor, seen: ClosestSeen, seed: int) -> None:
    from foolbox.attacks.hop_skip_jump import HopSkipJumpAttack
    from foolbox.criteria import Misclassification

    attack = HopSkipJumpAttack(steps=_MORE_THAN_ENOUGH)
    with torch.random.fork_rng(devices=[]), seeded_numpy(seed, seed):
        torch.default_generator.manual_seed(seed)
        attack.run(foolbox_model(seen, subject.classifier), image, Misclassification(label))


_ENGINES: dict[str, Callable[[Subject, Tensor, Tensor, ClosestSeen, int], None]] = {
    "ours-paper": _ours("paper"),
    "ours-art": _ours("art"),
    "art": _art,
    "foolbox": _foolbox,
}


def _attack(subject: Subject, position: int, engine: str) -> dict[str, Any]:
    image, label = subject.images[position : position + 1], subject.labels[position : position + 1]
    seen = ClosestSeen(subject.classifier, image[0], int(label), CHECKPOINTS)
    started, error = time.perf_counter(), None
    try:
        _ENGINES[engine](subject, image, label, seen, position)
    except BudgetSpentError:
        pass
    except (ValueError, AssertionError) as failure:  # Foolbox raises where no start is found
        error = f"{type(failure).__name__}: {failure}"
    closest = [None if distance == float("inf") else distance for distance in seen.closest]
    return {
        "model": subject.name,
        "image": position,
        "engine": engine,
        "code": _code_version(engine),
        "checkpoints": list(CHECKPOINTS),
        "closest": closest,
        "queries": seen.queries,
        "seconds": round(time.perf_counter() - started, 3),
        "error": error,
    }


def _code_version(engine: str) -> str | None:
    """Return a digest of the attack's own code, so that results of older code are not mixed in."""
    if not engine.startswith("ours"):
        return None
    import variegate.attacks as package

    files = sorted(Path(next(iter(package.__path__))).glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def _read(path: Path) -> dict[tuple[int, str], dict[str, Any]]:
    if not path.exists():
        return {}
    done = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            entry = json.loads(line)
            key = entry["image"], entry["engine"]
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(f"line {number} of {path} is no result of this benchmark; delete the line") from error
        if tuple(entry["checkpoints"]) != CHECKPOINTS:
            raise ConfigurationError(f"{path} has checkpoints {entry['checkpoints']}, expected {list(CHECKPOINTS)}")
        done[key] = entry
    return done


def _append(path: Path, entry: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
        file.flush()
        os.fsync(file.fileno())


def _summarise(
    name: str, chosen: list[int], engines: list[str], done: dict[tuple[int, str], dict[str, Any]], resamples: int
) -> dict[str, Any]:
    closest = {
        engine: np.array([done[image, engine]["closest"] for image in chosen], dtype=np.float64) for engine in engines
    }
    versions = sorted({str(done[image, engine]["code"]) for image in chosen for engine in engines if engine[0] == "o"})
    if stale := [version for version in versions if version != _code_version("ours")]:
        print(f"note: {name} holds results of other attack code ({', '.join(stale)}); delete the file to attack anew")
    medians = {engine: _medians(values) for engine, values in closest.items()}
    print_table(
        f"{name}: median L2 of the closest adversarial after q queries, {len(chosen)} images",
        ("engine", *(f"q={q}" for q in CHECKPOINTS), "no start"),
        [(engine, *medians[engine], _failures(closest[engine])) for engine in engines],
    )
    pairs: list[dict[str, Any]] = []
    for ours, theirs in _PAIRS:
        if ours in closest and theirs in closest:
            pairs.extend(_compare(ours, theirs, closest[ours], closest[theirs], resamples))
    print_table(
        f"{name}: ours over theirs, with 95 % bootstrap intervals over images",
        ("ours / theirs", "q", "images", "of medians", "interval", "median, paired", "interval", f"<= {_MARGIN}"),
        [
            (
                f"{p['ours']} / {p['theirs']}", p["queries"], p["images"],
                p["ratio_of_medians"]["value"], _interval(p["ratio_of_medians"]),
                p["median_of_ratios"]["value"], _interval(p["median_of_ratios"]), p["verdict"],
            )
            for p in pairs
        ],
    )  # fmt: skip
    return {
        "images": chosen,
        "attack_code": versions,
        "no_start": {engine: _failures(values) for engine, values in closest.items()},
        "median": {engine: dict(zip(map(str, CHECKPOINTS), values, strict=True)) for engine, values in medians.items()},
        "pairs": pairs,
        "seconds": {engine: sum(done[image, engine]["seconds"] for image in chosen) for engine in engines},
        "closest": {engine: _jsonable(values) for engine, values in closest.items()},
    }


def _medians(values: _Array) -> list[float | None]:
    """Medians over images; one without an adversarial counts as infinitely far."""
    found = np.median(np.where(np.isnan(values), np.inf, values), axis=0)
    return [float(value) if np.isfinite(value) else None for value in found]


def _failures(values: _Array) -> int:
    return int(np.isnan(values[:, -1]).sum())


def _jsonable(values: _Array) -> list[list[float | None]]:
    return [[None if np.isnan(value) else float(value) for value in row] for row in values]


def _interval(estimate: dict[str, float]) -> str:
    return f"{estimate['low']:.3f} to {estimate['high']:.3f}"


def _compare(ours: str, theirs: str, a: _Array, b: _Array, resamples: int) -> list[dict[str, Any]]:
    """Compare on the images where both have an adversarial by then.

    The ratio of medians is the number that people quote; images differ far more than engines, so its interval is wide.
    The median of the ratios image by image says the same with less noise, and the verdict goes by its interval: "yes"
    where the upper end is at most the margin, "NO" where the lower end is above it, else "open": take more images.
    """
    compared = []
    for place, queries in enumerate(CHECKPOINTS):
        generator = np.random.default_rng(queries)
        both = ~np.isnan(a[:, place]) & ~np.isnan(b[:, place])
        x, y = a[both, place], b[both, place]
        if len(x) == 0:
            continue
        drawn = generator.integers(0, len(x), (resamples, len(x)))
        of_medians = np.median(x[drawn], axis=1) / np.median(y[drawn], axis=1)
        of_ratios = np.median((x / y)[drawn], axis=1)
        paired = _estimate(float(np.median(x / y)), of_ratios)
        compared.append(
            {
                "ours": ours,
                "theirs": theirs,
                "queries": queries,
                "images": int(both.sum()),
                "ratio_of_medians": _estimate(float(np.median(x) / np.median(y)), of_medians),
                "median_of_ratios": paired,
                "verdict": "yes" if paired["high"] <= _MARGIN else "NO" if paired["low"] > _MARGIN else "open",
            }
        )
    return compared


def _estimate(value: float, resampled: _Array) -> dict[str, float]:
    low, high = (float(end) for end in np.percentile(resampled, (2.5, 97.5)))
    return {"value": value, "low": low, "high": high}
