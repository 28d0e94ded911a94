"""Specs written by hand: saved, listed, shown, issued with, and every way to get it wrong."""

import json

import pytest

COMPOSED = {
    "rewriter": "composed",
    "parts": [
        {"rewriter": "permutation", "alpha": 0.2},
        {"rewriter": "qim", "messages_per_class": 2, "quantization_step": 0.2},
    ],
}


def test_a_composition_is_saved_and_issued(invoke, home, tmp_path):
    (tmp_path / "s.json").write_text(json.dumps(COMPOSED))
    saved = json.loads(invoke("spec", "save", tmp_path / "s.json", "--name", "both", "--model", "net", "--json").stdout)
    assert (saved["model"], saved["record"], saved["spec"]["rewriter"]) == ("net", None, "composed")
    (copy,) = json.loads(invoke("issue", "--model", "net", "--spec", "both", "--buyer", "acme", "--json").stdout)
    assert copy["rewriter"] == "composed"
    hsj = ("attack", "hsj", "--data", "digits", "--images", 2, "--queries", 60, "--copy", copy["copy_id"])
    assert json.loads(invoke(*hsj, "--json").stdout)["target"]["name"] == copy["copy_id"]


def test_list_and_show(invoke, fails, home, tmp_path):
    (tmp_path / "s.json").write_text(json.dumps(COMPOSED))
    invoke("spec", "save", tmp_path / "s.json", "--name", "both")
    rows = [line.split()[:4] for line in invoke("spec", "ls").stdout.splitlines()]
    assert rows == [
        ["NAME", "REWRITER", "MODEL", "CALIBRATED"],
        ["both", "composed", "any", "no"],
        ["net-qim", "qim", "net", "yes"],
        ["permutation", "permutation", "any", "no"],
    ]
    assert [spec["name"] for spec in json.loads(invoke("spec", "ls", "--json").stdout)] == [row[0] for row in rows[1:]]
    assert json.loads(invoke("spec", "show", "net-qim", "--json").stdout)["record"]["kind"] == "calibration"
    text = invoke("spec", "show", "net-qim").stdout
    assert "messages_per_class" in text
    assert "record" not in text
    assert "no rewriter spec named 'nope'" in fails(4, "spec", "show", "nope")


@pytest.mark.parametrize(
    ("content", "arguments", "code", "message"),
    [
        (None, (), 4, "there is no file"),
        ("nonsense", (), 1, "must be JSON"),
        ("{}", (), 2, "needs the field 'rewriter'"),
        ('{"rewriter": "nope"}', (), 2, "there is no rewriter 'nope'"),
        ('{"rewriter": "permutation", "beta": 1}', (), 2, "has no parameter beta"),
        ('{"rewriter": "permutation"}', ("--name", "a b"), 2, "a spec's name must be"),
        ('{"rewriter": "permutation"}', ("--model", "nope"), 4, "no model named 'nope'"),
        ('{"rewriter": "permutation"}', ("--name", "net-qim"), 1, "exists already"),
        ('{"rewriter": "qim", "messages_per_class": 2, "weights": [1.0]}', ("--model", "net"), 2, "weights"),
    ],
    ids=str,
)
def test_bad_specs(fails, home, tmp_path, content, arguments, code, message):
    if content is not None:
        (tmp_path / "s.json").write_text(content)
    before = sorted(path.name for path in (home / "specs").iterdir())
    assert message in fails(code, "spec", "save", tmp_path / "s.json", "--name", "fresh", *arguments)
    assert sorted(path.name for path in (home / "specs").iterdir()) == before
