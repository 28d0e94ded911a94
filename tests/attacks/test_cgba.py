"""CGBA against closed forms: distances, where its searches end, and that the norm never increases.

The checks are functions of the attack's class, so that they can be run on mutants: an attack that lacks the semicircle,
the normal or the comparison with the point before must fail one of them.
"""

import math

import pytest
import torch

from variegate.attacks import cgba
from variegate.attacks.base import STATUS_CODES, Asker, AttackProblem, SeededNoise
from variegate.attacks.cgba import CGBA
from variegate.attacks.subspaces import FullSpace, LowFrequencies
from variegate.errors import ConfigurationError
from variegate.models.geometry import distance
from variegate.oracles.hard_label import HardLabelOracle, Misclassified
from variegate.testing.attack_contract import ATTACK_CHECKS, attack_closed_form
from variegate.testing.closed_form import LinearClassifier, QuadricClassifier
from variegate.types import Bounds, InputSpec, Norm, Status

VARIANTS = ("cgba", "cgba-h")

# The largest ratio of twelve inputs (three seeds) to the true distance at 5,000 queries in 16, 64, 256 dimensions, with
# probes in all dimensions:       a plane              a ball               the second best of a hollow
# "cgba"                    1.002 1.012 1.043    1.001 1.005 1.024    1.015 1.082 1.185
# "cgba-h"                  1.003 1.014 1.051    1.001 1.005 1.021    1.022 1.104 1.201
# HopSkipJump, beside them  1.008 1.019 1.061    1.010 1.019 1.058    1.061 1.092 1.125
QUERIES = 5000
PLANE = {16: 1.01, 64: 1.03, 256: 1.08}
BALL = {16: 1.01, 64: 1.02, 256: 1.05}
HOLLOW = {16: 1.06, 64: 1.17, 256: 1.28}


def ratios(attack, model, inputs, *, budget=QUERIES, **kwargs):
    result = attack_closed_form(attack, model, inputs, budget=budget, **kwargs)
    assert result.status == (Status.SUCCESS,) * len(inputs)
    return (result.distances / model.distance(inputs, Norm.L2)).tolist()


def image_plane(side, frequencies):
    """Return a plane whose normal has only the low frequencies of a (1, side, side) image."""
    model = LinearClassifier((1, side, side))
    space = LowFrequencies(frequencies)
    kept = space.lift(space.project(model.normal.float()[None], (1, side, side)), (1, side, side))[0].double()
    model.normal = kept / kept.norm()
    model.threshold = 0.5 * float(model.normal.sum())
    return model


def check_plane(kind, variant="cgba", size=64):
    model = LinearClassifier((size,))
    found = ratios(kind(variant=variant, subspace=FullSpace()), model, model.inputs(4, distance=0.15, norm=Norm.L2))
    assert min(found) >= 0.9999
    assert max(found) < PLANE[size]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", PLANE)
def test_distance_to_a_plane(variant, size):
    check_plane(CGBA, variant, size)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", BALL)
def test_distance_to_a_ball_from_outside(variant, size):
    model = QuadricClassifier((size,), radius=0.2)
    inputs, starts = model.inputs(4, length=0.45), model.inputs(4, length=0.15, seed=7)
    found = ratios(CGBA(variant=variant, subspace=FullSpace()), model, inputs, starting_points=starts)
    assert min(found) >= 0.9999
    assert max(found) < BALL[size]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", HOLLOW)
def test_distance_to_a_sphere_from_inside(variant, size):
    model = QuadricClassifier((size,), radius=0.45)
    found = ratios(CGBA(variant=variant, subspace=FullSpace()), model, model.inputs(4, length=0.1))
    assert min(found) >= 0.9999
    assert sorted(found)[1] < HOLLOW[size]


@pytest.mark.parametrize("bounds", [Bounds(-1.0, 1.0), Bounds(0.0, 255.0)])
def test_low_frequencies_find_a_smooth_plane_sooner(bounds):
    model = image_plane(32, 4)
    if bounds.range != 1.0:
        model.input_spec = InputSpec(model.input_shape, bounds)
        model.threshold = 0.5 * (bounds.lower + bounds.upper) * float(model.normal.sum())
    inputs = model.inputs(3, distance=0.3 * bounds.range, norm=Norm.L2)
    low, full = (
        max(ratios(CGBA(subspace=space), model, inputs, budget=800)) for space in (LowFrequencies(8), FullSpace())
    )
    assert low < 1.1
    assert full > 1.2 * low


def test_the_default_subspace_is_a_fourth_of_the_side_and_at_least_32_frequencies():
    shapes = {(3, 224, 224): 56, (3, 32, 32): 32, (1, 28, 28): 32, (8, 8): 32, (30,): 32, (200,): 50, (3, 40, 150): 38}
    assert {shape: cgba._low_frequencies(shape).side for shape in shapes} == shapes


def searched(variant, normal, *, kind=CGBA, tilt=1.0, size=40):
    """Return (the model, a clean point, a boundary point, what one search with this normal finds)."""
    model = LinearClassifier((size,))
    clean = model.inputs(1, distance=0.1, norm=Norm.L2)
    way = torch.randn(size, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    way -= float(way @ model.normal) * model.normal
    gap = float(model.distance(clean, Norm.L2))
    point = clean + ((gap + 1e-6) * model.normal + tilt * gap * way / way.norm()).float()
    assert model.predict(torch.cat((clean, point))).tolist() == [0, 1]
    oracle = HardLabelOracle(model.predict, input_shape=(size,), bounds=Bounds(), num_classes=2, samples=1)
    ask = Asker(oracle, Misclassified(torch.zeros(1, dtype=torch.int64)))
    attack = kind(variant=variant, tolerance=1e-6)
    return model, clean, point, attack._search(ask, clean, point, normal(model)[None].float(), torch.zeros(1).long())


def test_with_the_true_normal_one_search_finds_the_nearest_point_of_a_plane():
    """However far to the side the boundary point lies: by Thales, the nearest point is on the circle."""
    for tilt in (0.3, 1.0, 2.0):
        model, clean, _, found = searched("cgba", lambda model: model.normal, tilt=tilt)
        assert float(distance(clean, found, Norm.L2) / model.distance(clean, Norm.L2)) == pytest.approx(1.0, abs=1e-4)


def test_with_a_wrong_normal_one_search_finds_the_nearest_point_within_its_plane():
    def wrong(model):
        noise = torch.randn(40, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
        return model.normal + 0.7 * noise / noise.norm()

    model, clean, point, found = searched("cgba", wrong)
    along = (point - clean).double()[0]
    radius, along = along.norm(), along / along.norm()
    across = wrong(model) - (wrong(model) @ along) * along
    across = across / across.norm()
    section = torch.stack((model.normal @ along, model.normal @ across))  # the normal, seen in the plane of the search
    expected = radius * section[0] / section.norm()
    assert float(distance(clean, found, Norm.L2)) == pytest.approx(float(expected), rel=1e-4)
    assert float(model.distance(clean, Norm.L2)) < 0.95 * float(expected)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("factor", [0.0, -1.0])
def test_a_normal_that_leads_nowhere_leaves_the_point(variant, factor):
    _, _, point, found = searched(variant, lambda model: factor * model.normal)
    assert torch.allclose(point, found, atol=1e-5)  # a point 1e-6 past the boundary has that much room


def test_cgba_h_ends_on_the_line_to_the_clean_input():
    model, clean, point, found = searched("cgba-h", lambda model: model.normal)
    assert float(distance(clean, found, Norm.L2)) < float(distance(clean, point, Norm.L2))
    assert float(model.distance(found, Norm.L2)) < 1e-5  # on the boundary
    nearer = clean + 0.999 * (found - clean)
    assert model.predict(nearer).tolist() == [0]


def check_norm_never_increases(kind):
    """Also on a boundary that is a thicket: labels of cells of 0.2, by a hash of their position."""

    def predict(x):
        cell = (x.flatten(1).double() / 0.2).floor().long()
        return ((cell * torch.arange(3, 3 + 2 * cell.shape[1], 2)).sum(1) % 5 > 1).long()

    inputs = torch.rand((40, 12), generator=torch.Generator().manual_seed(2))
    inputs = inputs[predict(inputs) == 0]
    for variant in VARIANTS:
        oracle = HardLabelOracle(
            predict, input_shape=(12,), bounds=Bounds(), num_classes=2, samples=len(inputs), budget=1500
        )
        criterion = Misclassified(torch.zeros(len(inputs), dtype=torch.int64))
        problem = AttackProblem(inputs=inputs, criterion=criterion, noise=SeededNoise(0, range(len(inputs))))
        attack = kind(variant=variant)
        state = attack.init(oracle, problem, torch.full((len(inputs),), STATUS_CODES[Status.RUNNING]))
        before, moves = distance(inputs, state.points, Norm.L2), 0
        while state.running.numel():
            state = attack.step(oracle, problem, state)
            after = distance(inputs, state.points, Norm.L2)
            assert bool((after <= before).all()), f"{variant}: farther away by {float((after - before).max())}"
            assert bool((predict(state.points) == 1).all())
            assert torch.equal(after, state.best_distance)
            moves, before = moves + int((after < before).sum()), after
        assert moves > len(inputs)


def test_norm_never_increases():
    check_norm_never_increases(CGBA)


def test_without_the_semicircle_a_check_fails(monkeypatch):
    def straight(self, ask, clean, points, normal, rows):
        step = 0.2 * distance(clean, points, Norm.L2) / normal.norm(dim=1)
        moved = (points + step[:, None] * normal).clamp(0.0, 1.0)
        hit = ask(moved, rows)
        return self._straight(ask, clean, torch.where(hit[:, None], moved, points), rows)

    monkeypatch.setattr(CGBA, "_search", straight)
    with pytest.raises(AssertionError):
        test_with_the_true_normal_one_search_finds_the_nearest_point_of_a_plane()


def test_without_the_normal_a_check_fails(monkeypatch):
    def blind(self, ask, problem, points, rows, reserve, iteration):
        names = rows.tolist()
        counts = (ask.remaining(rows) - reserve).clamp_max(int(self.first_probes * math.sqrt(iteration + 1)))
        ask(points.repeat_interleave(counts, 0), rows.repeat_interleave(counts))  # as many queries
        drawn = [problem.noise.probes(name, iteration, 0, (1, points[0].numel()), gaussian=True) for name in names]
        return torch.cat(drawn).view_as(points)

    monkeypatch.setattr(CGBA, "_normal", blind)
    with pytest.raises(AssertionError):
        check_plane(CGBA)


def test_on_a_wider_circle_and_without_the_comparison_a_check_fails(monkeypatch, mutant):
    unchecked = mutant(cgba, r"torch\.where\(as_rows\(closer, points\), moved, points\)", "moved")
    for module in (cgba, unchecked):

        def wider(self, chosen, place, at=module._Semicircle.at):
            clean = self.clean[chosen]
            return (clean + 1.3 * (at(self, chosen, place) - clean)).clamp(0.0, 1.0)

        monkeypatch.setattr(module._Semicircle, "at", wider)
    check_norm_never_increases(CGBA)  # the comparison holds it
    with pytest.raises(AssertionError):
        check_norm_never_increases(unchecked.CGBA)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"variant": "cgba-t"}, "variant must be 'cgba' or 'cgba-h'; got 'cgba-t'"),
        ({"iterations": 0}, "iterations must be at least 1; got 0"),
        ({"first_probes": 0}, "first_probes must be at least 1; got 0"),
        ({"sigma": 0.0}, "sigma must be above 0 and at most 1; got 0.0"),
        ({"sigma": math.nan}, "sigma must be above 0 and at most 1; got nan"),
        ({"tolerance": -1e-4}, "tolerance must be above 0 and at most 1; got -0.0001"),
        ({"tolerance": 2.0}, "tolerance must be above 0 and at most 1; got 2.0"),
        ({"start_trials": 0}, "start_trials must be at least 1; got 0"),
        ({"starts": "flat"}, "starts must be 'varied' or 'uniform'; got 'flat'"),
    ],
)
def test_bad_hyper_parameters(values, message):
    with pytest.raises(ConfigurationError, match=message):
        CGBA(**values)


def test_iterations_end_the_attack():
    model = LinearClassifier((30,))
    inputs = model.inputs(2, distance=0.15, norm=Norm.L2)
    assert attack_closed_form(CGBA(iterations=3), model, inputs, budget=None).iterations == 3
    assert attack_closed_form(CGBA(first_probes=1), model, inputs, budget=None).iterations == 93


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_iteration_costs_what_the_docstring_says(variant):
    model = LinearClassifier((64,))
    inputs = model.inputs(3, distance=0.15, norm=Norm.L2)
    result = attack_closed_form(CGBA(variant=variant, iterations=6), model, inputs, budget=None)
    costs = result.trajectory.queries.diff(dim=0)[:6]  # one row an iteration; the last only ends the attack
    for t, cost in enumerate(costs.tolist(), start=1):
        search = [value - int(30 * math.sqrt(t)) for value in cost]
        assert all(1 <= value <= (17 if variant == "cgba" else 34) for value in search)


def test_a_large_input_does_not_search_below_the_resolution_of_float32():
    model = LinearClassifier((3, 224, 224))
    inputs = model.inputs(1, distance=10.0, norm=Norm.L2)
    for variant in VARIANTS:
        attack = CGBA(variant=variant, iterations=1, first_probes=1, tolerance=1e-9)
        assert int(attack_closed_form(attack, model, inputs, budget=None).queries[0]) < 200


@pytest.mark.parametrize("check", ATTACK_CHECKS)
def test_cgba_h_keeps_the_contract(check):
    ATTACK_CHECKS[check](CGBA(variant="cgba-h"))
