"""The terminal's tables."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.raising import raises
from variegate.errors import FormatError
from variegate.report.blocks import Table
from variegate.report.render import render_text
from variegate.report.text import render_table

Record = dict[str, Any]


def test_replication_golden(record: Record, golden: Callable[[str, bytes], None]) -> None:
    golden("report/replication.txt", render_text(record).encode())


def test_calibration_golden(calibration: Record, golden: Callable[[str, bytes], None]) -> None:
    golden("report/calibration.txt", render_text(calibration).encode())


def test_lines_fit_the_terminal_and_end_without_spaces(record: Record) -> None:
    lines = render_text(record).splitlines()
    assert max(map(len, lines)) <= 100
    assert not [line for line in lines if line != line.rstrip()]


def test_columns_are_aligned() -> None:
    table = Table(title="T", columns=("group", "n"), rows=(("a", "1"), ("long name", "1,000")))
    assert render_table(table).splitlines()[1:] == [
        "group          n",
        "---------  -----",
        "a              1",
        "long name  1,000",
    ]


def test_repeated_labels_are_left_out_once_per_group() -> None:
    rows = (("a", "1"), ("a", "2"), ("b", "3"), ("a", "4"))
    lines = render_table(Table(title="T", columns=("g", "n"), rows=rows, grouped=True)).splitlines()[3:]
    assert lines == ["a  1", "   2", "b  3", "a  4"]


def test_every_group_and_count_is_there(record: Record) -> None:
    text = render_text(record)
    for words in ("identical copies", "independent training", "random noise", "permutation", "QIM", "36/1,800"):
        assert words in text
    assert "86.5 (1,730/2,000)" in text
    assert "sha256:0123456789abcdef" in text


def test_nothing_is_printed_as_nan_or_none(record: Record) -> None:
    for group in record["groups"]:
        for name in group["rates"]:
            group["rates"][name] = {"rate": float("nan"), "k": 0, "n": 0, "low": None, "high": None, "interval": "x"}
        for point in group["replication_at"]:
            point["rate"] = None
        for attacker in group["attack"]["attackers"]:
            attacker["distance"] = dict.fromkeys(attacker["distance"], float("nan"))
            attacker["distances"] = []
    text = render_text(record).lower()
    assert "nan" not in text.replace("dominance", "")
    assert "none" not in text


def test_a_group_without_anything_is_a_row_of_dashes(make: Callable[..., Record]) -> None:
    record = make(groups=("noise",), copies=1)
    record["groups"][0].update(accuracy=None, attack=None, matrix=None, replication_at=[], replication_within=[])
    row = next(line for line in render_text(record).splitlines() if line.startswith("random noise  "))
    assert row.split()[2:] == ["-"] * 5


def test_many_attackers_are_one_row(make: Callable[..., Record]) -> None:
    text = render_text(make(groups=("qim",), copies=30, images=4))
    assert "all 30  120/120" in text


def test_names_that_are_no_unicode_are_refused(make: Callable[..., Record]) -> None:
    record = make(groups=("qim",), copies=2, images=4)
    record["command"] = "\ud800"
    with raises(FormatError):
        render_text(record)


@pytest.mark.parametrize("hostile", ["\x1b[31mred", "a\u202eb", "two\nlines", "tab\tstop", "x" * 500])
def test_names_cannot_steer_the_terminal(make: Callable[..., Record], hostile: str) -> None:
    record = make(groups=("qim",), copies=2, images=4)
    record["groups"][0]["name"] = record["model"]["name"] = hostile
    text = render_text(record)
    assert not set("\x1b\u202e\t") & set(text)
    assert "two\nlines" not in text
    assert all(len(line) <= 120 for line in text.splitlines() if line.startswith("xxx"))
