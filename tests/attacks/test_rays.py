"""RayS against a plain implementation, question by question, and against closed forms in L-infinity."""

import math

import pytest
import torch

from variegate.attacks import rays
from variegate.attacks.rays import RayS
from variegate.errors import ConfigurationError
from variegate.models.geometry import distance
from variegate.testing.attack_contract import ATTACK_CHECKS, attack_closed_form
from variegate.testing.closed_form import LinearClassifier, QuadricClassifier, RecordingModel
from variegate.types import Bounds, Norm, Status

# The nearest point of a plane, and of a sphere from inside, is x + r s: there RayS ends at the exact distance, up to
# rounding, after (the most of four inputs) 223, 807 and 2,958 queries in 16, 64 and 256 dimensions (a sphere: 275, 917
# and more than 5,000). Of a small ball the nearest point is no such thing; it ends at 1.31, 1.33 and 1.30 times the
# distance (HopSkipJump: 1.04, 1.12 and 1.27).
EXACT = 1.00001


def ratios(attack, model, inputs, *, budget=1500, **kwargs):
    result = attack_closed_form(attack, model, inputs, budget=budget, **kwargs)
    assert result.status == (Status.SUCCESS,) * len(inputs)
    return (result.distances / model.distance(inputs, Norm.LINF)).tolist()


def plane_of(normal):
    """Return a plane through the middle of the bounds with this normal."""
    model = LinearClassifier((normal.numel(),))
    model.normal = normal.double() / normal.double().norm()
    model.threshold = 0.5 * float(model.normal.sum())
    return model


@pytest.mark.parametrize("first_direction", ["ones", "random"])
@pytest.mark.parametrize("size", [1, 2, 16, 64])
def test_distance_to_a_plane(first_direction, size):
    model = LinearClassifier((size,))
    inputs = model.inputs(4, distance=0.04, norm=Norm.LINF)
    found = ratios(RayS(first_direction=first_direction), model, inputs)
    assert min(found) >= 0.9999
    assert max(found) < EXACT


@pytest.mark.parametrize("bounds", [Bounds(-1.0, 1.0), Bounds(0.0, 255.0), Bounds(-0.3, 0.7)])
def test_distance_to_a_plane_where_bounds_are_in_the_way(bounds):
    """Values that lie at their bounds cannot move one way; their signs must still flip back and forth."""
    model = LinearClassifier((1, 6, 6), bounds=bounds)
    inputs = model.inputs(4, distance=0.04 * bounds.range, norm=Norm.LINF)
    inputs.flatten(1)[:, :9] = bounds.lower
    inputs.flatten(1)[:, 20:29] = bounds.upper
    model.threshold = float((inputs.flatten(1).double() * model.normal).sum(1).max()) + 0.1 * bounds.range
    assert model.predict(inputs).tolist() == [0] * 4
    assert max(ratios(RayS(), model, inputs)) < EXACT


def test_distance_to_a_sphere_from_inside():
    model = QuadricClassifier((16,), radius=0.45)
    found = ratios(RayS(), model, model.inputs(4, length=0.1))
    assert min(found) >= 0.9999
    assert max(found) < EXACT


@pytest.mark.parametrize("size", [16, 64])
def test_distance_to_a_ball_from_a_start(size):
    model = QuadricClassifier((size,), radius=0.2)
    starts = model.inputs(4, length=0.15, seed=7)
    found = ratios(RayS(), model, model.inputs(4, length=0.45), starting_points=starts)
    assert min(found) >= 0.9999
    assert max(found) < 1.45


def plain_rays(predict, x, tolerance, budget):
    """Ask as RayS does, one input and one question at a time; return the questions and the last radius."""
    asked = []

    def adversarial(signs, radius):
        asked.append(torch.clamp(x + radius * signs, 0.0, 1.0))
        return bool(predict(asked[-1][None])[0])

    signs, best, level, size = torch.ones_like(x), math.inf, 0, x.numel()
    moves = [signs]  # the first is not a flip
    while len(asked) < budget:
        if not moves:
            length = math.ceil(size / 2**level)
            moves, level = list(range(0, size, length)), level + 1
        move = moves.pop(0)
        attempt = signs.clone()
        if not isinstance(move, torch.Tensor):
            attempt[move : move + length] *= -1.0
        if not adversarial(attempt, min(best, 1.0)):
            continue
        low, high = 0.0, min(best, float((asked[-1] - x).abs().max()))
        while high - low > tolerance and len(asked) < budget:
            middle = 0.5 * (low + high)
            low, high = (low, middle) if adversarial(attempt, middle) else (middle, high)
        if high < best:
            best, signs = high, attempt
    return torch.stack(asked), best


@pytest.mark.parametrize(("size", "budget"), [(16, 50), (25, 120), (48, 120)])
def test_asks_what_a_plain_implementation_asks(size, budget):
    """Until single values have nothing to add, where the tolerance becomes finer."""
    model = LinearClassifier((size,), seed=5)
    if float(model.normal.sum()) < 0.0:  # so that all ones is adversarial
        model = plane_of(-model.normal)
    inputs = model.inputs(3, distance=0.04, norm=Norm.LINF)
    for x in inputs:
        recorder = RecordingModel(model.predict)
        result = attack_closed_form(RayS(tolerance=1e-2), model, x[None], budget=budget, recorder=recorder)
        asked, best = plain_rays(model.predict, x, 1e-2 / math.sqrt(size), budget - 1)  # the clean input costs one
        assert recorder.rows == budget
        assert torch.allclose(recorder.questions[1:], asked, atol=1e-6)
        assert float(result.distances[0]) == pytest.approx(best, abs=1e-6)


def test_blocks():
    assert [rays._block(number, 5) for number in range(14)] == [
        *((0, 5), (0, 3), (3, 5)),
        *((0, 2), (2, 4), (4, 5)),
        *((0, 1), (1, 2), (2, 3), (3, 4), (4, 5)),
        *((0, 1), (1, 2), (2, 3)),  # round and round
    ]
    assert [rays._block(number, 1) for number in range(3)] == [(0, 1)] * 3
    assert [rays._block(number, 3072) for number in (0, 1, 2, 3)] == [(0, 3072), (0, 1536), (1536, 3072), (0, 768)]


def check_large_blocks_come_first(kind):
    """The signs of this plane differ by halves of 1,024 values: few flips do."""
    normal = torch.cat((torch.ones(512), -torch.full((512,), 0.9)))
    model = plane_of(normal)
    found = ratios(kind(), model, model.inputs(3, distance=0.04, norm=Norm.LINF), budget=60)
    assert max(found) < 1.01


def test_large_blocks_come_first():
    check_large_blocks_come_first(RayS)


def test_without_halving_blocks_a_check_fails(monkeypatch):
    monkeypatch.setattr(rays, "_block", lambda number, size: (number % size, number % size + 1))
    with pytest.raises(AssertionError):
        check_large_blocks_come_first(RayS)


def test_without_single_values_a_check_fails(monkeypatch):
    block = rays._block
    monkeypatch.setattr(rays, "_block", lambda number, size: block(number % 7, size))
    with pytest.raises(AssertionError):
        test_distance_to_a_plane("ones", 64)


def test_tries_ones_then_their_opposite_then_random_signs():
    """Adversarial is only what has a fifth to four fifths of large values, so neither white nor black."""

    def predict(x):
        share = (x.flatten(1) > 0.9).float().mean(1)
        return ((share > 0.2) & (share < 0.8)).long()

    model, inputs = LinearClassifier((50,)), torch.full((3, 50), 0.5)
    labels = torch.zeros(3, dtype=torch.int64)
    for trials, status in ((2, Status.NO_STARTING_POINT), (6, Status.SUCCESS)):
        recorder = RecordingModel(predict)
        attack = RayS(start_trials=trials, flips=4)
        result = attack_closed_form(attack, model, inputs, recorder=recorder, labels=labels)
        assert result.status == (status,) * 3
        assert bool((recorder.questions[3:6] == 1.0).all())
        assert bool((recorder.questions[6:9] == 0.0).all())
    assert not torch.equal(recorder.questions[9], recorder.questions[10])  # each input draws its own


def test_random_first_directions_have_blocks_too():
    model, inputs = LinearClassifier((256,)), torch.full((2, 256), 0.5)
    recorder = RecordingModel(lambda x: torch.zeros(x.shape[0], dtype=torch.int64))
    attack = RayS(first_direction="random", start_trials=5)
    attack_closed_form(attack, model, inputs, recorder=recorder, labels=torch.zeros(2, dtype=torch.int64))
    changes = [(question[1:] != question[:-1]).nonzero().flatten() + 1 for question in recorder.questions[2:]]
    assert len(changes) == 10
    for trial, length in enumerate((1, 4, 16, 64, 1)):
        for change in changes[2 * trial : 2 * trial + 2]:
            assert bool((change % length == 0).all())
    assert not torch.equal(recorder.questions[2], recorder.questions[3])


def test_targeted_from_a_start_that_no_vector_of_signs_reaches():
    """The target is a band in which single values stay below 0.8, so every corner of the bounds has another label."""

    def predict(x):
        flat = x.flatten(1)
        return torch.where(flat.amax(1) > 0.8, 2, (flat.mean(1) > 0.6).long())

    model, inputs = LinearClassifier((24,)), torch.rand((4, 24), generator=torch.Generator().manual_seed(3)) * 0.7
    targets, labels = torch.ones(4, dtype=torch.int64), torch.zeros(4, dtype=torch.int64)
    recorder = RecordingModel(predict)
    options = {"labels": labels, "targets": targets, "num_classes": 3, "budget": 400}
    starts = torch.full((4, 24), 0.78)
    result = attack_closed_form(RayS(), model, inputs, recorder=recorder, starting_points=starts, **options)
    assert result.status == (Status.SUCCESS,) * 4
    assert predict(result.adversarials).tolist() == [1] * 4
    assert all(recorder.answer_to(point) == 1 for point in result.adversarials)
    assert bool((result.distances < distance(starts, inputs, Norm.LINF)).all())
    without = attack_closed_form(RayS(), model, inputs, recorder=RecordingModel(predict), **options)
    assert without.status == (Status.NO_STARTING_POINT,) * 4


def test_the_signs_of_a_start_are_the_first_direction_where_they_lead_closer():
    model = LinearClassifier((20,))
    inputs = model.inputs(2, distance=0.03, norm=Norm.LINF)
    starts = (inputs + 0.1 * model.normal.sign() * torch.linspace(0.5, 1.0, 20)).float()
    found = ratios(RayS(flips=1), model, inputs, starting_points=starts)
    assert max(found) < 1.01


def test_flips_end_the_attack_and_so_does_float32():
    model = LinearClassifier((30,))
    inputs = model.inputs(2, distance=0.03, norm=Norm.LINF)
    few, more = (attack_closed_form(RayS(flips=flips), model, inputs, budget=None) for flips in (3, 70))
    assert (few.iterations, more.iterations) == (1, 3)
    assert bool((few.queries < 60).all())
    assert bool((more.distances < few.distances).all())
    whole = attack_closed_form(RayS(), model, inputs, budget=None)
    assert whole.status == (Status.SUCCESS,) * 2
    assert int(whole.queries.max()) < 700
    assert bool((whole.distances / model.distance(inputs, Norm.LINF) < EXACT).all())


def test_without_a_budget_flips_are_ten_thousand_at_most(monkeypatch):
    monkeypatch.setattr(rays, "_FLIPS", 40)
    model = LinearClassifier((30,))
    result = attack_closed_form(RayS(), model, model.inputs(2, distance=0.03, norm=Norm.LINF), budget=None)
    assert result.iterations == 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"first_direction": "zeros"}, "first_direction must be 'ones' or 'random'; got 'zeros'"),
        ({"flips": 0}, "flips must be at least 1; got 0"),
        ({"tolerance": 0.0}, "tolerance must be above 0 and at most 1; got 0.0"),
        ({"tolerance": math.nan}, "tolerance must be above 0 and at most 1; got nan"),
        ({"start_trials": 0}, "start_trials must be at least 1; got 0"),
    ],
)
def test_bad_hyper_parameters(values, message):
    with pytest.raises(ConfigurationError, match=message):
        RayS(**values)


def test_deterministic_says_whether_the_seed_matters():
    """With a small budget: with a large one, both end at the nearest point whatever the seed."""
    model = LinearClassifier((64,))
    inputs = model.inputs(2, distance=0.04, norm=Norm.LINF)
    for first_direction in ("ones", "random"):
        attack = RayS(first_direction=first_direction)
        one, other = (attack_closed_form(attack, model, inputs, budget=60, seed=seed) for seed in (1, 2))
        assert torch.equal(one.adversarials, other.adversarials) is attack.deterministic is (first_direction == "ones")


@pytest.mark.parametrize("check", ["result_is_consistent", "batch_does_not_matter", "targeted", "units_do_not_matter"])
def test_random_first_directions_keep_the_contract(check):
    ATTACK_CHECKS[check](RayS(first_direction="random"))
