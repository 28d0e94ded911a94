"""One HopSkipJump attack by ART and by variegate from the same random draws, every query of both recorded.

ART 1.20 draws its starts from an unseeded `np.random.RandomState()` of its own and its probes from NumPy's global
generator, all probes of an iteration at once. `ArtDraws` gives the same numbers in the same order to variegate.

Differences that remain are of rounding: on NumPy 2, ART's iterates become float64 after its first step, variegate's
stay float32. So a decision at a point within about 1e-7 of the boundary can differ, and everything after it.
"""

from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from benchmarks.replay.common import RecordingModule, Replay, replay_attack, seeded_numpy
from variegate.adapters.art import art_classifier
from variegate.attacks.hopskipjump import HopSkipJump, Semantics
from variegate.models.classifier import Classifier
from variegate.types import Norm


@final
class ArtDraws:
    """A `NoiseSource` with the numbers that ART draws after the two seeds; for one input, asked in ART's order."""

    def __init__(self, *, start_seed: int, probe_seed: int) -> None:
        self._starts = np.random.RandomState(start_seed)
        self._probes = np.random.RandomState(probe_seed)

    def start(self, row: int, trial: int, shape: tuple[int, ...]) -> Tensor:
        """Return float32 `shape`, uniform on [0, 1), drawn in float64."""
        return torch.from_numpy(self._starts.uniform(0.0, 1.0, size=shape).astype(np.float32))

    def probes(self, row: int, iteration: int, first: int, shape: tuple[int, int], *, gaussian: bool) -> Tensor:
        """Return float32 `shape`, normal or uniform on [-1, 1), drawn in float64; chunks continue each other."""
        drawn = self._probes.randn(*shape) if gaussian else self._probes.uniform(-1.0, 1.0, size=shape)
        return torch.from_numpy(drawn.astype(np.float32))


def replay_art(
    classifier: Classifier,
    image: Tensor,
    *,
    norm: Norm,
    iterations: int,
    start_seed: int,
    probe_seed: int,
    target: int | None = None,
    start: Tensor | None = None,
    limit: int | None = None,
) -> Replay:
    """Run ART's HopSkipJump on one image, with ART's own numbers but `iterations`.

    The queries of ART's closing success report (the result and, if untargeted, the clean image) are left out.

    Args:
        classifier: what is attacked.
        image: float32 (1, *input_shape).
        norm: the norm that is made small.
        iterations: how many.
        start_seed: of the generator that draws starts.
        probe_seed: of the generator that draws probes.
        target: the label wanted; None for any wrong one.
        start: float32 (1, *input_shape), a starting point that is adversarial already; None to draw one.
        limit: queries after which the attack is ended.
    """
    from art.attacks.evasion import HopSkipJump as ArtHopSkipJump

    module = RecordingModule(classifier, limit)
    attack = ArtHopSkipJump(
        art_classifier(module, classifier),
        targeted=target is not None,
        norm=2 if norm is Norm.L2 else np.inf,
        max_iter=iterations,
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
    norm: Norm,
    iterations: int,
    start_seed: int,
    probe_seed: int,
    target: int | None = None,
    start: Tensor | None = None,
    semantics: Semantics = "art",
    limit: int | None = None,
) -> Replay:
    """Run variegate's HopSkipJump on the same image with the numbers that ART draws; arguments as for `replay_art`."""
    attack = HopSkipJump(norm=norm, semantics=semantics, iterations=iterations, starts="uniform")
    noise = ArtDraws(start_seed=start_seed, probe_seed=probe_seed)
    return replay_attack(attack, classifier, image, noise=noise, target=target, start=start, limit=limit)
