"""Many copies at once: labelling by 100 QIM copies over one forward pass of their original.

`CopyBank.predict_all` against `original.predict` on the same rows. What must be computed besides the forward pass is
one projection for each copy: the last column is the ratio that the multiply-adds alone would give if both ran equally
fast.
"""

import argparse
from functools import partial
from typing import Any

from benchmarks.models import count_macs, named_subject, timing_keys
from benchmarks.tables import print_table
from benchmarks.timing import alternate, ratio
from variegate.models.bank import CopyBank
from variegate.rewriters.base import original_shape
from variegate.rewriters.qim import QimSpec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--models", nargs="+", default=["cifar10-s0", "vgg19", "resnet18"])
    parser.add_argument("--copies", type=int, default=100)
    parser.add_argument("--messages", type=int, default=16, help="messages a class")
    parser.add_argument("--rows", type=int, default=256, help="inputs a round")
    parser.add_argument("--rounds", type=int, default=5)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Time, print, and return the ratios."""
    spec, keys = QimSpec(messages_per_class=options.messages), timing_keys(options.copies)
    results: dict[str, Any] = {}
    for name in options.models:
        subject = named_subject(options.shared, name, images=options.rows)
        original = subject.classifier
        x = subject.images[: options.rows]
        bank = CopyBank(original, [spec.build(key, original_shape(original)) for key in keys])
        actions = {"original": partial(original.predict, x), "bank": partial(bank.predict_all, x)}
        samples = alternate(actions, rounds=options.rounds)
        forward = count_macs(original.module, original.input_shape)
        added = options.copies * original.num_classes * options.messages * x[0].numel()
        results[name] = {
            "copies": options.copies,
            "rows": len(x),
            "original_seconds": samples["original"].median,
            "bank_seconds": samples["bank"].median,
            "bank_over_original": ratio(samples["bank"], samples["original"]),
            "forward_macs": forward,
            "projection_macs": added,
            "macs_ratio": 1 + added / forward,
        }
    print_table(
        f"{options.copies} copies (QIM, {options.messages} messages a class) over one forward of the original",
        ("model", "original ms/row", "bank ms/row", "ratio", "25 %", "75 %", "by CPU", "one by one", "multiply-adds"),
        [
            (
                name, 1e3 * r["original_seconds"] / r["rows"], 1e3 * r["bank_seconds"] / r["rows"],
                *(r["bank_over_original"][key] for key in ("median", "p25", "p75", "cpu")), options.copies,
                r["macs_ratio"],
            )
            for name, r in results.items()
        ],
    )  # fmt: skip
    return results
