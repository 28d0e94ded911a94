"""Records of a reproduction: read strictly, and as text."""

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.raising import raises
from tests.report.reproduction.samples import make_record
from variegate.errors import FormatError
from variegate.records.load import parse_record
from variegate.records.reproduction import EXPERIMENTS, ReproductionRecord
from variegate.report.render import render_text
from variegate.report.views.paper.tables import accuracy_table, cost_table, replication_table

Record = dict[str, Any]


def parse(record: Record) -> ReproductionRecord:
    parsed = parse_record(record)
    assert isinstance(parsed, ReproductionRecord)
    assert parse_record(parsed) is parsed
    return parsed


def results(name: str, **options: Any) -> Any:
    return parse(make_record(name, **options)).studies[0].results


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_golden(name: str, golden: Callable[[str, bytes], None]) -> None:
    record = make_record(name)
    text = render_text(record)
    assert text == render_text(record) == render_text(parse(record))
    golden(f"report/reproduction-{name}.txt", text.encode())


def test_the_paper_stands_beside_ours() -> None:
    table = accuracy_table("cifar10", results("table1"))
    assert [row[0] for row in table.rows[::2]] == ["original", "spread spectrum", "QIM", "permutation"]
    assert table.rows[4] == ("QIM", "94.5 (0.2)", "90.4 (0.1)", "-4.1", "90.3 (0.2)", "1.8", "3.1", "3.4", "3.6")
    assert table.rows[5][6] == "2.9 to 3.3"

    attack = results("table2").attacks.hopskipjump
    rows = replication_table("cifar10", attack).rows
    assert [row[0] for row in rows[::2]] == [f"({letter})" for letter in "abcdefghijk"]
    assert rows[6] == ("(d)", "Permutation: replication", "34.0 (1.2)", "35.0", "35.0 (3.1)", "+1.0")
    assert rows[7] == ("", "", "", "140/400; 30-40", "12", "")
    assert rows[18][3] == "2.0"

    costs = cost_table("cifar10", results("table3")).rows
    assert ("independent training", "training (s)", "3800", "9500", "2.50") in costs
    assert ("QIM", "storage (KB)", "2.00", "0.155", "0.0776") in costs
    assert ("QIM", "inference, batch 1 (ms)", "0.400", "0.300", "0.750") in costs
    assert ("permutation", "training (s)", "not required", "0", "-") in costs


def test_a_study_that_the_paper_has_not() -> None:
    text = render_text(make_record("table2", studies=("own",)))
    assert "The paper has no own" in text
    assert replication_table("own", results("table2").attacks.boundary).rows[0][2] == "-"


def test_what_differs_comes_from_the_record() -> None:
    text = " ".join(render_text(make_record("table2")).split())
    for words in (
        "Data: recompressed as JPEG.",
        "3 trainings of resnet11 (the paper: 10 of VGG-19)",
        "each image is attacked from one attacker, in turn",
        "geoda: at most 2,500 queries an image (the paper's settings come to 4,000)",
    ):
        assert words in text, words
    assert "Nothing follows from the rates" in render_text(make_record("table1", preset="smoke"))
    assert "Settings 1 and 2 end at r = 2" in render_text(make_record("fig5"))


def test_claims_are_judged_in_the_text() -> None:
    text = " ".join(render_text(make_record("table1")).split())
    assert "Claims of the paper (holds 1, does not hold 1, undecided 1)" in text
    assert "does not hold: accuracy falls by less than two points (cifar10; 1: qim)" in text


def test_lines_are_not_too_long_and_end_without_spaces() -> None:
    for name in EXPERIMENTS:
        lines = render_text(make_record(name)).splitlines()
        assert max(map(len, lines)) <= 120, name
        assert not [line for line in lines if line != line.rstrip()]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_nothing_is_printed_as_nan_or_none(name: str) -> None:
    """Rates, medians, curves without a value: as an experiment leaves them that found nothing to count."""
    record = make_record(name)
    _empty(record["studies"][0]["results"])
    text = render_text(record).lower()
    assert "nan" not in text
    assert "none" not in text
    if name != "table3":
        assert " - " in text or "  -" in text


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_missing_field_is_named(name: str) -> None:
    """Whatever is left out of a record, the error is a sentence, never a crash."""
    record = make_record(name)
    assert render_text(record)
    for path in {path[-1]: path for path in _paths(record)}.values():
        holder: Any = record
        for step in path[:-1]:
            holder = holder[step]
        kept = holder.pop(path[-1])
        with contextlib.suppress(FormatError):  # or, of a field that is for machines alone, nothing
            render_text(record)
        holder[path[-1]] = kept


@pytest.mark.parametrize(
    ("name", "path", "value", "named"),
    [
        ("table1", ("results", "rows", "qim", "drop"), None, "rows.qim must have drop"),
        ("table2", ("results", "attacks", "geoda"), ..., "studies[0].results.attacks.geoda"),
        ("table2", ("results", "deal"), 1, "studies[0].results.deal"),
        ("table3", ("results", "threads"), -1, "studies[0].results.threads"),
        ("fig3", ("results", "places"), {}, "studies[0].results.places"),
        ("fig3", ("results", "places", 0, "H1", "density"), [1.0], "studies[0].results.places[0].H1"),
        (
            "fig4",
            ("results", "nearest_to_the_paper", "reading"),
            "odd",
            "studies[0].results.nearest_to_the_paper.reading",
        ),
        ("fig5", ("results", "curves"), {"B1": {"r": [1, 2]}}, "studies[0].results.curves.B1"),
        ("fig5", ("names",), ["net"], "originals, names and architectures"),
    ],
)
def test_wrong_fields(name: str, path: tuple[str | int, ...], value: Any, named: str) -> None:
    record = make_record(name)
    holder: Any = record["studies"][0]
    for step in path[:-1]:
        holder = holder[step]
    if value is ...:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    with raises(FormatError, named):
        render_text(record)


def test_wrong_records(reproduced: dict[str, Record]) -> None:
    with raises(FormatError, "experiment", "table1"):
        parse_record(reproduced["table1"] | {"experiment": "table9"})
    with raises(FormatError, "studies", "cifar10, cifar10"):
        parse_record(make_record("table1", studies=("cifar10", "cifar10")))
    with raises(FormatError, "studies"):
        parse_record(make_record("table1", studies=()))
    with raises(FormatError, "format", "2"):
        parse_record(reproduced["fig3"] | {"format": 2})


def test_names_cannot_steer_the_terminal() -> None:
    text = render_text(make_record("table1", studies=("\x1b[31mred\u202e",)))
    assert not set("\x1b\u202e") & set(text)


def _empty(value: Any) -> None:
    """Make every rate and number that may be missing None, in place."""
    if isinstance(value, list):
        for one in value:
            _empty(one)
    elif isinstance(value, dict):
        if "k" in value and "n" in value:
            value.update(rate=math.nan, k=0, n=0, low=None, high=None)
        for key in ("sd", "mean", "mean_low", "mean_high", "peak", "median", "p25", "p75", "density"):
            if key in value and ("grid" in value or "k" in value or "p25" in value):
                value[key] = None
        for key in ("median_norm", "distance_median"):
            if key in value:
                value[key] = None
        for one in value.values():
            _empty(one)


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The members of all objects, of an array's objects only those of the first."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield (*path, key)
            yield from _paths(member, (*path, key))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield from _paths(value[0], (*path, 0))
