"""Records are read by one schema a kind: all that are published load, and what is wrong is named by file and path."""

import copy
import json
from pathlib import Path

import pytest

from tests.raising import raises
from variegate.errors import FormatError, NotFoundError
from variegate.records.load import EXPERIMENTS, KINDS, load_record, parse_record, write_record

RESULTS = Path(__file__).parents[2] / "docs" / "results"
KNOWN = {*KINDS, "reproduction"}


def published():
    for path in sorted(RESULTS.rglob("*.json")):
        value = json.loads(path.read_text(encoding="utf-8"))
        value = value["record"] if value.get("kind") == "spec" else value
        if value.get("kind") in KNOWN:
            yield pytest.param(value, id=path.relative_to(RESULTS).as_posix())


PUBLISHED = list(published())


@pytest.fixture(scope="module")
def replication():
    return json.loads((RESULTS / "cifar10-s0" / "record.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("value", PUBLISHED)
def test_every_published_record_is_read_and_written_back_as_it_was(value, tmp_path):
    record = parse_record(value)
    write_record(tmp_path / "record.json", record)
    assert json.loads((tmp_path / "record.json").read_text(encoding="utf-8")) == value
    assert load_record(tmp_path / "record.json") == record


def test_published_records_are_of_all_kinds_but_collusion():
    kinds = {each.values[0]["kind"] for each in PUBLISHED}
    experiments = {each.values[0].get("experiment") for each in PUBLISHED}
    assert kinds == KNOWN - {"collusion"}
    assert set(EXPERIMENTS) <= experiments


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("groups", 2, "rates", "replication_rate", "k"), -1, "groups[2].rates.replication_rate.k"),
        (("groups", 2, "rates", "replication_rate", "k"), 1.5, "groups[2].rates.replication_rate.k"),
        (("groups", 0, "replication_at", 1, "rate", "low"), 1.01, "groups[0].replication_at[1].rate.low"),
        (("groups", 0, "copies", 0), 7, "groups[0].copies[0]"),
        (("seconds",), float("nan"), "seconds"),
        (("seconds",), float("inf"), "seconds"),
        (("seconds",), "12", "seconds"),
        (("seconds",), True, "seconds"),
        (("attack", "norm"), "l7", "attack.norm"),
        (("model", "bounds"), [1, 0], "model"),
        (("surplus",), 1, "surplus"),
    ],
)
def test_an_error_names_the_file_and_the_path(replication, tmp_path, path, value, named):
    broken = copy.deepcopy(replication)
    place = broken
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    file = tmp_path / "audit-7.json"
    file.write_text(json.dumps(broken), encoding="utf-8")
    with raises(FormatError, "audit-7.json", named):
        load_record(file)


def test_a_missing_field_is_named(replication):
    broken = copy.deepcopy(replication)
    del broken["groups"][1]["rates"]["end_to_end_rate"]
    with raises(FormatError, "groups[1].rates.end_to_end_rate"):
        parse_record(broken)


@pytest.mark.parametrize("value", [None, [], "text", 3, {"kind": "poem"}, {"kind": "reproduction", "experiment": "a"}])
def test_what_is_no_record_is_refused(value):
    with raises(FormatError):
        parse_record(value)


def test_another_format_is_refused(replication):
    with raises(FormatError, "format", "2"):
        parse_record({**replication, "format": 2})


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_files_that_are_no_json(tmp_path, content):
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with raises(FormatError, "record.json"):
        load_record(path)


def test_no_file(tmp_path):
    with raises(NotFoundError, "record.json"):
        load_record(tmp_path / "record.json")


def test_a_record_is_frozen(replication):
    record = parse_record(replication)
    with pytest.raises(ValueError, match="frozen"):
        record.seconds = 1.0
