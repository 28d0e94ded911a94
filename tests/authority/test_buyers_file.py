"""Lists of buyers: CSV and text, read in pieces, and every way to get them wrong."""

import os
import tracemalloc

import pytest

from tests.raising import raises
from variegate.authority.buyers_file import BuyersFile
from variegate.errors import ConfigurationError, FormatError, InputError, NotFoundError


def write(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("b.txt", "\ufeffacme\n\n# a comment\n  bolt  \r\n"),
        ("b.csv", "buyer\nacme\nbolt\n"),
        ("b.CSV", '\ufeffcity,buyer\r\n"New\nYork", acme \r\n\r\nRome,"bolt"'),
    ],
)
def test_names_come_in_order(tmp_path, name, content):
    listed = BuyersFile(write(tmp_path, name, content))
    assert (list(listed), len(listed)) == (["acme", "bolt"], 2)
    assert list(listed) == ["acme", "bolt"]


def test_other_columns_are_known(tmp_path):
    assert BuyersFile(write(tmp_path, "b.csv", "city,buyer,note\nRome,acme,\n")).other_columns == ("city", "note")


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("b.txt", "", InputError, "names no buyer"),
        ("b.csv", "buyer\n", InputError, "names no buyer"),
        ("b.csv", "", FormatError, 'one of them "buyer"; got an empty file'),
        ("b.csv", "name\nacme\n", FormatError, "got name"),
        ("b.csv", "buyer,buyer\na,b\n", FormatError, "got buyer, buyer"),
        ("b.csv", "buyer,city\nacme\n", FormatError, "line 2: expected 2 values"),
        ("b.csv", 'buyer\n"acme\n', FormatError, "is not CSV"),
        ("b.csv", "buyer\nacme\n\ntwo words\n", ConfigurationError, "line 4: a buyer's name must be"),
        ("b.txt", "acme\n../x\n", ConfigurationError, "line 2: a buyer's name must be"),
        ("b.txt", b"\xff", FormatError, "UTF-8"),
        ("b.txt", b"a\0b", FormatError, "line 1 holds a zero byte"),
        ("b.txt", "a" * 70_000, FormatError, "line 1 is longer than 65,536 characters"),
    ],
)
def test_bad_files(tmp_path, name, content, error, message):
    with pytest.raises(error, match=message):
        BuyersFile(write(tmp_path, name, content))


def test_no_file(tmp_path):
    with raises(NotFoundError, "file"):
        BuyersFile(tmp_path / "none.csv")
    with raises(InputError, "folder"):
        BuyersFile(tmp_path)


def test_a_pipe_is_refused_at_once(tmp_path):
    """It cannot be read twice; before, the second reading found nothing, and the message blamed a change."""
    os.mkfifo(tmp_path / "pipe")
    with raises(InputError, "regular", "twice"):
        BuyersFile(tmp_path / "pipe")


def test_a_file_that_changes_is_noticed(tmp_path):
    path = write(tmp_path, "b.txt", "acme\n")
    listed = BuyersFile(path)
    path.write_text("acme\nbolt\n")
    with raises(InputError, "changed", "copies"):
        list(listed)


def test_memory_does_not_grow_with_the_file(tmp_path):
    path = write(tmp_path, "b.csv", "buyer\n" + "".join(f"buyer-{i:07d}\n" for i in range(100_000)))
    tracemalloc.start()
    assert sum(1 for _ in BuyersFile(path)) == 100_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 500_000
