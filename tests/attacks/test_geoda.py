"""GeoDA against closed forms: how near it comes to planes and spheres, in which directions, and where it stops.

The checks are functions of the attack's class, so that they can be run on mutants: an attack that lacks its signed sum,
its sum over iterations, its subspace or its bisection must fail one of them.
"""

import math

import pytest
import torch

from variegate.attacks import geoda
from variegate.attacks.geoda import GeoDA, plan_probes
from variegate.attacks.subspaces import LowFrequencies
from variegate.errors import ConfigurationError
from variegate.testing.attack_contract import attack_closed_form
from variegate.testing.closed_form import LinearClassifier, QuadricClassifier, RecordingModel
from variegate.types import Bounds, Norm, Status

# The largest ratio of twelve inputs (three seeds) to the true distance with 4,000 queries, frequencies of all sides:
#                     a ball in 16, 64, 256 dimensions     the second best of a hollow of four
# "paper", L2              1.002 1.010 1.111                     1.136 1.138 1.182
# "paper", L-infinity      1.163 1.383 1.799                     1.190 1.148 1.169
# The limits leave room for another machine's rounding.
BALL = {Norm.L2: {(16,): 1.01, (8, 8): 1.02, (256,): 1.14}, Norm.LINF: {(16,): 1.2, (8, 8): 1.45, (256,): 1.95}}
HOLLOW = {Norm.L2: {(16,): 1.17, (8, 8): 1.18, (256,): 1.22}, Norm.LINF: {(16,): 1.25, (8, 8): 1.21, (256,): 1.22}}


def ratios(attack, model, inputs, **kwargs):
    result = attack_closed_form(attack, model, inputs, budget=None, **kwargs)
    assert result.status == (Status.SUCCESS,) * len(inputs)
    found = (result.distances / model.distance(inputs, attack.norm)).tolist()
    assert min(found) >= 0.9999
    return found


def expected_ratio(shape, side, normal, mu=0.6):
    """The share of the normal in the subspace decides, and the noise of the T means, of n_t probes in k dimensions.

    Each mean has sqrt(2 / pi) along the normal and a variance of 1 / n_t across; the sum has T times the first.
    """
    coefficients = LowFrequencies(side).project(normal.float()[None], shape)
    plan = plan_probes(4000, mu)
    noise = (coefficients.numel() - 1) * sum(1.0 / count for count in plan)
    return math.sqrt(1.0 + noise / (len(plan) ** 2 * 2.0 / math.pi)) / float(coefficients.norm())


def check_distance_to_a_plane(kind):
    """Measured medians: 1.006 1.029 1.082 1.965 (a quarter of the frequencies) 1.101, as expected."""
    for shape, side in (((16,), 16), ((8, 8), 8), ((3, 8, 8), 8), ((3, 8, 8), 4), ((256,), 256)):
        model = LinearClassifier(shape)
        inputs = model.inputs(4, distance=0.15, norm=Norm.L2)
        found = ratios(kind(sub_dim=side), model, inputs)
        expected = expected_ratio(shape, side, model.normal)
        assert sum(found) / 4 == pytest.approx(expected, rel=0.02), f"{shape}, {side}: {found}, expected {expected}"


def test_distance_to_a_plane():
    check_distance_to_a_plane(GeoDA)


@pytest.mark.parametrize("norm", Norm)
@pytest.mark.parametrize("bounds", [Bounds(-1.0, 1.0), Bounds(0.0, 255.0), Bounds(-0.3, 0.7)])
def test_distance_to_a_plane_in_other_bounds_and_norms(norm, bounds):
    model = LinearClassifier((1, 6, 9), bounds=bounds)
    inputs = model.inputs(4, distance=(0.15 if norm is Norm.L2 else 0.04) * bounds.range, norm=norm)
    assert max(ratios(GeoDA(norm=norm), model, inputs)) < 1.07  # measured: up to 1.05


@pytest.mark.parametrize("norm", Norm)
@pytest.mark.parametrize("shape", [(16,), (8, 8), (256,)])
def test_distance_to_a_ball_from_outside(shape, norm):
    """From starts deep at its sides, where the normal leads past the ball: without the second way it stays there."""
    model = QuadricClassifier(shape, radius=0.2)
    starts = model.inputs(4, length=0.15, seed=7)
    attack = GeoDA(norm=norm, sub_dim=shape[-1])
    found = ratios(attack, model, model.inputs(4, length=0.45), starting_points=starts)
    assert max(found) < BALL[norm][shape]


@pytest.mark.parametrize("norm", Norm)
@pytest.mark.parametrize("shape", [(16,), (8, 8), (256,)])
def test_distance_to_a_sphere_from_inside(shape, norm):
    model = QuadricClassifier(shape, radius=0.45)
    found = ratios(GeoDA(norm=norm, sub_dim=shape[-1]), model, model.inputs(4, length=0.1))
    assert sorted(found)[1] < HOLLOW[norm][shape]


def check_ends_on_the_boundary(kind):
    for norm in Norm:
        model = LinearClassifier((8, 8))
        inputs = model.inputs(4, distance=0.15 if norm is Norm.L2 else 0.02, norm=norm)
        result = attack_closed_form(kind(norm=norm, sub_dim=8), model, inputs, budget=None)
        assert float(model.distance(result.adversarials, Norm.L2).max()) < 1.01e-4


def test_paper_ends_on_the_boundary():
    check_ends_on_the_boundary(GeoDA)


def check_stays_among_low_frequencies(kind):
    """All of an L2 perturbation, where no bound cuts it: inputs around the middle, found close by."""
    shape, side = (3, 8, 8), 3
    space = LowFrequencies(side)
    model = LinearClassifier(shape)
    inputs = model.inputs(3, distance=0.05, norm=Norm.L2)
    result = attack_closed_form(kind(sub_dim=side), model, inputs, budget=None)
    change = (result.adversarials - inputs).flatten(1)
    kept = space.lift(space.project(change, shape), shape)
    assert float((change - kept).norm(dim=1).max()) < 1e-3 * float(change.norm(dim=1).min())


def test_perturbations_are_low_frequencies():
    check_stays_among_low_frequencies(GeoDA)


@pytest.mark.parametrize(
    ("pattern", "replacement", "check"),
    [
        (r"sums\.signed", "sums.plain", check_distance_to_a_plane),
        (r'state\.extra\["normal"\]\[rows\] \+ ', "", check_distance_to_a_plane),
        (r"LowFrequencies\(self\.sub_dim\)", "LowFrequencies(10**6)", check_stays_among_low_frequencies),
        (r"return bisect\(.*\)\n", "return points\n", check_ends_on_the_boundary),
    ],
    ids=["the signs", "the sum over iterations", "the subspace", "the bisection"],
)
def test_without_an_essential_part_a_check_fails(pattern, replacement, check, mutant):
    made = mutant(geoda, pattern, replacement).GeoDA
    with pytest.raises(AssertionError):
        check(made)


def test_arts_tolerance_leaves_nearly_all_probes_on_one_side():
    """So that the direction is close to random; a finer one finds the normal in ART's semantics too."""
    model = LinearClassifier((3, 8, 8))
    inputs = model.inputs(4, distance=0.15, norm=Norm.L2)
    coarse = ratios(GeoDA(semantics="art", sub_dim=8), model, inputs)
    fine = ratios(GeoDA(semantics="art", sub_dim=8, tolerance=1e-4), model, inputs)
    assert sorted(coarse)[1] > 2.0
    assert max(fine) < 1.4  # measured: 1.34; its long first steps end in corners of the cube, which bends the way


def test_plans():
    assert plan_probes(4000, 0.6) == (75, 105, 148, 208, 293, 411, 578, 813, 1143)  # ART's default
    assert plan_probes(1500, 0.6) == (80, 113, 158, 222, 313, 439)
    assert plan_probes(2000, 1.0) == (78,) * 18
    assert [plan_probes(queries, 0.6) for queries in (1, 30, 100)] == [(1,), (5,), (75,)]


def test_plans_where_the_published_recursion_does_not_end():
    """One iteration more leaves the first below 50 probes, one fewer above 80: it is the fewer."""
    assert plan_probes(280, 0.6) == (85, 120)
    assert plan_probes(4000, 1e-6) == (3975,)
    assert plan_probes(4000, 1e-300) == (3975,)  # and the weights overflow
    assert len(plan_probes(10**6, 0.6)) > 15


@pytest.mark.parametrize(("max_queries", "budget", "expected"), [(4000, 900, 900), (500, 900, 500), (None, 900, 900)])
def test_the_plan_is_for_the_smaller_of_max_queries_and_the_budget(max_queries, budget, expected):
    model = LinearClassifier((30,))
    inputs = model.inputs(2, distance=0.15, norm=Norm.L2)
    result = attack_closed_form(GeoDA(max_queries=max_queries), model, inputs, budget=budget)
    assert result.iterations == len(plan_probes(expected, 0.6))
    assert 0.8 * expected < float(result.queries.min())
    assert int(result.queries.max()) <= expected


def test_an_iteration_costs_what_the_docstring_says():
    """The plan's probes and about 20 queries."""
    model = LinearClassifier((3, 8, 8))
    result = attack_closed_form(GeoDA(), model, model.inputs(3, distance=0.15, norm=Norm.L2), budget=None)
    plan = torch.tensor(plan_probes(4000, 0.6))
    extra = result.trajectory.queries.diff(dim=0)[: len(plan)] - plan[:, None]
    assert int(extra.min()) >= 8
    assert int(extra.max()) <= 26


def test_probes_at_a_bound_are_clipped_but_counted_whole():
    """Half of each probe is lost at black inputs; summed as clipped, the sum would mostly lead away from the bound."""
    model = LinearClassifier((64,))
    model.threshold = 0.05  # black inputs are close, and the normal's negative values are out of reach
    inputs = torch.zeros((3, 64))
    recorder = RecordingModel(model.predict)
    found = ratios(GeoDA(sub_dim=64), model, inputs, recorder=recorder)
    assert float(recorder.questions.min()) == 0.0
    assert max(found) < 1.25


def test_a_start_that_noise_does_not_give():
    """A class that swallows all noise: "paper" goes on to flat colours, "art" has a status."""

    def predict(x):
        return (x.flatten(2).std(2).amax(1) < 1e-6).long()  # only flat colours

    inputs = torch.rand((1, 3, 4, 4), generator=torch.Generator().manual_seed(0))
    model = QuadricClassifier((3, 4, 4), radius=0.1)
    for semantics, status in (("paper", Status.SUCCESS), ("art", Status.NO_STARTING_POINT)):
        result = attack_closed_form(
            GeoDA(semantics=semantics, max_queries=100),
            model,
            inputs,
            recorder=RecordingModel(predict),
            labels=torch.zeros(1, dtype=torch.int64),
            budget=None,
        )
        assert result.status == (status,)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"norm": "l2"}, "norm must be Norm.L2 or Norm.LINF; got 'l2'"),
        ({"semantics": "foolbox"}, "semantics must be 'paper' or 'art'; got 'foolbox'"),
        ({"max_queries": 0}, "max_queries must be at least 1; got 0"),
        ({"sub_dim": 0}, "sub_dim must be at least 1; got 0"),
        ({"sigma": 0.0}, "sigma must be a positive number; got 0.0"),
        ({"sigma": math.nan}, "sigma must be a positive number; got nan"),
        ({"tolerance": -1.0}, "tolerance must be a positive number; got -1.0"),
        ({"tolerance": 0.0}, "tolerance must be a positive number; got 0.0"),
        ({"mu": 0.0}, "mu must be above 0 and at most 1; got 0.0"),
        ({"mu": 1.5}, "mu must be above 0 and at most 1; got 1.5"),
        ({"start_trials": 0}, "start_trials must be at least 1; got 0"),
    ],
)
def test_bad_hyper_parameters(values, message):
    with pytest.raises(ConfigurationError, match=message):
        GeoDA(**values)
