"""Records of cross-checks: read strictly, as tables, as a page."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.raising import raises
from tests.report.attack_samples import make_attack
from tests.report.check_samples import make_check
from tests.report.test_html import HOSTILE, Page, check_self_contained
from variegate.errors import ConfigurationError, FormatError
from variegate.records.cross_check import CrossCheckRecord
from variegate.records.load import parse_record
from variegate.report.render import draw_all, render_attacks, render_html, render_index, render_text
from variegate.report.views.cross_check import engines_table, verdicts_table

Record = dict[str, Any]


@pytest.fixture
def check() -> Record:
    return make_check()


def parse(record: Record) -> CrossCheckRecord:
    parsed = parse_record(record)
    assert isinstance(parsed, CrossCheckRecord)
    assert parse_record(parsed) is parsed
    return parsed


def test_every_number_of_the_tables(check: Record) -> None:
    table = engines_table(parse(check))
    assert table.columns == (
        "attack",
        "engine",
        "success",
        "median norm",
        "queries",
        "overshoot (%)",
        "replication",
    )
    assert table.rows[2] == ("hopskipjump", "art", "90.0", "0.350", "5,000", "0.200", "10.0")
    assert table.rows[3] == ("", "", "45/50; 85-95", "0.315 to 0.385", "", "0.180 to 0.220", "9/90; 5-15")
    assert table.rows[-2:] == (
        ("geoda", "art", "0.0", "-", "5,000", "-", "-"),
        ("", "", "0/50; 0.0-5.0", "", "", "", ""),
    )
    verdicts = verdicts_table(parse(check))
    assert verdicts.columns[3:] == ("success", "norms", "replication", "overshoot", "ratio")
    assert verdicts.rows == (
        ("hopskipjump", "variegate, art", "art 1.20.1", "agrees", "differs", "agrees", "agrees", "0.890"),
        ("", "", "", "", "", "", "", "45; 0.801 to 0.979"),
        ("hopskipjump", "variegate, paper", "foolbox", *["agrees"] * 4, "1.00"),
        ("", "", "", "", "", "", "", "50; 0.900 to 1.10"),
        ("geoda", "variegate, art", "art 1.20.1", "differs", "open", "open", "open", "-"),
        ("", "", "", "", "", "", "", ""),
    )


def test_golden(check: Record, golden: Callable[[str, bytes], None]) -> None:
    golden("report/cross-check.txt", render_text(check).encode())


def test_the_page(check: Record) -> None:
    text = render_html(check)
    check_self_contained(text)
    page = Page(text)
    for expected in (
        "Cross-check on copy 0",
        "45/50; 85-95",
        "variegate, paper",
        "art 1.20.1",
        "differs",
        "agrees: no difference was shown",
        "variegate audit cross-check --model net",
        "sha256:0123456789abcdef",
    ):
        assert expected in page.text, expected
    assert {str(a["href"])[1:] for a in page.all("a")} <= set(page.ids)
    assert "None" not in page.text


def test_it_may_follow_an_audit_but_not_attacks(check: Record, record: Record) -> None:
    page = Page(render_html(record, None, [check]))
    assert "Cross-check on copy 0" in page.text
    with pytest.raises(ConfigurationError, match="a page of attacks takes attack records alone"):
        render_attacks([make_attack(), check])
    with pytest.raises(ConfigurationError, match="an index holds audits and calibrations"):
        render_index([check])
    assert draw_all(parse(check)) == ()


def test_hostile_names_are_escaped(check: Record) -> None:
    check["target"]["name"] = check["command"] = check["data"]["name"] = HOSTILE
    check["victims"] = [HOSTILE]
    check["attacks"][0]["name"] = check["attacks"][0]["engines"][0]["name"] = HOSTILE
    text = render_html(check)
    assert "<script" not in text.lower()
    check_self_contained(text)


@pytest.mark.parametrize(
    ("path", "value", "names"),
    [
        ("format", 2, ("format", "2")),
        ("norm", "l1", ("norm", "'l1'")),
        ("victims", None, ("victims",)),
        ("libraries.art", 3, ("libraries.art", "3")),
        ("attacks.0.engines.1.rates.attack_success_rate.k", 51, ("attack_success_rate", "k = 51", "n = 50")),
        ("attacks.0.engines.1.median_distance", {"value": 1.0}, ("attacks[0].engines[1].median_distance",)),
        ("attacks.1.comparisons.0.verdicts.success", "maybe", ("verdicts.success", "'maybe'")),
    ],
)
def test_a_wrong_field_is_named(check: Record, path: str, value: object, names: tuple[str, ...]) -> None:
    *parents, name = path.split(".")
    part: Any = check
    for parent in parents:
        part = part[int(parent) if parent.isdecimal() else parent]
    part[name] = value
    with raises(FormatError, *names):
        parse_record(check)
