"""SurFree against closed forms: distances on planes and spheres, and the geometry of every question that it asks.

The checks are functions of the attack's class, so that they can be run on mutants: an attack that lacks its
orthogonalisation or its refinement must fail one of them.
"""

import math

import pytest
import torch

from variegate.attacks import surfree
from variegate.attacks.base import STATUS_CODES, AttackProblem, SeededNoise
from variegate.attacks.overshoot import overshoot
from variegate.attacks.subspaces import FullSpace, LowFrequencies, ResizedNoise
from variegate.attacks.surfree import SurFree
from variegate.errors import ConfigurationError
from variegate.oracles.hard_label import HardLabelOracle, Misclassified
from variegate.testing.attack_contract import attack_closed_form
from variegate.testing.closed_form import LinearClassifier, QuadricClassifier, RecordingModel
from variegate.types import Bounds, Norm, Status

QUERIES = 2000

# The largest ratio of four inputs to the true distance after 2,000 queries was 1.000, 1.000, 1.000 and 1.114 for a
# plane in 2, 16, 64 and 256 dimensions. The limits leave room for another machine's rounding.
PLANE = {2: 1.002, 16: 1.002, 64: 1.01, 256: 1.18}
ENOUGH = {2: 250, 16: 500, 64: QUERIES, 256: QUERIES}  # queries; the small ones are there sooner


def ratios(attack, model, inputs, budget=QUERIES, **kwargs):
    result = attack_closed_form(attack, model, inputs, budget=budget, **kwargs)
    assert result.status == (Status.SUCCESS,) * len(inputs)
    return (result.distances / model.distance(inputs, Norm.L2)).tolist()


@pytest.mark.parametrize("size", PLANE)
def test_distance_to_a_plane(size):
    model = LinearClassifier((size,))
    found = ratios(SurFree(), model, model.inputs(4, distance=0.15, norm=Norm.L2), budget=ENOUGH[size])
    assert min(found) >= 0.9999
    assert max(found) < PLANE[size]


def test_distance_to_a_plane_in_other_bounds_and_ranks():
    model = LinearClassifier((1, 4, 4), bounds=Bounds(0.0, 255.0))
    inputs = model.inputs(2, distance=0.1 * 255.0, norm=Norm.L2)
    assert max(ratios(SurFree(subspace=FullSpace()), model, inputs, budget=700)) < PLANE[16]


def test_distance_to_a_ball_from_outside():
    model = QuadricClassifier((32,), radius=0.2)
    starts = model.inputs(2, length=0.15, seed=7)
    found = ratios(SurFree(), model, model.inputs(2, length=0.45), budget=1000, starting_points=starts)
    assert min(found) >= 0.9999
    assert max(found) < 1.05


class _Recorded:
    """One input's attack on a plane: what was asked after the start was on the boundary, and from which point."""

    def __init__(self, attack, *, size=64, budget=300):
        model = LinearClassifier((size,))
        self.clean = model.inputs(1, distance=0.15, norm=Norm.L2)
        recorder = RecordingModel(model.predict)
        self.result = attack_closed_form(attack, model, self.clean, budget=budget, recorder=recorder)
        first = int(self.result.trajectory.queries[0, 0])
        asked = (recorder.questions - self.clean).double()
        labels = model.predict(recorder.questions)
        before = asked[:first][labels[:first] == 1]
        self.corner, self.asked, self.hit = before[before.norm(dim=1).argmin()], asked[first:], labels[first:] == 1


def directions(kind, **kwargs):
    """Return float64 (K, d): the directions tried, worked out from the questions of an attack that does not refine."""
    run = _Recorded(kind(refinements=0, **kwargs))
    corner, found = run.corner, []
    for question, hit in zip(run.asked, run.hit.tolist(), strict=True):
        u = corner / corner.norm()
        v = question - (question @ u) * u
        if hit or not found or abs(float(found[-1] @ v) / float(v.norm())) < 0.999:  # not the other side of the last
            found.append(v / v.norm())
        corner = question if hit else corner
    return torch.stack(found)


def check_directions_are_orthogonal(kind):
    """To the last n_ortho: of 64 random directions two have a cosine of about 1 / 8."""
    found = directions(kind, n_ortho=10)
    cosines = (found @ found.T).abs()
    place = torch.arange(len(found))
    apart = (place[:, None] - place).abs()
    near, far = (apart > 0) & (apart <= 10), apart > 12
    twins = near & (cosines > 0.999)  # both sides of one direction, of which the second was adversarial
    assert float(cosines[near & ~twins].max()) < 0.01
    assert float(cosines[far].max()) > 0.2, "a direction is free again after n_ortho others"


def test_directions_are_orthogonal():
    check_directions_are_orthogonal(SurFree)


def test_without_orthogonalisation_a_check_fails(monkeypatch):
    whole = surfree._orthogonal
    monkeypatch.setattr(surfree, "_orthogonal", lambda drawn, u, past: whole(drawn, u, past[:0]))
    with pytest.raises(AssertionError):
        check_directions_are_orthogonal(SurFree)


def check_questions_lie_on_the_circle(kind):
    """By Thales: seen from a question, the clean input and the boundary point lie at a right angle."""
    run = _Recorded(kind(refinements=0))
    corner, size = run.corner, float(run.corner.norm())
    for question, hit in zip(run.asked, run.hit.tolist(), strict=True):
        assert abs(float(question @ (question - corner))) < 1e-5 * size**2
        corner = question if hit else corner
    assert int(run.hit.sum()) > 20


def test_questions_lie_on_the_circle():
    check_questions_lie_on_the_circle(SurFree)


def test_with_directions_that_are_not_orthogonal_to_u_a_check_fails(monkeypatch):
    def loose(drawn, u, past):
        return drawn / drawn.norm(), 1.0

    monkeypatch.setattr(surfree, "_orthogonal", loose)
    with pytest.raises(AssertionError):
        check_questions_lie_on_the_circle(SurFree)


def check_angles_are_refined(kind):
    """On a plane, after a direction of use the point is as far as the boundary on its circle, up to the tolerance."""
    model = LinearClassifier((16,))
    inputs = model.inputs(8, distance=0.15, norm=Norm.L2)
    result = attack_closed_form(kind(directions=6), model, inputs, budget=None)
    past = overshoot(model.predict, inputs, result.adversarials, model.predict(inputs))
    assert float(past.max()) < 0.01


def test_angles_are_refined():
    check_angles_are_refined(SurFree)


def test_without_refinement_a_check_fails():
    with pytest.raises(AssertionError):
        check_angles_are_refined(lambda **kwargs: SurFree(refinements=0, **kwargs))


@pytest.mark.parametrize("attack", [SurFree(), SurFree(levels=3, refinements=2, n_ortho=0)], ids=repr)
def test_norms_never_increase(attack):
    model = QuadricClassifier((2, 5, 6), radius=1.2)
    result = attack_closed_form(attack, model, model.inputs(3, length=0.3), budget=500)
    sizes = result.trajectory.distances
    assert bool((sizes[1:] <= sizes[:-1]).all())
    assert bool((sizes[-1] < 0.95 * sizes[0]).all())


def test_theta_max_adapts_to_what_succeeds(monkeypatch):
    """Shrinks by rho after a direction without use, grows by it after one of use, and stays within its limits."""
    kept = []
    answered = SurFree._answered

    def keep(self, state, rows, theta, hit):
        after = answered(self, state, rows, theta, hit)
        counts = after.extra["counts"][0, 0] - state.extra["counts"][0, 0]
        if counts:
            widest = [float(s.extra["angles"][0, 2]) for s in (state, after)]
            used = not torch.equal(after.points[0], state.points[0])
            kept.append((used, widest[1] / widest[0], math.degrees(widest[1])))
        return after

    monkeypatch.setattr(SurFree, "_answered", keep)
    model = LinearClassifier((16,))
    attack_closed_form(SurFree(rho=0.5), model, model.inputs(1, distance=0.15, norm=Norm.L2), budget=600)
    for used, factor, widest in kept:
        assert math.degrees(1e-3) - 1e-6 <= widest <= 45.0 + 1e-4
        limits = (1.0, 2.0) if used else (0.5, 1.0)
        assert limits[0] - 1e-5 <= factor <= limits[1] + 1e-5
    assert {used for used, _, _ in kept} == {True, False}


@pytest.mark.parametrize("subspace", [LowFrequencies(1), LowFrequencies(3), ResizedNoise(2), FullSpace()], ids=str)
def test_first_directions_lie_in_the_subspace(subspace):
    model = LinearClassifier((1, 6, 6))
    inputs = model.inputs(1, distance=0.15, norm=Norm.L2)
    recorder = RecordingModel(model.predict)
    result = attack_closed_form(SurFree(subspace=subspace), model, inputs, budget=60, recorder=recorder)
    first = int(result.trajectory.queries[0, 0])
    asked = (recorder.questions - inputs).flatten(1).double()
    corner = asked[:first][model.predict(recorder.questions[:first]) == 1]
    corner = corner[corner.norm(dim=1).argmin()]
    drawn = SeededNoise(0, [0]).probes(0, 0, 0, (1, subspace.dimension((1, 6, 6))), gaussian=True)
    plane, _ = torch.linalg.qr(torch.stack((corner, subspace.lift(drawn, (1, 6, 6))[0].double()), 1))
    assert float((asked[first] - plane @ (plane.T @ asked[first])).norm()) < 1e-4 * float(asked[first].norm())


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((30,), "full"), ((5, 6), "dct:3"), ((3, 32, 32), "dct:16"), ((1, 7, 7), "dct:4"), ((1, 8, 12), "dct:6")],
)
def test_default_subspace_is_the_lower_half(shape, expected):
    assert str(SurFree()._subspace(shape)) == expected


def test_a_subspace_that_is_all_spanned_is_left():
    """With one frequency, u soon is all that it holds; the attack goes on, and every number stays finite."""
    model = LinearClassifier((4, 4))
    inputs = torch.full((2, 4, 4), 0.5) - 0.1 * model.normal.sum().sign().float()
    inputs[model.predict(inputs) == 1] = 0.0
    starts = 1.0 - inputs  # on the line of equal values
    recorder = RecordingModel(model.predict)
    labels = model.predict(inputs)
    result = attack_closed_form(
        SurFree(subspace=LowFrequencies(1)),
        model,
        inputs,
        budget=300,
        recorder=recorder,
        starting_points=starts,
        labels=labels,
    )
    assert bool(recorder.questions.isfinite().all())
    assert bool(result.success.all())
    assert bool((result.distances < 0.9 * result.trajectory.distances[0]).all())


def test_an_input_of_one_value_is_bisected():
    model = LinearClassifier((1,))
    inputs = model.inputs(2, distance=0.15, norm=Norm.L2)
    assert max(ratios(SurFree(), model, inputs)) < 1.02


def test_memory_is_what_the_docstring_says():
    attack = SurFree(n_ortho=7)
    for shape, slots in (((1, 8, 8), 8), ((3, 2, 2), 2)):  # at most half of 16 and of 3 dimensions
        model = LinearClassifier(shape)
        inputs = model.inputs(2, distance=0.05, norm=Norm.L2)
        extra = attack._extra(_problem(model, inputs))
        assert extra["history"].shape == (2, slots, math.prod(shape))
        assert extra["history"].dtype is torch.float32


def _problem(model, inputs):
    return AttackProblem(
        inputs=inputs, criterion=Misclassified(model.predict(inputs)), noise=SeededNoise(0, range(len(inputs)))
    )


def test_a_step_leaves_the_state_before_it_alone():
    model = LinearClassifier((30,))
    inputs = model.inputs(2, distance=0.15, norm=Norm.L2)
    oracle = HardLabelOracle(model.predict, input_shape=(30,), bounds=Bounds(), num_classes=2, samples=2, budget=500)
    problem, attack = _problem(model, inputs), SurFree()
    state = attack.init(oracle, problem, torch.full((2,), STATUS_CODES[Status.RUNNING]))
    for _ in range(12):
        before = {name: value.clone() for name, value in state.extra.items()}
        after = attack.step(oracle, problem, state)
        assert all(torch.equal(before[name], value) for name, value in state.extra.items())
        state = after


def test_batch_does_not_matter():
    """Inputs in other phases, some of them done early, next to each other."""
    model = LinearClassifier((2, 6, 6))
    inputs = model.inputs(5, distance=0.15, norm=Norm.L2)
    names = [4, 9, 1, 7, 30]
    whole = attack_closed_form(SurFree(n_ortho=12), model, inputs, budget=250, identities=names)
    for row in (0, 3):
        alone = attack_closed_form(
            SurFree(n_ortho=12), model, inputs[row : row + 1], budget=250, identities=names[row : row + 1]
        )
        assert torch.equal(alone.adversarials[0], whole.adversarials[row])
        assert alone.queries[0] == whole.queries[row]


def test_directions_end_the_attack():
    model = LinearClassifier((30,))
    inputs = model.inputs(2, distance=0.15, norm=Norm.L2)
    short = attack_closed_form(SurFree(directions=3), model, inputs, budget=None)
    unlimited = attack_closed_form(SurFree(), model, inputs, budget=None)
    assert short.status == unlimited.status == (Status.SUCCESS,) * 2
    assert bool((short.queries <= 100 + 12 + 3 * 9).all())
    assert bool((unlimited.queries > 300).all())  # 100 directions
    assert bool((unlimited.distances < short.distances).all())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"subspace": "dct:8"}, "subspace must be None, FullSpace(), LowFrequencies(side) or ResizedNoise(factor)"),
        ({"theta_max": 0.0}, "theta_max (degrees) must be above 0 and at most 45; got 0.0"),
        ({"theta_max": 46.0}, "theta_max (degrees) must be above 0 and at most 45; got 46.0"),
        ({"theta_max": math.nan}, "theta_max (degrees) must be above 0 and at most 45; got nan"),
        ({"levels": 0}, "levels must be at least 1; got 0"),
        ({"rho": 1.0}, "rho must be above 0 and below 1; got 1.0"),
        ({"rho": math.nan}, "rho must be above 0 and below 1; got nan"),
        ({"n_ortho": -1}, "n_ortho must be at least 0; got -1"),
        ({"refinements": -1}, "refinements must be at least 0; got -1"),
        ({"tolerance": 0.0}, "tolerance must be above 0 and at most 1; got 0.0"),
        ({"directions": 0}, "directions must be at least 1; got 0"),
        ({"start_trials": 0}, "start_trials must be at least 1; got 0"),
        ({"starts": "flat"}, "starts must be 'varied' or 'uniform'; got 'flat'"),
    ],
)
def test_bad_hyper_parameters(values, message):
    with pytest.raises(ConfigurationError) as error:
        SurFree(**values)
    assert message in str(error.value)
