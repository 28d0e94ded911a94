"""`semantics="art"` does what ART does: fed ART's own random draws, it asks the same queries and gets the same answers.

Both sides differ by rounding (ART computes in float64, variegate in float32). Where a query falls onto the boundary to
within rounding, the model itself answers by chance, and the two attacks part; the tests allow that and nothing else.
"""

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.replay import Replay, replay_art, replay_variegate
from variegate.models.classifier import Classifier
from variegate.types import Norm

pytest.importorskip("art", reason="ART is not installed; pip install 'variegate[art]'", exc_type=ImportError)

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # ART's own, of which there are many
]

ITERATIONS = 12
SEEDS = (3, 4, 7)
SHAPE = (3, 4, 4)


class Slab(nn.Module):
    """Class 1 within 0.05 of a plane at distance 0.35 of the grey image, else class 0: most steps go too far."""

    def __init__(self, seed):
        super().__init__()
        direction = torch.randn(48, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("normal", direction / direction.norm())

    def forward(self, x):
        depth = (x - 0.5).flatten(1) @ self.normal - 0.35
        return torch.stack((depth.abs(), torch.full_like(depth, 0.05)), 1)


def network(seed):
    generator = torch.Generator().manual_seed(seed)
    module = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4))
    for parameter in module.parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
        scale = 1.5 / fan_in**0.5 if parameter.ndim > 1 else 0.0
        parameter.data = scale * torch.randn(parameter.shape, generator=generator)
    classifier = Classifier(module, input_shape=SHAPE, labels=4)
    images = torch.rand((256, *SHAPE), generator=generator)
    module[-1].bias.data -= classifier.logits(images).mean(0)  # so that all classes occur
    logits = classifier.logits(images)
    best = logits.topk(2).values
    order = (best[:, 0] - best[:, 1]).argsort(descending=True)
    return classifier, images[order], logits[order].argmax(1)


def first_difference(art: Replay, ours: Replay, target=None):
    """Position of the first query that the two sides decided otherwise, or None."""
    a, b = art.decisions(target), ours.decisions(target)
    count = min(len(a), len(b))
    different = (a[:count] != b[:count]).nonzero().flatten()
    if len(different):
        return int(different[0]) + 1
    assert len(a) == len(b), f"ART asked {len(a)} queries and variegate {len(b)}"
    return None


def check(classifier, art, ours, target=None):
    """Same decisions from same points up to a tie of the model, if any; return whether they agree to the end."""
    first = first_difference(art, ours, target)
    until = len(art.labels) if first is None else first + 1
    assert float((art.points[:until] - ours.points[:until]).abs().max()) < 1e-5
    if first is None:
        assert float((art.adversarial - ours.adversarial).abs().max()) < 1e-5
        return True
    best = classifier.logits(art.points[first : first + 1]).topk(2).values[0]
    assert float(best[0] - best[1]) < 5e-6, f"query {first} was decided otherwise, and it is no tie: {best.tolist()}"
    return False


@pytest.mark.parametrize("norm", list(Norm))
def test_untargeted_from_random_starts(norm):
    agreed = 0
    for seed in SEEDS:
        classifier, images, _ = network(seed)
        options = {"norm": norm, "iterations": ITERATIONS, "start_seed": seed, "probe_seed": 100 + seed}
        art = replay_art(classifier, images[:1], **options)
        ours = replay_variegate(classifier, images[:1], **options)
        agreed += check(classifier, art, ours)
        assert len(ours.labels) > 2500
    assert agreed >= 1  # all ITERATIONS, decision by decision


@pytest.mark.parametrize("norm", list(Norm))
def test_targeted_from_given_starts(norm):
    agreed = 0
    for seed in SEEDS:
        classifier, images, labels = network(seed)
        other = int((labels != labels[0]).nonzero()[0])
        target, start = int(labels[other]), images[other : other + 1]
        options = {"norm": norm, "iterations": ITERATIONS, "start_seed": seed, "probe_seed": 100 + seed}
        art = replay_art(classifier, images[:1], target=target, start=start, **options)
        ours = replay_variegate(classifier, images[:1], target=target, start=start, **options)
        agreed += check(classifier, art, ours, target)
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
        agreed += check(classifier, art, ours)
        assert len(ours.labels) >= straight + 5
    assert agreed >= 1


def test_the_comparison_can_fail():
    classifier, images, _ = network(0)
    options = {"norm": Norm.L2, "iterations": 3, "start_seed": 0, "probe_seed": 100}
    art = replay_art(classifier, images[:1], **options)
    paper = replay_variegate(classifier, images[:1], semantics="paper", **options)
    with pytest.raises(AssertionError):
        check(classifier, art, paper)
    other = replay_variegate(classifier, images[:1], **{**options, "probe_seed": 101})
    with pytest.raises(AssertionError):
        check(classifier, art, other)


def test_numpys_global_generator_is_left_alone():
    classifier, images, _ = network(0)
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - this is the one
    replay_art(classifier, images[:1], norm=Norm.L2, iterations=1, start_seed=0, probe_seed=1)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002
