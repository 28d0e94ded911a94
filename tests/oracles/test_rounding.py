"""Rounded questions: the grid, and attacks that run on it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from variegate.attacks.hopskipjump import HopSkipJump
from variegate.errors import ConfigurationError, InputError
from variegate.oracles.hard_label import HardLabelOracle
from variegate.oracles.rounding import Rounded
from variegate.testing import attack_contract
from variegate.testing.attack_contract import ATTACK_CHECKS
from variegate.testing.closed_form import LinearClassifier, RecordingModel
from variegate.types import Bounds, Norm, Status

BOUNDS = [Bounds(), Bounds(0.0, 255.0), Bounds(-1.0, 1.0), Bounds(-0.3, 0.7)]


def rounded(bounds=None, *, levels=256, predict=None, samples=1, shape=(4,), budget=None):
    oracle = HardLabelOracle(
        predict or (lambda x: torch.zeros(len(x), dtype=torch.int64)),
        input_shape=shape,
        bounds=bounds or Bounds(),
        num_classes=2,
        samples=samples,
        budget=budget,
    )
    return Rounded(oracle, levels=levels)


@given(
    st.sampled_from(BOUNDS),
    st.integers(2, 70_000),
    st.lists(st.floats(0.0, 1.0, width=32), min_size=4, max_size=4),
)
def test_the_nearest_value_of_the_grid(bounds, levels, shares):
    oracle = rounded(bounds, levels=levels)
    x = (bounds.lower + bounds.range * torch.tensor(shares)).clamp(bounds.lower, bounds.upper)
    found = oracle.round(x)
    step = bounds.range / (levels - 1)
    slack = 1e-6 * bounds.range  # of float32
    assert float((found - x).abs().max()) <= 0.5 * step + slack
    places = (found.double() - bounds.lower) / step
    assert float((places - places.round()).abs().max() * step) <= slack
    assert torch.equal(oracle.round(found), found)
    low, high = torch.tensor([bounds.lower, bounds.upper])
    assert bool(((found >= low) & (found <= high)).all())


@pytest.mark.parametrize("bounds", BOUNDS)
def test_both_bounds_are_on_the_grid(bounds):
    ends = torch.tensor([bounds.lower, bounds.upper])
    for levels in (2, 3, 256):
        assert torch.equal(rounded(bounds, levels=levels).round(ends), ends)


def test_8_bit_values_are_those_of_an_image_file():
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(rounded().round(pixels.float() / 255 + 0.001), pixels.float() / 255)
    assert torch.equal(rounded(Bounds(0.0, 255.0)).round(pixels.float() + 0.4), pixels.float())


def test_an_attack_sees_the_answer_to_its_rounded_point():
    model = LinearClassifier((3, 5, 4))
    inputs = model.inputs(3, distance=0.3, norm=Norm.L2)
    recorder = RecordingModel(model.predict)
    oracle = rounded(predict=recorder.predict, samples=3, shape=(3, 5, 4), budget=700)
    result = attack_contract.run_attack(HopSkipJump(), oracle, inputs, model.predict(inputs), seed=0)
    assert result.status == (Status.SUCCESS,) * 3
    assert torch.equal(oracle.round(recorder.questions), recorder.questions)
    for point in oracle.round(result.adversarials):
        assert recorder.answer_to(point) == 1
    assert recorder.rows == int(result.queries.sum()) <= 3 * 700
    assert np.isfinite(result.distances.numpy()).all()


@pytest.mark.parametrize("check", ["batch_does_not_matter", "units_do_not_matter", "points_stay_in_bounds", "statuses"])
def test_an_attack_keeps_its_contract(monkeypatch, check):
    run = attack_contract.run_attack
    monkeypatch.setattr(
        attack_contract,
        "run_attack",
        lambda attack, oracle, *args, **kwargs: run(attack, Rounded(oracle), *args, **kwargs),
    )
    ATTACK_CHECKS[check](HopSkipJump())


def test_it_is_the_oracle_inside_otherwise():
    oracle = rounded(levels=2, samples=2, budget=3)
    assert oracle.label(torch.rand(2, 4), torch.tensor([1, 1])).tolist() == [0, 0]
    assert oracle.meter.per_sample.tolist() == [0, 2]
    assert oracle.remaining().tolist() == [3, 1]
    assert (oracle.budget, oracle.queries_per_answer, oracle.description) == (3, 1, "rounded to 2 levels")


@pytest.mark.parametrize(
    ("x", "message"), [(torch.full((1, 4), 1.2), "must lie in"), (torch.full((1, 4), torch.nan), "must be finite")]
)
def test_bad_questions_are_refused_before_they_are_rounded(x, message):
    oracle = rounded()
    with pytest.raises(InputError, match=message):
        oracle.label(x, torch.tensor([0]))
    assert oracle.meter.total == 0


def test_one_level_is_no_grid():
    with pytest.raises(ConfigurationError, match="levels must be at least 2; got 1"):
        rounded(levels=1)
