"""The parts attacks are built from: bisection, starts, noise, criteria, norms, and the catalog."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from variegate.attacks.base import Asker, AttackProblem, SeededNoise
from variegate.attacks.catalog import ATTACKS, find_attack
from variegate.attacks.hopskipjump import HopSkipJump
from variegate.attacks.toolbox import bisect, blend, find_starts
from variegate.errors import ConfigurationError
from variegate.models.geometry import all_finite, as_rows, distance
from variegate.oracles.hard_label import HardLabelOracle, Misclassified, MisclassifiedAs
from variegate.testing.closed_form import LinearClassifier, RecordingModel
from variegate.types import Bounds, Norm


def asker(predict, *, samples, shape, budget=None, bounds=None):
    oracle = HardLabelOracle(
        predict, input_shape=shape, bounds=bounds or Bounds(), num_classes=2, samples=samples, budget=budget
    )
    return Asker(oracle, Misclassified(torch.zeros(samples, dtype=torch.int64)))


@pytest.mark.parametrize("norm", Norm)
@pytest.mark.parametrize("tolerance", [0.1, 1e-3, 1e-6])
def test_bisection_ends_within_its_tolerance(norm, tolerance):
    model = LinearClassifier((20,))
    recorder = RecordingModel(model.predict)
    clean = model.inputs(5, distance=0.1, norm=norm)
    far = (clean + 0.5 * model.normal.float()).clamp(0.0, 1.0)
    upper = torch.ones(5) if norm is Norm.L2 else distance(clean, far, Norm.LINF)
    ask = asker(recorder.predict, samples=5, shape=(20,))
    rows = torch.arange(5)
    found = bisect(ask, clean, far, rows, norm=norm, upper=upper, tolerance=upper * tolerance)
    assert model.predict(found).tolist() == [1] * 5
    shares = distance(clean, found, norm) / distance(clean, far, norm)
    short = blend(clean, far, (shares - 1.1 * tolerance) * upper, norm)
    assert model.predict(short).tolist() == [0] * 5  # a little less than the tolerance nearer, and it is crossed
    rounds = max(1, int(torch.log2(torch.tensor(1 / tolerance)).ceil()))
    assert ask.oracle.meter.per_sample.tolist() == [rounds] * 5


@pytest.mark.parametrize("norm", Norm)
def test_bisection_without_queries_returns_the_adversarial_itself(norm):
    """Not a point that rounds to nearly the same place, and was never asked for."""
    generator = torch.Generator().manual_seed(0)
    clean, far = torch.rand((50, 9), generator=generator), torch.rand((50, 9), generator=generator)
    upper = torch.ones(50) if norm is Norm.L2 else distance(clean, far, Norm.LINF)
    ask = asker(lambda x: torch.ones(len(x), dtype=torch.int64), samples=50, shape=(9,), budget=1)
    ask(clean, torch.arange(50))
    found = bisect(ask, clean, far, torch.arange(50), norm=norm, upper=upper, tolerance=upper * 1e-3)
    assert torch.equal(found, far)


def test_bisection_ends_where_float32_does():
    ask = asker(lambda x: (x[:, 0] > 0.7).long(), samples=1, shape=(1,))
    one = torch.ones(1)
    bisect(
        ask, torch.zeros((1, 1)), torch.ones((1, 1)), torch.arange(1), norm=Norm.L2, upper=one, tolerance=one * 1e-12
    )
    assert ask.oracle.meter.total <= 26


def test_blend():
    clean, far = torch.tensor([[0.0, 0.5, 1.0]]), torch.tensor([[1.0, 0.5, 0.8]])
    assert torch.allclose(blend(clean, far, torch.tensor([0.25]), Norm.L2), torch.tensor([[0.25, 0.5, 0.95]]))
    assert torch.allclose(blend(clean, far, torch.tensor([0.1]), Norm.LINF), torch.tensor([[0.1, 0.5, 0.9]]))
    assert torch.allclose(blend(clean, far, torch.tensor([0.5]), Norm.LINF), torch.tensor([[0.5, 0.5, 0.8]]))


def problem(shape, *, count=3, starting_points=None):
    inputs = torch.full((count, *shape), 0.5)
    criterion = Misclassified(torch.zeros(count, dtype=torch.int64))
    return AttackProblem(
        inputs=inputs, criterion=criterion, noise=SeededNoise(0, range(count)), starting_points=starting_points
    )


@pytest.mark.parametrize(
    ("shape", "bounds"), [((7,), Bounds()), ((6, 9), Bounds(-2.0, 1.0)), ((3, 9, 5), Bounds(0, 255))]
)
def test_starts_are_tried_one_by_one_up_to_the_limit(shape, bounds):
    recorder = RecordingModel(lambda x: torch.zeros(len(x), dtype=torch.int64))
    ask = asker(recorder.predict, samples=3, shape=shape, bounds=bounds)
    points, found = find_starts(ask, problem(shape), torch.arange(3), bounds=bounds, trials=9, starts="varied")
    assert found.tolist() == [False] * 3
    assert torch.equal(points, problem(shape).inputs)
    assert ask.oracle.meter.per_sample.tolist() == [9] * 3
    drawn = recorder.questions
    assert bounds.lower <= float(drawn.min())
    assert float(drawn.max()) <= bounds.upper
    assert float(drawn.max() - drawn.min()) > 0.5 * bounds.range
    assert len({row.numpy().tobytes() for row in drawn}) == 27  # every trial of every row is another


def test_varied_starts_hold_blocks_and_flat_colours():
    """A class that swallows all noise is left by a flat colour; "uniform" never finds it."""

    def predict(x):
        return (x.flatten(2).std(2).amax(1) < 1e-6).long()  # only flat images are adversarial

    for starts, expected in (("varied", True), ("uniform", False)):
        ask = asker(predict, samples=3, shape=(3, 8, 8))
        _, found = find_starts(ask, problem((3, 8, 8)), torch.arange(3), bounds=Bounds(), trials=6, starts=starts)
        assert found.tolist() == [expected] * 3


def test_given_starts_are_asked_before_drawn_ones_and_only_where_affordable():
    given = torch.full((3, 4), 0.9)
    given[1] = 0.1
    ask = asker(lambda x: (x.mean(1) > 0.8).long(), samples=3, shape=(4,), budget=2)
    ask(torch.zeros((3, 4))[:2], torch.tensor([2, 2]))  # row 2 has nothing left
    points, found = find_starts(
        ask, problem((4,), starting_points=given), torch.arange(3), bounds=Bounds(), trials=0, starts="uniform"
    )
    assert found.tolist() == [True, False, False]
    assert torch.equal(points[0], given[0])
    assert ask.oracle.meter.per_sample.tolist() == [1, 1, 2]


def test_noise_depends_on_its_place_alone():
    whole = SeededNoise(3, [10, 20])
    alone = SeededNoise(3, [20])
    late = whole.probes(1, 4, 64, (8, 5), gaussian=True)
    whole.start(0, 0, (5,))
    assert torch.equal(whole.probes(1, 4, 64, (8, 5), gaussian=True), late)
    assert torch.equal(alone.probes(0, 4, 64, (8, 5), gaussian=True), late)
    others = [
        whole.probes(0, 4, 64, (8, 5), gaussian=True),
        whole.probes(1, 5, 64, (8, 5), gaussian=True),
        whole.probes(1, 4, 0, (8, 5), gaussian=True),
        SeededNoise(4, [10, 20]).probes(1, 4, 64, (8, 5), gaussian=True),
    ]
    assert not any(torch.equal(other, late) for other in others)


def test_noise_has_the_distributions_it_says():
    noise = SeededNoise(0, [0])
    uniform, start = noise.probes(0, 0, 0, (400, 100), gaussian=False), noise.start(0, 0, (200, 200))
    normal = noise.probes(0, 0, 0, (400, 100), gaussian=True)
    assert -1.0 <= float(uniform.min()) < -0.999
    assert 0.999 < float(uniform.max()) <= 1.0
    assert float(uniform.var()) == pytest.approx(1 / 3, rel=0.03)
    assert float(normal.mean()) == pytest.approx(0.0, abs=0.02)
    assert float(normal.var()) == pytest.approx(1.0, rel=0.03)
    assert 0.0 <= float(start.min()) < 0.001
    assert 0.999 < float(start.max()) < 1.0


def test_criteria():
    predicted, rows = torch.tensor([1, 2, 3]), torch.tensor([2, 2, 0])
    labels = torch.tensor([3, 9, 1])
    assert Misclassified(labels).is_adversarial(predicted, rows).tolist() == [False, True, False]
    assert MisclassifiedAs(labels).is_adversarial(predicted, rows).tolist() == [True, False, True]
    assert (Misclassified(labels).targeted, MisclassifiedAs(labels).targeted) == (False, True)


@given(st.integers(0, 10**6), st.sampled_from([(4,), (2, 3), (3, 2, 2)]))
def test_norms(seed, shape):
    x, y = torch.randn((2, 5, *shape), generator=torch.Generator().manual_seed(seed))
    for row in range(5):
        difference = (x[row] - y[row]).double().flatten().tolist()
        assert float(distance(x, y, Norm.L2)[row]) == pytest.approx(sum(v * v for v in difference) ** 0.5, rel=1e-5)
        assert float(distance(x, y, Norm.LINF)[row]) == pytest.approx(max(map(abs, difference)), rel=1e-6)


def test_row_helpers():
    x = torch.zeros((3, 2, 2))
    x[1, 0, 1], x[2, 1, 1] = float("nan"), float("-inf")
    assert all_finite(x).tolist() == [True, False, False]
    assert as_rows(torch.arange(3.0), x).shape == (3, 1, 1)
    assert as_rows(torch.tensor([True, False, True]), x).dtype is torch.bool


def test_catalog():
    assert find_attack("hsj") is HopSkipJump
    assert {name: find_attack(name) for name in ATTACKS} == dict(ATTACKS)
    assert all(make().name == name for name, make in ATTACKS.items())
    with pytest.raises(ConfigurationError, match="no attack 'jump'; choose from boundary, cgba, geoda, hopskipjump"):
        find_attack("jump")
    with pytest.raises(ConfigurationError, match="deepfool needs scores and gradients; choose an attack that sees"):
        find_attack("deepfool")
