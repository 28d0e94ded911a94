"""`variegate audit cross-check` on a linear classifier of digits."""

import json

import pytest

pytest.importorskip("art", reason="ART is not installed; pip install 'variegate[art]'", exc_type=ImportError)

pytestmark = [pytest.mark.filterwarnings("ignore")]  # ART's own

CHECK = ("audit", "cross-check", "--data", "digits", "--pool", 60, "--images", 2, "--queries", 100)
SMALL = ("--engines", "art", "--attacks", "hsj")


def test_copies_of_a_spec(invoke, home, tmp_path):
    options = ("--model", "net", "--rewriter-spec", "qim", "--victims", 2, "--out", tmp_path / "a")
    result = invoke(*CHECK, *SMALL, *options)
    assert result.stdout.startswith("Cross-check on copy 0\n")
    assert "ours over theirs" in result.stdout
    assert invoke("report", tmp_path / "a").stdout == result.stdout
    invoke("report", tmp_path / "a", "--html", tmp_path / "page.html")
    assert "Cross-check on copy 0" in (tmp_path / "page.html").read_text()
    assert "wrote" in result.stderr
    record = json.loads((tmp_path / "a" / "record.json").read_text())
    assert record["command"].startswith("variegate audit cross-check --data digits")
    assert record["target"]["name"] == "copy 0"
    assert record["victims"] == ["copy 1", "copy 2"]
    assert record["rewriter"]["rewriter"] == "qim"
    again = json.loads(invoke(*CHECK, *SMALL, *options[:-2], "--resume", tmp_path / "a", "--json").stdout)
    distances = [[engine["distances"] for engine in one["attacks"][0]["engines"]] for one in (record, again)]
    assert distances[0] == distances[1]


def test_a_folder_that_cannot_be_made(fails, home, tmp_path):
    (tmp_path / "file").touch()
    message = fails(1, *CHECK, *SMALL, "--model", "net", "--out", tmp_path / "file" / "out")
    assert message.startswith("error: cannot make ")


def test_an_original_and_issued_copies(invoke, fails, home, tmp_path):
    record = json.loads(invoke(*CHECK, *SMALL, "--model", "net", "--out", tmp_path / "a", "--json").stdout)
    assert (record["target"]["name"], record["victims"], record["rewriter"]) == ("net", [], None)
    issue = ("issue", "--model", "net", "--json")
    copies = [
        json.loads(invoke(*issue, "--spec", spec, "--buyer", buyer).stdout)[0]["copy_id"]
        for spec, buyer in (("net-qim", "a"), ("net-qim", "b"), ("permutation", "c"))
    ]
    both = ("--copy", copies[0], "--copy", copies[1])
    record = json.loads(invoke(*CHECK, *SMALL, *both, "--out", tmp_path / "b", "--json").stdout)
    assert (record["target"]["name"], record["victims"]) == (copies[0], [copies[1]])
    assert "of one original and one spec" in fails(
        2, *CHECK, *SMALL, *both, "--copy", copies[2], "--out", tmp_path / "c"
    )
    assert "given twice" in fails(2, *CHECK, *SMALL, *both, "--copy", copies[0], "--out", tmp_path / "c")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--model", "net"), 2, "expected --out"),
        (("--out", "a"), 2, "expected --model or --copy, and not both"),
        (("--model", "net", "--copy", "vg1-x", "--out", "a"), 2, "expected --model or --copy, and not both"),
        (("--copy", "vg1-x", "--rewriter-spec", "qim", "--out", "a"), 2, "names the copies of a --model"),
        (("--copy", "vg1-x", "--out", "a"), 4, "no copy named 'vg1-x'"),
        (("--model", "nope", "--out", "a"), 4, "no model named 'nope'"),
        (("--model", "net", "--rewriter-spec", "nope", "--out", "a"), 4, "no rewriter spec named 'nope'"),
        (("--model", "net", "--engines", "cleverhans", "--out", "a"), 2, "must be among art, foolbox"),
        (("--model", "net", "--engines", "", "--out", "a"), 2, "must be among art, foolbox; got none"),
        (("--model", "net", "--attacks", "rays", "--out", "a"), 2, "no library has the attack 'rays'"),
    ],
    ids=str,
)
def test_mistakes(fails, home, arguments, code, message):
    assert message in fails(code, *CHECK, *arguments)
