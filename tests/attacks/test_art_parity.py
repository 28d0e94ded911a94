"""`semantics="art"` does what ART does: fed ART's own random draws, it asks the same queries and gets the same answers.

Both sides differ by rounding (ART computes in float64, variegate in float32). Where a query falls onto the boundary to
within rounding, the model itself answers by chance, and the two attacks part; the tests allow that and nothing else.
"""

import numpy as np
import pytest
import torch

from benchmarks.replay.common import until_a_tie
from benchmarks.replay.hopskipjump import replay_art, replay_variegate
from benchmarks.replay.networks import SHAPE, Slab, small_network
from variegate.models.classifier import Classifier
from variegate.types import Norm

pytest.importorskip("art", reason="ART is not installed; pip install 'variegate[art]'", exc_type=ImportError)

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # ART's own, of which there are many
]

ITERATIONS = 12
SEEDS = (3, 4, 7)


@pytest.mark.parametrize("norm", list(Norm))
def test_untargeted_from_random_starts(norm):
    agreed = 0
    for seed in SEEDS:
        classifier, images, _ = small_network(seed)
        options = {"norm": norm, "iterations": ITERATIONS, "start_seed": seed, "probe_seed": 100 + seed}
        art = replay_art(classifier, images[:1], **options)
        ours = replay_variegate(classifier, images[:1], **options)
        agreed += until_a_tie(classifier, art, ours)
        assert len(ours.labels) > 2500
    assert agreed >= 1  # all ITERATIONS, decision by decision


@pytest.mark.parametrize("norm", list(Norm))
def test_targeted_from_given_starts(norm):
    agreed = 0
    for seed in SEEDS:
        classifier, images, labels = small_network(seed)
        other = int((labels != labels[0]).nonzero()[0])
        target, start = int(labels[other]), images[other : other + 1]
        options = {"norm": norm, "iterations": ITERATIONS, "start_seed": seed, "probe_seed": 100 + seed}
        art = replay_art(classifier, images[:1], target=target, start=start, **options)
        ours = replay_variegate(classifier, images[:1], target=target, start=start, **options)
        agreed += until_a_tie(classifier, art, ours, target)
    assert agreed >= 1


def test_steps_that_must_be_halved():
    straight = 2 + ITERATIONS * 11 + sum(int(100 * iteration**0.5) for iteration in range(1, ITERATIONS + 1))
    agreed = 0
    for seed in SEEDS:
        classifier = Classifier(Slab(seed), input_shape=SHAPE, labels=2)
        image = torch.full((1, *SHAPE), 0.5)
        start = image + 0.37 * classifier.module.normal.view(1, *SHAPE)
        options = {"norm": Norm.L2, "iterations": ITERATIONS, "start_seed": seed, "probe_seed": 100 + seed}
        art = replay_art(classifier, image, start=start, **options)
        ours = replay_variegate(classifier, image, start=start, **options)
        agreed += until_a_tie(classifier, art, ours)
        assert len(ours.labels) >= straight + 5
    assert agreed >= 1


def test_the_comparison_can_fail():
    classifier, images, _ = small_network(0)
    options = {"norm": Norm.L2, "iterations": 3, "start_seed": 0, "probe_seed": 100}
    art = replay_art(classifier, images[:1], **options)
    paper = replay_variegate(classifier, images[:1], semantics="paper", **options)
    with pytest.raises(AssertionError):
        until_a_tie(classifier, art, paper)
    other = replay_variegate(classifier, images[:1], **{**options, "probe_seed": 101})
    with pytest.raises(AssertionError):
        until_a_tie(classifier, art, other)


def test_numpys_global_generator_is_left_alone():
    classifier, images, _ = small_network(0)
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - this is the one
    replay_art(classifier, images[:1], norm=Norm.L2, iterations=1, start_seed=0, probe_seed=1)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002
