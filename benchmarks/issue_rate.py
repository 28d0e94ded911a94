"""Issuing: copies a second through authority and registry, bytes that a copy costs, and the time to make a copy again.

A new home in a temporary folder with one model and one QIM spec. Bytes a copy are the growth of the registry's file
over the copies issued, taken after its write-ahead log has been written back; the paper states 2 KB a copy.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file

from benchmarks.tables import print_table
from variegate.authority.authority import Authority
from variegate.keys import SellerSecret
from variegate.models.architectures.catalog import build_architecture
from variegate.models.loading import prepare_import
from variegate.registry.copies import list_copies
from variegate.rewriters.qim import QimSpec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--architecture", default="vgg19", help="the model whose copies are issued (random weights)")
    parser.add_argument("--copies", type=int, default=100_000, help="issued in batches")
    parser.add_argument("--batch", type=int, default=10_000)
    parser.add_argument("--single", type=int, default=200, help="issued one by one, each in its own transaction")
    parser.add_argument("--loads", type=int, default=20, help="issued copies that are made again from their keys")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Issue, print, and return rates and sizes."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        weights = Path(folder) / "weights.safetensors"
        save_file(build_architecture(options.architecture, {"num_classes": 10}).state_dict(), weights)
        with Authority.create(home, SellerSecret.generate()) as authority:
            authority.import_model(
                prepare_import(
                    weights, name="model", architecture=options.architecture, labels=10, input_shape=(3, 32, 32)
                )
            )  # fmt: skip
            authority.save_spec("qim", QimSpec(), model="model")
            found = _issue(authority, home, options)
            found |= _load(authority, options)
    print_table(
        "Issuing copies",
        ("what", "value"),
        [
            ("copies a second, in batches", found["batched_per_second"]),
            ("copies a second, one by one", found["single_per_second"]),
            ("bytes a copy in the registry", found["bytes_per_copy"]),
            ("ms to make an issued copy again (median)", 1e3 * found["load_seconds"]),
        ],
    )
    return found


def _issue(authority: Authority, home: Path, options: argparse.Namespace) -> dict[str, Any]:
    authority.issue_many("model", "qim", [f"early-{number}" for number in range(1000)])  # the file has its tables now
    before = _size(home)
    rates = []
    for start in range(0, options.copies, options.batch):
        buyers = [f"buyer-{number:09d}" for number in range(start, min(start + options.batch, options.copies))]
        started = time.perf_counter()
        authority.issue_many("model", "qim", buyers)
        rates.append(len(buyers) / (time.perf_counter() - started))
    grown = _size(home) - before
    started = time.perf_counter()
    for number in range(options.single):
        authority.issue("model", "qim", [f"single-{number:06d}"])
    return {
        "copies": options.copies,
        "batch": options.batch,
        "batched_per_second": float(np.median(rates)),
        "batched_per_second_by_batch": rates,
        "single_per_second": options.single / (time.perf_counter() - started),
        "bytes_per_copy": grown / options.copies,
    }


def _load(authority: Authority, options: argparse.Namespace) -> dict[str, Any]:
    copies = [row.copy_id for row in authority.registry.read(list_copies, limit=options.loads)]
    authority.load_copy(copies[0])  # reads the original
    seconds = []
    for copy in copies:
        started = time.perf_counter()
        authority.load_copy(copy)
        seconds.append(time.perf_counter() - started)
    return {"load_seconds": float(np.median(seconds))}


def _size(home: Path) -> int:
    """Return the registry's bytes after its write-ahead log has been written back."""
    import sqlite3

    connection = sqlite3.connect(home / "registry.db")
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
    return sum(file.stat().st_size for file in home.glob("registry.db*"))
