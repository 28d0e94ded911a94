"""What released versions wrote, in tests/compat, is opened by this one. The files are never made again.

Each test works on copies in a temporary folder. The hashes of the log are computed here from their definition in
docs/formats/registry.md with nothing but hashlib and json.
"""

import gzip
import hashlib
import json
import re
import shutil
import sqlite3
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.raising import raises
from variegate.artifacts.revocations import read_revocations
from variegate.artifacts.tensors import load_safetensors_copy
from variegate.artifacts.verify import verify_artifact
from variegate.artifacts.vgc import open_copy
from variegate.authority.authority import Authority
from variegate.authority.verify import registry_checks
from variegate.errors import SecretError, VerificationError
from variegate.keystore.base import Access
from variegate.registry.backup_format import Header
from variegate.registry.copies import list_copies, used_quota
from variegate.registry.migrations import current_format, upgrade
from variegate.registry.records import find_api_key, list_api_keys, list_policies, list_secrets
from variegate.registry.registry import Registry
from variegate.registry.rows import LogHead
from variegate.registry.schema import FORMAT
from variegate.registry.verify import verify_log
from variegate.signing import key_digest, read_public_key
from variegate.types import CopyStatus

ROOT = Path(__file__).parents[1]
FROZEN = ROOT / "tests" / "compat" / "v0.1"
PAGE = ROOT / "docs" / "formats" / "registry.md"
ACCESS = Access(env={"VARIEGATE_PASSPHRASE": "compat"})
EXPECTED: dict[str, Any] = json.loads((FROZEN / "expected.json").read_text("utf-8"))
DAY = 86_400
INPUTS = ((torch.arange(32 * 16, dtype=torch.int64) * 7919 % 256).to(torch.float32) / 256).reshape(32, 1, 4, 4)


def unpacked(home: str, folder: Path) -> Path:
    """A copy of a frozen home, ready for use."""
    copy = folder / home
    shutil.copytree(FROZEN / home, copy)
    packed = copy / "registry.db.gz"
    (copy / "registry.db").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    return copy


@pytest.fixture
def home(tmp_path):
    return unpacked("home", tmp_path)


def rows(registry):
    return [asdict(row) for row in registry.read(list_copies)]


def expected_rows():
    return [one["row"] for one in EXPECTED["copies"]]


def assert_same_labels(desk, expected):
    assert desk.original("net").predict(INPUTS).tolist() == expected["original"]
    for one in expected["copies"]:
        if one["labels"] is not None:
            assert desk.load_copy(one["row"]["copy_id"]).predict(INPUTS).tolist() == one["labels"]


def copy_of(buyer, *, epoch=1):
    return next(row["copy_id"] for row in expected_rows() if (row["buyer"], row["epoch"]) == (buyer, epoch))


def test_the_frozen_files_are_as_they_were_made():
    listed = dict(line.split("  ")[::-1] for line in (FROZEN / "SHA256SUMS").read_text("utf-8").splitlines())
    found = {
        path.relative_to(FROZEN).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in FROZEN.rglob("*")
        if path.is_file() and path.name != "SHA256SUMS" and "__pycache__" not in path.parts
    }
    assert found == listed
    assert sum((FROZEN / name).stat().st_size for name in listed) < 200_000


# The registry


def test_the_registry_opens_and_its_log_holds(home):
    current = current_format(home / "registry.db")
    upgrade(home / "registry.db")
    with Registry(home / "registry.db", read_only=True) as registry:
        assert rows(registry) == expected_rows()
        assert [asdict(row) for row in registry.read(list_secrets)] == EXPECTED["secrets"]
        assert [asdict(policy) for policy in registry.read(list_policies)] == EXPECTED["policies"]
        report = registry.read(verify_log, expect=LogHead(**EXPECTED["log"]))
        assert report.ok, report.problem
        assert current != FORMAT or asdict(report.head) == EXPECTED["log"]
        assert {key.identifier: key.revoked_at is None for key in registry.read(list_api_keys)} == {
            "key-acme": True,
            "key-bolt": False,
        }
        found = registry.read(find_api_key, hashlib.sha256(b"acme's key, for tests alone").digest())
        assert found is not None
        assert found.buyer == "acme"
        assert registry.read(used_quota, copy_of("acme")) == EXPECTED["used_quota"] == 250


def test_the_frozen_registry_shows_what_it_should():
    found = expected_rows()
    assert {row["status"] for row in found} == set(CopyStatus)
    assert {row["secret"] for row in found} == {row["identifier"] for row in EXPECTED["secrets"]}
    assert len(EXPECTED["secrets"]) == 2
    assert {row["draw"] > 0 for row in found} == {row["salted"] for row in found} == {True, False}
    assert len({tuple(one["labels"]) for one in EXPECTED["copies"] if one["labels"]}) > 5


def test_the_copies_come_out_the_same(home):
    upgrade(home / "registry.db")
    with Authority.open(home, access=ACCESS) as desk:
        assert_same_labels(desk, EXPECTED)
        with raises(SecretError, "forgotten"):
            desk.load_copy(EXPECTED["forgotten"])


def test_the_desk_goes_on(home):
    upgrade(home / "registry.db")
    with Authority.open(home, access=ACCESS) as desk:
        assert desk.issue("net", None, ["acme"], policy="prod", epoch=2)[0].copy_id == copy_of("acme", epoch=2)
        desk.issue("net", None, ["cord-9"], policy="apart")
        desk.rotate("net", None, ["dora"], policy="prod")
        desk.forget(EXPECTED["salted"])
        report = desk.registry.read(verify_log, expect=LogHead(**EXPECTED["log"]))
        assert report.ok, report.problem


# The log's hashes, from their definition


def canonical(value):
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def entries(home):
    connection = sqlite3.connect(home / "registry.db")
    try:
        found = connection.execute("SELECT seq, at, kind, body, previous, hash FROM events ORDER BY seq").fetchall()
    finally:
        connection.close()
    return [dict(zip(("seq", "at", "kind", "body", "previous", "hash"), row, strict=True)) for row in found]


def hashed(entry):
    content = {key: entry[key] for key in ("at", "kind", "previous", "seq")} | {"body": json.loads(entry["body"])}
    return "sha256:" + hashlib.sha256(b"variegate-event-v1\0" + canonical(content)).hexdigest()


def test_hashes_of_the_log_by_their_definition(home):
    previous = "sha256:" + "0" * 64
    for number, entry in enumerate(entries(home), 1):
        assert (entry["seq"], entry["previous"], entry["hash"]) == (number, previous, hashed(entry))
        previous = entry["hash"]
    assert previous == EXPECTED["log"]["hash"]


def test_digests_of_copies_by_their_definition(home):
    connection = sqlite3.connect(home / "registry.db")
    numbers = dict(connection.execute("SELECT copy_id, id FROM copies"))
    connection.close()
    by_number = {numbers[row["copy_id"]]: row for row in expected_rows()}
    issued = [json.loads(entry["body"]) for entry in entries(home) if entry["kind"] == "issued"]
    assert sum(body["count"] for body in issued) == len(by_number)
    for body in issued:
        lines = b""
        for number in range(body["first"], body["last"] + 1):
            lines += canonical({key: value for key, value in by_number[number].items() if key != "status"}) + b"\n"
        assert body["rows"] == "sha256:" + hashlib.sha256(lines).hexdigest()


def test_the_example_in_the_documents(home):
    """The page shows the content of one entry and its hash; both are those of the frozen registry."""
    page = PAGE.read_text("utf-8")
    shown = re.search(r"    (?P<content>\{\"at\":.*\})\n", page)
    assert shown is not None
    content = json.loads(shown["content"])
    assert canonical(content) == shown["content"].encode()
    entry = entries(home)[content["seq"] - 1]
    assert entry["hash"] == "sha256:" + hashlib.sha256(b"variegate-event-v1\0" + canonical(content)).hexdigest()
    assert entry["hash"] in page
    assert hashed(entry) == entry["hash"]


def test_a_changed_registry_is_found(home):
    """These tests can fail."""
    upgrade(home / "registry.db")
    connection = sqlite3.connect(home / "registry.db")
    with connection:
        connection.execute("UPDATE copies SET buyer = 'eve' WHERE buyer = 'bolt'")
    connection.close()
    with Registry(home / "registry.db", read_only=True) as registry:
        assert not registry.read(verify_log).ok


# The backup


def test_the_backup_is_restored(tmp_path, home):
    restored = tmp_path / "restored"
    end = Authority.restore(restored, FROZEN / "registry.vgb")
    for folder in ("models", "specs", "secrets"):
        shutil.copytree(home / folder, restored / folder, dirs_exist_ok=True)
    with Authority.open(restored, access=ACCESS) as desk:
        assert rows(desk.registry) == expected_rows()
        report = desk.registry.read(verify_log, expect=LogHead(**EXPECTED["log"]))
        assert report.ok, report.problem
        assert report.head == end
        assert report.entries == EXPECTED["log"]["seq"] + 1
        assert_same_labels(desk, EXPECTED)


def test_the_backup_by_its_definition():
    *lines, last = gzip.decompress((FROZEN / "registry.vgb").read_bytes()).split(b"\n")[:-1]
    content = b"".join(line + b"\n" for line in lines)
    assert json.loads(last) == {"sha256": hashlib.sha256(content).hexdigest()}
    assert Header.from_line(lines[0], "it").to_line() == lines[0]
    header, *found = [json.loads(line) for line in lines]
    assert header["log"] == EXPECTED["log"]
    assert header["format"] == "variegate-registry-backup"
    counts = {name: sum(row[0] == name for row in found) for name in header["columns"]}
    assert counts == header["counts"]
    assert counts["copies"] == len(expected_rows())
    order = (
        "meta",
        "models",
        "specs",
        "policies",
        "seller_secrets",
        "copies",
        "copy_salts",
        "api_keys",
        "quotas",
        "events",
    )
    assert [row[0] for row in found] == [name for name in order for _ in range(counts[name])]


def test_a_changed_backup_is_refused(tmp_path):
    content = gzip.decompress((FROZEN / "registry.vgb").read_bytes())
    changed = tmp_path / "changed.vgb"
    changed.write_bytes(gzip.compress(content.replace(b'"bolt"', b'"evil"', 1)))
    with pytest.raises(VerificationError):
        Authority.restore(tmp_path / "restored", changed)


# Artifacts


@pytest.mark.parametrize("kind", ["onnx", "safetensors", "pt2", "vgc"])
def test_artifacts_verify(kind, home):
    upgrade(home / "registry.db")
    pem, listed = (FROZEN / "seller.pem").read_bytes(), (FROZEN / "revocations.json").read_bytes()
    with Registry(home / "registry.db", read_only=True) as registry:
        result = verify_artifact(
            FROZEN / "artifacts" / kind,
            public_key_pem=pem,
            now=EXPECTED["now"] + DAY,
            revocations=listed,
            checks=registry_checks(registry),
        )
    assert result.failure is None
    assert [step.outcome for step in result.steps] == ["passed"] * 9


def test_the_public_tool_takes_them():
    verifying = pytest.importorskip("model_signing.verifying", reason="model-signing is not installed")
    pytest.importorskip("OpenSSL", reason="pyOpenSSL is not installed")
    folder = FROZEN / "artifacts" / "onnx"
    config = verifying.Config().use_elliptic_key_verifier(public_key=FROZEN / "seller.pem")
    config.verify(folder, folder / "model.sig")


@pytest.mark.parametrize(
    ("days", "step", "detail"),
    [(366, "times", "expire"), (10, "revocation", "list"), (-2, "times", "future")],
)
def test_artifacts_fail_at_other_times(days, step, detail):
    result = verify_artifact(
        FROZEN / "artifacts" / "onnx",
        public_key_pem=(FROZEN / "seller.pem").read_bytes(),
        now=EXPECTED["now"] + days * DAY,
        revocations=(FROZEN / "revocations.json").read_bytes(),
    )
    assert result.failure is not None
    assert result.failure.name == step
    assert detail in result.failure.detail


def test_the_revoked_copy_is_refused():
    pem, listed = (FROZEN / "seller.pem").read_bytes(), (FROZEN / "revocations.json").read_bytes()
    result = verify_artifact(
        FROZEN / "artifacts" / "revoked", public_key_pem=pem, now=EXPECTED["now"] + DAY, revocations=listed
    )
    assert result.failure is not None
    assert result.failure.name == "revocation"
    assert sorted(read_revocations(listed, read_public_key(pem)).copies) == [copy_of("bolt")]
    manifest = json.loads((FROZEN / "artifacts" / "revoked" / "manifest.json").read_text("utf-8"))
    assert key_digest(read_public_key(pem)) == manifest["signing_key"]


def test_the_payloads_answer_as_the_copy(home):
    """All but pt2, which is never read."""
    expected = next(one["labels"] for one in EXPECTED["copies"] if one["row"]["copy_id"] == copy_of("acme"))
    folder = FROZEN / "artifacts"
    code = home / "models" / "net" / "code"
    plain = load_safetensors_copy(folder / "safetensors" / "model.safetensors", code=code)
    assert plain.predict(INPUTS).tolist() == expected
    opened = open_copy((folder / "vgc" / "copy.vgc").read_bytes(), passphrase=b"compat")
    with Authority.open(home, access=ACCESS) as desk:
        assert opened.copy(desk.original("net")).predict(INPUTS).tolist() == expected
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    session = onnxruntime.InferenceSession(folder / "onnx" / "model.onnx", providers=["CPUExecutionProvider"])
    (labels,) = session.run(None, {"input": INPUTS.numpy()})
    assert labels.tolist() == expected
