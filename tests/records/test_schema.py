"""Records are checked once, and every mistake names its field."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.raising import raises
from variegate.errors import FormatError, InputError, NotFoundError
from variegate.records.calibration import CalibrationRecord
from variegate.records.load import load_record, parse_record
from variegate.records.replication import ReplicationRecord

Record = dict[str, Any]

REQUIRED = [
    "format",
    "kind",
    "created",
    "variegate",
    "torch",
    "command",
    "seconds",
    "efficiency",
    "model.name",
    "model.digest",
    "model.num_classes",
    "model.input_shape",
    "model.bounds",
    "data.name",
    "data.split",
    "data.images",
    "data.indices",
    "attack.name",
    "attack.parameters",
    "attack.budget",
    "attack.norm",
    "attack.seed",
    "groups",
    "groups[0].name",
    "groups[0].rewriter",
    "groups[0].copies",
    "groups[1].accuracy",
    "groups[1].accuracy.original.n",
    "groups[1].accuracy.original.correct",
    "groups[1].accuracy.copies[2].correct",
    "groups[2].attack",
    "groups[2].attack.attackers[1].attempted",
    "groups[2].attack.attackers[1].status",
    "groups[2].attack.attackers[1].queries.median",
    "groups[2].attack.attackers[1].queries.total",
    "groups[2].attack.attackers[1].distance.median",
    "groups[2].attack.attackers[1].distances",
    "groups[2].attack.attackers[1].trajectory",
    "groups[2].attack.attackers[1].trajectory.queries",
    "groups[3].rates.attack_success_rate",
    "groups[3].rates.replication_rate",
    "groups[3].rates.replication_rate.k",
    "groups[3].rates.replication_rate.rate",
    "groups[3].rates.replication_rate_conditioned.low",
    "groups[3].rates.replicated_same_rate.interval",
    "groups[3].rates.end_to_end_rate",
    "groups[4].replication_at",
    "groups[4].replication_at[3].s",
    "groups[4].replication_at[3].rate.n",
    "groups[4].replication_within[0].epsilon",
    "groups[5].matrix",
    "groups[5].matrix.attackers",
    "groups[5].matrix.replicated",
    "groups[5].matrix.n",
]


def holder(record: Any, path: str) -> tuple[Any, str]:
    """The object that holds the last name of a path, and that name."""
    *parents, name = path.replace("]", "").replace("[", ".").split(".")
    for part in parents:
        record = record[int(part)] if part.isdecimal() else record[part]
    return record, name


def put(record: Any, path: str, value: object) -> None:
    parent, name = holder(record, path)
    if name.isdecimal():
        parent[int(name)] = value
    else:
        parent[name] = value


@pytest.mark.parametrize("path", REQUIRED)
def test_a_missing_field_is_named(record: Record, path: str) -> None:
    parent, name = holder(record, path)
    del parent[name]
    with raises(FormatError, path):
        parse_record(record)


@pytest.mark.parametrize(
    ("path", "value", "names"),
    [
        ("kind", "audit", ("kind", "'audit'")),
        ("format", 2, ("format", "2")),
        ("seconds", "long", ("seconds", "'long'")),
        ("seconds", float("inf"), ("seconds", "inf")),
        ("model.bounds", [1.0, 0.0], ("model", "bounds")),
        ("model.num_classes", True, ("model.num_classes", "True")),
        ("groups", {}, ("groups", "an object")),
        ("groups[0]", [], ("groups[0]", "an array")),
        ("groups[1].name", "identical", ("groups", "different names")),
        ("groups[0].copies[1]", 7, ("groups[0].copies[1]", "7")),
        ("groups[0].rates.replication_rate.rate", 1.2, ("groups[0].rates.replication_rate.rate", "1.2")),
        ("groups[0].rates.replication_rate.k", -1, ("groups[0].rates.replication_rate.k", "-1")),
        ("groups[0].rates.replication_rate.n", 3, ("groups[0].rates.replication_rate", "k = 1800", "n = 3")),
        ("groups[1].rates.replication_rate.low", 0.9, ("groups[1].rates.replication_rate", "low = 0.9", "high")),
        ("groups[0].accuracy.original.n", 3, ("groups[0].accuracy.original", "correct", "n = 3")),
        ("groups[0].matrix.replicated", [[1]], ("groups[0].matrix", "replicated", "attackers")),
        ("groups[0].matrix.n[0]", [1, 2], ("groups[0].matrix", "n must", "victims")),
        ("groups[0].matrix.victims[0]", 77, ("groups[0]", "matrix", "6")),
        ("groups[0].matrix.replicated[0][1]", 10**6, ("groups[0].matrix", "replicated[0][1]", "1000000", "n = 120")),
        ("groups[0].attack.attackers[0].trajectory.queries", [1], ("attackers[0].trajectory", "queries", "7")),
    ],
)
def test_a_wrong_field_is_named_with_expected_and_got(
    record: Record, path: str, value: object, names: tuple[str, ...]
) -> None:
    put(record, path, value)
    with raises(FormatError, *names):
        parse_record(record)


def test_text_may_hold_anything(record: Record) -> None:
    record["command"] = "x" * 10 + "\n"
    assert parse_record(record).command == record["command"]


@pytest.mark.parametrize("value", [None, 3, "record", [], {}, [{"kind": "replication"}]])
def test_what_is_no_record_is_refused(value: object) -> None:
    with pytest.raises(InputError):
        parse_record(value)


@pytest.mark.parametrize("missing", ["spec", "strength", "measured_change", "replication", "feasible", "chosen"])
def test_a_calibration_names_its_missing_field(calibration: Record, missing: str) -> None:
    del calibration["candidates"][4][missing]
    with raises(FormatError, f"candidates[4].{missing}"):
        parse_record(calibration)


def test_a_calibration_with_two_choices_or_odd_steps_is_refused(calibration: Record) -> None:
    calibration["candidates"][2]["replication"] = {"one": 0.5}
    with raises(FormatError, "candidates[2].replication", "'one'"):
        parse_record(calibration)
    calibration["candidates"][2]["replication"] = None
    calibration["candidates"][2]["chosen"] = True
    with raises(FormatError, "candidates", "chosen"):
        parse_record(calibration)


def test_nan_and_null_are_both_nothing_to_count(record: Record) -> None:
    record["groups"][0]["rates"]["replication_rate"]["rate"] = float("nan")
    record["groups"][0]["rates"]["end_to_end_rate"] = None
    record["groups"][0]["attack"]["attackers"][0]["distance"]["median"] = float("nan")
    record["groups"][0]["attack"]["attackers"][0]["distances"][0] = None
    group = parse_record(record).groups[0]
    assert group.rates["replication_rate"].rate is None
    assert group.rates["end_to_end_rate"].n == 0
    assert group.attacks[0].distance.median is None
    assert len(group.attacks[0].norms) == 119


def test_parts_that_a_control_has_not_may_be_null(record: Record) -> None:
    for name in ("accuracy", "attack", "matrix", "rewriter"):
        record["groups"][2][name] = None
    record["efficiency"] = record["data"]["indices"] = None
    group = parse_record(record).groups[2]
    assert (group.copy_accuracies, group.attacks, group.matrix, group.median_distance) == ((), (), None, None)


def test_points_are_sorted_and_the_diagonal_is_known(record: Record) -> None:
    record["groups"][0]["replication_at"].reverse()
    group = parse_record(record).groups[0]
    assert [point.at for point in group.replication_at] == [1.0, 1.05, 1.1, 1.25, 1.5, 2.0, 3.0]
    assert tuple(map(group.label, group.matrix.attackers)) == ("identical-000", "identical-001", "identical-002")
    assert [list(row).index(True) for row in group.matrix.own] == [0, 1, 2]
    assert group.matrix.fraction(0, 0) is None
    assert group.matrix.fraction(0, 1) == 1.0


def test_a_matrix_may_name_copies_by_label(record: Record) -> None:
    matrix = record["groups"][5]["matrix"]
    by_position = parse_record(record).groups[5]
    for side in ("attackers", "victims"):
        matrix[side] = [record["groups"][5]["copies"][index] for index in matrix[side]]
    by_label = parse_record(record).groups[5]
    assert by_label.matrix.own == by_position.matrix.own
    assert [*map(by_label.label, by_label.matrix.victims)] == [*map(by_position.label, by_position.matrix.victims)]


def test_parsing_twice_changes_nothing(record: Record, calibration: Record) -> None:
    for raw, kind in ((record, ReplicationRecord), (calibration, CalibrationRecord)):
        parsed = parse_record(raw)
        assert isinstance(parsed, kind)
        assert parse_record(parsed) is parsed


def test_a_record_is_read_from_a_file(record: Record, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(json.dumps(record))
    assert load_record(path) == parse_record(record)


@pytest.mark.parametrize("content", ["", "{", '{"kind": ', "\x00", "[" * 100_000])
def test_a_file_that_is_no_json_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(content)
    with raises(FormatError, "record.json"):
        load_record(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with raises(NotFoundError, "nothing.json"):
        load_record(tmp_path / "nothing.json")


@pytest.mark.parametrize("place", ["future", "groups[0].future", "groups[0].rates.future"])
def test_unknown_fields_are_refused_and_named(record: Record, place: str) -> None:
    put(record, place, {"a": [1]})
    with raises(FormatError, place):
        parse_record(record)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=4), children, max_size=3),
    max_leaves=6,
)


@given(data=st.data())
def test_any_value_anywhere_is_read_or_refused_in_words(data: st.DataObject, make: Callable[..., Record]) -> None:
    record = make(groups=("qim",), copies=2, images=3)
    paths = [path.replace("groups[1]", "groups[0]") for path in REQUIRED if "groups[" not in path or "[1]" in path[:9]]
    path = data.draw(st.sampled_from([path for path in paths if "copies[2]" not in path]))
    put(record, path, data.draw(json_values))
    try:
        parse_record(record)
    except InputError as error:
        length = len(str(error))
        assert length < 400
