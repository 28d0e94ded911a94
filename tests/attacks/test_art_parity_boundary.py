"""`Boundary(semantics="art")` does what ART does: fed ART's random draws, it asks the same and is answered the same.

Both sides differ by rounding (ART computes in float64, variegate in float32). Where a query falls onto the boundary to
within rounding, the model itself answers by chance, and the two attacks part; the tests allow that and nothing else.
"""

import numpy as np
import pytest
import torch

from benchmarks.replay.boundary import replay_art, replay_variegate
from benchmarks.replay.common import until_a_tie
from benchmarks.replay.networks import SHAPE, Slab, small_network
from variegate.attacks import boundary
from variegate.models.classifier import Classifier

pytest.importorskip("art", reason="ART is not installed; pip install 'variegate[art]'", exc_type=ImportError)

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # ART's own, of which there are many
]

ITERATIONS = 10
SEEDS = (3, 4, 7)


def test_untargeted_from_random_starts():
    agreed = 0
    for seed in SEEDS:
        classifier, images, _ = small_network(seed)
        options = {"iterations": ITERATIONS, "start_seed": seed, "probe_seed": 100 + seed}
        art = replay_art(classifier, images[:1], **options)
        ours = replay_variegate(classifier, images[:1], **options)
        agreed += until_a_tie(classifier, art, ours)
        assert len(ours.labels) > 300
    assert agreed >= 2  # all ITERATIONS, decision by decision


def test_with_small_steps():
    """After 30 iterations both steps have been enlarged and shrunk many times."""
    classifier, images, _ = small_network(3)
    options = {"iterations": 30, "start_seed": 3, "probe_seed": 103}
    art = replay_art(classifier, images[:1], **options)
    ours = replay_variegate(classifier, images[:1], **options)
    assert until_a_tie(classifier, art, ours)
    share = float(ours.decisions().float().mean())
    assert 0.2 < share < 0.9


def test_targeted_from_given_starts():
    agreed = 0
    for seed in SEEDS:
        classifier, images, labels = small_network(seed)
        other = int((labels != labels[0]).nonzero()[0])
        target, start = int(labels[other]), images[other : other + 1]
        options = {"iterations": ITERATIONS, "start_seed": seed, "probe_seed": 100 + seed}
        art = replay_art(classifier, images[:1], target=target, start=start, **options)
        ours = replay_variegate(classifier, images[:1], target=target, start=start, **options)
        agreed += until_a_tie(classifier, art, ours, target)
    assert agreed >= 2


def test_trials_that_are_used_up():
    """Within a thin slab the walk ends early, where no candidate of the one trial gets nearer."""
    agreed = early = 0
    for seed in SEEDS:
        classifier = Classifier(Slab(seed), input_shape=SHAPE, labels=2)
        image = torch.full((1, *SHAPE), 0.5)
        start = image + 0.37 * classifier.module.normal.view(1, *SHAPE)
        options = {"iterations": 60, "trials": 1, "start_seed": seed, "probe_seed": 100 + seed}
        art = replay_art(classifier, image, start=start, **options)
        ours = replay_variegate(classifier, image, start=start, **options)
        agreed += until_a_tie(classifier, art, ours)
        early += len(ours.labels) < 60 * 21
    assert agreed >= 2
    assert early >= 1


@pytest.mark.parametrize(
    ("passage", "replacement"),
    [
        (r"2 \* hits > count\)", "3 * hits > 2 * count)"),
        (r"rescale=False", "rescale=True"),
        (
            r"first, noise = trial \* self._count, group.problem.noise",
            "first, noise = 0, Backwards(group.problem.noise)",
        ),
    ],
)
def test_the_comparison_can_fail(passage, replacement, mutant, monkeypatch):
    mutated = mutant(boundary, passage, replacement)
    mutated.Backwards = Backwards
    monkeypatch.setattr("benchmarks.replay.boundary.Boundary", mutated.Boundary)
    with pytest.raises(AssertionError):
        for seed in SEEDS:
            classifier, images, _ = small_network(seed)
            options = {"iterations": ITERATIONS, "start_seed": seed, "probe_seed": 100 + seed}
            art = replay_art(classifier, images[:1], **options)
            ours = replay_variegate(classifier, images[:1], **options)
            assert until_a_tie(classifier, art, ours)


class Backwards:
    """Gives the candidates of a question in reverse."""

    def __init__(self, noise):
        self.noise = noise

    def probes(self, *place, gaussian):
        return self.noise.probes(*place, gaussian=gaussian).flip(0)


def test_numpys_global_generator_is_left_alone():
    classifier, images, _ = small_network(0)
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - this is the one
    replay_art(classifier, images[:1], iterations=1, start_seed=0, probe_seed=1)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002
