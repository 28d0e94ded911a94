"""The boundary attack against closed forms: distances, the geometry of its candidates, and how its steps adapt.

The checks are functions of what they check, so that they can be run on mutants: an attack whose steps do not adapt, or
whose candidates leave the sphere, must fail one of them.
"""

import math
from dataclasses import replace

import pytest
import torch

from variegate.attacks import boundary
from variegate.attacks.base import STATUS_CODES, AttackProblem, SeededNoise
from variegate.attacks.boundary import Boundary
from variegate.attacks.driver import run_attack
from variegate.errors import ConfigurationError
from variegate.models.geometry import distance
from variegate.oracles.hard_label import HardLabelOracle, Misclassified
from variegate.testing.attack_contract import attack_closed_form
from variegate.testing.closed_form import LinearClassifier, QuadricClassifier, RecordingModel
from variegate.types import Bounds, Norm, Status

SEMANTICS = ["paper", "art"]
QUERIES = {"paper": 1500, "art": 3000}

# The largest ratio of twelve inputs (three seeds) to the true distance at these queries, in 16, 64 and 256 dimensions:
#                a plane               a ball               from inside a sphere
# "paper"   1.442 3.006 5.650   1.036 1.135 1.160   1.480 1.319 1.279
# "art"     1.000 1.025 1.379   1.000 1.008 1.099   1.000 1.006 1.071
# "paper" judges its steps only every 100 and 30 iterations, so at 1,500 queries (136 iterations) it is still far out on
# a plane; at 5,000 queries the plane in 64 dimensions is at 1.016. The limits leave room for another machine's
# rounding.
LIMITS = {
    ("paper", "plane"): {16: 1.60, 64: 3.40, 256: 6.50},
    ("paper", "ball"): {16: 1.05, 64: 1.16, 256: 1.19},
    ("paper", "hollow"): {16: 1.60, 64: 1.40, 256: 1.33},
    ("art", "plane"): {16: 1.01, 64: 1.05, 256: 1.45},
    ("art", "ball"): {16: 1.01, 64: 1.02, 256: 1.13},
    ("art", "hollow"): {16: 1.01, 64: 1.02, 256: 1.10},
}


def plane(size):
    model = LinearClassifier((size,))
    return model, model.inputs(4, distance=0.15, norm=Norm.L2), None


def ball(size):
    """A convex adversarial region of radius 0.2, from starts inside of it."""
    model = QuadricClassifier((size,), radius=0.2)
    return model, model.inputs(4, length=0.45), model.inputs(4, length=0.15, seed=7)


def hollow(size):
    """The clean input is inside: the boundary curves around it."""
    model = QuadricClassifier((size,), radius=0.45)
    return model, model.inputs(4, length=0.1), None


SHAPES = {"plane": plane, "ball": ball, "hollow": hollow}


def ratios(attack, shape, size, *, queries=None, seed=0):
    model, inputs, starts = SHAPES[shape](size)
    budget = queries or QUERIES[attack.semantics]
    result = attack_closed_form(attack, model, inputs, budget=budget, starting_points=starts, seed=seed)
    assert result.status == (Status.SUCCESS,) * len(inputs)
    return (result.distances / model.distance(inputs, Norm.L2)).tolist()


@pytest.mark.parametrize("semantics", SEMANTICS)
@pytest.mark.parametrize("size", [16, 64, 256])
@pytest.mark.parametrize("shape", SHAPES)
def test_distance(semantics, shape, size):
    found = ratios(Boundary(semantics=semantics), shape, size)
    assert min(found) >= 0.9999
    assert max(found) < LIMITS[semantics, shape][size]


@pytest.mark.parametrize("bounds", [Bounds(-1.0, 1.0), Bounds(0.0, 255.0), Bounds(-0.3, 0.7)])
@pytest.mark.parametrize("semantics", SEMANTICS)
def test_distance_in_other_bounds_and_ranks(semantics, bounds):
    model = LinearClassifier((1, 4, 4), bounds=bounds)
    inputs = model.inputs(4, distance=0.15 * bounds.range, norm=Norm.L2)
    attack = Boundary(semantics=semantics)
    result = attack_closed_form(attack, model, inputs, budget=QUERIES[semantics])
    assert max((result.distances / model.distance(inputs, Norm.L2)).tolist()) < LIMITS[semantics, "plane"][16]


def check_comes_close(kind, semantics):
    """The limits, at one place; where the steps have to become small."""
    shape, size = ("hollow", 64) if semantics == "art" else ("plane", 16)
    assert max(ratios(kind(semantics=semantics), shape, size)) < LIMITS[semantics, shape][size]


@pytest.mark.parametrize("semantics", SEMANTICS)
def test_without_adaptation_a_check_fails(semantics, monkeypatch):
    monkeypatch.setattr(Boundary, "_adapted", lambda self, step, small, large: step)
    with pytest.raises(AssertionError):
        check_comes_close(Boundary, semantics)


def test_ends_on_the_boundary():
    """On a plane, what is past the boundary is the distance of the adversarial to it."""
    model, inputs, _ = plane(64)
    result = attack_closed_form(Boundary(semantics="art"), model, inputs, budget=5000)
    past, before = model.distance(result.adversarials, Norm.L2), model.distance(inputs, Norm.L2)
    assert float((past / (past + before)).max()) < 1e-3


class Walk:
    """An attack that a test takes through its steps by hand; `predict` decides what is adversarial (label 1)."""

    def __init__(self, attack, predict, start, *, clean=None, budget=None):
        self.attack, self.recorder = attack, RecordingModel(predict)
        clean = torch.full_like(start, 0.5) if clean is None else clean
        self.oracle = HardLabelOracle(
            self.recorder.predict,
            input_shape=tuple(start.shape[1:]),
            bounds=Bounds(),
            num_classes=2,
            samples=len(start),
            budget=budget,
        )
        self.problem = AttackProblem(
            inputs=clean,
            criterion=Misclassified(torch.zeros(len(start), dtype=torch.int64)),
            noise=SeededNoise(0, range(len(start))),
            starting_points=start,
        )
        self.state = attack.init(self.oracle, self.problem, torch.full((len(start),), STATUS_CODES[Status.RUNNING]))

    def step(self):
        """Do one iteration; return the questions asked, float64 offsets from the clean input (M, d)."""
        seen = self.recorder.rows
        self.state = self.attack.step(self.oracle, self.problem, self.state)
        return (self.recorder.questions[seen:] - self.problem.inputs[0]).flatten(1).double()


def always(x):
    return torch.ones(len(x), dtype=torch.int64)


def start_away(size=100, rows=1):
    """Return starts at distance 0.4 of a grey input, so near that no candidate meets the bounds."""
    way = torch.randn((rows, size), generator=torch.Generator().manual_seed(5))
    return 0.5 + 0.4 * way / way.norm(dim=1, keepdim=True)


def check_candidates(module, step):
    """Where candidates lie: on the sphere ("paper") or just within ("art"), at the angle of the spherical step."""
    start = start_away()
    out = (start[0] - 0.5).double()
    size, cosine = float(out.norm()), 1.0 / math.sqrt(1.0 + step**2)
    asked = Walk(module.Boundary(semantics="art", spherical_step=step), always, start).step()
    around, nearer = asked[:20], asked[20:]
    assert (around @ out / size**2).tolist() == pytest.approx([cosine] * 20, rel=1e-5)
    tangent = (around - cosine * out).norm(dim=1) / cosine  # ART takes the radial part off after scaling
    assert float(tangent.max()) <= step * size * (1.0 + 1e-4)
    assert float(tangent.min()) >= step * size * 0.93
    assert torch.allclose(nearer, 0.99 * around, rtol=1e-4, atol=1e-6)
    walk = Walk(module.Boundary(candidates=1, spherical_step=step), always, start)
    out = (walk.state.points[0] - 0.5).double()  # after bisection
    size = float(out.norm())
    nearer, sphere = walk.step()
    assert float(sphere.norm()) == pytest.approx(size, rel=1e-5)
    assert float(sphere @ out) / size**2 == pytest.approx(cosine, rel=1e-5)
    assert float(nearer.norm()) == pytest.approx(0.99 * size, rel=1e-5)
    assert float(nearer @ sphere) == pytest.approx(0.99 * size**2, rel=1e-5)


@pytest.mark.parametrize("step", [0.01, 0.3, 3.0])
def test_candidates(step, monkeypatch):
    monkeypatch.setattr(boundary, "_START_TOLERANCE", 1.0)  # or bisection would bring the start to the clean input
    check_candidates(boundary, step)


@pytest.mark.parametrize(
    ("passage", "replacement"),
    [
        (r"\(shorten - factor \* along\)", "torch.ones_like(along)"),  # no projection onto the sphere
        (r"shorten - factor \* along", "shorten.expand_as(along)"),  # the radial part of the draw is left in
        (r"share\[:, None\], back", "0.0 * share[:, None], back"),  # no step to the source
    ],
)
def test_without_the_projection_a_check_fails(passage, replacement, mutant):
    made = mutant(boundary, passage, replacement)
    made._START_TOLERANCE = 1.0
    with pytest.raises(AssertionError):
        check_candidates(made, 0.3)


def test_art_adapts_after_every_question():
    """All adversarial: both steps grow; of four in twenty, none; of fewer, they shrink."""
    start = start_away()
    walk = Walk(Boundary(semantics="art"), always, start)
    walk.step()
    assert [float(walk.state.extra[name]) for name in ("spherical_step", "source_step")] == pytest.approx(
        [0.01 / 0.667] * 2
    )
    for hits, factor in ((3, 0.667), (4, 1.0), (10, 1.0), (11, 1.0 / 0.667)):
        script = iter([torch.tensor([1]), torch.arange(20) < hits, torch.arange(hits) < 1])
        walk = Walk(Boundary(semantics="art"), lambda x, script=script: next(script).long(), start)
        walk.step()
        assert float(walk.state.extra["spherical_step"]) == pytest.approx(0.01 * factor)
        grown = 0.667 if hits >= 6 else 1.0
        assert float(walk.state.extra["source_step"]) == pytest.approx(0.01 * grown)


def test_art_takes_the_closest():
    start = start_away()
    walk = Walk(Boundary(semantics="art"), always, start)
    asked = walk.step()
    sizes = asked[20:].norm(dim=1)
    assert torch.equal((walk.state.points[0] - 0.5).double(), asked[20 + int(sizes.argmin())])
    assert float(walk.state.best_distance) == pytest.approx(float(sizes.min()), rel=1e-6)


def test_paper_adapts_by_its_windows():
    """Everything adversarial: the source step grows after 30, 60 and 90 checks, and both after the first 100."""
    walk = Walk(Boundary(candidates=1), always, start_away(size=9))
    for iteration in range(1, 101):
        walk.step()
        spherical, source = (float(walk.state.extra[name]) for name in ("spherical_step", "source_step"))
        assert spherical == pytest.approx(0.015 if iteration == 100 else 0.01)
        assert source == pytest.approx(0.01 * 1.5 ** (iteration // 30 + iteration // 100))


@pytest.mark.parametrize(
    ("size", "low", "high", "hits", "expected"),
    [
        (100, 0.2, 0.5, 19, "small"),
        (100, 0.2, 0.5, 20, None),
        (100, 0.2, 0.5, 50, None),
        (100, 0.2, 0.5, 51, "large"),
        (30, 0.1, 0.25, 2, "small"),
        (30, 0.1, 0.25, 3, None),
        (30, 0.1, 0.25, 7, None),
        (30, 0.1, 0.25, 8, "large"),
    ],
)
def test_windows(size, low, high, hits, expected):
    window = torch.full((1, size), -1, dtype=torch.int8)
    for iteration in range(size + 5):
        answer = torch.tensor([iteration % size < hits])  # slides on without a change
        window, small, large = boundary._recorded(window, answer, iteration, low, high)
        judged = iteration >= size - 1
        assert bool(small) is (judged and expected == "small")
        assert bool(large) is (judged and expected == "large")
        if bool(small | large):
            assert bool((window == -1).all())
            break


def test_art_ends_where_nothing_around_is_adversarial():
    start = start_away()
    walk = Walk(Boundary(semantics="art", trials=4), lambda x: (x == start).flatten(1).all(1).long(), start)
    asked = walk.step()
    assert len(asked) == 4 * 20
    assert walk.state.status.tolist() == [STATUS_CODES[Status.SUCCESS]]
    assert torch.equal(walk.state.best, start)


def test_art_ends_where_nothing_is_adversarial_nearer():
    """After the trials, at the closest point of the sphere, as ART does."""
    start = start_away()
    size = float((start - 0.5).norm())
    shell = Walk(
        Boundary(semantics="art", trials=3), lambda x: ((x - 0.5).flatten(1).norm(dim=1) > 0.999 * size).long(), start
    )
    asked = shell.step()
    assert len(asked) == 20 + 3 * 20
    assert shell.state.status.tolist() == [STATUS_CODES[Status.SUCCESS]]
    sizes = asked[:20].norm(dim=1)
    assert torch.equal((shell.state.best[0] - 0.5).double(), asked[int(sizes.argmin())])


def test_steps_stay_finite():
    """From the middle of a sphere every direction is as good: the spherical step grows as long as it may."""
    model = QuadricClassifier((16,), radius=0.4)
    attack = Boundary(semantics="art", shrink=0.01)
    result = attack_closed_form(attack, model, torch.full((2, 16), 0.5), budget=2000)
    assert result.error is None
    assert bool((result.distances / 0.4 < 1.1).all())
    walk = Walk(Boundary(semantics="art", spherical_step=1e6), always, start_away())
    for _ in range(3):
        walk.step()
        assert float(walk.state.extra["spherical_step"]) == 1e6
    assert bool(walk.state.points.isfinite().all())


def test_a_point_on_the_clean_input_is_no_trouble():
    """A noisy model may call the clean input adversarial; there is no direction from there."""
    for semantics in SEMANTICS:
        clean = torch.full((1, 9), 0.5)
        walk = Walk(Boundary(semantics=semantics), always, clean.clone(), clean=clean)
        walk.step()
        assert torch.equal(walk.state.points, clean)


@pytest.mark.parametrize("semantics", SEMANTICS)
def test_the_size_of_questions_does_not_matter(semantics):
    """Inputs whose candidates do not fit into one question go in groups."""
    model, inputs, _ = plane(24)
    found = []
    for rows in (1, 25, 4096):
        recorder = RecordingModel(model.predict)
        oracle = HardLabelOracle(
            recorder.predict,
            input_shape=(24,),
            bounds=Bounds(),
            num_classes=2,
            samples=4,
            budget=250,
            preferred_rows=rows,
        )
        result = run_attack(Boundary(semantics=semantics), oracle, inputs, model.predict(inputs), seed=0)
        found.append((result, recorder.calls))
    for result, calls in found[:2]:
        assert torch.equal(result.adversarials, found[2][0].adversarials)
        assert torch.equal(result.queries, found[2][0].queries)
        assert calls > found[2][1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"semantics": "foolbox"}, "semantics must be 'paper' or 'art'; got 'foolbox'"),
        ({"iterations": 0}, "iterations must be at least 1; got 0"),
        ({"trials": 0}, "trials must be at least 1; got 0"),
        ({"candidates": 0}, "candidates must be at least 1; got 0"),
        ({"spherical_step": 0.0}, "spherical_step must be above 0 and at most 1e\\+06; got 0.0"),
        ({"spherical_step": math.inf}, "spherical_step must be above 0 and at most 1e\\+06; got inf"),
        ({"source_step": -0.1}, "source_step must be above 0 and at most 1; got -0.1"),
        ({"source_step": 1.5}, "source_step must be above 0 and at most 1; got 1.5"),
        ({"shrink": 1.0}, "shrink must be above 0 and below 1; got 1.0"),
        ({"shrink": math.nan}, "shrink must be above 0 and below 1; got nan"),
        ({"convergence": -1e-9}, "convergence must be a number from 0 up; got -1e-09"),
        ({"convergence": math.nan}, "convergence must be a number from 0 up; got nan"),
        ({"start_trials": 0}, "start_trials must be at least 1; got 0"),
        ({"starts": "flat"}, "starts must be 'varied' or 'uniform'; got 'flat'"),
    ],
)
def test_bad_hyper_parameters(values, message):
    with pytest.raises(ConfigurationError, match=message):
        Boundary(**values)


@pytest.mark.parametrize("semantics", SEMANTICS)
def test_iterations_end_the_attack(semantics):
    model, inputs, _ = plane(30)
    for iterations in (1, 3):
        result = attack_closed_form(Boundary(semantics=semantics, iterations=iterations), model, inputs, budget=None)
        assert result.iterations == iterations
        assert result.status == (Status.SUCCESS,) * 4


@pytest.mark.parametrize(("semantics", "most"), [("paper", 2500), ("art", 5000)])
def test_iterations_without_a_budget(semantics, most):
    walk = Walk(Boundary(semantics=semantics), always, start_away())
    walk.state = replace(walk.state, iteration=most - 1)
    assert len(walk.step())
    assert walk.state.iteration == most
    assert int(walk.state.running.numel()) == 1
    assert walk.recorder.rows == walk.oracle.meter.total
    before = walk.recorder.rows
    walk.state = walk.attack.step(walk.oracle, walk.problem, walk.state)
    assert walk.recorder.rows == before
    assert walk.state.status.tolist() == [STATUS_CODES[Status.SUCCESS]]


@pytest.mark.parametrize("semantics", SEMANTICS)
def test_an_input_is_done_when_its_source_step_has_converged(semantics):
    model, inputs, _ = hollow(16)
    result = attack_closed_form(
        Boundary(semantics=semantics, convergence=0.008, shrink=0.5), model, inputs, budget=5000
    )
    assert result.status == (Status.SUCCESS,) * 4
    assert int(result.queries.max()) < 4900
    assert bool((result.distances / model.distance(inputs, Norm.L2) < 1.6).all())


def test_an_iteration_costs_what_the_docstring_says():
    model, inputs, _ = plane(64)
    paper = attack_closed_form(Boundary(iterations=5), model, inputs, budget=None).trajectory.queries
    assert paper.diff(dim=0)[:5].tolist() == [[11] * 4] * 5
    art = attack_closed_form(Boundary(semantics="art"), model, inputs, budget=3000).trajectory.queries
    costs = art.diff(dim=0)[:50].float()  # before any budget ends
    assert float(costs.min()) >= 21
    assert 25 <= float(costs.mean()) <= 40


def test_starts_are_bisected_in_paper_only():
    model, inputs, _ = plane(64)
    first = {
        semantics: attack_closed_form(Boundary(semantics=semantics, iterations=1), model, inputs, budget=None)
        for semantics in SEMANTICS
    }
    sizes = {semantics: result.trajectory.distances[0] for semantics, result in first.items()}
    assert bool((sizes["paper"] < 0.9 * sizes["art"]).all())
    start = model.inputs(4, distance=-0.1, norm=Norm.L2)
    given = attack_closed_form(
        Boundary(semantics="art", iterations=1), model, inputs, budget=None, starting_points=start
    )
    assert torch.allclose(given.trajectory.distances[0], distance(inputs, start, Norm.L2))
