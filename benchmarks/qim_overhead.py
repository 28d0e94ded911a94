"""Overhead of the QIM head: the time that a copy takes longer than its original, for a batch of 1 and of 256.

`copy.predict` against `original.predict` on the same rows, many rounds in alternating order, ratios within a round.
Then the case that a dense projection could not hold: 1000 classes at 3 x 224 x 224 with 16 messages a class, by the
keyed Hadamard transform, beside one forward pass of a plain stack of convolutions that costs what a ResNet-50 costs
(4.1 thousand million multiply-adds; it is not a ResNet-50, and has random weights).
"""

import argparse
import time
from functools import partial
from typing import Any

import torch

from benchmarks.models import Subject, count_macs, imagenet_sized_stack, named_subject, timing_keys
from benchmarks.tables import print_table
from benchmarks.timing import alternate, ratio
from variegate.rewriters.base import OriginalShape, rewrite
from variegate.rewriters.qim import QimHead, QimSpec
from variegate.types import InputSpec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--models", nargs="+", default=["cifar10-s0", "vgg19", "resnet18"])
    parser.add_argument("--messages", type=int, default=16, help="messages a class")
    parser.add_argument(
        "--rounds", type=int, default=15, help="rounds of a batch of 256; a batch of 1 gets 20 times as many"
    )
    parser.add_argument("--no-large", action="store_true", help="leave out 1000 classes at 3 x 224 x 224")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Time, print, and return the overheads."""
    rows: list[tuple[object, ...]] = []
    results = {}
    for name in options.models:
        subject = named_subject(options.shared, name, images=256)
        results[name] = _measure(subject, options)
        rows.extend(_row(name, batch, results[name]) for batch in (1, 256))
    print_table(
        f"QIM head with {options.messages} messages a class: time of a copy over its original",
        ("model", "batch", "original ms", "added ms", "added %", "25 %", "75 %", "by CPU %", "multiply-adds %"),
        rows,
    )
    large = None if options.no_large else _large(options)
    return {"models": results, "large": large}


def _row(name: str, batch: int, result: dict[str, Any]) -> tuple[object, ...]:
    r = result[f"batch_{batch}"]
    over = r["copy_over_original"]
    percent = [100 * (over[key] - 1) for key in ("median", "p25", "p75", "cpu")]
    return (
        name,
        batch,
        1e3 * r["original_seconds"],
        1e3 * r["added_seconds"],
        *percent,
        100 * result["added_macs_share"],
    )


def _measure(subject: Subject, options: argparse.Namespace) -> dict[str, Any]:
    original = subject.classifier
    copy = rewrite(original, timing_keys(1)[0], QimSpec(messages_per_class=options.messages))
    forward = count_macs(original.module, original.input_shape)
    added = original.num_classes * options.messages * copy.original.input_shape[0] * subject.images[0, 0].numel()
    result: dict[str, Any] = {"forward_macs": forward, "head_macs": added, "added_macs_share": added / forward}
    for batch in (1, 256):
        x = subject.images[:batch]
        actions = {"original": partial(original.predict, x), "copy": partial(copy.predict, x)}
        samples = alternate(actions, rounds=options.rounds * (20 if batch == 1 else 1), warm_up=3)
        pairs = zip(samples["copy"].wall, samples["original"].wall, strict=True)
        result[f"batch_{batch}"] = {
            "original_seconds": samples["original"].median,
            "added_seconds": float(torch.tensor([a - b for a, b in pairs]).median()),
            "copy_over_original": ratio(samples["copy"], samples["original"]),
        }
    return result


def _large(options: argparse.Namespace) -> dict[str, Any]:
    shape = OriginalShape(num_classes=1000, input_spec=InputSpec((3, 224, 224)))
    started = time.perf_counter()
    head = QimSpec(messages_per_class=options.messages, projection="hadamard").build(timing_keys(1)[0], shape)
    built = time.perf_counter() - started
    stack = imagenet_sized_stack()
    macs = count_macs(stack, shape.input_shape)
    found: dict[str, Any] = {
        "rows": 1000 * options.messages,
        "bytes": _bytes(head),
        "dense_bytes": 4 * 1000 * options.messages * shape.input_size,
        "build_seconds": built,
        "stack_macs": macs,
    }
    for batch in (1, 8):
        x = torch.rand((batch, *shape.input_shape), generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            scores = stack(x).softmax(1)
            actions = {"forward": partial(stack, x), "head": partial(head, x, scores, {})}
            samples = alternate(actions, rounds=max(3, options.rounds // 2))
        found[f"batch_{batch}"] = {
            "forward_seconds": samples["forward"].median,
            "head_seconds": samples["head"].median,
            "head_over_forward": ratio(samples["head"], samples["forward"]),
        }
    print_table(
        f"1000 classes, 3 x 224 x 224, {options.messages} messages a class, Hadamard: "
        f"{found['bytes'] / 2**20:.2f} MiB held (dense: {found['dense_bytes'] / 2**30:.1f} GiB), "
        f"built in {built:.2f} s",
        ("batch", f"forward ms ({macs / 1e9:.2f} G multiply-adds)", "head ms", "head / forward %", "by CPU %"),
        [
            (batch, 1e3 * r["forward_seconds"], 1e3 * r["head_seconds"], 100 * r["head_over_forward"]["median"],
             100 * r["head_over_forward"]["cpu"])
            for batch, r in ((b, found[f"batch_{b}"]) for b in (1, 8))
        ],
    )  # fmt: skip
    return found


def _bytes(head: QimHead) -> int:
    return sum(buffer.numel() * buffer.element_size() for buffer in head.buffers())
