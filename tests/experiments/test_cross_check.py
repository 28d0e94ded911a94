"""Whole cross-checks of a tiny classifier, and the verdicts."""

import copy
import importlib
import json
import shutil

import numpy as np
import pytest
import torch

from variegate.adapters.closest import WatchedOracle
from variegate.errors import ConfigurationError, InputError, OracleError, VerificationError
from variegate.evaluation.stats import wilson_rate
from variegate.experiments import cross_check as module
from variegate.experiments.cross_check import CrossCheck, cross_check
from variegate.experiments.cross_check_engines import compare, median, overlap, pairs_of
from variegate.keys import SellerSecret
from variegate.records.cross_check import Engine, Median
from variegate.records.load import parse_record
from variegate.records.replication import RATE_NAMES, Rates
from variegate.report.render import render_text
from variegate.rewriters.qim import QimSpec
from variegate.testing.closed_form import RecordingModel
from variegate.testing.seller import InMemorySeller, small_classifier
from variegate.types import Norm

pytest.importorskip("art", reason="ART is not installed; pip install 'variegate[art]'", exc_type=ImportError)

pytestmark = [pytest.mark.filterwarnings("ignore")]  # ART's and SciPy's own


@pytest.fixture(scope="module")
def copies():
    seller = InMemorySeller(small_classifier(), secret=SellerSecret.from_bytes(bytes(32)))
    spec = QimSpec(messages_per_class=2, quantization_step=0.1, strength=2.0)
    return [seller.issue(spec, f"buyer-{number}") for number in range(3)]


def spec(**changes):
    values = {
        "target_name": "copy 0",
        "target_digest": "sha256:0",
        "victim_names": ("copy 1", "copy 2"),
        "data_name": "noise",
        "split": "test",
        "libraries": ("art",),
        "attacks": ("hsj",),
        "images": 2,
        "queries": 150,
        "seed": 1,
        "command": "variegate audit cross-check",
    }
    return CrossCheck(**{**values, **changes})


def check(copies, out, *, target=None, victims=None, **changes):
    images = torch.rand((20, 1, 8, 8), generator=torch.Generator().manual_seed(2))
    labels = copies[0].predict(images)
    labels[:5] = (labels[:5] + 1) % 10
    return cross_check(
        spec(**changes),
        target=target or copies[0],
        victims=copies[1:] if victims is None else victims,
        images=images.numpy(),
        labels=labels.numpy(),
        out=out,
    ).to_dict()


@pytest.fixture(scope="module")
def finished(tmp_path_factory, copies):
    out = tmp_path_factory.mktemp("check")
    return out, check(copies, out)


def test_record(finished):
    out, record = finished
    assert json.loads((out / "record.json").read_text()) == json.loads(json.dumps(record, allow_nan=False))
    assert (record["format"], record["kind"], record["rule"]) == (1, "cross_check", "closest")
    assert record["libraries"].keys() == {"art"}
    assert len(record["data"]["indices"]) == 2
    assert min(record["data"]["indices"]) >= 5  # the target is right there
    (attack,) = record["attacks"]
    assert attack["name"] == "hopskipjump"
    assert [engine["name"] for engine in attack["engines"]] == ["variegate, art", "art"]
    for engine in attack["engines"]:
        assert engine["rates"]["attack_success_rate"]["n"] == 2
        assert engine["rates"]["replication_rate"]["n"] == 2 * engine["attack"]["succeeded"]
        assert engine["attack"]["queries"]["total"] <= 300
        assert engine["median_distance"]["n"] == engine["attack"]["succeeded"]
        assert engine["reverified"] == engine["attack"]["succeeded"]
    (comparison,) = attack["comparisons"]
    assert comparison["verdicts"].keys() == {"success", "distance", "replication", "overshoot"}
    assert comparison["verdicts"]["distance"] == "open"  # two images
    ours, theirs = (engine["distances"] for engine in attack["engines"])
    assert comparison["distance_ratio"]["value"] == pytest.approx(np.median(np.array(ours) / np.array(theirs)))


def test_the_record_can_be_reported(finished):
    _, record = finished
    parsed = parse_record(record)
    (attack,) = parsed.attacks
    assert [(engine.name, engine.rates.attack_success_rate.k) for engine in attack.engines] == [
        ("variegate, art", 2),
        ("art", 2),
    ]
    text = render_text(record)
    assert f"variegate, art  art {record['libraries']['art']}" in text
    assert "2/2" in text


def test_every_engine_is_judged_by_the_closest_row(copies, tmp_path, monkeypatch):
    """Variegate's own result is farther out than the closest row it asked for: both engines get the same rule."""
    seen = []
    monkeypatch.setattr(module, "with_closest", lambda result, oracle: seen.append((result, oracle)) or result)
    plain = check(copies, tmp_path)["attacks"][0]["engines"][0]["distances"]
    ((_, oracle),) = seen
    assert isinstance(oracle, WatchedOracle)
    assert all(a >= b - 1e-6 for a, b in zip(plain, oracle.closest.sizes.tolist(), strict=True))
    assert any(a > b + 1e-6 for a, b in zip(plain, oracle.closest.sizes.tolist(), strict=True))


def test_a_finished_library_is_taken_over(finished, copies, monkeypatch, tmp_path):
    out, record = shutil.copytree(finished[0], tmp_path / "out"), copy.deepcopy(finished[1])
    from art.attacks.evasion import HopSkipJump

    monkeypatch.setattr(HopSkipJump, "generate", None)
    again = check(copies, out)
    drop = ("created", "seconds")
    for one in (record, again):
        for engine in one["attacks"][0]["engines"]:
            engine["attack"].pop("seconds", None)
            engine["attack"].pop("trajectory", None)
    assert {k: v for k, v in record.items() if k not in drop} == {k: v for k, v in again.items() if k not in drop}
    with pytest.raises(VerificationError, match="another attack"):
        check(copies, out, target_digest="sha256:1")


def test_without_victims(copies, tmp_path):
    record = check(copies, tmp_path, victims=[], victim_names=(), queries=60)
    assert record["attacks"][0]["engines"][0]["rates"]["replication_rate"]["rate"] is None
    assert record["attacks"][0]["comparisons"][0]["verdicts"]["replication"] == "open"
    assert parse_record(record).attacks[0].engines[0].rates.replication_rate.rate is None


def test_foolbox_is_compared_with_the_authors_constants(copies, tmp_path):
    pytest.importorskip("foolbox")
    (attack,) = check(copies, tmp_path, libraries=("foolbox",), queries=60)["attacks"]
    assert [engine["name"] for engine in attack["engines"]] == ["variegate, paper", "foolbox"]


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        ((0.1, 0.3), (0.3, 0.5), "agrees"),
        ((0.1, 0.3), (0.31, 0.5), "differs"),
        ((0.6, 0.7), (0.31, 0.5), "differs"),
        ((0.0, 1.0), (0.4, 0.5), "agrees"),
        ((None, None), (0.4, 0.5), "open"),
    ],
)
def test_overlap(one, other, verdict):
    a, b = (Median(value=None, low=low, high=high, n=9) for low, high in (one, other))
    assert overlap(a, b) == overlap(b, a) == verdict


def test_a_shift_is_seen_and_noise_is_not():
    generator = np.random.default_rng(0)
    base = np.exp(generator.normal(size=40))
    rate, depth = wilson_rate(3, 20), Median(value=2e-6, low=1e-6, high=1e-5, n=40)
    rates = Rates(**dict.fromkeys(RATE_NAMES, rate))

    def engine(name, values):
        fields = {"name": name, "distances": tuple(values.tolist()), "rates": rates, "median_overshoot": depth}
        return Engine.model_construct(**fields)

    noisy = base * np.exp(generator.normal(scale=0.1, size=40))
    assert compare(engine("a", base), engine("b", noisy), seed=1).verdicts.distance == "agrees"
    compared = compare(engine("a", 1.3 * base), engine("b", noisy), seed=1)
    assert compared.verdicts.distance == "differs"
    assert compared.distance_ratio.low < 1.3 < compared.distance_ratio.high


def test_medians_leave_out_what_was_not_found():
    assert median(np.array([np.nan, np.nan]), 0) == Median(value=None, low=None, high=None, n=0)
    few = median(np.array([1.0, np.nan, 3.0]), 0)
    assert few == Median(value=2.0, low=None, high=None, n=2)
    enough = median(np.arange(9.0), 0)
    assert enough.low < enough.value < enough.high


class TestMistakes:
    def test_a_folder_that_cannot_be_made(self, copies, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(InputError, match="cannot make .*: a part of the path is a file, not a folder"):
            check(copies, tmp_path / "file" / "out")

    def test_a_failing_target(self, copies, tmp_path):
        class Failing:
            num_classes, input_spec = 10, copies[0].input_spec
            input_shape, bounds = (1, 8, 8), copies[0].bounds
            recorder = RecordingModel(copies[0].predict, fail_at=4)

            def predict(self, x):
                return self.recorder.predict(x)

        with pytest.raises(OracleError, match="out of order; the cross-check can be resumed"):
            check(copies, tmp_path, target=Failing())

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"libraries": ()}, "must be among art, foolbox; got none"),
            ({"libraries": ("art", "torchattacks")}, "must be among art, foolbox; got torchattacks"),
            ({"attacks": ("cgba",)}, "no library has the attack 'cgba'; choose from hopskipjump"),
            ({"victim_names": ("one",)}, "a name for each of the 2 victims"),
            ({"images": 0}, "images and queries must be at least 1"),
            ({"seed": -1}, "the seed must be from 0"),
        ],
        ids=str,
    )
    def test_options(self, copies, tmp_path, changes, message):
        with pytest.raises(ConfigurationError, match=message):
            check(copies, tmp_path, **changes)

    def test_too_few_images(self, copies, tmp_path):
        with pytest.raises(InputError, match="needs 16 images that the target gets right; the 20 given hold 15"):
            check(copies, tmp_path, images=16)

    def test_a_missing_library(self, monkeypatch):
        def missing(name):
            raise ImportError(name)

        monkeypatch.setattr(importlib, "import_module", missing)
        with pytest.raises(ConfigurationError, match=r"a cross-check needs art, .* pip install 'variegate\[art\]'"):
            pairs_of((), ("art",), norm=Norm.L2, queries=100)
