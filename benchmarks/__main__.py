"""`python -m benchmarks [NAME] [--out FILE] [--shared DIR] [...]`: run a benchmark, print a table, keep a record."""

import argparse
import importlib
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, cast

import torch

from benchmarks.machine import describe_machine
from variegate import __version__
from variegate.errors import VariegateError
from variegate.files import write_atomic

NAMES = (
    "parity_replay",
    "parity_distance",
    "ordering",
    "attack_speed",
    "qim_overhead",
    "bank",
    "issue_rate",
    "issuing_million",
)


class Benchmark(Protocol):
    """What the module of a benchmark offers; its docstring's first line is its summary."""

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Add the benchmark's own options."""

    @staticmethod
    def run(options: argparse.Namespace) -> dict[str, Any]:
        """Measure, print a table, and return the results as JSON values."""
        ...


def main(arguments: list[str]) -> int:
    """Run what the command line names and return the exit code."""
    modules = {name: importlib.import_module(f"benchmarks.{name}") for name in NAMES}
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Without NAME: all, with their defaults.")
    commands = parser.add_subparsers(dest="name", metavar="NAME")
    for name, module in modules.items():
        summary = (module.__doc__ or "").partition("\n")[0]
        command = commands.add_parser(name, help=summary, description=summary)
        _add_common(command)
        cast("Benchmark", module).add_arguments(command)
    chosen = parser.parse_args(arguments)
    try:
        for name in NAMES if chosen.name is None else (chosen.name,):
            options = parser.parse_args([name]) if chosen.name is None else chosen
            _run(name, cast("Benchmark", modules[name]), options)
    except VariegateError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _add_common(parser: argparse.ArgumentParser) -> None:
    given = os.environ.get("VARIEGATE_SHARED")
    parser.add_argument("--out", type=Path, help="write the record (JSON) to this file")
    parser.add_argument(
        "--shared",
        type=Path,
        default=Path(given) if given else Path("../shared"),
        help="folder with data/ and models/ (default: VARIEGATE_SHARED, or ../shared)",
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default: 1, the steadiest)")


def _run(name: str, module: Benchmark, options: argparse.Namespace) -> None:
    torch.set_num_threads(options.threads)
    started, clock = datetime.now(UTC), time.monotonic()
    machine = describe_machine()
    results = module.run(options)
    if options.out is None:
        return
    shown = {
        key: value
        for key, value in vars(options).items()
        if key not in ("name", "out", "shared", "work", "database_url")
    }
    record = {
        "format": 1,
        "kind": "benchmark",
        "name": name,
        "created": started.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "variegate": __version__,
        "seconds": round(time.monotonic() - clock, 1),
        "machine": machine,
        "options": {key: str(value) if isinstance(value, Path) else value for key, value in shown.items()},
        "results": results,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(options.out, json.dumps(record, indent=1, allow_nan=False).encode() + b"\n")
    print(f"\nrecord: {options.out}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
