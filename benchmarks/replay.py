"""One HopSkipJump attack by ART and by variegate from the same random draws, every query of both recorded.

ART 1.20 draws its starts from an unseeded `np.random.RandomState()` of its own and its probes from NumPy's global
generator, all probes of an iteration at once. `ArtDraws` gives the same numbers in the same order to variegate.

Differences that remain are of rounding: on NumPy 2, ART's iterates become float64 after its first step, variegate's
stay float32. So a decision at a point within about 1e-7 of the boundary can differ, and everything after it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.libraries import art_classifier
from variegate.attacks.driver import run_attack
from variegate.attacks.hopskipjump import HopSkipJump, Semantics
from variegate.models.classifier import Classifier
from variegate.models.oracle import HardLabelOracle
from variegate.types import Norm

__all__ = ["ArtDraws", "RecordingModule", "Replay", "replay_art", "replay_variegate", "seeded_numpy"]


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


@final
class RecordingModule(nn.Module):
    """Casts to float32 (ART on NumPy 2 sends float64), asks the classifier, and keeps what was asked and answered."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self._classifier = [classifier]  # in a list, so that its module is not a child of this one
        self.points: list[Tensor] = []
        self.labels: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        """Map (M, *input_shape) to logits (M, n)."""
        x = x.float()
        logits = self._classifier[0].logits(x)
        self.points.append(x.detach().clone())
        self.labels.append(logits.argmax(1))
        return logits


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Replay:
    """What one side did.

    Attributes:
        adversarial: float32 (*input_shape), what the attack returned.
        labels: int64 (Q,), the answer to each query, in order; the first is the clean input's.
        points: float32 (Q, *input_shape), the queries.
    """

    adversarial: Tensor
    labels: Tensor
    points: Tensor

    def decisions(self, target: int | None = None) -> Tensor:
        """Return bool (Q - 1,): whether each query after the first was adversarial."""
        return self.labels[1:] != self.labels[0] if target is None else self.labels[1:] == target


@contextmanager
def seeded_numpy(start_seed: int, probe_seed: int) -> Iterator[None]:
    """Seed the generators that ART uses, and put NumPy's global one back after."""
    starts = np.random.RandomState(start_seed)
    before = np.random.get_state()  # noqa: NPY002 - ART draws from the legacy generators
    np.random.seed(probe_seed)  # noqa: NPY002
    try:
        with mock.patch.object(np.random, "RandomState", return_value=starts):
            yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


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
    """
    from art.attacks.evasion import HopSkipJump as ArtHopSkipJump

    module = RecordingModule(classifier)
    attack = ArtHopSkipJump(
        art_classifier(module, classifier),
        targeted=target is not None,
        norm=2 if norm is Norm.L2 else np.inf,
        max_iter=iterations,
        verbose=False,
    )
    label = classifier.predict(image).numpy() if target is None else np.array([target])
    with seeded_numpy(start_seed, probe_seed):
        found: Any = attack.generate(image.numpy(), y=label, x_adv_init=None if start is None else start.numpy())
    labels, points = torch.cat(module.labels), torch.cat(module.points)
    end = len(labels) - (2 if target is None else 1)
    return Replay(adversarial=torch.from_numpy(found[0]), labels=labels[:end], points=points[:end])


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
) -> Replay:
    """Run variegate's HopSkipJump on the same image with the numbers that ART draws; arguments as for `replay_art`."""
    module = RecordingModule(classifier)
    oracle = HardLabelOracle(
        lambda x: module(x).argmax(1),
        input_shape=classifier.input_shape,
        bounds=classifier.bounds,
        num_classes=classifier.num_classes,
        samples=1,
    )
    result = run_attack(
        HopSkipJump(norm=norm, semantics=semantics, iterations=iterations, starts="uniform"),
        oracle,
        image,
        classifier.predict(image),
        seed=0,
        targets=None if target is None else torch.tensor([target]),
        starting_points=start,
        noise=ArtDraws(start_seed=start_seed, probe_seed=probe_seed),
    )
    labels, points = torch.cat(module.labels), torch.cat(module.points)
    return Replay(adversarial=result.adversarials[0], labels=labels, points=points)
