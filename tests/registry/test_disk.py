"""A disk that fills up, and files that may not be written: one sentence, and nothing is lost or half done."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.disks import fill_up
from tests.raising import raises
from tests.registry.conftest import SPEC, make_row, model_manifest
from variegate.errors import InputError, VariegateError
from variegate.registry.backup import restore_backup, write_backup
from variegate.registry.bulk import add_copies
from variegate.registry.copies import change_status, count_copies
from variegate.registry.migrations import upgrade
from variegate.registry.records import add_model, add_spec
from variegate.registry.registry import Registry
from variegate.registry.verify import verify_log
from variegate.types import CopyStatus

FULL = "is full; nothing was recorded|no space left|disk failed or is full"


def filled(path: Path) -> Registry:
    registry = Registry(path, create=True)
    registry.write(add_model, model_manifest())
    registry.write(add_spec, "first", SPEC)
    registry.write(add_copies, (make_row(f"b{i}") for i in range(500)))
    return registry


def test_issuing_on_a_full_disk(small_disk):
    with filled(small_disk / "registry.db") as registry:
        with pytest.raises(VariegateError, match=FULL):
            registry.write(add_copies, (make_row(f"more{i}") for i in range(30_000)))
        assert registry.read(count_copies) == 500
        assert registry.read(verify_log).ok
    with Registry(small_disk / "registry.db") as registry:
        assert registry.write(add_copies, [make_row("later")]) == 1
        assert registry.read(verify_log).ok


def test_every_step_on_a_disk_without_any_room(small_disk):
    with filled(small_disk / "registry.db") as registry:
        with registry._engine.connect() as connection:  # or the space of the write-ahead log is used again
            connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        fill_up(small_disk, leave=0)
        failed = 0
        for step in (
            lambda: registry.write(add_copies, (make_row(f"more{i}") for i in range(3000))),
            lambda: registry.write(change_status, [make_row(f"b{i}").copy_id for i in range(500)], CopyStatus.REVOKED),
            lambda: write_backup(registry, small_disk / "backup.gz"),
        ):
            with pytest.raises(VariegateError, match=FULL):
                step()
            failed += 1
        assert failed == 3
        (small_disk / "ballast").unlink()
        assert not list(small_disk.glob(".vg-*"))
        assert not (small_disk / "backup.gz").exists()
        assert registry.read(count_copies) == registry.read(count_copies, status=CopyStatus.ACTIVE) == 500
        assert registry.read(verify_log).ok
        write_backup(registry, small_disk / "backup.gz")


def test_a_backup_onto_a_full_disk_names_the_backup(small_disk, tmp_path):
    with filled(tmp_path / "registry.db") as registry:
        for leave in (0, 8192):
            fill_up(small_disk, leave=leave)
            with raises(VariegateError, "backup.gz") as caught:
                write_backup(registry, small_disk / "backup.gz")
            assert "registry" not in str(caught.value)
            assert [path.name for path in small_disk.iterdir()] == ["ballast"]


def test_creating_and_restoring_on_a_full_disk(small_disk, tmp_path):
    fill_up(small_disk, leave=30_000)
    with pytest.raises(VariegateError, match=FULL):
        Registry(small_disk / "registry.db", create=True)
    with filled(tmp_path / "other.db") as registry:
        registry.write(add_copies, (make_row(f"more{i}") for i in range(5000)))
        write_backup(registry, tmp_path / "backup.gz")
    with pytest.raises(VariegateError, match=FULL):
        restore_backup(tmp_path / "backup.gz", small_disk / "restored.db")
    assert not (small_disk / "restored.db").exists()
    (small_disk / "ballast").unlink()
    with Registry(small_disk / "registry.db", create=True) as registry:
        assert registry.read(verify_log).ok


def test_a_limit_on_the_size_of_files(tmp_path):
    """Without root: the limit on a process's files stands for the full disk."""
    filled(tmp_path / "registry.db").close()
    program = (
        "import resource, signal, sys; from pathlib import Path; from tests.registry.conftest import make_row; "
        "from variegate.registry.bulk import add_copies; from variegate.registry.registry import Registry; "
        "from variegate.errors import VariegateError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "registry = Registry(Path(sys.argv[1])); resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))\n"
        "try: registry.write(add_copies, (make_row(f'more{i}') for i in range(20_000)))\n"
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
    with Registry(tmp_path / "registry.db") as registry:
        assert registry.read(count_copies) == 500
        assert registry.read(verify_log).ok


def test_a_file_that_may_not_be_written(tmp_path):
    """Root may write everywhere, so a read-only file is made by the open mode and, where it can be, by its mode."""
    path = tmp_path / "home" / "registry.db"
    path.parent.mkdir()
    filled(path).close()
    path.chmod(0o400)
    path.parent.chmod(0o500)
    try:
        with (
            Registry(path, read_only=True) as registry,
            raises(InputError, "read-only"),
        ):
            registry.write(add_copies, [make_row("later")])
        if os.geteuid() != 0:
            with Registry(path) as registry, pytest.raises(InputError, match="is read-only|cannot open"):
                registry.write(add_copies, [make_row("later")])
    finally:
        path.parent.chmod(0o700)


def test_a_read_only_file_system(small_disk):
    filled(small_disk / "registry.db").close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for step in (
        lambda: Registry(small_disk / "registry.db").write(add_copies, [make_row("later")]),
        lambda: upgrade(small_disk / "registry.db"),
        lambda: Registry(small_disk / "new.db", create=True),
        lambda: restore_backup(small_disk / "registry.db", small_disk / "new.db"),
    ):
        with pytest.raises(InputError, match="is read-only|cannot open"):
            step()
    with Registry(small_disk / "registry.db", read_only=True) as registry:
        assert registry.read(count_copies) == 500
        assert registry.read(verify_log).ok
