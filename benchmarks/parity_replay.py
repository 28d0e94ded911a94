"""Replay: fed ART's random draws, does `semantics="art"` take ART's decisions, and come as close at equal queries?

HopSkipJump, Boundary and GeoDA, untargeted, on correctly classified test images of trained models, up to a number of
queries; each image has seeds of its own. For each run: how many queries both sides decided alike, how close the model
was to a tie where they first differed, and the smallest norm of an adversarial row within q queries on both sides,
whose ratios image by image make the verdict: "equal" where their median's 95 % bootstrap interval lies within 5 %, of 6
images or more. ART
computes in float64 and variegate in float32, so where a query falls onto the boundary to within rounding the two may
part; everything after such a query is another, equally valid, run. Questions that ART asks twice count once.

DeepFool draws nothing at random: its adversarials are compared, on the scores as ART's users run it and on log-scores.

Results are kept in a file of JSON lines, one for each attack, norm and image: a run that was interrupted goes on.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from benchmarks.models import Subject, shared_subject
from benchmarks.paired import FEWEST, append_line, attack_code, interval_text, kept_lines, ratios, stale_note
from benchmarks.replay import boundary, deepfool, geoda, hopskipjump
from benchmarks.replay.common import Replay
from benchmarks.tables import print_table
from variegate.attacks.white_box.deepfool import DeepFoolScores
from variegate.errors import ConfigurationError
from variegate.models.geometry import distance
from variegate.types import Norm

CHECKPOINTS = (100, 250, 500, 1000, 2500, 5000)
_MARGIN = 0.05
_TWICE = 1.2  # ART's GeoDA asks some questions twice: room for them in its limit
_MORE_THAN_ENOUGH = 10_000  # iterations: the limit ends the attack before
_KEYS = ("attack", "norm", "image")
_SCORES: tuple[DeepFoolScores, ...] = ("probabilities", "log")

Pair = Callable[[Subject, Tensor, Norm, int, int], tuple[Replay, Replay]]
"""(subject, image, norm, seed, limit) -> what ART did, what variegate did."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--models", nargs="+", default=["cifar10-s0", "gtsrb-s0"])
    parser.add_argument("--images", type=int, default=2, help="images a model (default: 2)")
    parser.add_argument("--queries", type=int, default=1000, help="for each image (default: 1000)")
    parser.add_argument("--attacks", nargs="+", choices=[*_PAIRS, "deepfool"], default=[*_PAIRS, "deepfool"])
    parser.add_argument("--norms", nargs="+", choices=[norm.value for norm in Norm], default=["l2"])
    parser.add_argument("--resamples", type=int, default=10_000, help="of the bootstrap over images")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("build/benchmarks"),
        help="folder for the results so far, parity_replay-MODEL.jsonl each (default: build/benchmarks)",
    )


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Replay what is not done yet, print, and return the runs and their summaries."""
    for name in ("images", "queries", "resamples"):
        if getattr(options, name) < 1:
            raise ConfigurationError(f"--{name} must be at least 1; got {getattr(options, name)}")
    checkpoints = (*(q for q in CHECKPOINTS if q < options.queries), options.queries)
    norms = [Norm(norm) for norm in options.norms]
    results: dict[str, Any] = {}
    for name in options.models:
        subject = shared_subject(options.shared, name, images=20 + 2 * options.images)
        chosen = subject.correct(options.images).tolist()
        path = options.work / f"parity_replay-{name}.jsonl"
        done = {key: entry for key, entry in kept_lines(path, _KEYS) if tuple(entry["checkpoints"]) == checkpoints}
        wanted = [
            (a, n.value) for a in options.attacks if a in _PAIRS for n in norms if (a, n) != ("boundary", Norm.LINF)
        ]
        for position in chosen:
            for attack, norm in wanted:
                if (attack, norm, position) not in done:
                    entry = _compare(subject, position, attack, Norm(norm), checkpoints)
                    append_line(path, entry)
                    done[attack, norm, position] = entry
        found = [
            _summarise([done[attack, norm, image] for image in chosen], checkpoints, options.resamples)
            for attack, norm in wanted
        ]
        stale_note(name, {entry["code"] for entry in done.values()})
        results[name] = {"images": chosen, "attacks": found}
        _print(name, found, checkpoints)
        if "deepfool" in options.attacks:
            results[name]["deepfool"] = [_deepfool(subject, subject.correct(options.images), s) for s in _SCORES]
    return {
        "rule": "the smallest norm of an adversarial row within q queries; same draws on both sides",
        "models": results,
    }


def _hopskipjump(subject: Subject, image: Tensor, norm: Norm, seed: int, limit: int) -> tuple[Replay, Replay]:
    given = {"norm": norm, "iterations": _MORE_THAN_ENOUGH, "start_seed": seed, "probe_seed": seed, "limit": limit}
    sides = (hopskipjump.replay_art, hopskipjump.replay_variegate)
    art, ours = (side(subject.classifier, image, **given) for side in sides)  # type: ignore[operator]
    return art, ours


def _boundary(subject: Subject, image: Tensor, norm: Norm, seed: int, limit: int) -> tuple[Replay, Replay]:
    del norm
    given = {"iterations": _MORE_THAN_ENOUGH, "start_seed": seed, "probe_seed": seed, "limit": limit}
    sides = (boundary.replay_art, boundary.replay_variegate)
    art, ours = (side(subject.classifier, image, **given) for side in sides)  # type: ignore[operator]
    return art, ours


def _geoda(subject: Subject, image: Tensor, norm: Norm, seed: int, limit: int) -> tuple[Replay, Replay]:
    given = {"norm": norm, "sub_dim": 10, "max_queries": limit, "tolerance": 0.1, "seed": seed}
    art = geoda.replay_art(subject.classifier, image, **given, limit=int(limit * _TWICE))  # type: ignore[arg-type]
    ours = geoda.replay_variegate(subject.classifier, image, **given, limit=limit)  # type: ignore[arg-type]
    return art, ours


_PAIRS: dict[str, Pair] = {"hopskipjump": _hopskipjump, "boundary": _boundary, "geoda": _geoda}


def _compare(subject: Subject, position: int, attack: str, norm: Norm, checkpoints: tuple[int, ...]) -> dict[str, Any]:
    image = subject.images[position : position + 1]
    started = time.perf_counter()
    art, ours = _PAIRS[attack](subject, image, norm, position, checkpoints[-1])
    a, b = art.decisions(), ours.decisions()
    common = min(len(a), len(b), checkpoints[-1] - 1)
    different = (a[:common] != b[:common]).nonzero().flatten()
    ends = len(a) != len(b) and common < checkpoints[-1] - 1
    first = int(different[0]) + 1 if len(different) else (common + 1 if ends else None)
    until = common + 1 if first is None else min(first + 1, common + 1)
    return {
        "model": subject.name,
        "image": position,
        "attack": attack,
        "norm": norm.value,
        "code": attack_code(),
        "checkpoints": list(checkpoints),
        "queries_art": len(art.labels),
        "queries_variegate": len(ours.labels),
        "first_difference": first,
        "margin_there": None if first is None else _margin(subject, art.points[first : first + 1]),
        "query_difference": float((art.points[:until] - ours.points[:until]).abs().max()),
        "closest_art": art.closest_within(checkpoints, norm),
        "closest_variegate": ours.closest_within(checkpoints, norm),
        "seconds": round(time.perf_counter() - started, 3),
    }


def _margin(subject: Subject, x: Tensor) -> float | None:
    """Return the difference of the two largest logits."""
    if len(x) == 0:
        return None
    best = subject.classifier.logits(x).topk(2).values[0]
    return float(best[0] - best[1])


def _summarise(entries: list[dict[str, Any]], checkpoints: tuple[int, ...], resamples: int) -> dict[str, Any]:
    ours, art = (np.array([e[f"closest_{side}"] for e in entries], dtype=np.float64) for side in ("variegate", "art"))
    parted = [e for e in entries if e["first_difference"] is not None]
    at = []
    for place, queries in enumerate(checkpoints):
        found = ratios(ours[:, place], art[:, place], resamples=resamples, seed=queries)
        at.append({"queries": queries, **(found or {"images": 0}), "verdict": _verdict(found)})
    return {
        "attack": entries[0]["attack"],
        "norm": entries[0]["norm"],
        "runs": len(entries),
        "identical_to_the_end": len(entries) - len(parted),
        "decided_alike": [e["first_difference"] for e in parted],
        "largest_margin_at_a_parting": max((e["margin_there"] or 0.0 for e in parted), default=None),
        "largest_query_difference": max(e["query_difference"] for e in entries),
        "at": at,
        "entries": entries,
    }


def _verdict(found: dict[str, Any] | None) -> str:
    if found is None:
        return "none"
    if found["images"] < FEWEST:
        return "open"
    ratio = found["median_of_ratios"]
    if ratio["low"] >= 1.0 - _MARGIN and ratio["high"] <= 1.0 + _MARGIN:
        return "equal"
    return "apart" if ratio["low"] > 1.0 + _MARGIN or ratio["high"] < 1.0 - _MARGIN else "open"


def _print(name: str, found: list[dict[str, Any]], checkpoints: tuple[int, ...]) -> None:
    if not found:
        return
    print_table(
        f"{name}: replay of ART's draws, {checkpoints[-1]} queries",
        ("attack", "norm", "images", "identical", "first parting", "largest margin there", "largest |x - x| before"),
        [
            (
                f["attack"], f["norm"], f["runs"], f["identical_to_the_end"], min(f["decided_alike"], default=None),
                f["largest_margin_at_a_parting"], f["largest_query_difference"],
            )
            for f in found
        ],
    )  # fmt: skip
    print_table(
        f"{name}: closest adversarial within q queries, ours over ART's, image by image (95 % bootstrap)",
        ("attack", "norm", "q", "images", "median ratio", "interval", "of medians", "within 5 %"),
        [
            (
                f["attack"], f["norm"], at["queries"], at["images"], at["median_of_ratios"]["value"],
                interval_text(at["median_of_ratios"]), at["ratio_of_medians"]["value"], at["verdict"],
            )
            for f in found
            for at in f["at"]
            if at["images"]
        ],
    )  # fmt: skip


def _deepfool(subject: Subject, chosen: Tensor, scores: DeepFoolScores) -> dict[str, Any]:
    images = subject.images[chosen]
    art = deepfool.replay_art(subject.classifier, images, scores=scores)
    ours = deepfool.replay_variegate(subject.classifier, images, scores=scores)
    clean = subject.classifier.predict(images)
    labels = [subject.classifier.predict(side.adversarials) for side in (art, ours)]
    fooled = [found != clean for found in labels]
    both = fooled[0] & fooled[1]
    sizes = [distance(images, side.adversarials, Norm.L2)[both] for side in (art, ours)]
    ratio = (sizes[1] / sizes[0]).numpy()
    apart = (art.adversarials - ours.adversarials).flatten(1).abs().amax(1)[both]
    found = {
        "scores": scores,
        "images": len(images),
        "found_by_art": int(fooled[0].sum()),
        "found_by_variegate": int(fooled[1].sum()),
        "found_by_both": int(both.sum()),
        "same_label": int((labels[0] == labels[1])[both].sum()),
        "ratio_of_norms": {
            name: float(value(ratio)) if len(ratio) else None
            for name, value in (("median", np.median), ("least", np.min), ("most", np.max))
        },
        "largest_difference": float(apart.max()) if len(apart) else None,
    }
    print(
        f"\n{subject.name}: DeepFool on {scores}: found for {found['found_by_art']} (ART) and"
        f" {found['found_by_variegate']} (ours) of {len(images)} images, {found['same_label']} of"
        f" {found['found_by_both']} the same label; norms ours over ART's: {found['ratio_of_norms']};"
        f" largest |x' - x'| {found['largest_difference']}"
    )
    return found
