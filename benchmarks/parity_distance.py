"""Distance at equal queries: the median L2 of variegate's HopSkipJump against ART's and Foolbox's, image by image.

Untargeted, on the first correctly classified test images of trained models, one image at a time, each library with its
own defaults and its own random starts, numbers from seeds. Queries are counted and distances taken by `ClosestSeen`,
the same for all. Results are kept in a file of JSON lines, one for each image and engine: a run that was interrupted,
or is asked for more images, goes on where it stopped.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.models import Subject, shared_subject
from benchmarks.paired import (
    Floats,
    append_line,
    attack_code,
    failures,
    interval_text,
    jsonable,
    kept_lines,
    medians,
    ratios,
)
from benchmarks.replay.common import seeded_numpy
from benchmarks.tables import print_table
from variegate.adapters.art import art_classifier
from variegate.adapters.closest import BudgetSpentError, ClosestSeen
from variegate.adapters.foolbox import foolbox_classifier as foolbox_model
from variegate.attacks.driver import run_attack
from variegate.attacks.hopskipjump import HopSkipJump
from variegate.errors import ConfigurationError
from variegate.oracles.hard_label import HardLabelOracle

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
                    append_line(path, done[position, engine])
        results[name] = _summarise(name, chosen, options.engines, done, options.resamples)
    return {"rule": "the closest adversarial row that the model has labelled within q queries", "models": results}


def _ours(semantics: str) -> Callable[[Subject, Tensor, Tensor, ClosestSeen, int], None]:
    attack = HopSkipJump(semantics="art", starts="uniform") if semantics == "art" else HopSkipJump()

    def attack_one(subject: Subject, image: Tensor, label: Tensor, seen: ClosestSeen, seed: int) -> None:
        classifier = subject.classifier
        oracle = HardLabelOracle(
            seen.predict,
            input_spec=classifier.input_spec,
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
    """Return the version of our attacks' code; None for another library's."""
    return attack_code() if engine.startswith("ours") else None


def _read(path: Path) -> dict[tuple[int, str], dict[str, Any]]:
    done = {}
    for (image, engine), entry in kept_lines(path, ("image", "engine")):
        if tuple(entry["checkpoints"]) != CHECKPOINTS:
            raise ConfigurationError(f"{path} has checkpoints {entry['checkpoints']}, expected {list(CHECKPOINTS)}")
        done[image, engine] = entry
    return done


def _summarise(
    name: str, chosen: list[int], engines: list[str], done: dict[tuple[int, str], dict[str, Any]], resamples: int
) -> dict[str, Any]:
    closest = {
        engine: np.array([done[image, engine]["closest"] for image in chosen], dtype=np.float64) for engine in engines
    }
    versions = sorted({str(done[image, engine]["code"]) for image in chosen for engine in engines if engine[0] == "o"})
    if stale := [version for version in versions if version != _code_version("ours")]:
        print(f"note: {name} holds results of other attack code ({', '.join(stale)}); delete the file to attack anew")
    middle = {engine: medians(values) for engine, values in closest.items()}
    print_table(
        f"{name}: median L2 of the closest adversarial after q queries, {len(chosen)} images",
        ("engine", *(f"q={q}" for q in CHECKPOINTS), "no start"),
        [(engine, *middle[engine], failures(closest[engine])) for engine in engines],
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
                p["ratio_of_medians"]["value"], interval_text(p["ratio_of_medians"]),
                p["median_of_ratios"]["value"], interval_text(p["median_of_ratios"]), p["verdict"],
            )
            for p in pairs
        ],
    )  # fmt: skip
    return {
        "images": chosen,
        "attack_code": versions,
        "no_start": {engine: failures(values) for engine, values in closest.items()},
        "median": {engine: dict(zip(map(str, CHECKPOINTS), values, strict=True)) for engine, values in middle.items()},
        "pairs": pairs,
        "seconds": {engine: sum(done[image, engine]["seconds"] for image in chosen) for engine in engines},
        "closest": {engine: jsonable(values) for engine, values in closest.items()},
    }


def _compare(ours: str, theirs: str, a: Floats, b: Floats, resamples: int) -> list[dict[str, Any]]:
    """Compare on the images where both have an adversarial by then.

    The verdict goes by the interval of the median of ratios: "yes" where the upper end is at most the margin, "NO"
    where the lower end is above it, else "open": take more images.
    """
    compared = []
    for place, queries in enumerate(CHECKPOINTS):
        found = ratios(a[:, place], b[:, place], resamples=resamples, seed=queries)
        if found is None:
            continue
        paired = found["median_of_ratios"]
        compared.append(
            {
                "ours": ours,
                "theirs": theirs,
                "queries": queries,
                **found,
                "verdict": "yes" if paired["high"] <= _MARGIN else "NO" if paired["low"] > _MARGIN else "open",
            }
        )
    return compared
