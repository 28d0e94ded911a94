"""Issuing is idempotent, all or nothing, and bound to spec, model and buyer; copies come back bit for bit."""

import sqlite3
import subprocess
import sys
import time

import pytest
import torch

from tests.authority.conftest import NOW, SECRET
from tests.authority.linear_seller import imported
from tests.raising import raises
from variegate.authority import Authority
from variegate.data import load_dataset
from variegate.errors import ConfigurationError, ConflictError, NotFoundError, SecretError, VerificationError
from variegate.keys import KeyContext
from variegate.manifest import copy_id
from variegate.registry.copies import count_copies, list_copies
from variegate.registry.records import get_model
from variegate.rewriters.base import rewrite
from variegate.rewriters.permutation import PermutationSpec
from variegate.rewriters.qim import QimSpec


@pytest.fixture(scope="module")
def images():
    return torch.from_numpy(load_dataset("digits", limit=50).images)


def test_manifests_say_everything_but_the_key(desk):
    first, second = desk.issue("net", "qim", ["acme", "bolt"])
    assert (first.buyer, second.buyer) == ("acme", "bolt")
    assert first.issued_at == "2026-09-21T14:13:20Z"
    assert first.spec == QimSpec(messages_per_class=4).to_dict()
    assert first.spec_digest == QimSpec(messages_per_class=4).digest
    assert first.model_digest == desk.registry.read(get_model, "net").digest
    assert (first.rewriter, first.epoch) == ("qim", 1)
    assert desk.copy_manifest(first.copy_id) == first


def test_copy_id_is_a_public_function_of_what_it_names():
    known = {"model_digest": "sha256:a", "spec_digest": "sha256:b", "buyer": "acme", "epoch": 1}
    assert copy_id(**known) == "vg1-a1c35a9f543d5f08197a"
    changed = [copy_id(**{**known, name: value}) for name, value in (("buyer", "acm"), ("epoch", 2))]
    assert len({copy_id(**known), *changed}) == 3


def test_issuing_again_gives_the_same_copy(desk):
    before = desk.issue("net", "qim", ["acme"])
    desk._clock = lambda: NOW + 1000
    again = desk.issue("net", "qim", ["new", "acme", "new"])
    assert again[1] == before[0]
    assert again[0] == again[2]
    assert again[0].issued_at != before[0].issued_at
    assert desk.registry.read(count_copies) == 2


def test_another_spec_for_the_same_epoch_is_refused(desk):
    desk.issue("net", "qim", ["acme", "bolt"])
    with raises(ConflictError, "bolt", "buyer", "epoch"):
        desk.issue("net", "permutation", ["new", "bolt", "acme"])
    assert desk.registry.read(count_copies) == 2
    assert desk.issue("net", "permutation", ["bolt"], epoch=2)[0].rewriter == "permutation"


def test_a_spec_belongs_to_the_model_it_was_calibrated_for(desk, tmp_path):
    desk.import_model(imported(tmp_path / "other", "other", ridge=5.0))
    with raises(ConfigurationError, "qim", "net", "other", "calibrated"):
        desk.issue("other", "qim", ["acme"])
    assert desk.issue("other", "permutation", ["acme"])[0].model == "other"


@pytest.mark.parametrize(
    ("buyers", "message"),
    [([], "at least one buyer"), (["acme", "two words"], "a buyer's name must be .* 'two words'"), ([""], "got ''")],
)
def test_bad_buyers(desk, buyers, message):
    with pytest.raises(ConfigurationError, match=message):
        desk.issue("net", "qim", buyers)
    assert desk.registry.read(count_copies) == 0


def test_bad_epoch_and_unknown_names(desk):
    with raises(ConfigurationError, "2147483647", "0"):
        desk.issue("net", "qim", ["acme"], epoch=0)
    with raises(ConfigurationError, "2147483647", "9999"):
        desk.issue("net", "qim", ["acme"], epoch=int("9" * 20))
    with raises(NotFoundError, "nope"):
        desk.issue("nope", "qim", ["acme"])
    with raises(NotFoundError, "nope"):
        desk.issue("net", "nope", ["acme"])
    with pytest.raises(ConfigurationError, match="a spec's name"):
        desk.issue("net", "../qim", ["acme"])


def test_issuing_needs_the_secret(desk):
    def ask():
        raise SecretError("no passphrase")

    with Authority.open(desk.home.root, ask) as other, raises(SecretError, "passphrase"):
        other.issue("net", "qim", ["acme"])
    assert desk.registry.read(count_copies) == 0


def test_many_buyers_come_from_an_iterator(desk):
    assert desk.issue_many("net", "qim", (f"b{i}" for i in range(12_000))) == 12_000
    assert desk.issue_many("net", "qim", (f"b{i}" for i in range(11_999, 12_002))) == 2
    assert desk.registry.read(count_copies) == 12_002


def test_a_copy_that_is_no_longer_active_is_not_issued_again(desk):
    (manifest,) = desk.issue("net", "qim", ["acme"])
    edit(desk, "UPDATE copies SET status = 'revoked'")
    for issue in (desk.issue, desk.issue_many):
        with raises(ConflictError, str(manifest.copy_id), "acme", "buyer", "revoked"):
            issue("net", "qim", ["new", "acme"])
    assert desk.registry.read(count_copies) == 1


@pytest.mark.parametrize("spec_name", ["qim", "permutation"])
def test_a_copy_is_the_rewrite_with_the_derived_key(desk, images, spec_name):
    (manifest,) = desk.issue("net", spec_name, ["acme"])
    spec = {"qim": QimSpec(messages_per_class=4), "permutation": PermutationSpec()}[spec_name]
    context = KeyContext(
        model_digest=manifest.model_digest, rewriter=spec.rewriter, spec_digest=spec.digest, buyer="acme", epoch=1
    )
    expected = rewrite(desk.original("net"), SECRET.derive(context), spec)
    assert torch.equal(desk.load_copy(manifest.copy_id).scores(images), expected.scores(images))


def test_copies_differ_and_come_back_after_reopening(desk, images):
    first, second = desk.issue("net", "qim", ["acme", "bolt"])
    scores = desk.load_copy(first.copy_id).scores(images)
    assert not torch.allclose(scores, desk.load_copy(second.copy_id).scores(images), atol=1e-3)
    with Authority.open(desk.home.root, lambda: SECRET, read_only=True) as again:
        assert torch.equal(again.load_copy(first.copy_id).scores(images), scores)


def test_unknown_copy(desk):
    with raises(NotFoundError, "vg1-nope"):
        desk.load_copy("vg1-nope")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE copies SET epoch = 7",
        "UPDATE copies SET buyer = 'mallory'",
        "UPDATE specs SET body = replace(body, '4', '5')",
    ],
)
def test_changed_rows_are_noticed(desk, change):
    (manifest,) = desk.issue("net", "qim", ["acme"])
    edit(desk, change)
    with raises(VerificationError, "buyer"):
        desk.load_copy(manifest.copy_id)


def edit(desk, statement):
    connection = sqlite3.connect(desk.home.registry)
    with connection:
        connection.execute(statement)
    connection.close()


ISSUE = """
import sys, time
from pathlib import Path
from variegate.authority import Authority
from variegate.keys import SellerSecret

home, spec, ready, go = sys.argv[1:]
secret = SellerSecret.from_bytes(bytes(range(32)))
with Authority.open(Path(home), lambda: secret) as desk:
    Path(ready).touch()
    while not Path(go).exists():
        time.sleep(0.001)
    print(desk.issue_many("net", spec, [f"b{i}" for i in range(8_000)]))
assert "torch" not in sys.modules
"""


def together(desk, tmp_path, specs):
    """Issue with each spec in a process of its own, all at the same moment; return their (code, stdout, stderr)."""
    go = tmp_path / "go"
    ready = [tmp_path / f"ready-{i}" for i in range(len(specs))]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", ISSUE, desk.home.root, spec, mark, go],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for spec, mark in zip(specs, ready, strict=True)
    ]
    while not all(mark.exists() for mark in ready) and all(process.poll() is None for process in processes):
        time.sleep(0.001)
    go.touch()
    outputs = [process.communicate(timeout=60) for process in processes]
    return [(process.returncode, *output) for process, output in zip(processes, outputs, strict=True)]


def test_two_processes_issue_the_same(desk, tmp_path):
    results = together(desk, tmp_path, ["qim", "qim"])
    assert [code for code, *_ in results] == [0, 0], results
    assert sorted(int(out) for _, out, _ in results) == [0, 8_000]
    assert desk.registry.read(count_copies) == 8_000


def test_two_processes_issue_different_copies_to_the_same_buyers(desk, tmp_path):
    results = together(desk, tmp_path, ["qim", "permutation"])
    assert sorted(code for code, *_ in results) == [0, 1], results
    (complaint,) = [err for code, _, err in results if code == 1]
    assert "ConflictError: buyer 'b0' holds copy vg1-" in complaint.splitlines()[-1]
    assert desk.registry.read(count_copies) == 8_000
    assert len({row.spec_digest for row in desk.registry.read(list_copies)}) == 1
