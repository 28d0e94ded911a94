import errno
import hashlib
import os
import stat
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.raising import raises
from variegate.errors import ConflictError, InputError, NotFoundError, VariegateError
from variegate.files import (
    file_error,
    file_that_appears_whole,
    folder_that_appears_whole,
    read_bounded,
    sha256_file,
    write_atomic,
)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


@given(data=st.binary(max_size=300))
def test_what_is_written_is_read(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("files") / "f"
    write_atomic(path, data)
    assert read_bounded(path, len(data)) == data
    assert sha256_file(path) == hashlib.sha256(data).hexdigest()


def test_takes_paths_as_text_and_replaces(tmp_path):
    path = tmp_path / "f"
    write_atomic(str(path), b"old and longer")
    write_atomic(str(path), b"new")
    assert read_bounded(str(path), 10) == b"new"
    assert names(tmp_path) == ["f"]


def test_private_files_are_private_from_the_start(tmp_path, umask, monkeypatch):
    path = tmp_path / "f"
    write_atomic(path, b"open")
    assert mode(path) == 0o644
    seen = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: seen.append(os.fstat(fd).st_mode & 0o777) or real(fd, data))
    write_atomic(path, b"private", private=True)
    assert mode(path) == 0o600
    assert seen == [0o600]


def test_a_link_is_replaced_and_its_target_left(tmp_path):
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"target")
    link.symlink_to(target)
    write_atomic(link, b"new")
    assert not link.is_symlink()
    assert (link.read_bytes(), target.read_bytes()) == (b"new", b"target")


def test_short_writes_are_continued(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:3]))
    write_atomic(tmp_path / "f", b"0123456789")
    assert (tmp_path / "f").read_bytes() == b"0123456789"


def test_the_data_is_on_the_disk_before_the_rename(tmp_path, monkeypatch):
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: order.append("fsync") or fsync(fd))
    monkeypatch.setattr(os, "replace", lambda a, b: order.append("replace") or replace(a, b))
    write_atomic(tmp_path / "f", b"x")
    assert order == ["fsync", "replace", "fsync"]


@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
@pytest.mark.parametrize(
    ("number", "error", "said"),
    [
        (errno.ENOSPC, VariegateError, "space"),
        (errno.EDQUOT, VariegateError, "space"),
        (errno.EACCES, InputError, "permission"),
        (errno.EROFS, VariegateError, "Read-only file system"),
        (errno.EIO, VariegateError, "Input/output error"),
    ],
)
@pytest.mark.parametrize("exists", [True, False])
def test_a_failure_leaves_the_target_and_no_other_file(tmp_path, monkeypatch, call, number, error, said, exists):
    path = tmp_path / "f"
    if exists:
        path.write_bytes(b"before")

    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with raises(error, str(path), said):
            write_atomic(path, b"after")
    assert names(tmp_path) == (["f"] if exists else [])
    assert not exists or path.read_bytes() == b"before"


def test_a_disk_that_fills_in_the_middle(tmp_path, monkeypatch):
    path = tmp_path / "f"
    path.write_bytes(b"before")
    real, calls = os.write, []

    def write(fd, data):
        if calls:
            raise OSError(errno.ENOSPC, "full")
        calls.append(fd)
        return real(fd, data[:2])

    monkeypatch.setattr(os, "write", write)
    with raises(VariegateError, "space"):
        write_atomic(path, b"after")
    assert names(tmp_path) == ["f"]
    assert path.read_bytes() == b"before"


def test_an_interrupt_leaves_no_file(tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "f", b"x")
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_flushed_is_no_failure(tmp_path, monkeypatch):
    real = os.fsync

    def fsync(fd):
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not on this file system")
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomic(tmp_path / "f", b"x")
    assert (tmp_path / "f").read_bytes() == b"x"


def test_readers_never_see_a_mixture(tmp_path):
    path = tmp_path / "f"
    contents = [bytes([i]) * 20_000 for i in range(2)]
    write_atomic(path, contents[0])
    stop = threading.Event()
    seen = set()

    def read():
        while not stop.is_set():
            seen.add(read_bounded(path, 30_000))

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(60):
        write_atomic(path, contents[i % 2])
    stop.set()
    reader.join()
    assert seen <= set(contents)


# Names that last and are not taken


def flushed(monkeypatch):
    """The folders that were flushed since."""
    real, found = os.fsync, []

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            found.append(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return found


def test_the_folder_of_a_new_name_is_flushed(tmp_path, monkeypatch):
    found = flushed(monkeypatch)
    with folder_that_appears_whole(tmp_path / "folder") as folder:
        (folder / "f").write_bytes(b"x")
        assert found == []
    assert found == [(tmp_path / "folder").stat().st_ino, tmp_path.stat().st_ino]
    found.clear()
    with file_that_appears_whole(tmp_path / "file") as file:
        file.write(b"x")
    assert found == [tmp_path.stat().st_ino]


@pytest.mark.parametrize("links", [True, False])
def test_a_new_file_appears_whole_and_private(tmp_path, monkeypatch, links):
    def link(*args, **kwargs):
        raise PermissionError(errno.EPERM, "a file system without links")

    if not links:
        monkeypatch.setattr(os, "link", link)
    path = tmp_path / "f"
    with file_that_appears_whole(path) as file:
        file.write(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for name in ("f", "late", "dangling"):
        if name == "dangling":
            (tmp_path / name).symlink_to("nowhere")
        with (
            raises(ConflictError, name, "exists"),
            file_that_appears_whole(tmp_path / name) as file,
        ):
            file.write(b"other")
            (tmp_path / name).write_bytes(b"first")
    assert [path.read_bytes(), (tmp_path / "late").read_bytes()] == [b"whole", b"first"]
    with pytest.raises(RuntimeError), file_that_appears_whole(tmp_path / "broken") as file:
        raise RuntimeError
    assert names(tmp_path) == ["dangling", "f", "late"]


def test_places_for_a_new_file_that_cannot_be(tmp_path):
    for path, error, said in [
        (tmp_path, InputError, "folder"),
        (tmp_path / "none" / "f", NotFoundError, "no folder"),
    ]:
        with raises(error, said), file_that_appears_whole(path):
            pass


# A user's mistakes


def test_writing_to_bad_places(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    for path, error, said in [
        (tmp_path / "folder", InputError, "folder"),
        (tmp_path / "none" / "f", NotFoundError, str(tmp_path / "none")),
        (tmp_path / "file" / "f", InputError, "a file"),
        (tmp_path / ("x" * 300), InputError, "too long"),
        (tmp_path / "a\0b", InputError, "name"),
    ]:
        with raises(error, "write", said):
            write_atomic(path, b"x")
    assert names(tmp_path) == ["file", "folder"]
    assert names(tmp_path / "folder") == []


@pytest.mark.parametrize("read", [lambda path: read_bounded(path, 10), sha256_file])
def test_reading_from_bad_places(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"")
    for path, error, said in [
        (tmp_path, InputError, "folder"),
        (tmp_path / "none", NotFoundError, str(tmp_path / "none")),
        (tmp_path / "pipe", InputError, "pipe"),
        (tmp_path / "file" / "f", InputError, "a file"),
        (tmp_path / "a\0b", InputError, "name"),
    ]:
        with raises(error, "read", said):
            read(path)


@pytest.mark.parametrize("read", [lambda path: read_bounded(path, 10), sha256_file])
def test_a_file_that_may_not_be_read(tmp_path, monkeypatch, read):
    def refuse(*args):
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(os, "open", refuse)
    with raises(InputError, "permission"):
        read(tmp_path / "f")


def test_the_limit_is_exact_and_said(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"12345")
    assert read_bounded(path, 5) == b"12345"
    with raises(InputError, "4"):
        read_bounded(path, 4)


def test_an_endless_file_is_not_read_to_its_end():
    with raises(InputError, "100"):
        read_bounded("/dev/zero", 100, allow_pipe=True)


def test_a_pipe_is_read_if_allowed():
    reading, writing = os.pipe()
    os.write(writing, b"hello")
    os.close(writing)
    try:
        assert read_bounded(f"/dev/fd/{reading}", 10, allow_pipe=True) == b"hello"
    finally:
        os.close(reading)


def test_other_errors_keep_the_system_s_words():
    assert str(file_error(OSError(errno.EIO, "Input/output error"), "f", "read")) == "cannot read f: Input/output error"
