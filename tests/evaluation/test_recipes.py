"""Whole audits of a tiny classifier: what the record holds, resuming, and what is refused."""

import json
import shutil

import numpy as np
import pytest
import torch

from variegate.attacks import driver
from variegate.errors import ConfigurationError, FormatError, InputError, OracleError, VerificationError
from variegate.evaluation.recipes import AuditSpec, audit_replicate
from variegate.evaluation.replication import SCALES, default_norms
from variegate.models.classifier import Classifier
from variegate.rewriters.permutation import PermutationSpec
from variegate.rewriters.qim import QimSpec
from variegate.testing.seller import small_classifier
from variegate.types import Bounds, Norm

QIM = QimSpec(messages_per_class=2, quantization_step=0.1, strength=2.0)
RATES = {
    "attack_success_rate",
    "replication_rate",
    "replication_rate_conditioned",
    "replicated_same_rate",
    "end_to_end_rate",
}


def pool(original, count=60, *, wrong=5):
    """Return images and the original's labels for them, the first `wrong` of which are made wrong."""
    bounds = original.bounds
    images = torch.rand((count, *original.input_shape), generator=torch.Generator().manual_seed(2))
    images = bounds.lower + bounds.range * images
    labels = original.predict(images)
    labels[:wrong] = (labels[:wrong] + 1) % original.num_classes
    return images.numpy(), labels.numpy()


def spec(**changes):
    values = {
        "model_name": "small",
        "data_name": "noise",
        "split": "test",
        "rewriters": (QIM, PermutationSpec(), QimSpec(messages_per_class=4)),
        "copies": 2,
        "images": 6,
        "queries": 250,
        "seed": 1,
        "command": "variegate audit replicate",
    }
    return AuditSpec(**{**values, **changes})


def audit(out, changes=None, *, original=None, independent=None, **options):
    original = original or small_classifier()
    images, labels = pool(original)
    arguments = {
        "original": original,
        "independent": [small_classifier(seed=1)] if independent is None else independent,
        "images": images,
        "labels": labels,
        "out": out,
    }
    return audit_replicate(spec(**(changes or {})), **{**arguments, **options})


def lasting(record):
    """Return the record without what time decides."""
    return {key: value for key, value in record.items() if key not in ("created", "seconds", "efficiency")}


def assert_rate(rate):
    assert set(rate) == {"rate", "k", "n", "low", "high", "interval"}
    if rate["n"]:
        assert rate["rate"] == rate["k"] / rate["n"]
        assert 0 <= rate["low"] <= rate["high"] <= 1
    else:
        assert rate["rate"] is rate["low"] is rate["high"] is None


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("audit")
    return out, audit(out)


def test_record_on_disk_is_the_one_returned(finished):
    out, record = finished
    assert json.loads((out / "record.json").read_text()) == json.loads(json.dumps(record))
    json.dumps(record, allow_nan=False)


def test_head_of_the_record(finished):
    _, record = finished
    assert (record["format"], record["kind"], record["command"]) == (1, "replication", "variegate audit replicate")
    original = small_classifier()
    assert record["model"] == {
        "name": "small",
        "digest": original.digest,
        "num_classes": 10,
        "input_shape": [1, 8, 8],
        "bounds": [0.0, 1.0],
    }
    data = record["data"]
    assert (data["name"], data["split"], data["images"]) == ("noise", "test", 6)
    assert data["indices"] == sorted(set(data["indices"]))
    assert min(data["indices"]) >= 5  # the first five are misclassified
    attack = record["attack"]
    assert (attack["name"], attack["budget"], attack["norm"], attack["seed"]) == ("hopskipjump", 250, "l2", 1)
    assert attack["parameters"]["semantics"] == "paper"
    assert record["efficiency"]["queries"] == sum(
        attacker["queries"]["total"]
        for group in record["groups"]
        if group["name"] not in ("noise", "independent")  # these show the original's adversarials again
        for attacker in group["attack"]["attackers"]
    )


def test_groups(finished):
    _, record = finished
    names = [group["name"] for group in record["groups"]]
    assert names == ["identical", "noise", "independent", "qim", "permutation", "qim-2"]
    for group in record["groups"]:
        copies, attackers = len(group["copies"]), len(group["attackers"])
        assert copies == 2
        assert set(group["rates"]) == RATES
        for rate in group["rates"].values():
            assert_rate(rate)
        assert [point["s"] for point in group["replication_at"]] == list(SCALES)
        assert [point["epsilon"] for point in group["replication_within"]] == list(default_norms(Norm.L2, Bounds()))
        rates = [point["rate"]["rate"] or 0.0 for point in group["replication_within"]]
        assert rates == sorted(rates)
        assert len(group["attack"]["attackers"]) == attackers
        matrix = group["matrix"]
        assert np.shape(matrix["replicated"]) == np.shape(matrix["n"]) == (attackers, copies)
        for row, attacker in zip(matrix["replicated"], matrix["attackers"], strict=True):
            assert [value is None for value in row] == [victim == attacker for victim in range(copies)]
        assert group["accuracy"]["original"] == {"n": 60, "correct": 55}
        assert len(group["accuracy"]["copies"]) == copies
    assert [group["rewriter"] for group in record["groups"][:3]] == [None] * 3
    assert record["groups"][3]["rewriter"] == QIM.to_dict()
    assert record["groups"][3]["attackers"] == [0, 1]


def test_identical_copies_replicate_at_one_and_noise_does_not(finished):
    _, record = finished
    identical, noise = record["groups"][:2]
    for name in ("replication_rate", "replication_rate_conditioned", "replicated_same_rate"):
        rate = identical["rates"][name]
        assert (rate["k"], rate["n"], rate["rate"]) == (6, 6, 1.0)
    assert all(point["rate"]["rate"] == 1.0 for point in identical["replication_at"][:2])  # s = 1 and 1.05
    assert identical["attack"]["reverified"] == 6
    assert noise["rates"]["replication_rate"]["rate"] < 0.5
    assert [point["rate"] for point in identical["noise_at"]] == [point["rate"] for point in noise["replication_at"]]


def test_adversarials_succeed_on_their_own_copy(finished):
    _, record = finished
    for group in record["groups"]:
        for attacker in group["attack"]["attackers"]:
            assert attacker["succeeded"] == attacker["attempted"] == attacker["status"]["success"]
            assert attacker["queries"]["p90"] <= 250
            assert len(attacker["distances"]) == attacker["succeeded"]
            medians = attacker["trajectory"]["median_distance"]
            assert medians == sorted(medians, reverse=True)


def test_pictures(finished):
    out, _ = finished
    with np.load(out / "pictures.npz", allow_pickle=False) as pictures:
        assert pictures["clean"].shape == pictures["adversarial"].shape == (25, 1, 8, 8)
        assert set(pictures["group"]) == {"identical", "independent", "qim", "permutation", "qim-2"}
        assert not np.array_equal(pictures["clean"], pictures["adversarial"])


def test_an_audit_can_be_repeated(finished, tmp_path):
    _, record = finished
    assert lasting(audit(tmp_path)) == lasting(record)


def test_a_finished_audit_is_taken_over_without_a_query(finished, tmp_path, monkeypatch):
    folder, record = finished
    out = tmp_path / "audit"
    shutil.copytree(folder, out)

    def refuse(*args):
        raise AssertionError("a finished shard was attacked again")

    monkeypatch.setattr(driver, "_mark_misclassified", refuse)
    again = audit(out)
    assert lasting(again) == lasting(record)
    assert again["efficiency"]["queries"] == record["efficiency"]["queries"]
    assert again["efficiency"]["seconds"] == pytest.approx(record["efficiency"]["seconds"], abs=0.5)


@pytest.mark.parametrize("stop_at", [2, 9, 14])
def test_an_interrupted_audit_goes_on(finished, tmp_path, stop_at):
    _, record = finished
    told = []

    def progress(what, done, total):
        told.append((what, done, total))
        if len(told) == stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        audit(tmp_path, progress=progress)
    assert not (tmp_path / "record.json").exists()
    assert list((tmp_path / "shards").iterdir())
    resumed = audit(tmp_path)
    assert lasting(resumed) == lasting(record)
    assert resumed["efficiency"]["queries"] == record["efficiency"]["queries"]


def test_progress_goes_up_to_its_end(tmp_path):
    told = []
    audit(tmp_path, {"rewriters": (QIM,)}, progress=lambda *what: told.append(what))
    done = [entry[1] for entry in told]
    assert done == sorted(done)
    assert {entry[2] for entry in told} == {3 * 6 * 250}
    assert done[-1] <= 3 * 6 * 250
    assert {entry[0] for entry in told} == {
        "attacking original, copy 0",
        "attacking qim, copy 0",
        "attacking qim, copy 1",
    }


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({"rewriters": (QimSpec(messages_per_class=3),)}, {}),  # the same name, other copies
        ({"seed": 2}, {}),
        ({"queries": 251}, {}),
        ({"images": 7}, {}),
        ({"norm": Norm.LINF}, {}),
        ({"semantics": "art"}, {}),
        ({}, {"original": small_classifier(seed=3)}),
    ],
    ids=["rewriter", "seed", "budget", "images", "norm", "semantics", "original"],
)
def test_shards_of_another_audit_are_not_taken(tmp_path, changes, options):
    audit(tmp_path, {"rewriters": (QIM,)}, independent=[])
    with pytest.raises(VerificationError, match="belongs to another attack"):
        audit(tmp_path, {"rewriters": (QIM,), **changes}, independent=[], **options)


def test_another_original_that_gets_the_same_images_right_is_noticed(tmp_path):
    """The same inputs, labels and seed: nothing but the model differs."""
    original = small_classifier()
    twin = small_classifier()
    twin.module[3].weight.data *= 1.01
    twin = Classifier(twin.module, input_shape=(1, 8, 8), labels=10)
    audit(tmp_path, {"rewriters": (QIM,)}, original=original, independent=[])
    images, labels = pool(original)
    assert np.array_equal(twin.predict(torch.from_numpy(images)).numpy()[5:], labels[5:])
    with pytest.raises(VerificationError, match="belongs to another attack"):
        audit(tmp_path, {"rewriters": (QIM,)}, original=twin, independent=[])


def test_a_damaged_shard_is_named(tmp_path):
    audit(tmp_path, {"rewriters": (QIM,)}, independent=[])
    shard = tmp_path / "shards" / "qim-1.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(FormatError, match="qim-1.safetensors is not an attack checkpoint or is truncated; delete it"):
        audit(tmp_path, {"rewriters": (QIM,)}, independent=[])
    shard.unlink()
    audit(tmp_path, {"rewriters": (QIM,)}, independent=[])


def test_a_failing_model_stops_the_audit_and_says_that_it_can_be_resumed(finished, tmp_path, monkeypatch):
    _, record = finished
    original = small_classifier()
    predict, calls = Classifier.predict, []

    def failing(self, x):
        calls.append(len(x))
        if len(calls) == 12:
            raise RuntimeError("CUDA error: an illegal memory access")
        return predict(self, x)

    monkeypatch.setattr(Classifier, "predict", failing)
    with pytest.raises(OracleError, match="illegal memory access; the audit can be resumed from"):
        audit(tmp_path, original=original)
    monkeypatch.undo()
    assert lasting(audit(tmp_path)) == lasting(record)


def test_fewer_attackers_than_copies(tmp_path):
    record = audit(tmp_path, {"rewriters": (QIM,), "copies": 4, "attackers": 1}, independent=[])
    group = record["groups"][-1]
    assert [g["name"] for g in record["groups"]] == ["identical", "noise", "qim"]
    assert group["copies"] == ["copy 0", "copy 1", "copy 2", "copy 3"]
    assert group["attackers"] == [0]
    assert np.shape(group["matrix"]["n"]) == (1, 4)
    assert group["rates"]["replication_rate"]["n"] == 3 * group["attack"]["attackers"][0]["succeeded"]


def test_linf_other_bounds_and_one_dimension(tmp_path):
    original = small_classifier(input_shape=(24,), num_classes=4, bounds=Bounds(-1.0, 1.0))
    record = audit(tmp_path, {"rewriters": (QIM,), "norm": Norm.LINF}, original=original, independent=[])
    assert record["model"]["bounds"] == [-1.0, 1.0]
    assert record["attack"]["norm"] == record["attack"]["parameters"]["norm"] == "linf"
    assert record["groups"][0]["rates"]["replication_rate"]["rate"] == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"copies": 1}, "at least 2 copies; got 1"),
        ({"attackers": 0}, "attackers must be from 1 to the 2 copies; got 0"),
        ({"attackers": 3}, "attackers must be from 1 to the 2 copies; got 3"),
        ({"images": 0}, "images and queries must be at least 1; got 0 and 250"),
        ({"queries": 0}, "images and queries must be at least 1; got 6 and 0"),
    ],
)
def test_bad_specs(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        spec(**changes)


def test_a_norm_by_its_name_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="norm must be Norm.L2 or Norm.LINF; got 'l2'"):
        audit(tmp_path, {"norm": "l2"})


ORIGINAL = small_classifier()
IMAGES, LABELS = pool(ORIGINAL)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": IMAGES[:10], "labels": LABELS[:10]}, "needs 6 images .* the 10 given hold 5"),
        ({"images": IMAGES[:0], "labels": LABELS[:0]}, "the 0 given hold 0"),
        ({"labels": LABELS[:-1]}, r"labels must be int64 of shape \(60,\); got torch.int64 \(59,\)"),
        ({"labels": LABELS.astype(np.int32)}, r"labels must be int64 of shape \(60,\); got torch.int32"),
        ({"labels": LABELS + 5}, "labels must be from 0 to 9; got"),
        ({"images": IMAGES[:, 0]}, r"inputs must have shape \(N, 1, 8, 8\); got \(60, 8, 8\)"),
        ({"images": IMAGES * 255}, r"must lie in \[0, 1\]; got values from"),
        ({"images": np.where(IMAGES > 0.99, np.nan, IMAGES)}, "must be finite; got NaN or infinity"),
        ({"images": (IMAGES * 255).astype(np.uint8)}, r"floating point in \[0, 1\]; got torch.uint8"),
    ],
)
def test_bad_pools(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        audit(tmp_path, original=ORIGINAL, **options)
