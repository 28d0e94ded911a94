"""Two processes at once: what comes out is what some order of their steps would give."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.registry.conftest import make_row
from tests.registry.race_worker import ROUNDS
from variegate.registry.bulk import add_copies
from variegate.registry.copies import count_copies, get_copy, list_copies, used_quota
from variegate.registry.registry import Registry
from variegate.registry.verify import verify_log
from variegate.types import CopyStatus

ROOT = Path(__file__).resolve().parents[2]


def test_two_processes_issue_rotate_revoke_and_spend(registry, url):
    registry.write(add_copies, [make_row("rotated"), *(make_row(f"old{number}") for number in range(ROUNDS))])
    command = [sys.executable, "-m", "tests.registry.race_worker", str(url)]
    workers = [
        subprocess.Popen([*command, name], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name in "ab"
    ]
    for worker in workers:  # both wait for this line, so that they start together
        worker.stdin.write("go\n")
        worker.stdin.flush()
    said = {name: worker.communicate()[0].splitlines() for name, worker in zip("ab", workers, strict=True)}
    assert [worker.returncode for worker in workers] == [0, 0]

    done = Counter(line for lines in said.values() for line in lines if not line.startswith("spent"))
    assert set(done.values()) == {1}  # each step was done by one of the two
    for number in range(ROUNDS):
        assert done[f"issued {number}"] == done[f"revoked {number}"] == 1
        winner = "a" if f"issued {number}" in said["a"] else "b"
        loser = {"a": "b", "b": "a"}[winner]
        assert registry.read(get_copy, make_row(f"same{number}").copy_id).expires_at == 1 + (winner == "b")
        assert registry.read(count_copies, buyer=f"{winner}{number}") == 1
        assert registry.read(count_copies, buyer=f"{loser}{number}") == 0  # all or nothing
    epochs = [row.epoch for row in registry.read(list_copies, buyer="rotated")]
    assert epochs == list(range(1, len(epochs) + 1))
    assert {f"rotated {number}" for number in epochs[1:]} == {line for line in done if line.startswith("rotated")}
    assert [row.epoch for row in registry.read(list_copies, buyer="rotated", status=CopyStatus.ACTIVE)] == epochs[-1:]
    spent = sum(line.startswith("spent") for lines in said.values() for line in lines)
    assert registry.read(used_quota, make_row("rotated").copy_id) == 3 * spent <= 4 * ROUNDS
    assert spent == 4 * ROUNDS // 3
    assert registry.read(verify_log).ok


def test_two_processes_create_one_registry(url):
    program = (
        "import sys; from pathlib import Path; from variegate.registry.registry import Registry; sys.stdin.readline(); "
        "u = sys.argv[1]; Registry(u if '://' in u else Path(u), create=True).close()"
    )
    workers = [
        subprocess.Popen([sys.executable, "-c", program, str(url)], stdin=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        worker.communicate()
        assert worker.returncode == 0
    with Registry(url) as registry:
        assert registry.read(verify_log).ok
