"""Whatever moment `kill -9` strikes, the registry is whole: nothing lost, doubled or half done, and the log verifies.

A few kills run always; `--run-slow` makes it 240 on SQLite and 60 on PostgreSQL.
"""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.registry.conftest import SPEC, make_row, model_manifest, postgres_schema
from tests.registry.kill_worker import BATCH, BUYERS, GROUP, batch, epoch, group
from variegate.errors import VariegateError
from variegate.registry.backup import restore_backup, write_backup
from variegate.registry.bulk import add_copies
from variegate.registry.copies import count_copies, get_copies, iterate_copies, list_copies
from variegate.registry.log import log_head
from variegate.registry.migrations import current_format
from variegate.registry.records import add_model, add_spec
from variegate.registry.registry import Registry
from variegate.registry.schema import FORMAT
from variegate.registry.verify import verify_log
from variegate.types import CopyStatus

ROOT = Path(__file__).resolve().parents[2]
SLOW = pytest.mark.slow
POSTGRES = pytest.mark.postgres
KILLS = [
    pytest.param("sqlite", 1, 0, id="sqlite-quick"),
    pytest.param("postgres", 1, 0, id="postgres-quick", marks=POSTGRES),
    *(pytest.param("sqlite", 10, part, id=f"sqlite-{part}", marks=SLOW) for part in range(4)),
    pytest.param("postgres", 10, 0, id="postgres", marks=[SLOW, POSTGRES]),
]
each_way = pytest.mark.parametrize(("database", "kills", "part"), KILLS)


@contextmanager
def place(database: str, folder: Path, name: str = "registry.db"):
    with ExitStack() as stack:
        yield folder / name if database == "sqlite" else stack.enter_context(postgres_schema())


def killed(step: str, url: str | Path, first: int, *more: Path, longest: float) -> int:
    """Start the step, kill it at a random moment within `longest` seconds, and return the last number that it said."""
    command = [sys.executable, "-m", "tests.registry.kill_worker", step, str(url), str(first), *map(str, more)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as worker:
        said = worker.stdout.readline()
        time.sleep(random.uniform(0, longest))
        os.kill(worker.pid, signal.SIGKILL)
        rest, errors = worker.communicate()
    assert said, errors
    assert not errors, errors
    return int((said + rest).split()[-1])


def check(registry: Registry) -> None:
    report = registry.read(verify_log)
    assert report.ok, report.problem


def prepare(url: str | Path) -> Registry:
    registry = Registry(url, create=True)
    registry.write(add_model, model_manifest())
    registry.write(add_spec, "first", SPEC)
    return registry


@each_way
def test_issue(tmp_path, database, kills, part):
    with place(database, tmp_path) as url, prepare(url) as registry:
        through = 0
        for _ in range(kills):
            said = killed("issue", url, through, longest=0.6)
            recorded = registry.read(count_copies)
            assert recorded % BATCH == 0
            assert recorded // BATCH in {said + 1, said + 2}
            through = recorded // BATCH
            last = batch(through - 1) if through else []
            assert [registry.read(get_copies, [row.copy_id])[row.copy_id] for row in last[::999]] == last[::999]
            check(registry)
        assert len({row.copy_id for row in iterate_copies(registry)}) == through * BATCH


@each_way
def test_change_status(tmp_path, database, kills, part):
    with place(database, tmp_path) as url, prepare(url) as registry:
        registry.write(add_copies, (make_row(f"g{number}-{i}") for number in range(60 * kills) for i in range(GROUP)))
        through = 0
        for _ in range(kills):
            said = killed("change", url, through, longest=0.2)
            steps = []
            for number in range(60 * kills):
                states = {row.status for row in registry.read(get_copies, group(number)).values()}
                assert len(states) == 1
                steps.append(list(CopyStatus).index(states.pop()))
                if steps[-1] == 0:
                    break
            through = sum(steps)
            assert through in {said + 1, said + 2}
            check(registry)


@each_way
def test_rotate(tmp_path, database, kills, part):
    with place(database, tmp_path) as url, prepare(url) as registry:
        registry.write(add_copies, epoch(1))
        last = 1
        for _ in range(kills):
            said = killed("rotate", url, last + 1, longest=0.3)
            rows = registry.read(list_copies)
            last = max(row.epoch for row in rows)
            assert last in {said, said + 1}
            assert len(rows) == last * BUYERS
            active = [row for row in rows if row.status is CopyStatus.ACTIVE]
            assert {row.epoch for row in active} == {last}
            assert len(active) == BUYERS
            check(registry)


@each_way
def test_backup_and_restore(tmp_path, database, kills, part):
    with place(database, tmp_path) as url, prepare(url) as registry:
        registry.write(add_copies, (make_row(f"b{i}") for i in range(3000)))
        file, head = tmp_path / "backup.gz", registry.read(log_head)
        write_backup(registry, file)
        for number in range(kills):
            folder = tmp_path / f"backups{number}"
            folder.mkdir()
            said = killed("back_up", url, 0, folder, longest=0.4)
            whole = sorted(folder.glob("*.gz"), key=lambda path: int(path.stem))
            assert [path.name for path in whole] == [f"{i}.gz" for i in range(len(whole))]
            assert len(whole) in {said + 1, said + 2}
            for path in whole[-1:]:
                restored = tmp_path / f"restored{number}.db"
                restore_backup(path, restored, expect=head)
                with Registry(restored) as again:
                    assert again.read(count_copies) == 3000
            check(registry)
            with place(database, tmp_path, f"target{number}.db") as target:
                killed("restore", target, 0, file, longest=1.5)
                try:
                    with Registry(target) as again:
                        assert again.read(count_copies) == 3000
                        check(again)
                except VariegateError:
                    restore_backup(file, target, expect=head)
                    with Registry(target) as again:
                        check(again)


@each_way
def test_create(tmp_path, database, kills, part):
    for number in range(kills):
        with place(database, tmp_path, f"registry{number}.db") as url:
            killed("create", url, 0, longest=1.2)
            with suppress(VariegateError):  # killed before the tables were there: all of them or none
                assert current_format(url) == FORMAT
            with Registry(url, create=True) as registry:
                check(registry)
