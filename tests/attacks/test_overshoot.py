"""The measured overshoot against shares that are known exactly."""

import pytest
import torch

from variegate.attacks import overshoot as module
from variegate.attacks.hopskipjump import HopSkipJump
from variegate.attacks.overshoot import overshoot
from variegate.errors import ConfigurationError, InputError
from variegate.testing.attack_contract import attack_closed_form
from variegate.testing.closed_form import LinearClassifier, QuadricClassifier, RecordingModel
from variegate.types import Bounds, Norm


def line(threshold):
    """Label 1 where the first value is above the threshold."""
    return lambda x: (x.flatten(1)[:, 0] > threshold).long()


def check_shares_of_a_line(measure):
    """From 0 to 1 across a threshold t, the share 1 - t can be taken back; it is known to 2^-24."""
    for threshold in (0.0, 0.125, 0.3, 0.5, 0.999, 1.0 - 2.0**-20):
        found = measure(line(threshold), torch.zeros(2, 1, 3), torch.ones(2, 1, 3), torch.zeros(2, dtype=torch.int64))
        assert found.dtype is torch.float32
        assert found.tolist() == pytest.approx([1.0 - threshold] * 2, abs=2.0**-23)


def test_shares_of_a_line():
    check_shares_of_a_line(overshoot)


@pytest.mark.parametrize(
    ("passage", "replacement"),
    [
        (r"torch\.where\(hit, low, middle\), torch\.where\(hit, middle, high\)", "middle, high"),
        (r"1\.0 - high", "high"),
        (r"_ROUNDS = 24", "_ROUNDS = 4"),
    ],
)
def test_a_search_that_is_not_one_is_noticed(mutant, passage, replacement):
    with pytest.raises(AssertionError):
        check_shares_of_a_line(mutant(module, passage, replacement).overshoot)


def test_every_input_has_its_own_share():
    clean = torch.tensor([[0.0, 0.0], [0.25, 0.5], [0.0, 0.0]])
    points = torch.tensor([[1.0, 1.0], [0.75, 0.5], [0.5, 9.0]])
    found = overshoot(line(0.5), clean, points, torch.zeros(3, dtype=torch.int64))
    assert found[:2].tolist() == pytest.approx([0.5, 0.5], abs=2.0**-22)
    assert bool(found[2].isnan()), "the last one is not adversarial: it lies on the threshold, not above"


def test_a_sphere():
    """From outside towards the centre: the surface is crossed at 1 - radius / length."""
    model = QuadricClassifier((16,), radius=0.2)
    clean = model.inputs(5, length=0.4)
    centre = torch.full_like(clean, 0.5)
    found = overshoot(model.predict, clean, centre, torch.zeros(5, dtype=torch.int64))
    assert found.tolist() == pytest.approx([0.5] * 5, abs=1e-6)


def test_a_target_counts_from_where_its_label_begins():
    def predict(x):
        return (x[:, 0] > 0.2).long() + (x[:, 0] > 0.6).long()

    clean, points = torch.zeros(2, 1), torch.ones(2, 1)
    assert overshoot(predict, clean, points, torch.tensor([0, 0])).tolist() == pytest.approx([0.8] * 2, abs=1e-6)
    aimed = overshoot(predict, clean, points, torch.tensor([2, 1]), targeted=True)
    assert float(aimed[0]) == pytest.approx(0.4, abs=1e-6)
    assert bool(aimed[1].isnan())


def test_the_adversarial_itself_is_asked_and_each_round_once():
    recorder = RecordingModel(line(0.3))
    clean, points = torch.zeros(2, 3), torch.rand((2, 3), generator=torch.Generator().manual_seed(0)) + 0.5
    found = overshoot(recorder.predict, clean, points, torch.zeros(2, dtype=torch.int64), rounds=7)
    assert recorder.calls == 8
    assert torch.equal(recorder.questions[:2], points)
    assert found.tolist() == pytest.approx((1.0 - 0.3 / points[:, 0]).tolist(), abs=2.0**-7)


def test_arts_hopskipjump_overshoots_and_the_papers_does_not():
    """On a plane the share is after / (before + after), at most a bisection's tolerance where the attack ends on it.

    The tolerance is d^-1.5 of the path before the projection, which may be longer than the path after it.
    """
    model = LinearClassifier((64,), bounds=Bounds(-1.0, 1.0))
    inputs = model.inputs(3, distance=0.3, norm=Norm.L2)
    zeros = torch.zeros(3, dtype=torch.int64)
    for semantics, least, most in (("paper", 0.0, 2.0 * 64**-1.5), ("art", 0.05, 0.5)):
        points = attack_closed_form(HopSkipJump(semantics=semantics), model, inputs, budget=1500).adversarials
        before, after = model.distance(inputs, Norm.L2), model.distance(points, Norm.L2)
        found = overshoot(model.predict, inputs, points, zeros)
        assert found.tolist() == pytest.approx((after / (before + after)).tolist(), abs=1e-5)
        assert least <= float(found.min()) <= float(found.max()) <= most


def test_no_inputs():
    empty = torch.empty(0, 3)
    assert overshoot(line(0.5), empty, empty, torch.empty(0, dtype=torch.int64)).shape == (0,)


@pytest.mark.parametrize(
    ("points", "labels", "message"),
    [
        (torch.zeros(1, 3), torch.zeros(2), r"got \(2, 3\), \(1, 3\) and \(2,\)"),
        (torch.zeros(2, 3), torch.zeros(3), r"got \(2, 3\), \(2, 3\) and \(3,\)"),
    ],
)
def test_shapes_that_do_not_fit(points, labels, message):
    with pytest.raises(InputError, match=message):
        overshoot(line(0.5), torch.zeros(2, 3), points, labels)


def test_no_rounds():
    with pytest.raises(ConfigurationError, match="rounds must be at least 1; got 0"):
        overshoot(line(0.5), torch.zeros(1, 3), torch.ones(1, 3), torch.zeros(1, dtype=torch.int64), rounds=0)
