"""What `test_races` runs twice at once."""

import contextlib
import sys
from pathlib import Path

from tests.registry.conftest import make_row
from variegate.errors import ConflictError, QuotaError
from variegate.registry.bulk import add_copies
from variegate.registry.copies import change_status, last_epochs, spend_quota
from variegate.registry.registry import Registry
from variegate.types import CopyStatus

ROUNDS = 40


def say(what: str, number: int) -> None:
    sys.stdout.write(f"{what} {number}\n")
    sys.stdout.flush()


def main(url: str | Path, name: str) -> None:
    """Issue, rotate, revoke and spend, in both processes for the same buyers; say what this one did."""
    sys.stdin.readline()
    with Registry(url) as registry:
        for number in range(ROUNDS):
            mine = [make_row(f"same{number}", issued_at=1, expires_at=1 + (name == "b")), make_row(f"{name}{number}")]
            with contextlib.suppress(ConflictError):
                registry.write(add_copies, mine)
                say("issued", number)
            newest = registry.read(last_epochs, "net", ["rotated"])["rotated"]
            with contextlib.suppress(ConflictError):
                registry.write(add_copies, [make_row("rotated", epoch=newest + 1)], supersede=True)
                say("rotated", newest + 1)
            if registry.write(change_status, [make_row(f"old{number}").copy_id], CopyStatus.REVOKED, reason=name):
                say("revoked", number)
            with contextlib.suppress(QuotaError):
                registry.count(spend_quota, make_row("rotated").copy_id, 3, quota=4 * ROUNDS)
                say("spent", 3)


if __name__ == "__main__":
    main(sys.argv[1] if "://" in sys.argv[1] else Path(sys.argv[1]), sys.argv[2])
