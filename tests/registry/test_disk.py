"""A disk that fills up, and files that may not be written: one sentence, and nothing is lost or half done."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.disks import fill_up
from tests.registry.conftest import SPEC, make_row, model_manifest
from tests.registry.format_1 import old_rows, write_format_1
from variegate.errors import InputError, VariegateError
from variegate.registry.backup import restore_backup, write_backup
from variegate.registry.migrations import current_format, upgrade
from variegate.registry.store import SqlStore
from variegate.registry.verify_log import verify_log
from variegate.types import CopyStatus

FULL = "is full; nothing was recorded|no space left|disk failed or is full"


def filled(path: Path) -> SqlStore:
    store = SqlStore(path, create=True)
    store.add_model(model_manifest())
    store.add_spec("first", SPEC)
    store.add_copies(make_row(f"b{i}") for i in range(500))
    return store


def test_issuing_on_a_full_disk(small_disk):
    with filled(small_disk / "registry.db") as store:
        with pytest.raises(VariegateError, match=FULL):
            store.add_copies(make_row(f"more{i}") for i in range(30_000))
        assert store.count_copies() == 500
        assert verify_log(store).ok
    with SqlStore(small_disk / "registry.db") as store:
        assert store.add_copies([make_row("later")]) == 1
        assert verify_log(store).ok


def test_every_step_on_a_disk_without_any_room(small_disk):
    with filled(small_disk / "registry.db") as store:
        with store._engine.connect() as connection:  # or the space of the write-ahead log is used again
            connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        fill_up(small_disk, leave=0)
        failed = 0
        for step in (
            lambda: store.add_copies(make_row(f"more{i}") for i in range(3000)),
            lambda: store.change_status([make_row(f"b{i}").copy_id for i in range(500)], CopyStatus.REVOKED),
            lambda: write_backup(store, small_disk / "backup.gz"),
        ):
            with pytest.raises(VariegateError, match=FULL):
                step()
            failed += 1
        assert failed == 3
        (small_disk / "ballast").unlink()
        assert not list(small_disk.glob(".vg-*"))
        assert not (small_disk / "backup.gz").exists()
        assert store.count_copies() == store.count_copies(status=CopyStatus.ACTIVE) == 500
        assert verify_log(store).ok
        write_backup(store, small_disk / "backup.gz")


def test_a_backup_onto_a_full_disk_names_the_backup(small_disk, tmp_path):
    with filled(tmp_path / "registry.db") as store:
        for leave in (0, 8192):
            fill_up(small_disk, leave=leave)
            with pytest.raises(VariegateError, match=r"cannot write .*backup\.gz: no space left") as caught:
                write_backup(store, small_disk / "backup.gz")
            assert "registry" not in str(caught.value)
            assert [path.name for path in small_disk.iterdir()] == ["ballast"]


def test_upgrading_and_restoring_on_a_full_disk(small_disk, tmp_path):
    rows = old_rows(3000)
    write_format_1(small_disk / "registry.db", rows)
    fill_up(small_disk, leave=300_000)
    with pytest.raises(VariegateError, match=FULL):
        upgrade(small_disk / "registry.db")
    assert current_format(small_disk / "registry.db") == 1
    with filled(tmp_path / "other.db") as store:
        store.add_copies(make_row(f"more{i}") for i in range(5000))
        write_backup(store, tmp_path / "backup.gz")
    with pytest.raises(VariegateError, match=FULL):
        restore_backup(tmp_path / "backup.gz", small_disk / "restored.db")
    assert not (small_disk / "restored.db").exists()
    (small_disk / "ballast").unlink()
    upgrade(small_disk / "registry.db")
    with SqlStore(small_disk / "registry.db") as store:
        assert store.list_copies() == rows


def test_a_limit_on_the_size_of_files(tmp_path):
    """Without root: the limit on a process's files stands for the full disk."""
    filled(tmp_path / "registry.db").close()
    program = (
        "import resource, signal, sys; from pathlib import Path; from tests.registry.conftest import make_row; "
        "from variegate.registry.store import SqlStore; from variegate.errors import VariegateError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "store = SqlStore(Path(sys.argv[1])); resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))\n"
        "try: store.add_copies(make_row(f'more{i}') for i in range(20_000))\n"
        "except VariegateError as error: print(error)\n"
    )
    root = Path(__file__).resolve().parents[2]
    ran = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "registry.db")],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "nothing was recorded" in ran.stdout
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 600_000
    with SqlStore(tmp_path / "registry.db") as store:
        assert store.count_copies() == 500
        assert verify_log(store).ok


def test_a_file_that_may_not_be_written(tmp_path):
    """Root may write everywhere, so a read-only file is made by the open mode and, where it can be, by its mode."""
    path = tmp_path / "home" / "registry.db"
    path.parent.mkdir()
    filled(path).close()
    path.chmod(0o400)
    path.parent.chmod(0o500)
    try:
        with (
            SqlStore(path, read_only=True) as store,
            pytest.raises(InputError, match="is read-only; nothing was recorded"),
        ):
            store.add_copies([make_row("later")])
        if os.geteuid() != 0:
            with SqlStore(path) as store, pytest.raises(InputError, match="is read-only|cannot open"):
                store.add_copies([make_row("later")])
    finally:
        path.parent.chmod(0o700)


def test_a_read_only_file_system(small_disk):
    filled(small_disk / "registry.db").close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for step in (
        lambda: SqlStore(small_disk / "registry.db").add_copies([make_row("later")]),
        lambda: upgrade(small_disk / "registry.db"),
        lambda: SqlStore(small_disk / "new.db", create=True),
        lambda: restore_backup(small_disk / "registry.db", small_disk / "new.db"),
    ):
        with pytest.raises(InputError, match="is read-only|cannot open"):
            step()
    with SqlStore(small_disk / "registry.db", read_only=True) as store:
        assert store.count_copies() == 500
        assert verify_log(store).ok
