"""`variegate audit collude` on a linear classifier of digits."""

import json
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from tests.raising import raises
from variegate.cli.collude import _gated_rates, _parse_colluders
from variegate.cli.main import app
from variegate.cli.running import require_below
from variegate.errors import ConfigurationError, GateError
from variegate.evaluation import shards
from variegate.records.base import Rate
from variegate.records.collusion import Coalition, Outputs, Setting

KINDS = ("all_outputs", "kept_outputs", "validated_outputs")
AUDIT = ("audit", "collude", "--model", "net", "--data", "digits", "--pool", 60, "--images", 6, "--victims", 2)


def points(record, setting, variant):
    (found,) = [each for each in record["settings"] if each["setting"] == setting]
    return [point for point in found["points"] if point["variant"] == variant]


def test_copies_of_a_rewriter_and_a_resumed_audit(invoke, fails, home, tmp_path):
    options = (*AUDIT, "--rewriters", "qim", "-k", "1..2")
    result = invoke(*options, "--out", tmp_path / "a")
    assert result.stdout.startswith("Collusion on net\n")
    assert "stripped" in result.stdout
    assert "identical, 8 bits" in result.stdout
    assert invoke("report", tmp_path / "a").stdout == result.stdout
    page = tmp_path / "page.html"
    invoke("report", tmp_path / "a", "--html", page)
    assert "identical, 8 bits" in page.read_text()
    record = json.loads((tmp_path / "a" / "record.json").read_text())
    assert record["kind"] == "collusion"
    assert record["command"].startswith("variegate audit collude --model net")
    assert record["attack"]["parameters"]["semantics"] == "art"
    assert record["attack"]["budget"] is None
    (setting,) = record["settings"]
    assert (setting["setting"], setting["rewriter"], setting["spec"]["rewriter"]) == (3, "net-qim", "qim")
    assert [(point["variant"], point["r"]) for point in setting["points"]] == [
        ("mean", 1),
        ("mean", 2),
        ("stripped", 1),
        ("stripped", 2),
    ]
    for point in setting["points"]:
        assert point["all_outputs"]["replication_rate"]["n"] == 2 * point["attempted"]
    (identical,) = setting["identical"]
    assert identical["asked_again"]["rate"] == 1.0
    assert identical["rounded"]["n"] == identical["asked_again"]["n"] == identical["kept"]["k"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "_compute", None)  # nothing is computed again
        again = json.loads(invoke(*options, "--resume", tmp_path / "a", "--json").stdout)
    assert again["settings"] == record["settings"]
    assert "holds results already" in fails(1, *options, "--out", tmp_path / "a")
    message = fails(1, *options, "--images", 5, "--resume", tmp_path / "a")
    assert "holds a finished audit with other settings (data); give another folder with --out" in message
    (tmp_path / "a" / "record.json").write_text('{"kind": "replication"}')
    assert "holds the record of something else than an audit" in fails(1, *options, "--resume", tmp_path / "a")
    assert (tmp_path / "a" / "record.json").read_text() == '{"kind": "replication"}'


def test_independent_trainings(invoke, home, tmp_path):
    options = ("--rewriters", "permutation", "--independent", "other", "-k", "1,3", "--ensemble", "log")
    record = json.loads(invoke(*AUDIT, *options, "--out", tmp_path / "a", "--json").stdout)
    assert record["attack"]["parameters"]["scores"] == "log"
    assert [(each["setting"], each["largest"]) for each in record["settings"]] == [(1, 1), (2, 1), (3, 3)]
    assert points(record, 1, "stripped") == []
    assert [point["r"] for point in points(record, 3, "log")] == [1, 3]
    assert [point["r"] for point in points(record, 2, "stripped")] == [1]


def test_a_vote_and_a_gate(invoke, fails, home, tmp_path):
    options = (*AUDIT, "--rewriters", "qim", "-k", 3, "--ensemble", "vote", "--queries", 120)
    record = json.loads(invoke(*options, "--out", tmp_path / "a", "--json").stdout)
    assert record["attack"]["name"] == "hopskipjump"
    assert record["attack"]["budget"] == 120
    (point,) = points(record, 3, "vote")
    assert 0 < point["forward_rows"] <= 6 * 120
    rates = [point[kind]["replication_rate"]["rate"] for kind in KINDS]
    highest = max(rate for rate in rates if rate is not None)
    assert highest > 0.0
    message = fails(3, *options, "--resume", tmp_path / "a", "--fail-above", "0")
    assert f"above 0.0%: net-qim with 3 {highest:.1%}" in message
    invoke(*options, "--resume", tmp_path / "a", "--fail-above", "100%")


@pytest.mark.parametrize("kind", KINDS)
def test_the_gate_looks_at_all_outputs_that_colluders_may_hand_on(kind):
    def rate(value):
        return Rate(rate=value, k=round(10 * value), n=10, low=None, high=None, interval=None)

    def outputs(value):
        found = rate(value)
        return Outputs(outputs=10, median_norm=1.0, replication_rate=found, replication_rate_conditioned=found)

    found = dict.fromkeys(KINDS, outputs(0.1)) | {kind: outputs(0.3)}
    whole = rate(1.0)
    point = Coalition(variant="mean", r=2, attempted=10, attack_success_rate=whole, kept=whole, **found)
    setting = Setting(setting=3, rewriter="net-qim", largest=2, points=(point,), identical=())
    rates = _gated_rates(SimpleNamespace(settings=(setting,)))
    require_below(0.3, rates, what="the rate")
    with raises(GateError, "20.0%", "net-qim with 2 30.0%"):
        require_below(0.2, rates, what="the rate")


def test_interrupted(home, tmp_path, monkeypatch):
    compute, done = shards._compute, []

    def stop(task, *rest):
        if done:
            raise KeyboardInterrupt
        done.append(task)
        compute(task, *rest)

    monkeypatch.setattr(shards, "_compute", stop)
    arguments = [*AUDIT, "--rewriters", "qim", "-k", 1, "--out", tmp_path / "a"]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 130
    assert "--resume" in result.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1..8", range(1, 9)), ("1-3", (1, 2, 3)), ("1,2,4", (1, 2, 4)), ("4, 2..3,2", (2, 3, 4)), ("5", (5,))],
)
def test_numbers_of_colluders(text, expected):
    assert _parse_colluders(text) == tuple(expected)


@pytest.mark.parametrize("text", ["", "x", "1..", "1..2..3", "-1", "0", "0..3", "3..1", "1001", "1.5", "²", "1,,2"])
def test_bad_numbers_of_colluders(text):
    with raises(ConfigurationError, "-k", "1 to 1,000"):
        _parse_colluders(text)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--rewriters", "qim"), 2, "expected --out"),
        (("--out", "a"), 2, "expected --rewriters or --independent"),
        (("--rewriters", "qim", "-k", "0", "--out", "a"), 2, "-k must be"),
        (("--rewriters", "qim", "--ensemble", "sum", "--out", "a"), 2, "--ensemble must be mean, log, vote; got 'sum'"),
        (("--rewriters", "qim", "--attack", "hsj", "--out", "a"), 2, "hopskipjump sees labels alone: use it with"),
        (
            ("--rewriters", "qim", "--ensemble", "vote", "--attack", "deepfool", "--out", "a"),
            2,
            "no gradients for deep",
        ),
        (("--rewriters", "qim", "--ensemble", "log", "--attack", "pgd", "--out", "a"), 2, "says how deepfool reads"),
        (("--rewriters", "qim", "--queries", 9, "--out", "a"), 2, "deepfool sees scores and gradients: it takes no"),
        (
            ("--rewriters", "qim", "--set", "candidates=5", "--out", "a"),
            2,
            "collusion considers all classes with art's",
        ),
        (("--rewriters", "nope", "--out", "a"), 4, "no rewriter spec named 'nope'"),
        (("--independent", "nope", "--out", "a"), 4, "no model named 'nope'"),
        (("--independent", "net", "--out", "a"), 2, "two have the same weights"),
        (("--independent", "other", "-k", "2", "--out", "a"), 2, "2 colluders with independent trainings need 3 of"),
        (("--rewriters", "qim", "--images", 61, "--out", "a"), 1, "the audit needs 61 images that the original and"),
    ],
    ids=str,
)
def test_mistakes(fails, home, arguments, code, message):
    assert message in fails(code, *AUDIT, *arguments)
