"""What `test_kill` kills: works on a registry without end, and says on standard output what is done for good."""

import sys
from itertools import count
from pathlib import Path

from tests.registry.conftest import make_row
from variegate.registry.backup import restore_backup, write_backup
from variegate.registry.bulk import add_copies
from variegate.registry.copies import CHUNK_ROWS, change_status
from variegate.registry.registry import Registry
from variegate.registry.rows import CopyRow
from variegate.types import CopyStatus

BATCH = CHUNK_ROWS + 100  # two pieces
GROUP = 50
BUYERS = 120


def batch(number: int) -> list[CopyRow]:
    return [make_row(f"b{number}-{i}", key_identifier=f"{number * BATCH + i:016x}") for i in range(BATCH)]


def group(number: int) -> list[str]:
    return [make_row(f"g{number}-{i}").copy_id for i in range(GROUP)]


def epoch(number: int) -> list[CopyRow]:
    return [make_row(f"r{i}", epoch=number) for i in range(BUYERS)]


def say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def issue(url: str | Path, first: int) -> None:
    with Registry(url) as registry:
        for number in count(first):
            rows = batch(number)
            say(number - 1)
            registry.write(add_copies, rows)


def change(url: str | Path, first: int) -> None:
    with Registry(url) as registry:
        for number in count(first):
            say(number - 1)
            registry.write(
                change_status, group(number // 2), list(CopyStatus)[1 + number % 2], reason="killed meanwhile"
            )


def rotate(url: str | Path, first: int) -> None:
    with Registry(url) as registry:
        for number in count(first):
            say(number - 1)
            registry.write(add_copies, epoch(number), supersede=True)


def back_up(url: str | Path, first: int) -> None:
    with Registry(url) as registry:
        for number in count(first):
            say(number - 1)
            write_backup(registry, Path(sys.argv[4]) / f"{number}.gz")


def restore(url: str | Path, first: int) -> None:
    say(first)
    restore_backup(Path(sys.argv[4]), url)
    say(first + 1)


def create(url: str | Path, first: int) -> None:
    say(first)
    Registry(url, create=True).close()
    say(first + 1)


if __name__ == "__main__":
    steps = {
        "issue": issue,
        "change": change,
        "rotate": rotate,
        "back_up": back_up,
        "restore": restore,
        "create": create,
    }
    place = sys.argv[2]
    steps[sys.argv[1]](place if "://" in place else Path(place), int(sys.argv[3]))
