"""`DeepFool(semantics="art")` does what ART's DeepFool does: the same iterates, and the same results."""

import pytest
import torch

from benchmarks.replay.deepfool import replay_art, replay_variegate
from benchmarks.replay.networks import SHAPE, small_network
from variegate.attacks.white_box import deepfool
from variegate.models.classifier import Classifier
from variegate.types import Bounds, Status

pytest.importorskip("art", reason="ART is not installed; pip install 'variegate[art]'", exc_type=ImportError)

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # ART's own, of which there are many
]

SEEDS = (3, 4, 7)
CLOSE = 1e-5


def steep_network(seed, factor):
    """Return a small network whose logits are `factor` times as large, so that its scores saturate."""
    classifier, images, labels = small_network(seed)
    classifier.module[-1].weight.data *= factor
    classifier.module[-1].bias.data *= factor
    return classifier, images, labels


def same_iterates(classifier, image, **options):
    """Demand the same iterates and result for one image; return how many steps they have in common.

    On the boundary itself, rounding decides the label, and whether an iterate moves at all: one side may go on, but not
    away from there.
    """
    options = {"iterations": 12, **options}
    art, ours = replay_art(classifier, image, **options), replay_variegate(classifier, image, **options)
    theirs, mine = art.points, ours.points[:-1]  # the last is the result, which ART does not look at
    common = min(len(theirs), len(mine))
    assert float((theirs[:common] - mine[:common]).abs().max()) < CLOSE
    for rest in (theirs[common:], mine[common:]):
        assert bool(((rest - mine[common - 1]).abs() < CLOSE).all())
    if ours.result.success[0]:
        assert float((art.adversarials - ours.adversarials).abs().max()) < CLOSE
    elif len(theirs) == len(mine):
        assert torch.equal(classifier.predict(art.adversarials), classifier.predict(image))
    return common - 1


@pytest.mark.parametrize("factor", [1.0, 6.0])
@pytest.mark.parametrize("scores", ["probabilities", "log"])
def test_the_same_iterates(scores, factor):
    steps = 0
    for seed in SEEDS:
        classifier, images, _ = steep_network(seed, factor)
        for image in images[:2]:
            steps += same_iterates(classifier, image[None], scores=scores)
    assert steps >= 2 * len(SEEDS)


@pytest.mark.parametrize("options", [{"overshoot": 0.5}, {"iterations": 1}, {"candidates": 2}])
def test_options_mean_the_same(options):
    for seed in SEEDS:
        classifier, images, _ = steep_network(seed, 6.0)
        assert same_iterates(classifier, images[:1], **options) >= 1


def test_candidates_are_of_all_inputs():
    classifier, images, _ = steep_network(3, 3.0)
    chosen = images[40:48]
    options = {"candidates": 2, "overshoot": 0.02, "iterations": 12}
    art, ours = replay_art(classifier, chosen, **options), replay_variegate(classifier, chosen, **options)
    found = ours.result.success
    assert int(found.sum()) >= 6
    assert float((art.adversarials - ours.adversarials)[found].abs().max()) < CLOSE
    alone = torch.cat([replay_variegate(classifier, image[None], **options).adversarials for image in chosen])
    assert float((alone - ours.adversarials)[found].abs().max()) > 100 * CLOSE  # alone, each has its own two


def test_steps_are_multiplied_by_the_range():
    plain, images, _ = small_network(3)
    wide = Classifier(plain.module, input_shape=SHAPE, labels=4, bounds=Bounds(0.0, 2.0))
    assert same_iterates(wide, images[:1], overshoot=0.02) >= 1


def test_where_art_returns_a_clean_label_there_is_no_success():
    classifier, images, _ = small_network(3)
    art = replay_art(classifier, images[:8], iterations=1)
    ours = replay_variegate(classifier, images[:8], iterations=1)
    unchanged = classifier.predict(art.adversarials) == classifier.predict(images[:8])
    assert bool(unchanged.any())
    assert ours.result.success.tolist() == (~unchanged).tolist()
    assert all(
        status is (Status.NOT_FOUND if clean else Status.SUCCESS)
        for status, clean in zip(ours.result.status, unchanged.tolist(), strict=True)
    )


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        ("steepness.square\\(\\) \\+ _ART_TOLERANCE", "steepness.square() + 100 * _ART_TOLERANCE"),
        ("length \\* width", "length"),
    ],
)
def test_the_comparison_can_fail(mutant, monkeypatch, pattern, replacement):
    mutated = mutant(deepfool, pattern, replacement)
    monkeypatch.setattr("benchmarks.replay.deepfool.DeepFool", mutated.DeepFool)
    plain, images, _ = steep_network(3, 6.0)
    wide = Classifier(plain.module, input_shape=SHAPE, labels=4, bounds=Bounds(0.0, 2.0))
    with pytest.raises(AssertionError):
        for image in images[:4]:
            same_iterates(wide, image[None])
