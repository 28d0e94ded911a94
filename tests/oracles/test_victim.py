"""A victim's tries against the plane, where the factor that crosses it is known."""

import math

import pytest
import torch

from variegate.errors import ConfigurationError, InputError
from variegate.oracles.hard_label import HardLabelOracle
from variegate.oracles.victim import VictimTries, ladder, try_on_victim
from variegate.testing.closed_form import LinearClassifier, RecordingModel
from variegate.types import Bounds, Norm

FACTORS = (1.0, 1.5, 2.0, 3.0)


def victim(predict, *, samples, budget, shape=(20,), rows=None):
    return HardLabelOracle(
        predict,
        input_shape=shape,
        bounds=Bounds(),
        num_classes=3,
        samples=samples,
        budget=budget,
        preferred_rows=rows,
    )


def plane(shares):
    """Return a plane, inputs, and points at these shares of the way to it."""
    model = LinearClassifier((20,))
    clean = model.inputs(len(shares), distance=0.1, norm=Norm.L2)
    way = torch.tensor(shares)[:, None] * 0.1 * model.normal.float()
    return model, clean, clean + way


@pytest.mark.parametrize("budget", [1, 2, 3, 4, None])
@pytest.mark.parametrize("rows", [1, 2, None])
def test_tries_end_at_the_first_success_or_with_the_budget(budget, rows):
    model, clean, points = plane([1.1, 0.7, 0.55, 0.4, 0.2])  # crossed at factor .91, 1.43, 1.82, 2.5, 5
    recorder = RecordingModel(model.predict)
    oracle = victim(recorder.predict, samples=5, budget=budget, rows=rows)
    candidates = ladder(clean, points, FACTORS, bounds=Bounds())
    found = try_on_victim(oracle, candidates, torch.zeros(5, dtype=torch.int64))
    most = budget or 4
    assert found.first_success.tolist() == [first if first <= most else 0 for first in (1, 2, 3, 4)] + [0]
    assert found.tries.tolist() == [min(most, first) for first in (1, 2, 3, 4, 4)]
    assert oracle.meter.per_sample.tolist() == found.tries.tolist()
    assert recorder.rows == int(found.tries.sum())
    shares = [float(found.success_at(q).double().mean()) for q in range(1, most + 1)]
    assert shares == [0.2, 0.4, 0.6, 0.8][:most]


def test_a_target_is_the_only_success():
    candidates = torch.zeros((2, 3, 20))
    candidates[:, 1], candidates[:, 2] = 0.5, 1.0
    oracle = victim(lambda x: (2 * x[:, 0]).long(), samples=2, budget=None)
    found = try_on_victim(oracle, candidates, torch.tensor([2, 1]), targeted=True)
    assert found.first_success.tolist() == [3, 2]
    assert found.tries.tolist() == [3, 2]


def test_the_ladder_is_exact_and_clipped():
    clean, points = torch.full((2, 3), 0.25), torch.full((2, 3), 0.5)
    rungs = ladder(clean, points, (0.5, 1.0, 2.0, 9.0), bounds=Bounds(0.0, 0.9))
    assert rungs.shape == (2, 4, 3)
    assert torch.equal(rungs[0, :, 0], torch.tensor([0.375, 0.5, 0.75, 0.9]))
    generator = torch.Generator().manual_seed(0)
    clean, points = torch.rand((50, 3, 4, 4), generator=generator), torch.rand((50, 3, 4, 4), generator=generator)
    assert torch.equal(ladder(clean, points, (2.0, 1.0), bounds=Bounds())[:, 1], points)


def test_nothing_to_try():
    labels = torch.empty(0, dtype=torch.int64)
    oracle = victim(lambda x: x, samples=0, budget=3)
    assert try_on_victim(oracle, torch.empty((0, 4, 20)), labels).tries.shape == (0,)
    oracle = victim(lambda x: x, samples=2, budget=3)
    none = try_on_victim(oracle, torch.empty((2, 0, 20)), torch.zeros(2, dtype=torch.int64))
    assert none.first_success.tolist() == none.tries.tolist() == [0, 0]
    assert ladder(torch.empty(0, 20), torch.empty(0, 20), FACTORS, bounds=Bounds()).shape == (0, 4, 20)


ZEROS = torch.zeros(2, dtype=torch.int64)
TRIES = VictimTries(first_success=ZEROS, tries=ZEROS)


@pytest.mark.parametrize(
    ("error", "call", "message"),
    [
        (ConfigurationError, lambda: TRIES.success_at(0), "tries must be at least 1; got 0"),
        (
            ConfigurationError,
            lambda: ladder(torch.zeros(2, 3), torch.zeros(2, 3), (), bounds=Bounds()),
            r"factors must be one or more positive numbers; got \[\]",
        ),
        (
            ConfigurationError,
            lambda: ladder(torch.zeros(2, 3), torch.zeros(2, 3), (1.0, math.nan), bounds=Bounds()),
            r"positive numbers; got \[1.0, nan\]",
        ),
        (
            InputError,
            lambda: ladder(torch.zeros(2, 3), torch.zeros(1, 3), (1.0,), bounds=Bounds()),
            r"must have one shape; got \(2, 3\) and \(1, 3\)",
        ),
        (
            InputError,
            lambda: try_on_victim(victim(len, samples=2, budget=1), torch.zeros(2, 20), ZEROS),
            r"candidates must have shape \(2, K, 20\); got \(2, 20\)",
        ),
        (
            InputError,
            lambda: try_on_victim(victim(len, samples=3, budget=1), torch.zeros(2, 1, 20), ZEROS),
            r"candidates must have shape \(3, K, 20\); got \(2, 1, 20\)",
        ),
        (
            InputError,
            lambda: try_on_victim(victim(len, samples=2, budget=1), torch.zeros(2, 1, 20), ZEROS.float()),
            r"labels must be int64 of shape \(2,\); got torch.float32",
        ),
    ],
)
def test_mistakes(error, call, message):
    with pytest.raises(error, match=message):
        call()
