"""Replay: fed ART's random draws, does `semantics="art"` take ART's decisions, query by query?

Untargeted HopSkipJump on correctly classified test images of a trained model. For each image and norm: how many queries
both sides asked, the first query that they decided otherwise, how close the model was to a tie there, and the largest
difference between the two results. ART computes in float64 and variegate in float32, so where a query falls onto the
boundary to within rounding the two may part; everything after such a query is another, equally valid, run.
"""

import argparse
from typing import Any

from torch import Tensor

from benchmarks.models import Subject, shared_subject
from benchmarks.replay.hopskipjump import replay_art, replay_variegate
from benchmarks.tables import print_table
from variegate.types import Norm

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--models", nargs="+", default=["cifar10-s0", "gtsrb-s0"])
    parser.add_argument("--images", type=int, default=2, help="images a model")
    parser.add_argument("--iterations", type=int, default=10)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Replay, print, and return one entry for each model, norm and image."""
    entries: list[dict[str, Any]] = []
    for name in options.models:
        subject = shared_subject(options.shared, name, images=20 + 2 * options.images)
        for position in subject.correct(options.images).tolist():
            entries.extend(_compare(subject, position, norm, options.iterations) for norm in Norm)
    print_table(
        f"Replay of ART's draws, {options.iterations} iterations",
        ("model", "image", "norm", "queries ART", "ours", "same until", "margin there", "largest |x' - x'|"),
        [
            (
                e["model"], e["image"], e["norm"], e["queries_art"], e["queries_variegate"],
                "the end" if e["first_difference"] is None else f"query {e['first_difference']}",
                e["margin_there"], e["result_difference"],
            )
            for e in entries
        ],
    )  # fmt: skip
    same = {norm.value: [e for e in entries if e["norm"] == norm.value] for norm in Norm}
    summary = {
        norm: {"runs": len(all_), "identical_to_the_end": sum(e["first_difference"] is None for e in all_)}
        for norm, all_ in same.items()
    }
    told = [f"{norm}: {s['identical_to_the_end']} of {s['runs']}" for norm, s in summary.items()]
    print(f"\nIdentical to the end: {', '.join(told)}")
    return {"iterations": options.iterations, "summary": summary, "runs": entries}


def _compare(subject: Subject, position: int, norm: Norm, iterations: int) -> dict[str, Any]:
    image = subject.images[position : position + 1]
    art, ours = (
        replay(subject.classifier, image, norm=norm, iterations=iterations, start_seed=position, probe_seed=position)
        for replay in (replay_art, replay_variegate)
    )
    a, b = art.decisions(), ours.decisions()
    common = min(len(a), len(b))
    different = (a[:common] != b[:common]).nonzero().flatten()
    first = int(different[0]) + 1 if len(different) else (None if len(a) == len(b) else common + 1)
    until = common + 1 if first is None else min(first + 1, common + 1)
    return {
        "model": subject.name,
        "image": position,
        "norm": norm.value,
        "queries_art": len(art.labels),
        "queries_variegate": len(ours.labels),
        "first_difference": first,
        "margin_there": None if first is None else _margin(subject, art.points[first : first + 1]),
        "query_difference": float((art.points[:until] - ours.points[:until]).abs().max()),
        "result_difference": float((art.adversarial - ours.adversarial).abs().max()),
    }


def _margin(subject: Subject, x: Tensor) -> float | None:
    """Return the difference of the two largest logits."""
    if len(x) == 0:
        return None
    best = subject.classifier.logits(x).topk(2).values[0]
    return float(best[0] - best[1])
