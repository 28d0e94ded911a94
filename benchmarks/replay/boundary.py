"""One boundary attack by ART and by variegate from the same random draws, every query of both recorded.

ART 1.20 draws its starts from an unseeded `np.random.RandomState()` of its own and its directions from NumPy's global
generator, one candidate after another. `ArtDraws` of the HopSkipJump replay gives the same numbers in the same order:
variegate asks for all candidates of a question at once.

Differences that remain are of rounding: on NumPy 2, ART's points are float64 after its first step (a NumPy scalar makes
them so), variegate's stay float32.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.replay.common import RecordingModule, Replay, replay_attack, seeded_numpy
from benchmarks.replay.hopskipjump import ArtDraws
from variegate.adapters.art import art_classifier
from variegate.attacks.boundary import Boundary, Semantics
from variegate.models.classifier import Classifier


def replay_art(
    classifier: Classifier,
    image: Tensor,
    *,
    iterations: int,
    start_seed: int,
    probe_seed: int,
    trials: int = 25,
    target: int | None = None,
    start: Tensor | None = None,
    limit: int | None = None,
) -> Replay:
    """Run ART's boundary attack on one image, with ART's own numbers but `iterations` and `trials`.

    The queries of ART's closing success report (the result and, if untargeted, the clean image) are left out.

    Args:
        classifier: what is attacked.
        image: float32 (1, *input_shape).
        iterations: how many.
        start_seed: of the generator that draws starts.
        probe_seed: of the generator that draws directions.
        trials: questions at most for each of the two parts of an iteration.
        target: the label wanted; None for any wrong one.
        start: float32 (1, *input_shape), a starting point that is adversarial already; None to draw one.
        limit: queries after which the attack is ended.
    """
    from art.attacks.evasion import BoundaryAttack

    module = RecordingModule(classifier, limit)
    attack = BoundaryAttack(
        art_classifier(module, classifier),
        targeted=target is not None,
        max_iter=iterations,
        num_trial=trials,
        verbose=False,
    )
    label = classifier.predict(image).numpy() if target is None else np.array([target])

    def generate() -> Tensor:
        found: Any = attack.generate(image.numpy(), y=label, x_adv_init=None if start is None else start.numpy())
        return torch.from_numpy(found[0])

    with seeded_numpy(start_seed, probe_seed):
        return module.replay(generate, leave_out=2 if target is None else 1)


def replay_variegate(
    classifier: Classifier,
    image: Tensor,
    *,
    iterations: int,
    start_seed: int,
    probe_seed: int,
    trials: int = 25,
    target: int | None = None,
    start: Tensor | None = None,
    semantics: Semantics = "art",
    limit: int | None = None,
) -> Replay:
    """Run variegate's boundary attack on the same image with ART's draws; arguments as for `replay_art`."""
    attack = Boundary(semantics=semantics, iterations=iterations, trials=trials, starts="uniform")
    noise = ArtDraws(start_seed=start_seed, probe_seed=probe_seed)
    return replay_attack(attack, classifier, image, noise=noise, target=target, start=start, limit=limit)
