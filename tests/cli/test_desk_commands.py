"""Policies, export, verify, revocation, rotation, log, backup: text, JSON, and each mistake with its sentence."""

import json
import shutil
import sqlite3
import stat
import time

import pytest

from tests.cli.conftest import SECRET
from variegate.authority import Authority
from variegate.keys import SellerSecret
from variegate.registry.copies import get_salt, list_copies
from variegate.signing import public_pem, signing_key


@pytest.fixture(scope="session")
def sold_home(prepared, tmp_path_factory):
    """A home with two policies, three copies of acme, bolt and cold, and beside it the first as an artifact."""
    folder = tmp_path_factory.mktemp("sold")
    shutil.copytree(prepared / "home", folder / "home")
    secret = SellerSecret.from_bytes(SECRET)
    with Authority.open(folder / "home", lambda: secret) as desk:
        desk.create_policy("year", spec="net-qim", valid_seconds=365 * 86_400, quota=10, rate=1.5)
        desk.create_policy("private", spec="net-qim", forgettable=True)
        terms = (("acme", None, "year"), ("bolt", None, "private"), ("cold", "net-qim", None))
        copies = [desk.issue("net", spec, [buyer], policy=policy)[0].copy_id for buyer, spec, policy in terms]
        desk.export(copies[0], folder / "art", artifact="safetensors", now=time.time())
    (folder / "seller.pem").write_text(public_pem(signing_key(secret)))
    return folder, copies


@pytest.fixture
def sold(sold_home, home, tmp_path):
    """The names of the three copies; the home, the artifact and the seller's public key are the test's own."""
    folder, copies = sold_home
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return copies


# Policies


def test_policies_are_made_listed_and_shown(invoke, home):
    made = invoke("policy", "create", "p", "--spec", "permutation", "--equal-partners", 3, "--valid", "36h")
    assert made.stdout == "made the policy p\n"
    assert "issue with: variegate issue --model MODEL --policy p" in made.stderr
    body = json.loads(invoke("policy", "create", "q", "--spec", "net-qim", "--rate", "90/m", "--json").stdout)
    assert (body["name"], body["rate"], body["quota"], body["forgettable"]) == ("q", 1.5, None, False)
    listed = json.loads(invoke("policy", "ls", "--json").stdout)
    assert [one["name"] for one in listed] == ["p", "q"]
    assert "36h" in invoke("policy", "ls").stdout
    assert json.loads(invoke("policy", "show", "q", "--json").stdout) == body
    assert "most_equal_partners  3" in invoke("policy", "show", "p").stdout


def test_no_policies(invoke, home):
    assert invoke("policy", "ls", "--json").stdout == "[]\n"
    result = invoke("policy", "ls")
    assert (result.stdout, "no policy yet" in result.stderr) == ("", True)


def test_a_trap_is_named(invoke, home):
    result = invoke("policy", "create", "p", "--spec", "permutation", "--equal-partners", 3, "--forgettable")
    assert "then no more are issued" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("p", "--spec", "nope"), 4, "no rewriter spec named 'nope'"),
        (("p", "--spec", "../x"), 2, "a spec's name must be"),
        (("ü", "--spec", "net-qim"), 2, "a policy's name must be"),
        (("p", "--spec", "net-qim", "--max-change", "nan"), 2, "--max-change must be a share"),
        (("p", "--spec", "net-qim", "--max-change", "inf"), 2, "--max-change must be a share"),
        (("p", "--spec", "net-qim", "--max-change", "1%"), 2, "was not calibrated"),
        (("p", "--spec", "net-qim", "--quota", "-1"), 2, "quota"),
        (("p", "--spec", "net-qim", "--quota", "9" * 30), 2, "quota"),
        (("p", "--spec", "net-qim", "--rate", "0/s"), 2, "rate"),
        (("p", "--spec", "net-qim", "--rate", "-1/s"), 2, "--rate must be queries a time"),
        (("p", "--spec", "net-qim", "--rate", "nan/s"), 2, "--rate must be queries a time"),
        (("p", "--spec", "net-qim", "--rate", "5"), 2, "--rate must be queries a time"),
        (("p", "--spec", "net-qim", "--valid", "0d"), 2, "valid_seconds"),
        (("p", "--spec", "net-qim", "--valid", "999999999d"), 2, "valid_seconds"),
        (("p", "--spec", "net-qim", "--valid", "-1d"), 2, "--valid must be a number and s, m, h or d"),
        (("p", "--spec", "net-qim", "--valid", "٣d"), 2, "--valid must be a number and s, m, h or d"),
        (("p", "--spec", "net-qim", "--equal-partners", "1"), 2, "kept for the permutation rewriter"),
        (("p", "--spec", "permutation", "--equal-partners", "-1"), 2, "most_equal_partners"),
    ],
    ids=str,
)
def test_bad_policies(fails, invoke, home, arguments, code, message):
    assert message in fails(code, "policy", "create", *arguments)
    assert invoke("policy", "ls", "--json").stdout == "[]\n"


def test_a_policy_that_exists_and_one_that_does_not(fails, invoke, sold):
    assert "'year'" in fails(1, "policy", "create", "year", "--spec", "net-qim")
    assert "no policy named 'nope'" in fails(4, "policy", "show", "nope")
    assert "no policy named 'nope'" in fails(4, "issue", "--model", "net", "--policy", "nope", "--buyer", "a")


# Issuing


def test_dry_runs_write_nothing(invoke, home):
    before = (home / "registry.db").read_bytes()
    options = ("issue", "--model", "net", "--spec", "net-qim", "--count", 3, "--dry-run")
    assert invoke(*options).stdout == "would issue net to 3 buyers; nothing was issued\n"
    assert json.loads(invoke(*options, "--json").stdout) == {"model": "net", "buyers": 3, "issued": False}
    assert (home / "registry.db").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--buyer", "a"), 2, "expected a spec or a policy"),
        (("--policy", "year", "--spec", "permutation", "--buyer", "a"), 2, "the policy 'year' is for the spec"),
        (("--policy", "private", "--buyer", "acme"), 1, "issued under the policy 'year', not under 'private'"),
        (("--policy", "year", "--buyer", "ünï"), 2, "a buyer's name must be"),
        (("--policy", "year", "--buyers", "home"), 1, "it is a folder"),
    ],
    ids=str,
)
def test_bad_issues_under_policies(fails, sold, arguments, code, message):
    assert message in fails(code, "issue", "--model", "net", *arguments)


# Revoking, superseding, rotating


def test_revoking(invoke, fails, sold):
    result = invoke("revoke", "--buyer", "acme", "--model", "net", "--reason", "leaked")
    assert result.stdout == "1 of 1 copy is newly revoked\n"
    assert "variegate revocations" in result.stderr
    again = json.loads(invoke("revoke", sold[0], sold[1], "--json").stdout)
    assert again == {"copies": sold[:2], "changed": 1, "status": "revoked"}
    assert invoke("revoke", "--buyer", "acme").stdout == "0 of 1 copy is newly revoked\n"
    assert "buyer 'acme' has no copy that could change" in fails(4, "supersede", "--buyer", "acme")
    assert "is revoked and cannot become superseded" in fails(1, "supersede", sold[0])
    assert invoke("supersede", sold[2]).stdout == "1 of 1 copy is newly superseded\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("revoke",), 2, "expected copies by their names, or --buyer; got neither"),
        (("revoke", "vg1-x", "--buyer", "a"), 2, "got both"),
        (("revoke", "vg1-x", "--model", "net"), 2, "--model chooses among the copies of a buyer"),
        (("revoke", "vg1-x"), 4, "no copy named 'vg1-x'"),
        (("revoke", "--buyer", "nobody"), 4, "buyer 'nobody' has no copy"),
        (("revoke", "--buyer", "acme", "--model", "nope"), 4, "has no copy of 'nope'"),
        (("revoke", "--buyer", "acme", "--reason", "x" * 501), 2, "a reason must be one line"),
        (("revoke", "--buyer", "acme", "--reason", "a\nb"), 2, "a reason must be one line"),
        (("rotate", "--model", "net", "--spec", "net-qim"), 2, "exactly one of --buyer, --buyers and --all"),
        (("rotate", "--model", "net", "--spec", "net-qim", "--all"), 2, "add --epoch"),
        (("rotate", "--model", "net", "--buyer", "acme"), 2, "expected a spec or a policy"),
        (("rotate", "--model", "net", "--spec", "net-qim", "--buyer", "nobody"), 4, "has no copy of 'net' to rotate"),
        (("rotate", "--model", "nope", "--spec", "net-qim", "--buyer", "acme"), 4, "no model named 'nope'"),
        (("rotate", "--model", "net", "--spec", "net-qim", "--buyers", "no.csv", "--epoch", 2), 4, "no file no.csv"),
    ],
    ids=str,
)
def test_bad_steps(fails, sold, arguments, code, message):
    assert message in fails(code, *arguments)


def test_rotating(invoke, sold, tmp_path):
    options = ("rotate", "--model", "net", "--policy", "year")
    assert invoke(*options, "--buyer", "acme").stdout == "1 copy of net issued anew; the earlier are superseded\n"
    (tmp_path / "b.csv").write_text("buyer\nacme\nbolt\n")
    assert json.loads(invoke(*options, "--buyers", "b.csv", "--epoch", 2, "--json").stdout) == {
        "rotated": 1,
        "passed_over": {"reached": 1},
    }
    every = (*options, "--all", "--epoch", 2)
    assert json.loads(invoke(*every, "--json").stdout) == {"rotated": 1, "passed_over": {"reached": 2}}
    assert json.loads(invoke(*every, "--json").stdout) == {"rotated": 0, "passed_over": {"reached": 3}}
    assert "3 buyers have reached the epoch and got none\n" in invoke(*every).stderr
    rows = json.loads(invoke("copies", "ls", "--json").stdout)["copies"]
    assert sorted((row["buyer"], row["epoch"], row["status"]) for row in rows) == sorted(
        (name, epoch, state) for name in ("acme", "bolt", "cold") for epoch, state in ((1, "superseded"), (2, "active"))
    )


def test_a_file_with_buyers_who_hold_no_active_copy(invoke, fails, sold, tmp_path):
    invoke("revoke", sold[0])
    (tmp_path / "b.csv").write_text("buyer\nacme\nbolt\nnew\n")
    result = invoke("issue", "--model", "net", "--policy", "private", "--buyers", "b.csv")
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["BUYER", "bolt", "new"]
    assert "1 buyer holds a revoked copy and got none; for another one: variegate rotate --buyer NAME" in result.stderr
    (tmp_path / "b.csv").write_text("buyer\nacme\nbolt\nnobody\n")
    result = invoke("rotate", "--model", "net", "--policy", "private", "--buyers", "b.csv", "--epoch", 2)
    assert result.stdout == "1 copy of net issued anew; the earlier are superseded\n"
    assert "1 buyer holds no active copy and got none" in result.stderr
    assert "1 buyer was never issued a copy and got none" in result.stderr
    assert f"copy {sold[0]} of buyer 'acme' is revoked" in fails(
        1, "issue", "--model", "net", "--policy", "year", "--buyer", "acme"
    )


def test_many_buyers_of_whom_some_are_revoked(invoke, home):
    issue = ("issue", "--model", "net", "--spec", "net-qim", "--count", 30)
    assert invoke(*issue).stdout.startswith("30 copies of net, 30 of them new")
    invoke("revoke", "--buyer", "buyer-0002", "--buyer", "buyer-0003")
    result = invoke(*issue[:-1], 31)
    assert result.stdout.startswith("29 copies of net, 1 of them new")
    assert "2 buyers hold a revoked copy and got none" in result.stderr


def test_an_expired_copy_is_said_to_be_so(invoke, fails, sold, home):
    connection = sqlite3.connect(home / "registry.db")
    with connection:
        connection.execute("UPDATE copies SET expires_at = 1000000000 WHERE buyer = 'acme'")
    connection.close()
    issue = ("issue", "--model", "net", "--policy", "year", "--buyer", "acme")
    assert f"copy {sold[0]} of buyer 'acme' expired on 2001-09-09T01:46:40Z" in fails(1, *issue)
    (row,) = json.loads(invoke("copies", "ls", "--buyer", "acme", "--json").stdout)["copies"]
    assert (row["status"], row["expires_at"], row["expired"]) == ("active", "2001-09-09T01:46:40Z", True)
    lines = invoke("copies", "ls").stdout.splitlines()
    assert lines[0].endswith("EXPIRES")
    assert lines[1].endswith("2001-09-09T01:46:40Z expired")
    assert lines[2].endswith("never")


def test_all_that_is_recorded_is_shown(invoke, sold):
    shown = json.loads(invoke("copies", "show", sold[1], "--json").stdout)
    assert {name: shown[name] for name in ("policy", "expires_at", "expired", "draw", "salted", "forgotten")} == {
        "policy": "private", "expires_at": None, "expired": False, "draw": 0, "salted": True, "forgotten": False,
    }  # fmt: skip
    assert shown["secret"] == SellerSecret.from_bytes(SECRET).identifier
    assert len(shown["key_identifier"]) == 16
    invoke("export", sold[1], "--format", "safetensors", "--out", "b", "--forget")
    assert json.loads(invoke("copies", "show", sold[1], "--json").stdout)["forgotten"] is True
    year = json.loads(invoke("copies", "show", sold[0], "--json").stdout)
    assert (year["policy"], year["salted"], year["forgotten"]) == ("year", False, False)
    assert year["expires_at"].endswith("Z")


# Export and verify


def test_an_artifact_verifies(invoke, sold):
    result = invoke("verify", "art", "--public-key", "seller.pem")
    assert [line.split(":")[0] for line in result.stdout.splitlines()] == [
        "1. signature", "2. files", "3. manifest", "4. identity", "5. times", "6. revocation",
    ]  # fmt: skip
    described = json.loads(invoke("verify", "art", "--home", "home", "--json").stdout)
    assert [step["outcome"] for step in described["steps"]] == ["passed"] * 5 + ["skipped"] + ["passed"] * 3


def test_what_a_revoked_copy_looks_like_to_a_device(invoke, fails, sold):
    invoke("revocations", "--out", "old.json")
    invoke("revoke", sold[0])
    assert invoke("revocations", "--out", "r.json").stdout == "wrote r.json: 1 revoked copy\n"
    assert json.loads(invoke("revocations", "--out", "r2.json", "--days", 0.5, "--json").stdout)["revoked"] == 1
    verify = ("verify", "art", "--public-key", "seller.pem")
    invoke(*verify, "--revocations", "old.json")
    assert "step 6, revocation" in fails(5, *verify, "--revocations", "r.json")
    assert "step 6, revocation" in fails(5, *verify, "--revocations", "r.json", "--json")
    assert "step 8, state: the copy" in fails(5, "verify", "art", "--home", "home")
    assert "step 6, revocation" in fails(5, *verify, "--revocations", "seller.pem")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "expected the seller's public key (--public-key), or their home"),
        (("--public-key", "no.pem"), 4, "there is no file no.pem"),
        (("--public-key", "art"), 1, "it is a folder"),
        (("--public-key", "art/manifest.json"), 1, "public key"),
        (("--home", "nowhere"), 4, "is not a variegate home"),
        (("--home", "art"), 4, "is not a variegate home"),
        (("--public-key", "seller.pem", "--revocations", "no.json"), 4, "there is no file no.json"),
        (("--public-key", "seller.pem", "--at", "tomorrow"), 2, "--at must be a time such as"),
        (("--public-key", "seller.pem", "--at", "2001-01-01"), 5, "step 5, times: issued_at lies in the future"),
        (("--public-key", "seller.pem", "--at", "2999-01-01T00:00:00Z"), 5, "step 5, times: the copy expired"),
    ],
    ids=str,
)
def test_bad_verifications(fails, sold, arguments, code, message):
    assert message in fails(code, "verify", "art", *arguments)


def test_verifying_what_is_no_artifact(fails, sold, tmp_path):
    assert "there is no folder nowhere" in fails(4, "verify", "nowhere", "--public-key", "seller.pem")
    assert "there is no folder seller.pem" in fails(4, "verify", "seller.pem", "--public-key", "seller.pem")
    (tmp_path / "empty").mkdir()
    assert "step 1, signature" in fails(5, "verify", "empty", "--public-key", "seller.pem")
    (tmp_path / "art" / "more").write_text("x")
    assert "step 2, files" in fails(5, "verify", "art", "--public-key", "seller.pem")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--format", "safetensors"), 2, "expected a copy by its name, or --buyer; got neither"),
        (("vg1-x", "--buyer", "acme", "--format", "safetensors"), 2, "got both"),
        (("vg1-x", "--format", "safetensors"), 4, "no copy named 'vg1-x'"),
        (("--buyer", "nobody", "--format", "safetensors"), 4, "buyer 'nobody' has no active copy"),
        (("--buyer", "acme", "--model", "nope", "--format", "safetensors"), 4, "has no active copy of 'nope'"),
        (("--buyer", "acme", "--format", "safetensors", "--scores"), 2, "scores can be asked for with onnx and pt2"),
        (("--buyer", "acme", "--format", "safetensors", "--overlay"), 2, "--overlay says what a vgc holds"),
        (
            ("--buyer", "acme", "--format", "onnx", "--recipient", "seller.pem"),
            2,
            "only a vgc is sealed to a recipient",
        ),
        (("--buyer", "acme", "--format", "vgc"), 1, "set VARIEGATE_RECIPIENT_PASSPHRASE_FILE"),
        (("--buyer", "acme", "--format", "vgc", "--recipient", "no.pem"), 4, "there is no file no.pem"),
        (("--buyer", "acme", "--format", "vgc", "--recipient", "seller.pem"), 1, "X25519"),
        (("--buyer", "acme", "--format", "safetensors", "--forget"), 1, "comes from the seller's secret alone"),
    ],
    ids=str,
)
def test_bad_exports(fails, sold, tmp_path, arguments, code, message):
    assert message in fails(code, "export", *arguments, "--out", "out")
    assert not (tmp_path / "out").exists()


def test_places_that_are_taken(fails, sold, tmp_path):
    export = ("export", "--buyer", "cold", "--format", "safetensors", "--out")
    assert "art exists already" in fails(1, *export, "art")
    assert "seller.pem exists already" in fails(1, *export, "seller.pem")
    assert "a part of the path is a file" in fails(1, *export, "seller.pem/x")
    assert "seller.pem exists already" in fails(1, "certificate", sold[0], "--seller", "S", "--out", "seller.pem")
    assert "seller.pem exists already" in fails(1, "backup", "seller.pem")


def test_forgetting_after_the_export(invoke, fails, sold):
    result = invoke("export", "--buyer", "bolt", "--format", "safetensors", "--out", "b", "--forget", "--json")
    assert json.loads(result.stdout)["buyer"] == "bolt"
    assert "cannot be made, served or traced again" in result.stderr
    invoke("verify", "b", "--home", "home")
    again = ("export", "--buyer", "bolt", "--format", "safetensors", "--out", "b2")
    assert f"the key of copy {sold[1]} was forgotten" in fails(1, *again)
    assert f"the key of copy {sold[1]} was forgotten" in fails(1, *again, "--forget")


def test_the_certificate(invoke, fails, sold, tmp_path):
    assert invoke("certificate", sold[0], "--seller", "Größe & <Söhne>", "--out", "c.html").stdout == "wrote c.html\n"
    page = (tmp_path / "c.html").read_text()
    assert sold[0] in page
    assert "<Söhne>" not in page
    described = json.loads(invoke("certificate", sold[1], "--seller", "S", "--out", "d.html", "--json").stdout)
    assert described == {"file": "d.html", "copy_id": sold[1], "buyer": "bolt"}
    assert "no copy named 'vg1-x'" in fails(4, "certificate", "vg1-x", "--seller", "S", "--out", "e.html")


# The log, the database, backups


def test_the_log(invoke, fails, home, sold):
    head = invoke("log", "head").stdout.strip()
    seq, digest = head.split(":", 1)
    assert json.loads(invoke("log", "head", "--json").stdout) == {"seq": int(seq), "hash": digest}
    assert invoke("log", "verify", "--expect", head).stdout.startswith(f"the log holds: {seq} entries, 3 copies, end ")
    assert json.loads(invoke("log", "verify", "--json").stdout)["ok"] is True
    first, second = json.loads(invoke("log", "ls", "--after", 1, "--limit", 2, "--json").stdout)
    assert (first["seq"], second["seq"]) == (2, 3)
    assert "more with --after 1" in invoke("log", "ls", "--limit", 1).stderr
    assert "NUMBER:HASH; got 'x'" in fails(2, "log", "verify", "--expect", "x")
    wrong = f"{seq}:sha256:{'0' * 64}"
    assert "is not the one whose hash was kept elsewhere" in fails(5, "log", "verify", "--expect", wrong)
    assert "is missing" in fails(5, "log", "verify", "--expect", f"999:{digest}")
    connection = sqlite3.connect(home / "registry.db")
    with connection:
        connection.execute("UPDATE copies SET buyer = 'mallory' WHERE buyer = 'bolt'")
    connection.close()
    assert "the log does not hold" in fails(5, "log", "verify")
    assert "the log does not hold" in fails(5, "log", "verify", "--json")


def test_the_database(invoke, fails, home):
    assert json.loads(invoke("db", "status", "--json").stdout) == {"format": 2, "reads": 2}
    assert invoke("db", "status").stdout == "the registry has format 2; this version reads 2\n"
    assert invoke("db", "upgrade").stdout == "the registry has format 2 already\n"
    assert json.loads(invoke("db", "upgrade", "--json").stdout) == {"before": 2, "after": 2}
    for command in ("status", "upgrade"):
        assert "is not a variegate home" in fails(4, "db", command, "--home", "nowhere")


def test_backup_and_restore(invoke, fails, home, sold, tmp_path):
    head = invoke("log", "head").stdout.strip()
    made = invoke("backup", "b.vgb").stdout
    assert made == f"wrote b.vgb: 3 copies; the log ends at {head}\n"
    assert stat.S_IMODE((tmp_path / "b.vgb").stat().st_mode) == 0o600
    described = json.loads(invoke("restore", "b.vgb", "--home", "again", "--json").stdout)
    assert described["log"]["seq"] == int(head.split(":")[0]) + 1  # the entry "restored"
    assert stat.S_IMODE((tmp_path / "again" / "registry.db").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "again").stat().st_mode) == 0o700
    invoke("log", "verify", "--home", "again", "--expect", head)
    for folder in ("models", "specs"):
        shutil.copytree(home / folder, tmp_path / "again" / folder, dirs_exist_ok=True)
    invoke("export", sold[2], "--format", "safetensors", "--out", "c", "--home", "again")
    invoke("verify", "c", "--home", "again")
    assert "has a registry already" in fails(1, "restore", "b.vgb", "--home", "again")
    assert "b.vgb exists already" in fails(1, "backup", "b.vgb")
    assert "there is no file nowhere.vgb" in fails(4, "restore", "nowhere.vgb", "--home", "new")
    assert "seller.pem" in fails(1, "restore", "seller.pem", "--home", "new")
    assert not (tmp_path / "new" / "registry.db").exists()


def test_a_backup_where_no_folder_is(fails, home, tmp_path):
    assert "folder" in fails(4, "backup", "no/folder/b.vgb")
    assert "no/folder" in fails(4, "revocations", "--out", "no/folder/r.json")


@pytest.mark.parametrize(
    "command",
    [
        ("copies", "ls", "--buyer"),
        ("copies", "show"),
        ("revoke",),
        ("revoke", "--buyer"),
        ("policy", "show"),
        ("issue", "--spec", "net-qim", "--buyer", "a", "--model"),
    ],
    ids=" ".join,
)
def test_names_that_are_no_text(fails, home, command):
    assert "must be text in UTF-8" in fails(2, *command, "\udcff")


# What must never be seen


def test_no_secret_in_any_output_or_file(invoke, fails, home, sold, tmp_path):
    """The secret, the keys of all copies and the salts: on no screen, in no file but the salts' own places."""
    with Authority.open(home, lambda: SellerSecret.from_bytes(SECRET)) as desk:
        keys = [desk.keyring.copy_key(row, "qim").reveal() for row in desk.registry.read(list_copies)]
        salt = desk.registry.read(get_salt, sold[1])
    assert len(keys) == 3
    said = "".join(
        invoke(*command).output
        for command in (
            ("copies", "ls", "--json"), ("copies", "show", sold[1], "--json"), ("copies", "show", sold[1]),
            ("policy", "ls", "--json"), ("key", "ls", "--json"), ("log", "ls", "--json"), ("log", "ls"),
            ("log", "verify", "--json"), ("verify", "art", "--home", "home", "--json"), ("backup", "b.vgb", "--json"),
            ("certificate", sold[1], "--seller", "S", "--out", "c.html", "--json"),
            ("revoke", sold[2], "--json"), ("revocations", "--out", "r.json", "--json"), ("doctor", "--json"),
        )
    )  # fmt: skip
    files = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {"b.vgb", "r.json", "c.html", "art/manifest.json", "home/registry.db"} <= set(files)
    for secret in (SECRET, *keys):
        for form in (secret, secret.hex().encode()):
            assert form not in said.encode()
            assert [name for name, content in files.items() if form in content] == []
    assert salt.hex() not in said
    holding = {name for name, content in files.items() if salt in content or salt.hex().encode() in content}
    assert holding <= {"b.vgb", "home/registry.db", "home/registry.db-wal"}


def test_a_home_is_private(home, invoke, sold):
    for path in home.iterdir():
        if path.name.startswith("registry.db"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
