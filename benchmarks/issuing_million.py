"""Issuing by the million: from a CSV of buyers to the registry, on SQLite and PostgreSQL; then look-ups, log, rotation.

A new home with one small model (random weights) and a policy with a quota and an expiry. A fresh process, which never
loads torch, reads the CSV and issues, as `variegate issue --policy ... --buyers ...` does, and measures itself:

- seconds: both passes over the CSV, all keys, all rows, all entries of the log; "by CPU" is the process's own time,
  which hardly sees what else the machine does (a PostgreSQL server's time is not in it);
- bytes a copy: growth of the SQLite file after its write-ahead log was written back; on PostgreSQL, of the sum of
  `pg_total_relation_size` over the registry's tables, after VACUUM;
- memory: the peak of the process (VmHWM), and by how much it lies above what the process had after its imports; the
  server's memory is not in it. `ru_maxrss` would not do: a process inherits its parent's peak;
- ms of one look-up among all: median over random copies, by the copy's name and by the buyer's; on a busy machine most
  of it is waiting, and the quickest says more.

PostgreSQL is measured where --database-url or VARIEGATE_TEST_POSTGRES_URL names a server; tools/start-postgres.sh
starts one, which does not flush to the disk. A schema is made there and removed.
"""

import argparse
import json
import os
import secrets
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from random import Random
from statistics import median
from typing import Any, Final

from variegate.authority.authority import Authority
from variegate.authority.buyers_file import BuyersFile
from variegate.errors import VariegateError
from variegate.keys import SellerSecret
from variegate.manifest import copy_id
from variegate.registry.copies import get_copy, list_copies
from variegate.registry.schema import metadata
from variegate.registry.verify import verify_log

AIMS: Final = {"issue_seconds": 120.0, "bytes_per_copy": 300.0, "growth_mib": 500.0, "look_up_ms": 2.0}
"""For a million copies on two cores: each should lie below."""

_SECRET: Final = bytes(range(32))  # of a registry that is thrown away
_TEST_URL: Final = "VARIEGATE_TEST_POSTGRES_URL"
_CHILD_URL: Final = "VARIEGATE_DATABASE_URL"  # not on the command line: it may hold a password
_POLICY: Final = {"quota": 1_000_000, "valid_seconds": 365 * 86_400}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--copies", type=int, default=1_000_000)
    parser.add_argument("--rotate", type=int, default=10_000, help="buyers who get a second copy afterwards")
    parser.add_argument("--look-ups", type=int, default=200, help="random copies that are looked up")
    parser.add_argument(
        "--database-url", help=f"a PostgreSQL server (default: {_TEST_URL}; without either, SQLite alone)"
    )


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Issue on each database, print, and return what was measured."""
    from benchmarks.tables import print_table

    server = options.database_url or os.environ.get(_TEST_URL)
    found = {"sqlite": _measure(None, options)}
    if server is not None:
        with _schema(server) as url:
            found["postgresql"] = _measure(url, options)
    rows = [
        ("seconds to issue", "issue_seconds", AIMS["issue_seconds"]),
        ("  by CPU", "issue_cpu_seconds", None),
        ("copies a second", "copies_per_second", None),
        ("bytes a copy", "bytes_per_copy", AIMS["bytes_per_copy"]),
        ("peak memory, MiB", "peak_mib", None),
        ("  above the imports, MiB", "growth_mib", AIMS["growth_mib"]),
        ("ms to look up a copy by name", "look_up_ms", AIMS["look_up_ms"]),
        ("  the quickest", "look_up_least_ms", None),
        ("ms to look up a copy by buyer", "look_up_buyer_ms", AIMS["look_up_ms"]),
        ("seconds to verify the log", "log_verify_seconds", None),
        (f"seconds to rotate {options.rotate:,}", "rotate_seconds", None),
    ]
    print_table(
        f"Issuing {options.copies:,} copies",
        ("what", *found, "aim (a million)"),
        [
            (what, *(one[key] for one in found.values()), "" if aim is None else f"under {aim:g}")
            for what, key, aim in rows
        ],
    )
    return {"copies": options.copies, "rotated": options.rotate, "aims": AIMS, "databases": found}


def _measure(url: str | None, options: argparse.Namespace) -> dict[str, float]:
    """Make a home and a list of buyers, and let a fresh process issue."""
    with tempfile.TemporaryDirectory() as folder:
        home, buyers = Path(folder) / "home", Path(folder) / "buyers.csv"
        _make_home(home, url)
        with buyers.open("w", encoding="utf-8") as file:
            file.write("buyer,city\n")
            file.writelines(f"{_buyer(number)},Rome\n" for number in range(options.copies))
        task = {
            "home": str(home),
            "buyers": str(buyers),
            "copies": options.copies,
            "rotate": options.rotate,
            "look_ups": options.look_ups,
        }
        environment = {key: value for key, value in os.environ.items() if key != _CHILD_URL}
        if url is not None:
            environment[_CHILD_URL] = url
        done = subprocess.run(  # noqa: S603 - our own module
            [sys.executable, "-m", "benchmarks.issuing_million", json.dumps(task)],
            check=False,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        if done.returncode != 0:
            raise VariegateError(f"the process that issues ended with {done.returncode}; its own words are above")
        found: dict[str, float] = json.loads(done.stdout)
        return found


def _make_home(home: Path, url: str | None) -> None:
    from safetensors.torch import save_file

    from variegate.models.architectures.catalog import build_architecture
    from variegate.models.loading import prepare_import
    from variegate.rewriters.qim import QimSpec

    weights = home.parent / "weights.safetensors"
    save_file(build_architecture("digits_cnn", {"num_classes": 10}).state_dict(), weights)
    imported = prepare_import(weights, name="model", architecture="digits_cnn", labels=10, input_shape=(1, 8, 8))
    with Authority.create(home, SellerSecret.from_bytes(_SECRET), database_url=url) as desk:
        desk.import_model(imported)
        desk.save_spec("qim", QimSpec(), model="model")
        desk.create_policy("prod", spec="qim", **_POLICY)


def _child(task: dict[str, Any]) -> dict[str, float]:
    """Issue and measure; runs in a process of its own."""
    from sqlalchemy.dialects import postgresql, sqlite  # noqa: F401 - a part of the baseline

    url, home = os.environ.get(_CHILD_URL), Path(task["home"])
    with Authority.open(home, lambda: SellerSecret.from_bytes(_SECRET), database_url=url) as desk:
        desk.check_issue("model", None, policy="prod")  # opens the registry and derives the secret's names
        empty, baseline = _size(home, url), _memory_mib("VmHWM")
        started, working = time.perf_counter(), time.process_time()
        added = desk.issue_many("model", None, BuyersFile(Path(task["buyers"])), policy="prod")
        seconds, working = time.perf_counter() - started, time.process_time() - working
        if added != task["copies"]:
            raise VariegateError(f"expected {task['copies']} new copies; got {added}")
        peak = _memory_mib("VmHWM")
        found = {
            "issue_seconds": seconds,
            "issue_cpu_seconds": working,
            "copies_per_second": added / seconds,
            "bytes_per_copy": (_size(home, url) - empty) / added,
            "imports_mib": baseline,
            "peak_mib": peak,
            "growth_mib": peak - baseline,
            **_look_up(desk, task),
        }
        started = time.perf_counter()
        report = desk.registry.read(verify_log)
        found["log_verify_seconds"] = time.perf_counter() - started
        if not report.ok:
            raise VariegateError(f"the log does not hold: {report.problem}")
        started = time.perf_counter()
        chosen = islice(BuyersFile(Path(task["buyers"])), task["rotate"])
        desk.rotate("model", None, list(chosen), policy="prod", epoch=2)
        found["rotate_seconds"] = time.perf_counter() - started
        return found | {"peak_of_all_mib": _memory_mib("VmHWM")}


def _look_up(desk: Authority, task: dict[str, Any]) -> dict[str, float]:
    terms = desk.check_issue("model", None, policy="prod")
    chosen = Random(0).choices(range(task["copies"]), k=task["look_ups"])  # noqa: S311 - which copies to look up
    buyers = [_buyer(number) for number in chosen]
    names = [
        copy_id(model_digest=terms.model.digest, spec_digest=terms.spec_digest, buyer=buyer, epoch=1)
        for buyer in buyers
    ]
    by_name = [_milliseconds(lambda name=name: desk.registry.read(get_copy, name)) for name in names]
    by_buyer = [
        _milliseconds(lambda buyer=buyer: desk.registry.read(list_copies, buyer=buyer, model="model"))
        for buyer in buyers
    ]
    return {
        "look_up_ms": median(by_name),
        "look_up_least_ms": min(by_name),
        "look_up_most_ms": max(by_name),
        "look_up_buyer_ms": median(by_buyer),
        "look_up_buyer_least_ms": min(by_buyer),
    }


def _milliseconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return 1e3 * (time.perf_counter() - started)


def _size(home: Path, url: str | None) -> int:
    """Bytes of the registry on the disk."""
    if url is None:
        file = sqlite3.connect(home / "registry.db")
        try:
            file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            file.close()
        return sum(path.stat().st_size for path in home.glob("registry.db*") if not path.name.endswith("-shm"))
    from sqlalchemy import create_engine, text

    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text("VACUUM " + ", ".join(f'"{table.name}"' for table in metadata.sorted_tables)))
            query = (
                "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = "
            )
            return int(connection.scalar(text(query + "current_schema()::regnamespace")) or 0)
    finally:
        engine.dispose()


@contextmanager
def _schema(server: str) -> Iterator[str]:
    """The URL of a new schema on a PostgreSQL server, which is removed in the end."""
    from sqlalchemy import create_engine, text

    name = f"vg_bench_{secrets.token_hex(6)}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.execute(text(f"CREATE SCHEMA {name}"))
        yield f"{server}{'&' if '?' in server else '?'}options=-csearch_path%3D{name}"
    finally:
        with engine.connect() as connection:
            connection.execute(text(f"DROP SCHEMA IF EXISTS {name} CASCADE"))
        engine.dispose()


def _buyer(number: int) -> str:
    return f"buyer-{number:09d}"


def _memory_mib(name: str) -> float:
    """A line of /proc/self/status, which Linux has."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024


if __name__ == "__main__":
    if "torch" in sys.modules:
        sys.exit("this process should not have loaded torch")
    print(json.dumps(_child(json.loads(sys.argv[1]))))
