"""Whatever moment `kill -9` strikes, the registry is whole: nothing lost, doubled or half done, and the log verifies.

A few kills run always; `--run-slow` makes it 240 on SQLite and 60 on PostgreSQL.
"""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.registry.conftest import SPEC, make_row, model_manifest, postgres_schema
from tests.registry.format_1 import old_rows, write_format_1
from tests.registry.kill_worker import BATCH, BUYERS, GROUP, batch, epoch, group
from variegate.errors import VariegateError
from variegate.registry.backup import restore_backup, write_backup
from variegate.registry.migrations import current_format, upgrade
from variegate.registry.store import SqlStore
from variegate.registry.verify_log import verify_log
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


def check(store: SqlStore) -> None:
    report = verify_log(store)
    assert report.ok, report.problem


def prepare(url: str | Path) -> SqlStore:
    store = SqlStore(url, create=True)
    store.add_model(model_manifest())
    store.add_spec("first", SPEC)
    return store


@each_way
def test_issue(tmp_path, database, kills, part):
    with place(database, tmp_path) as url, prepare(url) as store:
        through = 0
        for _ in range(kills):
            said = killed("issue", url, through, longest=0.6)
            recorded = store.count_copies()
            assert recorded % BATCH == 0
            assert recorded // BATCH in {said + 1, said + 2}
            through = recorded // BATCH
            last = batch(through - 1) if through else []
            assert [store.get_copies([row.copy_id])[row.copy_id] for row in last[::999]] == last[::999]
            check(store)
        assert len({row.copy_id for row in store.iterate_copies()}) == through * BATCH


@each_way
def test_change_status(tmp_path, database, kills, part):
    with place(database, tmp_path) as url, prepare(url) as store:
        store.add_copies(make_row(f"g{number}-{i}") for number in range(60 * kills) for i in range(GROUP))
        through = 0
        for _ in range(kills):
            said = killed("change", url, through, longest=0.2)
            steps = []
            for number in range(60 * kills):
                states = {row.status for row in store.get_copies(group(number)).values()}
                assert len(states) == 1
                steps.append(list(CopyStatus).index(states.pop()))
                if steps[-1] == 0:
                    break
            through = sum(steps)
            assert through in {said + 1, said + 2}
            check(store)


@each_way
def test_rotate(tmp_path, database, kills, part):
    with place(database, tmp_path) as url, prepare(url) as store:
        store.add_copies(epoch(1))
        last = 1
        for _ in range(kills):
            said = killed("rotate", url, last + 1, longest=0.3)
            rows = store.list_copies()
            last = max(row.epoch for row in rows)
            assert last in {said, said + 1}
            assert len(rows) == last * BUYERS
            active = [row for row in rows if row.status is CopyStatus.ACTIVE]
            assert {row.epoch for row in active} == {last}
            assert len(active) == BUYERS
            check(store)


@each_way
def test_backup_and_restore(tmp_path, database, kills, part):
    with place(database, tmp_path) as url, prepare(url) as store:
        store.add_copies(make_row(f"b{i}") for i in range(3000))
        file, head = tmp_path / "backup.gz", store.log_head()
        write_backup(store, file)
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
                with SqlStore(restored) as again:
                    assert again.count_copies() == 3000
            check(store)
            with place(database, tmp_path, f"target{number}.db") as target:
                killed("restore", target, 0, file, longest=1.5)
                try:
                    with SqlStore(target) as again:
                        assert again.count_copies() == 3000
                        check(again)
                except VariegateError:
                    restore_backup(file, target, expect=head)
                    with SqlStore(target) as again:
                        check(again)


@each_way
def test_upgrade(tmp_path, database, kills, part):
    rows = old_rows(4000)
    formats = []
    for number in range(kills):
        with place(database, tmp_path, f"registry{number}.db") as url:
            write_format_1(url, rows)
            killed("upgrade", url, 0, longest=1.2)
            formats.append(current_format(url))
            assert upgrade(url) == formats[-1]
            with SqlStore(url) as store:
                assert store.list_copies() == rows
                check(store)
    assert set(formats) <= {1, 2}
