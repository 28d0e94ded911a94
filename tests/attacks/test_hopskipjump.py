"""HopSkipJump against closed forms: distances on planes and spheres, where it stops, and how well it finds the normal.

The checks are functions of the attack's class, so that they can be run on mutants: an attack that lacks its baseline
subtraction, its final projection or its schedule of radii must fail one of them.
"""

import math

import pytest
import torch

from variegate.attacks import hopskipjump, toolbox
from variegate.attacks.base import STATUS_CODES, Asker, AttackProblem, SeededNoise
from variegate.attacks.driver import run_attack
from variegate.attacks.hopskipjump import HopSkipJump
from variegate.attacks.subspaces import FullSpace, LowFrequencies, ResizedNoise
from variegate.attacks.toolbox import expected_cosine as noisy_cosine
from variegate.attacks.toolbox import probes_for, voted_flip_rate
from variegate.errors import ConfigurationError
from variegate.models.geometry import distance
from variegate.oracles.hard_label import HardLabelOracle, Misclassified
from variegate.oracles.jitter import GaussianJitter
from variegate.oracles.voting import MajorityVote
from variegate.testing.attack_contract import ATTACK_CHECKS, attack_closed_form
from variegate.testing.closed_form import LinearClassifier, QuadricClassifier, RecordingModel
from variegate.types import Bounds, Norm, Status

QUERIES = 5000

# The largest ratio of twelve inputs (three seeds) to the true distance at 5,000 queries, in 2, 16, 64, 256 dimensions:
#                              a plane                   a ball                    the second best of a hollow
# "paper", L2          1.042 1.009 1.020 1.060   1.034 1.009 1.019 1.064   -     1.080 1.083 1.121
# "paper", L-infinity  1.052 1.012 1.046 1.163   1.050 1.055 1.129 1.269   -     1.213 1.131 1.224
# "art", L2            1.249 1.244 1.240 1.251   1.248 1.243 1.238 1.235   -     1.323 1.316 1.318
# "art", L-infinity    1.248 1.288 1.315 1.468   1.276 1.398 1.434 1.833   -     1.507 1.430 1.527
# "art" returns the last step's point, up to dist / sqrt(t) past the boundary, where t is 17 or 18 at 5,000 queries.
# The limits leave room for another machine's rounding.
PLANE = {
    ("paper", Norm.L2): {2: 1.06, 16: 1.02, 64: 1.04, 256: 1.09},
    ("paper", Norm.LINF): {2: 1.08, 16: 1.03, 64: 1.07, 256: 1.22},
    ("art", Norm.L2): {2: 1.27, 16: 1.27, 64: 1.27, 256: 1.28},
    ("art", Norm.LINF): {2: 1.28, 16: 1.33, 64: 1.36, 256: 1.55},
}
BALL = {  # convex adversarial region of radius 0.2, from a start near its surface
    ("paper", Norm.L2): {2: 1.06, 16: 1.02, 64: 1.04, 256: 1.09},
    ("paper", Norm.LINF): {2: 1.08, 16: 1.09, 64: 1.18, 256: 1.36},
    ("art", Norm.L2): {2: 1.28, 16: 1.28, 64: 1.28, 256: 1.28},
    ("art", Norm.LINF): {2: 1.32, 16: 1.46, 64: 1.50, 256: 2.0},
}
HOLLOW = {  # the clean input is inside: the boundary curves around it, and the attack has to walk along it
    ("paper", Norm.L2): {16: 1.13, 64: 1.12, 256: 1.16},
    ("paper", Norm.LINF): {16: 1.28, 64: 1.18, 256: 1.29},
    ("art", Norm.L2): {16: 1.42, 64: 1.37, 256: 1.37},
    ("art", Norm.LINF): {16: 1.62, 64: 1.50, 256: 1.60},
}


def ratios(attack, model, inputs, **kwargs):
    result = attack_closed_form(attack, model, inputs, budget=QUERIES, **kwargs)
    assert result.status == (Status.SUCCESS,) * len(inputs)
    return (result.distances / model.distance(inputs, attack.norm)).tolist()


@pytest.mark.parametrize("norm", Norm)
@pytest.mark.parametrize("semantics", ["paper", "art"])
@pytest.mark.parametrize("size", [2, 16, 64, 256])
def test_distance_to_a_plane(semantics, norm, size):
    model = LinearClassifier((size,))
    inputs = model.inputs(4, distance=0.15 if norm is Norm.L2 else 0.04, norm=norm)
    found = ratios(HopSkipJump(norm=norm, semantics=semantics), model, inputs)
    assert min(found) >= 0.9999
    assert max(found) < PLANE[semantics, norm][size]


@pytest.mark.parametrize("norm", Norm)
@pytest.mark.parametrize("bounds", [Bounds(-1.0, 1.0), Bounds(0.0, 255.0), Bounds(-0.3, 0.7)])
def test_distance_to_a_plane_in_other_bounds_and_ranks(norm, bounds):
    model = LinearClassifier((1, 8, 8), bounds=bounds)
    inputs = model.inputs(4, distance=(0.15 if norm is Norm.L2 else 0.04) * bounds.range, norm=norm)
    assert max(ratios(HopSkipJump(norm=norm), model, inputs)) < PLANE["paper", norm][64]


@pytest.mark.parametrize("norm", Norm)
@pytest.mark.parametrize("semantics", ["paper", "art"])
@pytest.mark.parametrize("size", [2, 16, 64, 256])
def test_distance_to_a_ball_from_outside(semantics, norm, size):
    model = QuadricClassifier((size,), radius=0.2)
    starts = QuadricClassifier((size,), radius=0.2).inputs(4, length=0.15, seed=7)
    found = ratios(
        HopSkipJump(norm=norm, semantics=semantics), model, model.inputs(4, length=0.45), starting_points=starts
    )
    assert min(found) >= 0.9999
    assert max(found) < BALL[semantics, norm][size]


@pytest.mark.parametrize("norm", Norm)
@pytest.mark.parametrize("semantics", ["paper", "art"])
@pytest.mark.parametrize("size", [16, 64, 256])
def test_distance_to_a_sphere_from_inside(semantics, norm, size):
    model = QuadricClassifier((size,), radius=0.45)
    found = ratios(HopSkipJump(norm=norm, semantics=semantics), model, model.inputs(4, length=0.1))
    assert min(found) >= 0.9999
    assert sorted(found)[1] < HOLLOW[semantics, norm][size]


def overshoot(attack, model, inputs):
    """Return how much of each perturbation could be bisected away; the plane is crossed at a known share."""
    result = attack_closed_form(attack, model, inputs, budget=2000)
    before = model.distance(inputs, Norm.L2)
    after = model.distance(result.adversarials, Norm.L2)
    return (after / (before + after)).tolist()


def check_ends_close_and_on_the_boundary(kind):
    """Both: a start that was projected and never left lies on the boundary too."""
    for norm in Norm:
        model = LinearClassifier((256,))
        inputs = model.inputs(4, distance=0.15 if norm is Norm.L2 else 0.02, norm=norm)
        assert max(overshoot(kind(norm=norm), model, inputs)) < 1e-3
        assert max(ratios(kind(norm=norm), model, inputs)) < 1.3


def test_paper_ends_on_the_boundary():
    check_ends_close_and_on_the_boundary(HopSkipJump)


@pytest.mark.parametrize("norm", Norm)
def test_art_does_not_project_its_last_step(norm):
    model = LinearClassifier((256,))
    inputs = model.inputs(4, distance=0.15 if norm is Norm.L2 else 0.02, norm=norm)
    assert min(overshoot(HopSkipJump(norm=norm, semantics="art"), model, inputs)) > 0.05


def cosines(kind, *, size, probes, offset=0.0, rows=40, radius=0.02):
    """Return the mean cosine between the estimated and the true normal, and its standard error.

    Probes go out from points `offset` standard deviations of a probe's height above the plane.
    """
    model = LinearClassifier((size,))
    points = torch.full((rows, size), 0.5) + (offset * radius / math.sqrt(size)) * model.normal.float()
    oracle = HardLabelOracle(
        model.predict, input_shape=(size,), bounds=Bounds(), num_classes=2, samples=rows, budget=None
    )
    criterion = Misclassified(torch.zeros(rows, dtype=torch.int64))
    problem = AttackProblem(inputs=points, criterion=criterion, noise=SeededNoise(0, range(rows)))
    attack = kind(first_probes=probes, most_probes=probes)
    normal = attack._normal(
        Asker(oracle, criterion), oracle, problem, points, torch.arange(rows), torch.full((rows,), radius), 0
    )
    assert oracle.meter.per_sample.tolist() == [probes] * rows
    found = normal.double() @ model.normal
    return float(found.mean()), float(found.std() / math.sqrt(rows))


def expected_cosine(size, probes, offset=0.0):
    """E[cos] = 1 / sqrt(1 + (d - 1) / (n a^2)) with a = sqrt(2 / pi) on the boundary (science, 1.5 P3).

    Off the boundary the signal is a = 2 phi(offset), and the baseline leaves a variance of 1 - mean^2.
    """
    signal = 2.0 * math.exp(-0.5 * offset**2) / math.sqrt(2.0 * math.pi)
    mean = math.erf(offset / math.sqrt(2.0))
    return 1.0 / math.sqrt(1.0 + (1.0 - mean**2) * (size - 1) / (probes * signal**2))


def check_cosine_of_the_normal(kind):
    for size, probes, offset in ((256, 100, 0.0), (256, 707, 0.0), (64, 100, 0.0), (256, 200, 1.0), (256, 400, -1.5)):
        mean, error = cosines(kind, size=size, probes=probes, offset=offset)
        expected = expected_cosine(size, probes, offset)
        assert abs(mean - expected) < 4.0 * error + 0.02 * expected, f"{size}, {probes}, {offset}: {mean}, {expected}"


def test_cosine_of_the_normal():
    assert expected_cosine(3072, 100) == pytest.approx(0.1425, abs=1e-4)  # the figures that science.md quotes
    assert expected_cosine(3072, 707) == pytest.approx(0.3575, abs=1e-4)
    check_cosine_of_the_normal(HopSkipJump)


@pytest.mark.parametrize("offset", [12.0, -12.0])
def test_probes_that_all_agree_still_point_the_right_way(offset):
    """All adversarial: their mean direction; none: away from it. Better than the zero that the baseline would leave."""
    mean, _ = cosines(HopSkipJump, size=64, probes=50, offset=offset, rows=4)
    assert abs(mean) > 0.0


def check_follows_the_curve(kind):
    """Around a ball of radius 0.3 in 256 dimensions, probes of 0.1 of the range nearly all miss; theirs must shrink."""
    size = 256
    model = QuadricClassifier((size,), radius=0.3)
    starts = model.inputs(4, length=0.27, seed=7)
    found = ratios(kind(), model, model.inputs(4, length=0.5), starting_points=starts)
    assert max(found) < 1.12  # measured: 1.06, and 1.27 to 1.33 without the schedule


def test_follows_the_curve():
    check_follows_the_curve(HopSkipJump)


BASELINE = r"self\.signed - mean \* self\.plain"


def test_without_the_baseline_a_check_fails(monkeypatch, mutant):
    monkeypatch.setattr(hopskipjump, "probe", mutant(toolbox, BASELINE, r"\g<0> * 1.0").probe)
    check_cosine_of_the_normal(HopSkipJump)  # not for the way it is made
    monkeypatch.setattr(hopskipjump, "probe", mutant(toolbox, BASELINE, "self.signed").probe)
    with pytest.raises(AssertionError):
        check_cosine_of_the_normal(HopSkipJump)


def test_without_projections_a_check_fails(monkeypatch):
    def stay(self, ask, clean, points, rows):
        return points, distance(clean, points, self.norm)

    monkeypatch.setattr(HopSkipJump, "_project", stay)
    with pytest.raises(AssertionError):
        check_ends_close_and_on_the_boundary(HopSkipJump)


def test_without_the_final_projection_a_check_fails(monkeypatch):
    project, keep = HopSkipJump._project, HopSkipJump._keep

    def project_early(self, ask, clean, points, rows):
        if rows.numel() and int(ask.remaining(rows).min()) < 100:
            return points, distance(clean, points, self.norm)
        return project(self, ask, clean, points, rows)

    monkeypatch.setattr(HopSkipJump, "_project", project_early)
    monkeypatch.setattr(
        HopSkipJump, "_keep", lambda self, *rest: keep(HopSkipJump(norm=self.norm, semantics="art"), *rest)
    )
    with pytest.raises(AssertionError):
        check_ends_close_and_on_the_boundary(HopSkipJump)


def test_without_the_schedule_of_radii_a_check_fails(monkeypatch):
    def always_the_first(self, base, oracle, iteration):
        return torch.full_like(base, 0.1 * oracle.bounds.range)

    monkeypatch.setattr(HopSkipJump, "_radius", always_the_first)
    with pytest.raises(AssertionError):
        check_follows_the_curve(HopSkipJump)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"norm": "l2"}, "norm must be Norm.L2 or Norm.LINF; got 'l2'"),
        ({"norm": None}, "norm must be Norm.L2 or Norm.LINF; got None"),
        ({"semantics": "foolbox"}, "semantics must be 'paper' or 'art'; got 'foolbox'"),
        ({"iterations": 0}, "iterations must be at least 1; got 0"),
        ({"first_probes": 0}, "first_probes must be from 1 to most_probes; got 0 and 10000"),
        ({"most_probes": 50}, "got 100 and 50"),
        ({"gamma": 0.0}, "gamma must be a positive number; got 0.0"),
        ({"gamma": math.nan}, "gamma must be a positive number; got nan"),
        ({"start_trials": 0}, "start_trials must be at least 1; got 0"),
        ({"starts": "flat"}, "starts must be 'varied' or 'uniform'; got 'flat'"),
        ({"subspace": "dct:8"}, r"subspace must be a Subspace, such as LowFrequencies\(8\); got 'dct:8'"),
        ({"probe_radius": 0.0}, "probe_radius must be a positive number; got 0.0"),
        ({"probe_radius": math.inf}, "probe_radius must be a positive number; got inf"),
        ({"flip_rate": 0.5}, "flip_rate must be from 0 to below 0.5; got 0.5"),
        ({"flip_rate": math.nan}, "flip_rate must be from 0 to below 0.5; got nan"),
    ],
)
def test_bad_hyper_parameters(values, message):
    with pytest.raises(ConfigurationError, match=message):
        HopSkipJump(**values)


def estimates(attack, oracle, points, radius=0.02):
    """Return float64 (rows, d): the normals that the first iteration would estimate at these points."""
    rows = len(points)
    criterion = Misclassified(torch.zeros(rows, dtype=torch.int64))
    problem = AttackProblem(inputs=points, criterion=criterion, noise=SeededNoise(0, range(rows)))
    ask = Asker(oracle, criterion)
    reach = torch.full((rows,), radius)
    return attack._normal(ask, oracle, problem, points, torch.arange(rows), reach, 0).flatten(1).double()


def unlimited(predict, rows, shape):
    return HardLabelOracle(predict, input_shape=shape, bounds=Bounds(), num_classes=2, samples=rows)


def check_subspace_estimates(subspace):
    """The estimate lies in the subspace, and its cosine to the normal's share in there is that of its k dimensions."""
    shape, rows, probes = (1, 16, 16), 40, 150
    model = LinearClassifier(shape)
    attack = HopSkipJump(first_probes=probes, most_probes=probes, subspace=subspace)
    found = estimates(attack, unlimited(model.predict, rows, shape), torch.full((rows, *shape), 0.5))
    basis = LowFrequencies(4)
    share = basis.project(model.normal.float()[None], shape).double()[0]
    assert torch.allclose(basis.project(found.float(), shape).norm(dim=1), torch.ones(rows), atol=1e-4)
    cosine = found @ model.normal
    expected = float(share.norm()) * noisy_cosine(probes, 16)
    assert abs(float(cosine.mean()) - expected) < 4.0 * float(cosine.std()) / math.sqrt(rows) + 0.02 * expected


def test_a_subspace_holds_its_estimates():
    check_subspace_estimates(LowFrequencies(4))


def test_probes_outside_their_subspace_are_noticed(monkeypatch):
    lift = LowFrequencies.lift
    with pytest.raises(AssertionError):
        check_subspace_estimates(FullSpace())
    monkeypatch.setattr(LowFrequencies, "lift", lambda self, c, shape: lift(self, c, shape).roll(9, 1))
    with pytest.raises(AssertionError):
        check_subspace_estimates(LowFrequencies(4))


@pytest.mark.parametrize("norm", Norm)
def test_a_normal_of_low_frequencies_is_found_sooner_among_them(norm):
    """On a plane whose normal has 16 of 256 frequencies, 800 queries do more when no probe leaves these."""
    shape = (1, 16, 16)
    model = LinearClassifier(shape)
    basis = LowFrequencies(4)
    low = basis.lift(basis.project(model.normal.float()[None], shape), shape).double()[0]
    model.normal = low / low.norm()
    model.threshold = 0.5 * float(model.normal.sum())
    inputs = model.inputs(4, distance=0.15 if norm is Norm.L2 else 0.02, norm=norm)
    medians = []
    for subspace in (FullSpace(), LowFrequencies(4), ResizedNoise(4)):
        result = attack_closed_form(HopSkipJump(norm=norm, subspace=subspace), model, inputs, budget=800)
        medians.append(float((result.distances / model.distance(inputs, norm)).median()))
    assert medians[1] < 1.0 + 0.5 * (medians[0] - 1.0)
    assert medians[2] < medians[0]


def check_probe_lengths(norm):
    """Every probe lies at that share of the distance from which its iteration starts, the first iteration's too."""
    shape, share = (400,), 0.2
    model = LinearClassifier(shape)
    inputs = model.inputs(1, distance=0.15 if norm is Norm.L2 else 0.01, norm=norm)
    recorder = RecordingModel(model.predict)
    attack = HopSkipJump(norm=norm, probe_radius=share, first_probes=300, most_probes=300)
    oracle = unlimited(recorder.predict, 1, shape)
    criterion = Misclassified(torch.zeros(1, dtype=torch.int64))
    start = inputs + 0.3 * model.normal.float()  # so near that no probe is clipped
    problem = AttackProblem(inputs=inputs, criterion=criterion, noise=SeededNoise(0, range(1)), starting_points=start)
    state = attack.init(oracle, problem, torch.tensor([STATUS_CODES[Status.RUNNING]]))
    for _ in range(3):
        seen, base, centre = recorder.rows, state.extra["radius_base"], state.points
        state = attack.step(oracle, problem, state)
        away = recorder.questions[seen : seen + 300] - centre
        size = away.norm(dim=1) if norm is Norm.L2 else away.square().mean(1).sqrt()
        assert size.tolist() == pytest.approx([share * float(base)] * 300, rel=1e-4)


@pytest.mark.parametrize("norm", Norm)
def test_probe_radius_is_a_share_of_the_distance(norm):
    check_probe_lengths(norm)


def test_another_probe_radius_is_noticed(mutant, monkeypatch):
    monkeypatch.setitem(globals(), "HopSkipJump", mutant(hopskipjump, r"probe_radius \* across", "gamma").HopSkipJump)
    with pytest.raises(AssertionError):
        check_probe_lengths(Norm.L2)


def test_wide_probes_look_past_a_rugged_boundary():
    """A ripple across the normal, steep and low: near probes see its slope, far ones average it out."""
    size, rows = 64, 20
    model = LinearClassifier((size,))
    other = torch.zeros(size, dtype=torch.float64)
    other[0] = 1.0
    other = other - float(model.normal[0]) * model.normal
    other = other / other.norm()

    def predict(x):
        offset = x.double() - 0.5
        return (offset @ model.normal + 0.002 * torch.sin((offset @ other) / 0.0002) > 0).long()

    found = []
    for radius in (0.0002, 0.2):
        attack = HopSkipJump(first_probes=400, most_probes=400)
        normal = estimates(attack, unlimited(predict, rows, (size,)), torch.full((rows, size), 0.5), radius)
        found.append(float((normal @ model.normal).mean()))
    assert found[0] < 0.3
    assert found[1] == pytest.approx(noisy_cosine(400, size), rel=0.05)


def flipping(predict, rate, seed=0):
    """Return a `predict` of two labels that is wrong at random, however often it is asked the same."""
    generator = torch.Generator().manual_seed(seed)

    def noisy(x):
        return predict(x) ^ (torch.rand(len(x), generator=generator) < rate).long()

    return noisy


def check_cosines_under_noise():
    """Of answers that are wrong at a rate of 0.2: more probes, votes, and both, each as the closed form has it."""
    size, probes, rate, rows, votes = 128, 100, 0.2, 60, 5
    model = LinearClassifier((size,))
    points = torch.full((rows, size), 0.5)
    voted = voted_flip_rate(rate, votes)
    exact = noisy_cosine(probes, size)
    for told, asks, expected in (
        (0.0, 1, noisy_cosine(probes, size, flip_rate=rate)),
        (rate, 1, exact),
        (0.0, votes, noisy_cosine(probes, size, flip_rate=voted)),
        (voted, votes, exact),
    ):
        oracle = unlimited(flipping(model.predict, rate), rows, (size,))
        asked = MajorityVote(oracle, GaussianJitter(1e-9), votes=asks, seed=0) if asks > 1 else oracle
        attack = HopSkipJump(first_probes=probes, most_probes=probes, flip_rate=told)
        cosine = estimates(attack, asked, points) @ model.normal
        assert oracle.meter.per_sample.tolist() == [asks * probes_for(told, probes)] * rows
        error = 4.0 * float(cosine.std()) / math.sqrt(rows)
        assert abs(float(cosine.mean()) - expected) < error + 0.01, f"told {told}, {asks} votes"
        assert 4.0 * error < exact, "too noisy a measurement to tell the cases apart"


def test_cosines_under_noise():
    check_cosines_under_noise()


def test_probes_that_are_not_more_under_noise_are_noticed(monkeypatch):
    monkeypatch.setattr(hopskipjump, "probes_for", lambda rate, probes: probes)
    with pytest.raises(AssertionError):
        check_cosines_under_noise()


def test_votes_carry_the_attack_through_noise():
    """At equal queries, an attack that believes single answers is fooled by the noise; with votes it reaches the plane.

    More probes alone do not help: a clean input that is once answered wrongly passes for an adversarial.
    """
    model = LinearClassifier((64,))
    inputs = model.inputs(3, distance=0.15, norm=Norm.L2)
    found = []
    for votes, told in ((1, 0.2), (11, voted_flip_rate(0.2, 11))):
        oracle = HardLabelOracle(
            flipping(model.predict, 0.2), input_shape=(64,), bounds=Bounds(), num_classes=2, samples=3, budget=16_500
        )
        asked = MajorityVote(oracle, GaussianJitter(1e-9), votes=votes, seed=0)
        result = run_attack(HopSkipJump(flip_rate=told), asked, inputs, model.predict(inputs), seed=0)
        assert int(result.queries.max()) <= 16_500
        found.append(result)
    assert found[0].distances.nan_to_num(0.0).max() < 0.05  # of 0.15 to the plane
    assert found[1].status == (Status.SUCCESS,) * 3
    shares = found[1].distances / model.distance(inputs, Norm.L2)
    assert 0.95 < float(shares.min()) <= float(shares.max()) < 1.2  # measured, three seeds: 1.04 to 1.13


@pytest.mark.parametrize("check", ["budget_is_kept", "batch_does_not_matter", "resume", "units_do_not_matter"])
def test_the_options_keep_the_contract(check):
    attack = HopSkipJump(subspace=LowFrequencies(3), probe_radius=0.3, flip_rate=0.1)
    ATTACK_CHECKS[check](attack)


def test_iterations_end_the_attack():
    model = LinearClassifier((30,))
    inputs = model.inputs(2, distance=0.15, norm=Norm.L2)
    for iterations in (1, 3):
        result = attack_closed_form(HopSkipJump(iterations=iterations), model, inputs, budget=None)
        assert result.iterations == iterations
        assert result.status == (Status.SUCCESS,) * 2
    unlimited = attack_closed_form(HopSkipJump(first_probes=4, most_probes=4), model, inputs, budget=None)
    assert unlimited.iterations == 50


def test_an_iteration_costs_what_the_docstring_says():
    """About 100 sqrt(t) + 25 queries in iteration t."""
    model = LinearClassifier((256,))
    result = attack_closed_form(
        HopSkipJump(iterations=6), model, model.inputs(3, distance=0.15, norm=Norm.L2), budget=None
    )
    costs = result.trajectory.queries.diff(dim=0)[:6]  # one row an iteration; the last only ends the attack
    for t, cost in enumerate(costs.tolist(), start=1):
        assert all(int(100 * math.sqrt(t)) + 12 <= value <= 100 * math.sqrt(t) + 40 for value in cost)


def test_a_large_input_does_not_bisect_below_the_resolution_of_float32():
    """At d = 150,528 the authors' tolerance d^-1.5 is 1.7e-8: finer than float32 near 1, where bisection never ends."""
    size = 150_528
    model = LinearClassifier((size,))
    inputs = model.inputs(1, distance=10.0, norm=Norm.L2)
    result = attack_closed_form(HopSkipJump(iterations=1, first_probes=1), model, inputs, budget=None)
    assert int(result.queries[0]) < 100


@pytest.mark.parametrize("norm", Norm)
def test_probes_are_never_finer_than_float32(norm):
    """At d = 150,528 and L2 distance 0.3 the authors' radius dist / d moves a pixel by a tenth of its last bit."""
    for bounds in (Bounds(), Bounds(0.0, 256.0)):
        oracle = HardLabelOracle(
            lambda x: x, input_shape=(3, 224, 224), bounds=bounds, num_classes=2, samples=1, budget=None
        )
        near, far = HopSkipJump(norm=norm)._radius(torch.tensor([0.3, 3000.0]) * bounds.range, oracle, 5).tolist()
        assert near / math.sqrt(150_528) == pytest.approx(2.0**-24 * bounds.range)
        assert far == pytest.approx(3000.0 * bounds.range / 150_528)


def test_the_finest_probes_still_find_the_normal():
    """Although points and probes are rounded to float32; at a tenth of that radius they would not."""
    size, found = 256, []
    for share in (1.0, 0.1):
        mean, _ = cosines(HopSkipJump, size=size, probes=200, radius=share * 2.0**-24 * math.sqrt(size))
        found.append(mean / expected_cosine(size, 200))
    assert found[0] > 0.8
    assert found[1] < 0.6


def test_status_codes_are_those_of_saved_checkpoints():
    assert {status.value: code for status, code in STATUS_CODES.items()} == {
        "success": 0,
        "running": 1,
        "already_misclassified": 2,
        "no_starting_point": 3,
        "budget_exhausted": 4,
        "non_finite": 5,
        "oracle_failed": 6,
        "not_found": 7,
    }
