"""Calibration of a tiny classifier: it keeps to its budget, says how it chose, and refuses what it cannot do."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tests.raising import raises
from variegate.data.images import LabelledImages
from variegate.errors import ConfigurationError, InputError
from variegate.evaluation.replication import measure_replication
from variegate.evaluation.subjects import experiment_heads, natural_jitter
from variegate.experiments import calibration as trial_module
from variegate.experiments.calibration import OBJECTIVE_SCALES, Effort, Outcome, Trial, calibrate_spec, calibration_data
from variegate.models.bank import CopyBank
from variegate.models.classifier import Classifier
from variegate.rewriters.catalog import spec_from_dict
from variegate.rewriters.permutation import PermutationSpec
from variegate.testing.seller import small_classifier
from variegate.types import Bounds

REWRITERS = ["qim", "spread_spectrum", "permutation"]


def images(count=160, *, shape=(1, 8, 8), seed=3):
    return torch.rand((count, *shape), generator=torch.Generator().manual_seed(seed)).numpy()


def confident(scale=8.0):
    """Return a classifier whose margins are wide enough to be rewritten within a few per cent."""
    classifier = small_classifier()
    classifier.module[3].weight.data *= scale
    return Classifier(classifier.module, input_shape=(1, 8, 8), labels=10)


def calibrate(rewriter="qim", *, original=None, **options):
    options = {"max_change": 0.1, "attack_images": 6, "attack_queries": 200, "images": images(), **options}
    found = calibrate_spec(original or confident(), options.pop("images"), rewriter=rewriter, **options)
    return replace(found, record=found.record.to_dict())


@pytest.fixture(scope="module", params=REWRITERS)
def calibrated(request):
    return request.param, calibrate(request.param)


def test_what_a_spec_was_tuned_on():
    data = LabelledImages(images=images(6), labels=np.zeros(6, dtype=np.int64), class_names=("a", "b"), name="noise")
    found = calibration_data(data, "train")
    assert {**found.to_dict(), "digest": None} == {"name": "noise", "split": "train", "images": 6, "digest": None}
    expected = hashlib.sha256(b"6,1,8,8\0" + data.images.astype("<f4").tobytes()).hexdigest()
    assert found.digest == f"sha256:{expected}"
    assert calibration_data(replace(data, labels=data.labels + 1), "train") == found
    other = calibration_data(data.select([1, 0, 2, 3, 4, 5]), "test")
    assert (other.digest == found.digest, other.split) == (False, "test")


def test_the_record_explains_the_choice(calibrated):
    rewriter, result = calibrated
    record = result.record
    json.dumps(record, allow_nan=False)
    assert (record["format"], record["kind"], record["rewriter"]) == (1, "calibration", rewriter)
    assert (record["inputs"], record["max_change"], record["seed"]) == (160, 0.1, 0)
    assert record["model_digest"] == confident().digest
    assert record["boundary_distance"] > 0
    assert record["attack"] == {"name": "hopskipjump", "images": 6, "queries": 200, "copies": 4}
    chosen = [row for row in record["candidates"] if row["chosen"]]
    assert len(chosen) == 1
    assert chosen[0]["spec"] == record["chosen"] == result.spec.to_dict()
    assert spec_from_dict(record["chosen"]) == result.spec
    scored = {
        row["spec"]["strength"] if "strength" in row["spec"] else row["spec"]["alpha"]: row
        for row in record["candidates"]
    }
    assert len(scored) >= 2


def test_the_choice_is_feasible_and_has_the_lowest_mean_replication(calibrated):
    _, result = calibrated

    def mean(row):
        assert list(row["replication"]) == [str(s) for s in OBJECTIVE_SCALES]
        return sum(row["replication"].values()) / len(OBJECTIVE_SCALES)

    rows = result.record["candidates"]
    for row in rows:
        assert row["feasible"] is (row["change_bound"] <= 0.1)
        assert row["change_bound"] >= row["measured_change"]
        assert (row["replication"] is not None) is row["feasible"]
    attacked = [row for row in rows if row["replication"] is not None]
    (chosen,) = (row for row in rows if row["chosen"])
    assert chosen["feasible"]
    clear = [row for row in attacked if not row["masks"]] or attacked
    assert mean(chosen) == min(mean(row) for row in clear)
    assert chosen["median_distance"] > 0
    assert chosen["original_median_distance"] > 0


def test_the_bound_is_of_the_mean_over_inputs(calibrated):
    """One-sided, 95 %, over inputs: copies share them and are no trials of their own. Never under Wilson's bound."""
    _, result = calibrated
    original, x = confident(), torch.from_numpy(images())
    x = natural_jitter(x, bounds=original.bounds, seed=0)
    heads = experiment_heads(original, result.spec, copies=4, seed=0, purpose="calibration")
    changed = (CopyBank(original, heads).predict_all(x) != original.predict(x)[:, None]).double().mean(1)
    (row,) = (row for row in result.record["candidates"] if row["chosen"])
    assert row["measured_change"] == pytest.approx(float(changed.mean()))
    z, share = 1.6448536269514722, float(changed.mean())
    spread = share + z * float(changed.std()) / 160**0.5
    wilson = max(
        np.roots([160 + z * z, -(2 * 160 * share + z * z), 160 * share * share])
    )  # where |share - p| = z se(p)
    assert row["change_bound"] == pytest.approx(max(spread, float(wilson)))
    assert row["change_bound"] > row["measured_change"]


def test_rows_say_how_they_were_attacked(calibrated):
    _, result = calibrated
    rows = [row for row in result.record["candidates"] if row["feasible"]]
    for row in rows:
        # all of the attack, or half of it in a first round
        assert (row["attack_images"], row["attack_queries"]) in {(6, 200), (3, 100)}
        assert 0 < row["pairs"] <= 3 * row["attack_images"]
        assert row["pairs"] % 3 == 0
        assert row["masks"] is (row["median_distance"] > 1.3 * row["original_median_distance"])
        assert list(row["intervals"]) == list(row["replication"])
        for s, (low, high) in row["intervals"].items():
            assert 0.0 <= low <= row["replication"][s] <= high <= 1.0
            assert high - low > 0.2  # six images say little
    (chosen,) = (row for row in rows if row["chosen"])
    assert (chosen["attack_images"], chosen["attack_queries"]) == (6, 200)
    for row in result.record["candidates"]:
        if not row["feasible"]:
            assert all(row[name] is None for name in ("attack_images", "attack_queries", "intervals", "pairs", "masks"))


def test_a_share_within_the_budget_is_not_enough_where_its_bound_is_above(monkeypatch):
    monkeypatch.setattr(Trial, "measure_change", lambda self, spec: (0.09, 0.11))
    message = r"no permutation candidate .* 10.00% of labels; the closest changes 9.00% \(at most 11.00%\)"
    with pytest.raises(ConfigurationError, match=message):
        calibrate("permutation", attack_images=0)
    monkeypatch.setattr(Trial, "measure_change", lambda self, spec: (0.09, 0.10))
    assert all(row["feasible"] for row in calibrate("permutation", attack_images=0).record["candidates"])


@pytest.mark.parametrize(("count", "shares"), [(10, [3, 3, 2, 2]), (3, [1, 1, 1])])
def test_every_copy_attacks_an_equal_share_of_the_images(monkeypatch, count, shares):
    seen = []

    def measure(predict_all, inputs, labels, outcomes, **options):
        seen.append((inputs, outcomes))
        return measure_replication(predict_all, inputs, labels, outcomes, **options)

    monkeypatch.setattr(trial_module, "measure_replication", measure)
    trial = Trial(confident(), torch.from_numpy(images()), seed=0)
    outcome = trial.attack(PermutationSpec(), Effort(images=count, queries=150))
    ((inputs, outcomes),) = seen
    assert len(inputs) == count
    assert [each.copy for each in outcomes] == list(range(len(shares)))
    for each in outcomes:
        own = torch.arange(count) % 4 == each.copy
        assert not (each.attempted & ~own).any()
        assert torch.equal(each.adversarials[~own], inputs[~own])
        moved = (each.adversarials != inputs).flatten(1).any(1)
        assert torch.equal(moved, each.succeeded)
    assert [int((torch.arange(count) % 4 == each.copy).sum()) for each in outcomes] == shares
    assert outcome.pairs == 3 * sum(int(each.succeeded.sum()) for each in outcomes)


def outcome_of(rate, distance):
    effort = Effort(images=6, queries=200)
    return Outcome(
        effort=effort,
        replication={str(s): rate for s in OBJECTIVE_SCALES},
        intervals={str(s): (rate, rate) for s in OBJECTIVE_SCALES},
        pairs=18,
        median_distance=distance,
        original_median_distance=1.0,
    )


def test_a_candidate_on_which_the_attack_is_lost_is_passed_over(monkeypatch):
    assert [outcome_of(0.1, d).masks for d in (0.5, 1.3, 1.31, None)] == [False, False, True, True]

    def choose(*outcomes):
        left = iter(outcomes)
        monkeypatch.setattr(Trial, "attack", lambda self, spec, effort: next(left))
        rows = calibrate("permutation").record["candidates"]
        return [row["chosen"] for row in rows], [row["masks"] for row in rows]

    assert choose(outcome_of(0.1, 2.0), outcome_of(0.5, 0.9)) == ([False, True], [True, False])
    assert choose(outcome_of(0.1, 1.2), outcome_of(0.5, 0.9)) == ([True, False], [False, False])
    assert choose(outcome_of(0.1, 2.0), outcome_of(0.5, 2.0)) == ([True, False], [True, True])  # no other to take


def test_the_change_is_kept_on_other_inputs_too(calibrated):
    """Other inputs of the same kind, other copies: within a factor of two of a budget of 10 %."""
    _, result = calibrated
    original, fresh = confident(), torch.from_numpy(images(600, seed=4))
    bank = CopyBank(original, experiment_heads(original, result.spec, copies=4, seed=99))
    changed = (bank.predict_all(fresh) != original.predict(fresh)[:, None]).double().mean()
    assert float(changed) < 0.2


def test_predicted_and_measured_change_agree_roughly(calibrated):
    _, result = calibrated
    for row in result.record["candidates"]:
        assert row["predicted_change"] == pytest.approx(row["measured_change"], abs=0.05)


def test_calibration_can_be_repeated():
    one, again = calibrate("permutation"), calibrate("permutation")
    assert one.record == again.record
    assert one.spec == again.spec


def test_without_an_attack_the_strongest_feasible_candidate_is_taken():
    result = calibrate("permutation", attack_images=0)
    rows = result.record["candidates"]
    assert all(row["replication"] is None for row in rows)
    assert result.spec.alpha == max(row["strength"] for row in rows if row["feasible"])
    assert result.record["attack"]["images"] == 0


def test_a_tighter_budget_is_weaker():
    wide, tight = (calibrate("spread_spectrum", max_change=change, attack_images=0) for change in (0.2, 0.02))
    assert tight.spec.strength < 0.8 * wide.spec.strength


def test_other_bounds():
    original = small_classifier(input_shape=(30,), num_classes=3, bounds=Bounds(-1.0, 1.0))
    original.module[3].weight.data *= 8.0
    original = Classifier(original.module, input_shape=(30,), labels=3, bounds=Bounds(-1.0, 1.0))
    inputs = 2.0 * images(100, shape=(30,)) - 1.0
    result = calibrate("qim", original=original, images=inputs)
    assert result.spec.quantization_step < 1.0


def test_progress_is_told():
    told = []
    calibrate("permutation", progress=lambda *what: told.append(what))
    assert told
    assert any("attacking candidate" in what for what, _, _ in told)


@pytest.mark.parametrize("change", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_bad_budget(change):
    with pytest.raises(ConfigurationError, match=f"max_change must be above 0 and below 1 .* got {change}"):
        calibrate(max_change=change)


@pytest.mark.parametrize("options", [{"attack_images": -1}, {"attack_queries": 0}])
def test_bad_attack(options):
    with pytest.raises(ConfigurationError, match="attack_images must be at least 0 and attack_queries at least 1; got"):
        calibrate(**options)


@pytest.mark.parametrize("rewriter", ["composed", "quim", ""])
def test_unknown_rewriter(rewriter):
    with raises(ConfigurationError, "permutation, qim, spread_spectrum"):
        calibrate(rewriter)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (images(49), "calibration needs at least 50 inputs; got 49"),
        (images(60)[:, 0], r"inputs must have shape \(N, 1, 8, 8\)"),
        (images(60) * 255, "must lie in"),
        (np.full((60, 1, 8, 8), np.nan, dtype=np.float32), "must be finite"),
        ((images(60) * 255).astype(np.uint8), "must be floating point"),
    ],
)
def test_bad_inputs(inputs, message):
    with pytest.raises(InputError, match=message):
        calibrate(images=inputs)


class Undecided(nn.Module):
    """All scores nearly equal: any rewriting changes labels."""

    def forward(self, x):
        return 1e-4 * x.flatten(1)[:, :4]


def test_a_classifier_that_cannot_be_rewritten_within_the_budget():
    original = Classifier(Undecided(), input_shape=(1, 8, 8), labels=4)
    with pytest.raises(
        ConfigurationError, match=r"no qim candidate changes at most 1.00% of labels; the closest changes"
    ):
        calibrate(original=original, max_change=0.01)


class OneClass(nn.Module):
    def forward(self, x):
        return torch.tensor([10.0, 0.0, -5.0]).expand(len(x), 3) + 0.0 * x.flatten(1)[:, :1]


def test_a_classifier_without_a_boundary():
    original = Classifier(OneClass(), input_shape=(1, 8, 8), labels=3)
    with pytest.raises(InputError, match="no boundary distance could be measured"):
        calibrate(original=original)


def test_jitter():
    x = torch.from_numpy(images(6, shape=(3, 20, 24)))
    bounds = Bounds()
    one, again, other = (natural_jitter(x, bounds=bounds, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert one.shape == x.shape
    assert one.dtype is torch.float32
    assert float(one.min()) >= 0.0
    assert float(one.max()) <= 1.0
    wide = natural_jitter(4.0 * x - 1.0, bounds=Bounds(-1.0, 3.0), seed=0)
    torch.testing.assert_close(wide, 4.0 * one - 1.0, atol=1e-4, rtol=0)
    for small in (x[:0], x[:, :, :15], x[:, 0], x.flatten(1)):
        assert natural_jitter(small, bounds=bounds, seed=0) is small
    flat = torch.full((50, 1, 16, 16), 0.5)
    shift = natural_jitter(flat, bounds=bounds, seed=0).mean((1, 2, 3)) - 0.5
    assert float(shift.abs().max()) <= 0.15 + 1e-5  # a flat image changes by brightness alone
    assert float(shift.std()) > 0.05
