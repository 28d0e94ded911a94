"""Issuing to names, counts and files; listing and showing; and every way to get it wrong."""

import json
import subprocess
import sys

import pytest

ISSUE = ("issue", "--model", "net", "--spec", "net-qim")


def test_issue_to_named_buyers(invoke, home):
    result = invoke(*ISSUE, "--buyer", "acme", "--buyer", "bolt")
    header, *rows = [line.split() for line in result.stdout.splitlines()]
    assert header == ["BUYER", "COPY", "EPOCH"]
    assert [(row[0], row[2]) for row in rows] == [("acme", "1"), ("bolt", "1")]
    assert "issued in" in result.stderr
    assert invoke(*ISSUE, "--buyer", "acme").stdout.split()[4] == rows[0][1]


def test_issue_as_json_gives_manifests(invoke, home):
    (manifest,) = json.loads(invoke(*ISSUE, "--buyer", "acme", "--epoch", 2, "--json").stdout)
    assert (manifest["kind"], manifest["buyer"], manifest["epoch"], manifest["rewriter"]) == ("copy", "acme", 2, "qim")


def test_issue_to_a_count(invoke, home):
    assert "BUYER" in invoke(*ISSUE, "--count", 3).stdout
    assert invoke(*ISSUE, "--count", 1200).stdout.startswith("1,200 copies of net, 1,197 of them new")
    listed = json.loads(invoke("copies", "ls", "--limit", 1, "--offset", 1199, "--json").stdout)
    assert [copy["buyer"] for copy in listed["copies"]] == ["buyer-1200"]


def test_issue_to_a_file(invoke, home, tmp_path):
    (tmp_path / "buyers.txt").write_text("\ufeffacme\n\n# a comment\n  bolt  \r\n")
    invoke(*ISSUE, "--buyers", tmp_path / "buyers.txt")
    assert [copy["buyer"] for copy in json.loads(invoke("copies", "ls", "--json").stdout)["copies"]] == ["acme", "bolt"]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "exactly one of --buyer, --count and --buyers"),
        (("--buyer", "a", "--count", "2"), 2, "exactly one of"),
        (("--buyer", "two words"), 2, "a buyer's name must be"),
        (("--buyers", "nowhere.txt"), 4, "there is no file nowhere.txt"),
        (("--buyers", "."), 1, "it is a folder"),
        (("--model", "nope", "--buyer", "a"), 4, "no model named 'nope'"),
        (("--spec", "nope", "--buyer", "a"), 4, "no rewriter spec named 'nope'"),
        (("--spec", "../x", "--buyer", "a"), 2, "a spec's name must be"),
        (("--count", 100_001, "--json"), 2, "at most 100,000 manifests; got 100,001 buyers"),
        (("--model", "other", "--buyer", "a"), 2, "was calibrated for model 'net'; got 'other'"),
    ],
    ids=str,
)
def test_bad_issues(fails, home, arguments, code, message):
    assert message in fails(code, *ISSUE, *arguments)


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "names no buyer"), (b"# x\n", "names no buyer"), (b"\xff", "UTF-8")]
)
def test_bad_buyer_files(fails, home, tmp_path, content, message):
    (tmp_path / "buyers.txt").write_bytes(content)
    assert message in fails(1, *ISSUE, "--buyers", tmp_path / "buyers.txt")


def test_another_spec_conflicts(invoke, fails, home):
    invoke(*ISSUE, "--buyer", "acme")
    message = fails(1, "issue", "--model", "net", "--spec", "permutation", "--buyer", "bolt", "--buyer", "acme")
    assert "buyer 'acme' holds copy vg1-" in message
    assert json.loads(invoke("copies", "ls", "--json").stdout)["total"] == 1


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        ("00" * 32, "this is not the secret of"),
        ("zz", "must be 64 hexadecimal digits"),
        (None, "there is no seller's secret: expected the secret d6377c371b0c3ac2 in VARIEGATE_SELLER_SECRET"),
    ],
)
def test_wrong_secrets(invoke, fails, home, monkeypatch, secret, message):
    if secret is None:
        monkeypatch.delenv("VARIEGATE_SELLER_SECRET")
    else:
        monkeypatch.setenv("VARIEGATE_SELLER_SECRET", secret)
    assert message in fails(1, *ISSUE, "--buyer", "acme")
    assert json.loads(invoke("copies", "ls", "--json").stdout)["total"] == 0


def test_wrong_passphrase(invoke, fails, tmp_path, prepared, monkeypatch):
    monkeypatch.setenv("VARIEGATE_HOME", str(tmp_path / "sealed"))
    invoke("init", stdin="right\n")
    options = ["--name", "net", "--arch", "linear_net:build", "--input-shape", "1,8,8", "--labels", 10]
    code = ["--code-path", prepared / "seller" / "linear_net.py"]
    invoke("model", "import", prepared / "seller" / "weights.safetensors", *options, *code)
    (tmp_path / "sealed" / "specs" / "s.json").write_bytes(
        (prepared / "home" / "specs" / "permutation.json").read_bytes()
    )
    issue = ("issue", "--model", "net", "--spec", "s", "--buyer", "acme")
    assert "the passphrase is wrong" in fails(1, *issue, stdin="wrong\n")
    assert "standard input is at its end" in fails(1, *issue, stdin="")
    assert "acme" in invoke(*issue, stdin="right\n").stdout


def test_list_filters_and_pages(invoke, home):
    invoke(*ISSUE, "--count", 5)
    invoke("issue", "--model", "other", "--spec", "permutation", "--buyer", "buyer-0001")
    result = invoke("copies", "ls", "--limit", 2, "--offset", 1)
    assert [line.split()[2] for line in result.stdout.splitlines()[1:]] == ["buyer-0002", "buyer-0003"]
    assert result.stderr == "2 of 6 copies; more with --offset 3\n"
    by_buyer = json.loads(invoke("copies", "ls", "--buyer", "buyer-0001", "--json").stdout)
    assert [copy["model"] for copy in by_buyer["copies"]] == ["net", "other"]
    assert json.loads(invoke("copies", "ls", "--model", "other", "--json").stdout)["total"] == 1
    assert json.loads(invoke("copies", "ls", "--status", "revoked", "--json").stdout)["total"] == 0
    assert invoke("copies", "ls", "--model", "nope").stderr == "0 of 0 copies\n"


def test_show(invoke, fails, home):
    (manifest,) = json.loads(invoke(*ISSUE, "--buyer", "acme", "--json").stdout)
    shown = json.loads(invoke("copies", "show", manifest["copy_id"], "--json").stdout)
    assert {name: shown[name] for name in manifest} == manifest
    assert set(shown) - set(manifest) == {
        "status", "expires_at", "expired", "policy", "secret", "key_identifier", "draw", "salted", "forgotten",
    }  # fmt: skip
    assert (shown["status"], shown["policy"], shown["expires_at"]) == ("active", None, None)
    assert "buyer           acme\n" in invoke("copies", "show", manifest["copy_id"]).stdout
    assert "no copy named 'vg1-nope'" in fails(4, "copies", "show", "vg1-nope")


def test_broken_registries(fails, home):
    registry = home / "registry.db"
    whole = registry.read_bytes()
    for content in (b"", b"x" * 5000, whole[:5000]):
        registry.write_bytes(content)
        message = fails(1, "copies", "ls")
        assert "registry" in message
        assert message in (fails(1, "model", "ls"), fails(1, "issue", "--model", "a", "--spec", "b", "--count", 1))
    registry.unlink()
    assert "is not a variegate home" in fails(4, "copies", "ls")


def test_two_commands_at_once(home):
    commands = [
        [sys.executable, "-m", "variegate", "issue", "--model", "net", "--spec", spec, "--count", "5000"]
        for spec in ("net-qim", "permutation")
    ]
    processes = [subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for c in commands]
    results = [(*process.communicate(timeout=60), process.returncode) for process in processes]
    assert sorted(code for *_, code in results) == [0, 1], results
    (complaint,) = [err for _, err, code in results if code]
    assert complaint.startswith("error: buyer 'buyer-0001' holds copy vg1-")
    assert complaint.count("\n") == 1
