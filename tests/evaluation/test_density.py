"""Curves: the density of scipy where scipy has one, a visible peak where it has none, intervals that hold the truth."""

import json

import numpy as np
import pytest

from variegate.errors import InputError
from variegate.evaluation.density import describe, gaussian_density, mean_interval, symmetric_grid


@pytest.mark.parametrize("n", [2, 7, 300])
def test_density_is_scipys(n):
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(n).normal(0.1, 0.3, n)
    grid = symmetric_grid(1.0)
    density, bandwidth, raised = gaussian_density(values, grid)
    expected = stats.gaussian_kde(values)
    np.testing.assert_allclose(density, expected(grid), rtol=1e-10)
    assert bandwidth == pytest.approx(float(np.sqrt(expected.covariance[0, 0])))
    assert not raised


def test_many_values_are_taken_in_parts():
    values = np.random.default_rng(0).normal(0.0, 0.2, 30_000)  # 3 blocks
    grid = symmetric_grid(1.0)
    density, bandwidth, _ = gaussian_density(values, grid)
    at_zero = np.exp(-0.5 * (values / bandwidth) ** 2).mean() / (bandwidth * np.sqrt(2 * np.pi))
    assert grid[100] == 0.0
    assert density[100] == pytest.approx(at_zero)


@pytest.mark.parametrize("values", [np.full(50, 0.25), np.array([0.25]), 0.25 + 1e-9 * np.arange(5.0)])
def test_values_narrower_than_the_grid_give_a_peak_of_mass_1(values):
    grid = symmetric_grid(1.0)
    density, bandwidth, raised = gaussian_density(values, grid)
    assert raised
    assert bandwidth == pytest.approx(0.005)
    assert grid[density.argmax()] == pytest.approx(0.25)
    assert density.sum() * 0.01 == pytest.approx(1.0, abs=0.02)


def test_what_a_density_refuses():
    grid = symmetric_grid(1.0)
    for values in (np.array([]), np.array([0.0, np.nan]), np.zeros((2, 2))):
        with pytest.raises(InputError, match="at least one finite value"):
            gaussian_density(values, grid)
    with pytest.raises(InputError, match="ascending"):
        gaussian_density(np.zeros(2), np.zeros(3))
    for width in (0.0, np.inf, np.nan):
        with pytest.raises(InputError, match="positive width"):
            symmetric_grid(width)


def test_the_interval_draws_images_not_values():
    generator = np.random.default_rng(1)
    own = generator.normal(size=(100, 1))
    low, high = mean_interval(own[:, 0])
    assert high - low == pytest.approx(2 * 1.96 * own.std() / 10, rel=0.1)
    copied = np.repeat(own, 9, axis=1)  # nine times the values, no more knowledge
    np.testing.assert_allclose(mean_interval(copied), (low, high))
    copied[:, 3:] = np.nan
    np.testing.assert_allclose(mean_interval(copied), (low, high))
    ragged = np.where(np.arange(5) <= np.arange(30)[:, None] % 5, 1.0, np.nan)
    assert mean_interval(ragged) == (1.0, 1.0)  # each image weighs as much as it has values
    assert mean_interval(np.array([1.0, np.nan])) is None
    assert mean_interval(np.empty((0, 4))) is None


def test_the_interval_holds_the_mean_as_often_as_it_says():
    generator = np.random.default_rng(2)
    ends = [mean_interval(generator.exponential(size=60), seed=i) for i in range(200)]
    held = sum(low <= 1.0 <= high for low, high in ends)
    assert 175 <= held <= 200


def test_a_curve_is_plain_json():
    values = np.array([[0.1, 0.2], [np.nan, -0.4], [np.nan, np.nan]])
    curve = describe(values, symmetric_grid(1.0, 5)).to_dict()
    assert json.loads(json.dumps(curve, allow_nan=False)) == curve
    assert (curve["n"], curve["images"]) == (3, 2)
    assert curve["mean"] == pytest.approx(-0.1 / 3, rel=1e-5)
    assert curve["median"] == 0.1
    assert curve["grid"] == {"low": -1.0, "high": 1.0, "points": 5}
    assert curve["peak"] == 0.0
    nothing = describe(np.full((4, 2), np.nan), symmetric_grid(1.0)).to_dict()
    assert json.loads(json.dumps(nothing, allow_nan=False)) == nothing
    assert (nothing["n"], nothing["images"], nothing["mean"], nothing["density"]) == (0, 0, None, None)
    assert set(nothing) == set(curve)
