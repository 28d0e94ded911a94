"""Speed of attacks: queries a second over the model's own best throughput, and over ART's and Foolbox's.

The raw throughput is `Classifier.predict` on 1,024 random rows (256 for large networks): no attack that asks the model
can be faster for long.
All engines attack correctly classified images of the same model with the same settings, from the same starting points
(ART's GeoDA from its own); every row that the model labels is counted. Queries a second at the same budget are samples
a second times a constant, so their ratios are the same. ART goes image by image, so it is timed on one image a round;
Foolbox takes its images as one batch. variegate attacks all images in lock-step.

ART and Foolbox get the module as its owner has it. `Classifier` brings it into the channels-last layout where that
gives the same answers, which by itself makes small networks faster on a CPU; "layout" is that part of the gain: raw
throughput over that of the module as it was. With `--our-layout` the libraries get the module in our layout, too.

Where the forward pass is the floor, nothing can be gained: "at most" is raw throughput over the library's.
"MiB" is how much memory our attack takes at most beside what is there before it, the model's activations included;
fewer rows a question take less (`HardLabelOracle(preferred_rows=)`, `variegate attack --rows`).
"""

import argparse
import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.machine import growth_mib
from benchmarks.models import Subject, named_subject
from benchmarks.speed_engines import ENGINES, Engine, Run
from benchmarks.tables import print_table
from benchmarks.timing import Samples, alternate, ratio

_LARGE = ("vgg19", "resnet18")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--models", nargs="+", default=["digits_cnn", "cifar10-s0", "vgg19", "resnet18"])
    parser.add_argument("--images", type=int, default=64, help="images that variegate and Foolbox attack at once")
    parser.add_argument("--large-images", type=int, default=4, help="the same for vgg19 and resnet18")
    parser.add_argument("--attacks", nargs="+", choices=sorted(ENGINES), default=["hopskipjump"])
    parser.add_argument("--scale", type=float, default=1.0, help="how long attacks run: times their usual settings")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--our-layout", action="store_true", help="give ART and Foolbox the module in our layout")
    parser.add_argument("--only-ours", action="store_true", help="leave ART and Foolbox out")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Time, print, and return rates and ratios for each model."""
    results: dict[str, Any] = {}
    for name in options.models:
        subject = named_subject(options.shared, name, images=256)
        chosen = subject.correct(options.large_images if name in _LARGE else options.images)
        for attack in options.attacks:
            results.setdefault(name, {})[attack] = _measure(subject, chosen, ENGINES[attack], options)
    print_table(
        "Queries a second (medians over rounds), and ratios",
        (
            "model", "attack", "raw", "ours", "ART", "Foolbox",
            "/raw", "CPU", "/ART", "at most", "/Foolbox", "at most", "layout", "MiB",
        ),
        [
            (
                name, attack, r["raw_per_second"], r["ours_per_second"], r["art_per_second"], r["foolbox_per_second"],
                r["ours_over_raw"]["median"], r["ours_over_raw"]["cpu"],
                _median(r["ours_over_art"]), r["at_most_over_art"],
                _median(r["ours_over_foolbox"]), r["at_most_over_foolbox"],
                r["layout"]["median"], r["peak_mib"],
            )
            for name, attacks in results.items()
            for attack, r in attacks.items()
        ],
    )  # fmt: skip
    return results


def _measure(subject: Subject, chosen: Tensor, engine: Engine, options: argparse.Namespace) -> dict[str, Any]:
    images, labels = subject.images[chosen], subject.labels[chosen]
    raw_rows = 256 if subject.name in _LARGE else 1024
    random = torch.rand((raw_rows, *subject.classifier.input_shape), generator=torch.Generator().manual_seed(0))
    queries: dict[str, list[int]] = {}
    owners = copy.deepcopy(subject.classifier.module).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    module = subject.classifier.module if options.our_layout else owners

    def counted(name: str, run: Run, count: int) -> Callable[[], None]:
        run(subject, module, images[:1], labels[:1], 0.1)  # imports and warms up
        return lambda: queries.setdefault(name, []).append(
            run(subject, module, images[:count], labels[:count], options.scale)
        )

    actions: dict[str, Callable[[], object]] = {
        "raw": lambda: subject.classifier.predict(random),
        "raw_owners": lambda: _label(owners, random, subject.classifier.batch_size),
    }
    actions["ours"] = counted("ours", engine.ours, len(images))
    peak = growth_mib(actions["ours"])
    queries.clear()
    if engine.art is not None and not options.only_ours:
        actions["art"] = counted("art", engine.art, 1)
    if engine.foolbox is not None and not options.only_ours:
        actions["foolbox"] = counted("foolbox", engine.foolbox, len(images))
    samples = alternate(actions, rounds=options.rounds, warm_up=0)
    asked = {name: counts[-1] for name, counts in queries.items()} | {
        "raw": raw_rows,
        "raw_owners": raw_rows,
    }  # seeded: the same every round
    found: dict[str, Any] = {
        "images": len(images),
        "trained": subject.trained,
        "scale": options.scale,
        "peak_mib": peak,
        "queries": asked,
        "seconds": {name: {"wall": s.wall, "cpu": s.cpu} for name, s in samples.items()},
        "layout": ratio(samples["raw_owners"], samples["raw"]),
        "ours_over_raw": ratio(samples["raw"], samples["ours"], scale=asked["ours"] / asked["raw"]),
    }
    for name in ("raw", "raw_owners", "ours", "art", "foolbox"):
        found[f"{name}_per_second"] = asked[name] / samples[name].median if name in samples else None
    for name in ("art", "foolbox"):
        found[f"ours_over_{name}"] = _faster(samples, asked, "ours", name)
        over = _faster(samples, asked, "raw", name)
        found[f"at_most_over_{name}"] = None if over is None else over["median"]
    return found


@torch.no_grad()
def _label(module: nn.Module, x: Tensor, rows: int) -> Tensor:
    return torch.cat([module(part).argmax(1) for part in x.split(rows)])


def _faster(samples: dict[str, Samples], asked: dict[str, int], one: str, other: str) -> dict[str, Any] | None:
    """Return how many times more queries a second `one` asks than `other`."""
    if other not in samples:
        return None
    return ratio(samples[other], samples[one], scale=asked[one] / asked[other])


def _median(value: dict[str, Any] | None) -> float | None:
    return None if value is None else float(value["median"])
