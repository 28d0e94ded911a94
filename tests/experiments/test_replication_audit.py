"""Whole audits of a tiny classifier: what the record holds, resuming, and what is refused."""

import copy
import json
import re
import shutil
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from variegate.attacks import driver
from variegate.attacks.hopskipjump import HopSkipJump
from variegate.errors import ConfigurationError, FormatError, InputError, OracleError, VerificationError
from variegate.evaluation.provenance import source_digest
from variegate.evaluation.replication import SCALES, default_norms
from variegate.evaluation.subjects import experiment_heads
from variegate.experiments.replication import AuditSpec, audit_replicate
from variegate.models.classifier import Classifier
from variegate.rewriters.base import RewrittenCopy
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


def perturbed(original=None, *, by=0.02, seed=1):
    """Return a classifier that answers almost as `original` does: another training, as far as an audit can tell."""
    original = original or small_classifier()
    module = copy.deepcopy(original.module)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.0 + by * torch.randn(parameter.shape, generator=generator))
    return Classifier(module, input_shape=original.input_shape, labels=original.num_classes, bounds=original.bounds)


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
        "independent": [perturbed(original)] if independent is None else independent,
        "images": images,
        "labels": labels,
        "out": out,
    }
    return audit_replicate(spec(**(changes or {})), **{**arguments, **options}).to_dict()


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
        "manifest_digest": None,
        "num_classes": 10,
        "input_shape": [1, 8, 8],
        "bounds": [0.0, 1.0],
    }
    assert record["source"] == source_digest()
    assert re.fullmatch("sha256:[0-9a-f]{64}", record["source"])
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
    out, record = finished
    shown = {g["name"]: min(5, g["attack"]["attackers"][0]["succeeded"]) for g in record["groups"]}
    del shown["noise"]
    assert shown["identical"] == shown["independent"] == 5
    with np.load(out / "pictures.npz", allow_pickle=False) as pictures:
        assert pictures["clean"].shape == pictures["adversarial"].shape == (sum(shown.values()), 1, 8, 8)
        assert set(shown) == {"identical", "independent", "qim", "permutation", "qim-2"}
        assert {name: pictures["group"].tolist().count(name) for name in shown} == shown
        assert (pictures["clean"] != pictures["adversarial"]).any((1, 2, 3)).all()


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
        ({"attack": HopSkipJump(norm=Norm.LINF)}, {}),
        ({"attack": HopSkipJump(semantics="art")}, {}),
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
    record = audit(
        tmp_path, {"rewriters": (QIM,), "attack": HopSkipJump(norm=Norm.LINF)}, original=original, independent=[]
    )
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
        ({"seed": -1}, "the seed must be from 0 to 2147483647; got -1"),
        ({"seed": 2**31}, "the seed must be from 0 to 2147483647; got 2147483648"),
        ({"deal_images": True, "copies": 7}, "6 images cannot be dealt out to 7 attackers"),
    ],
)
def test_bad_specs(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        spec(**changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseSpec(PermutationSpec):
    """A rewriter of one's own that has a control's name."""

    rewriter: ClassVar[str] = "noise"


@dataclass(frozen=True, slots=True, kw_only=True)
class HyphenatedSpec(PermutationSpec):
    """A rewriter of one's own whose name looks numbered."""

    rewriter: ClassVar[str] = "my-own"


def test_names_of_controls_are_reserved():
    with pytest.raises(ConfigurationError, match="a rewriter cannot be called noise: that names a control"):
        spec(rewriters=(QIM, NoiseSpec()))


def test_groups_of_a_name_with_a_hyphen_are_told_apart(tmp_path):
    twice = (HyphenatedSpec(), HyphenatedSpec(alpha=0.7))
    record = audit(tmp_path, {"rewriters": twice, "images": 1}, independent=[])
    assert [group["name"] for group in record["groups"][2:]] == ["my-own", "my-own-2"]
    assert {path.name for path in (tmp_path / "shards").iterdir()} == {
        "original-0.safetensors",
        *(f"{name}-{number}.safetensors" for name in ("my-own", "my-own-2") for number in (0, 1)),
    }


def test_the_copies_of_an_audit_are_those_of_its_purpose(tmp_path):
    """Table 1 is that of the copies `experiment_heads` makes for audits."""
    original = small_classifier()
    record = audit(tmp_path, {"rewriters": (QIM,), "images": 1}, original=original, independent=[])
    images, labels = pool(original)

    def correct(purpose):
        heads = experiment_heads(original, QIM, copies=2, seed=1, purpose=purpose)
        x = torch.from_numpy(images)
        return [int((RewrittenCopy(original, head).predict(x).numpy() == labels).sum()) for head in heads]

    found = [each["correct"] for each in record["groups"][-1]["accuracy"]["copies"]]
    assert found == correct("audit")
    assert found != correct("calibration")


def test_audited_images_are_right_on_the_independent_classifiers_too(tmp_path):
    original = small_classifier()
    others = [perturbed(original, by=0.5, seed=1), perturbed(original, by=0.5, seed=2)]
    images, labels = pool(original)
    right = np.stack([other.predict(torch.from_numpy(images)).numpy() == labels for other in (original, *others)])
    both = np.flatnonzero(right.all(0))
    assert 3 <= len(both) < min(right.sum(1))
    options = {"original": original, "independent": others}
    record = audit(tmp_path, {"rewriters": (), "images": len(both)}, **options)
    assert record["data"]["indices"] == both.tolist()
    rates = record["groups"][2]["rates"]
    assert rates["replication_rate"] == rates["replication_rate_conditioned"]  # nobody errs on the clean images
    message = f"{len(both) + 1} images that the original and the independent classifiers get right; the 60 given hold "
    with pytest.raises(InputError, match=message + str(len(both))):
        audit(tmp_path / "more", {"images": len(both) + 1}, **options)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (small_classifier(), "classifier 2 has the original's weights; give another training"),
        (
            small_classifier(input_shape=(8, 8), seed=1),
            r"classifier 2 must take the original's inputs .* got \(\(8, 8\)",
        ),
        (small_classifier(bounds=Bounds(-1.0, 1.0), seed=1), r"classifier 2 must take .* got .*-1\.0"),
        (small_classifier(num_classes=9, seed=1), r"classifier 2 must take .*, 10\); got .*, 9\)"),
    ],
    ids=["the original", "shape", "bounds", "classes"],
)
def test_bad_independent_classifiers(tmp_path, other, message):
    with pytest.raises(ConfigurationError, match=message):
        audit(tmp_path, independent=[perturbed(), other])
    assert not list(tmp_path.iterdir())


def test_the_manifest_binds_the_shards(tmp_path):
    digest = "sha256:" + "a" * 64
    changes = {"rewriters": (QIM,), "images": 1, "model_digest": digest}
    record = audit(tmp_path, changes, independent=[])
    assert record["model"]["manifest_digest"] == digest
    assert lasting(audit(tmp_path, changes, independent=[])) == lasting(record)
    with pytest.raises(VerificationError, match="belongs to another attack"):
        audit(tmp_path, {**changes, "model_digest": "sha256:" + "b" * 64}, independent=[])


DEALT = {"rewriters": (QIM,), "copies": 3, "images": 8, "deal_images": True}


@pytest.fixture(scope="module")
def dealt(tmp_path_factory):
    out, told = tmp_path_factory.mktemp("dealt"), []
    return out, audit(out, DEALT, progress=lambda *what: told.append(what)), told


def test_dealt_images_are_attacked_once_each_and_shown_to_every_other_copy(dealt):
    out, record, told = dealt
    group = record["groups"][-1]
    attacks = group["attack"]["attackers"]
    assert group["attackers"] == [0, 1, 2]
    assert [attack["attempted"] + attack["status"].get("already_misclassified", 0) for attack in attacks] == [3, 3, 2]
    succeeded = [attack["succeeded"] for attack in attacks]
    assert min(succeeded) > 0
    matrix = group["matrix"]
    assert matrix["n"] == [[None if i == j else succeeded[i] for j in range(3)] for i in range(3)]
    rates = group["rates"]
    assert rates["replication_rate"]["n"] == 2 * sum(succeeded)
    replicated = [value for row in matrix["replicated"] for value in row if value is not None]
    assert (len(replicated), sum(replicated)) == (6, rates["replication_rate"]["k"])
    assert rates["attack_success_rate"]["n"] == sum(attack["attempted"] for attack in attacks)
    assert rates["end_to_end_rate"]["n"] == 2 * rates["attack_success_rate"]["n"]
    assert group["attack"]["reverified"] == sum(succeeded)
    for name in ("identical", "independent"):  # the original is attacked with every image
        (control,) = (group for group in record["groups"] if group["name"] == name)
        assert control["attack"]["attackers"][0]["attempted"] == 8
        assert control["rates"]["replication_rate"]["n"] == 8
    assert {entry[2] for entry in told} == {2 * 8 * 250}
    done = [entry[1] for entry in told]
    assert done == sorted(done)
    with np.load(out / "pictures.npz", allow_pickle=False) as pictures:
        assert pictures["group"].tolist().count("qim") == min(5, succeeded[0])
        ours = pictures["group"] == "qim"
        assert (pictures["clean"][ours] != pictures["adversarial"][ours]).any((1, 2, 3)).all()


def test_a_dealt_audit_attacks_the_copies_that_are_dealt_the_images(dealt, tmp_path):
    """The adversarials of a dealt audit are those that each attacker finds on his own images."""
    _, record, _ = dealt
    whole = audit(tmp_path, {**DEALT, "deal_images": False})
    pairs = zip(record["groups"][-1]["attack"]["attackers"], whole["groups"][-1]["attack"]["attackers"], strict=True)
    assert whole["data"]["indices"] == record["data"]["indices"]
    found: list[float] = []
    for own, every in pairs:
        assert 0 < own["attempted"] < every["attempted"]
        assert own["distances"]
        for value in own["distances"]:
            assert min(abs(value - other) for other in every["distances"]) < 1e-4
        found.extend(own["distances"])
    assert len(set(found)) == len(found)  # no image is attacked twice


@pytest.mark.parametrize("stop_at", [5, 9, 12])
def test_an_interrupted_dealt_audit_goes_on(dealt, tmp_path, stop_at):
    _, record, told = dealt
    assert stop_at < len(told)
    seen = []

    def progress(*what):
        seen.append(what)
        if len(seen) == stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        audit(tmp_path, DEALT, progress=progress)
    resumed = audit(tmp_path, DEALT)
    assert lasting(resumed) == lasting(record)
    assert resumed["efficiency"]["queries"] == record["efficiency"]["queries"]


def test_shards_of_all_images_are_not_taken_for_dealt_ones(tmp_path):
    audit(tmp_path, {**DEALT, "deal_images": False}, independent=[])
    with pytest.raises(VerificationError, match="belongs to another attack"):
        audit(tmp_path, DEALT, independent=[])


def test_one_attacker_is_dealt_every_image(tmp_path):
    record = audit(tmp_path, {**DEALT, "attackers": 1}, independent=[])
    group = record["groups"][-1]
    (attack,) = group["attack"]["attackers"]
    assert attack["attempted"] + attack["status"].get("already_misclassified", 0) == 8
    assert group["rates"]["replication_rate"]["n"] == 2 * attack["succeeded"]


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
