"""The shipped closed forms are exact: checked by search, by symmetry, and against each other."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from variegate.errors import ConfigurationError, InputError
from variegate.models.geometry import boundary_distance
from variegate.testing.closed_form import LinearClassifier, QuadricClassifier
from variegate.types import Bounds, Norm

SHAPES = [(2,), (3, 4), (2, 3, 2)]
BOUNDS = [Bounds(), Bounds(-1.0, 1.0), Bounds(0.0, 255.0)]


def models(kind, shape, bounds, seed):
    if kind == "plane":
        return LinearClassifier(shape, bounds=bounds, seed=seed, offset=0.1 * bounds.range)
    return QuadricClassifier(shape, radius=0.4 * bounds.range, bounds=bounds)


def random_change(size, norm, count, generator):
    noise = torch.randn((count, size), generator=generator, dtype=torch.float64)
    if norm is Norm.L2:
        return noise / noise.norm(dim=1, keepdim=True)
    return torch.where(torch.rand((count, 1), generator=generator) < 0.5, noise.sign(), noise.clamp(-1, 1))


@given(
    kind=st.sampled_from(["plane", "sphere"]),
    shape=st.sampled_from(SHAPES),
    bounds=st.sampled_from(BOUNDS),
    norm=st.sampled_from(list(Norm)),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=80)
def test_nothing_closer_changes_the_label(kind, shape, bounds, norm, seed):
    model = models(kind, shape, bounds, seed)
    generator = torch.Generator().manual_seed(seed)
    size = math.prod(shape)
    x = (bounds.lower + bounds.range * torch.rand((1, *shape), generator=generator, dtype=torch.float64)).float()
    try:
        distance = float(model.distance(x, norm))
    except InputError:
        return  # a ray that leaves the bounds: no closed form
    if not math.isfinite(distance):
        return
    steps = random_change(size, norm, 400, generator) * distance * 0.999
    moved = (x.flatten(1).double() + steps).clamp(bounds.lower, bounds.upper).view(-1, *shape)
    assert bool((model.predict(moved) == model.predict(x)).all())


@given(
    shape=st.sampled_from(SHAPES),
    bounds=st.sampled_from(BOUNDS),
    norm=st.sampled_from(list(Norm)),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=60)
def test_the_plane_is_reached_at_the_distance(shape, bounds, norm, seed):
    """Away from the bounds the nearest point is known: along w (L2) or along its signs (L-infinity)."""
    model = LinearClassifier(shape, bounds=bounds, seed=seed)
    x = model.inputs(3, distance=0.02 * bounds.range, norm=norm)
    distance = model.distance(x, norm)
    assert float((distance / (0.02 * bounds.range) - 1).abs().max()) < 1e-2
    direction = model.normal if norm is Norm.L2 else model.normal.sign()
    for share, label in ((0.999, 0), (1.001, 1)):
        moved = x.flatten(1).double() + share * distance[:, None] * direction
        assert model.predict(moved.view(-1, *shape)).tolist() == [label] * 3


def test_a_bound_in_the_way_makes_the_distance_longer():
    model = LinearClassifier((2,), seed=0)
    model.normal = torch.tensor([0.8, 0.6], dtype=torch.float64)
    model.threshold = 1.2
    x = torch.tensor([[0.9, 0.2]])  # gap 0.36: in L2 the step (0.288, 0.216) would leave the square
    assert float(model.distance(x, Norm.L2)) == pytest.approx(math.hypot(0.1, (1.2 - 0.8) / 0.6 - 0.2), rel=1e-6)
    assert float(model.distance(x, Norm.LINF)) == pytest.approx((1.2 - 0.8) / 0.6 - 0.2, rel=1e-6)
    model.threshold = 1.5  # no point of the square has w . x above 1.4
    assert model.distance(x, Norm.L2).tolist() == [math.inf]


def test_sphere_by_hand():
    model = QuadricClassifier((2,), radius=0.3)
    x = torch.tensor([[0.9, 0.8], [0.5, 0.6], [0.5, 0.1]])
    assert model.predict(x).tolist() == [0, 1, 0]
    assert model.distance(x, Norm.L2).tolist() == pytest.approx([0.2, 0.2, 0.1], abs=1e-6)
    # both coordinates shrink by e: (0.4 - e)^2 + (0.3 - e)^2 = 0.09
    e = 0.35 - math.sqrt(0.35**2 - (0.25 - 0.09) / 2)
    # from (0, 0.1) outwards: e^2 + (0.1 + e)^2 = 0.09
    f = -0.05 + math.sqrt(0.05**2 + 0.04)
    assert model.distance(x, Norm.LINF).tolist() == pytest.approx([e, f, 0.1], abs=1e-6)


def test_a_ray_that_leaves_the_bounds_has_no_closed_form():
    model = QuadricClassifier((2,), radius=0.6)
    with pytest.raises(InputError, match="lies outside the bounds; choose other inputs"):
        model.distance(torch.tensor([[0.5, 0.6]]), Norm.L2)
    assert float(model.distance(torch.tensor([[0.6, 0.6]]), Norm.L2)) == pytest.approx(0.6 - math.sqrt(0.02), abs=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bounds", BOUNDS)
def test_classifiers_have_the_same_boundary(shape, bounds):
    generator = torch.Generator().manual_seed(0)
    x = bounds.lower + bounds.range * torch.rand((200, *shape), generator=generator)
    for model in (
        LinearClassifier(shape, bounds=bounds),
        QuadricClassifier(shape, radius=0.29 * math.sqrt(math.prod(shape)) * bounds.range, bounds=bounds),
    ):
        classifier = model.classifier()
        away = model.distance(x, Norm.LINF) > 1e-5 * bounds.range
        assert int(away.sum()) > 150
        assert torch.equal(classifier.predict(x)[away], model.predict(x)[away])
        assert set(classifier.predict(x).tolist()) == {0, 1}


def test_inputs_that_do_not_fit():
    with pytest.raises(ConfigurationError, match=r"inputs at distance 3 do not fit into Bounds.*; ask for less"):
        LinearClassifier((4,)).inputs(2, distance=3.0, norm=Norm.L2)
    with pytest.raises(ConfigurationError, match="inputs 0.9 from the centre do not fit"):
        QuadricClassifier((2,), radius=0.1).inputs(2, length=0.9)
    with pytest.raises(ConfigurationError, match="radius must be a positive number; got 0"):
        QuadricClassifier((2,), radius=0.0)
    with pytest.raises(InputError, match=r"shape \(N, 2, 3\); got \(4, 6\)"):
        LinearClassifier((2, 3)).predict(torch.zeros(4, 6))


def test_white_box_distance_agrees():
    """Two independent ways to the same number: the seller's linearised steps, and the closed form."""
    model = LinearClassifier((3, 4, 4))
    x = model.inputs(6, distance=0.2, norm=Norm.L2)
    torch.testing.assert_close(
        boundary_distance(model.classifier(), x).double(), model.distance(x, Norm.L2), rtol=2e-3, atol=0
    )
