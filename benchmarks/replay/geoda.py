"""One GeoDA attack by ART and by variegate from the same random draws, every query of both recorded.

ART 1.20 draws starts and probes from NumPy's global generator. `ArtDraws` gives the same numbers in the same order.
ART's probes come 64 at a time, as variegate's do; its basis counts the frequencies along x before those along y.

ART asks again what it knows: the clean input at the beginning of every search, and two points for its log. On both
sides a question that was asked before, bit for bit, is left out; variegate has none but where a search saturates.

ART's basis is made by `variegate.adapters.art.mended_geoda`: `np.mat` is gone from NumPy 2, and ART's cache file of the
basis in the current directory is neither read nor written.
"""

from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from benchmarks.replay.common import RecordingModule, Replay, replay_attack, seeded_numpy
from variegate.adapters.art import art_classifier, mended_geoda
from variegate.attacks.geoda import GeoDA
from variegate.models.classifier import Classifier
from variegate.types import Norm


@final
class ArtDraws:
    """A `NoiseSource` with the numbers that ART draws after `seed`; for one input, asked in ART's order."""

    def __init__(self, *, seed: int, channels: int, side: int) -> None:
        self._random = np.random.RandomState(seed)
        self._channels, self._side = channels, side

    def start(self, row: int, trial: int, shape: tuple[int, ...]) -> Tensor:
        """ART's GeoDA has no uniform starts.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("ART's GeoDA starts from noise that grows, not from uniform noise")

    def probes(self, row: int, iteration: int, first: int, shape: tuple[int, int], *, gaussian: bool) -> Tensor:
        """Return float32 `shape`, normal, drawn in float64: of a start (iteration -1), or coefficients of probes."""
        count, size = shape
        if iteration < 0:
            return torch.from_numpy(self._random.normal(size=shape).astype(np.float32))
        drawn = self._random.normal(size=(size // self._channels, self._channels * count))
        by_frequency = drawn.reshape(self._side, self._side, count, self._channels)  # x, y, probe, channel
        return torch.from_numpy(by_frequency.transpose(2, 3, 1, 0).reshape(shape).astype(np.float32))


def replay_art(
    classifier: Classifier,
    image: Tensor,
    *,
    norm: Norm,
    sub_dim: int,
    max_queries: int,
    tolerance: float,
    seed: int,
    limit: int | None = None,
) -> Replay:
    """Run ART's GeoDA on one image.

    Args:
        classifier: what is attacked.
        image: float32 (1, *input_shape).
        norm: the norm that is made small.
        sub_dim: frequencies an axis.
        max_queries: ART's `max_iter`.
        tolerance: of the bisection.
        seed: of the generator that draws starts and probes.
        limit: queries, repeated ones too, after which the attack is ended.
    """
    recorder = RecordingModule(classifier, limit)
    with mended_geoda() as module, seeded_numpy(seed, seed):
        attack = module.GeoDA(
            art_classifier(recorder, classifier),
            norm=2 if norm is Norm.L2 else np.inf,
            sub_dim=sub_dim,
            max_iter=max_queries,
            bin_search_tol=tolerance,
            verbose=False,
        )
        label = classifier.predict(image).numpy()

        def generate() -> Tensor:
            found: Any = attack.generate(image.numpy(), y=label)
            return torch.from_numpy(found[0])

        return _asked_once(recorder.replay(generate))


def replay_variegate(
    classifier: Classifier,
    image: Tensor,
    *,
    norm: Norm,
    sub_dim: int,
    max_queries: int,
    tolerance: float,
    seed: int,
    limit: int | None = None,
) -> Replay:
    """Run variegate's GeoDA on the same image with the numbers that ART draws; arguments as for `replay_art`."""
    attack = GeoDA(norm=norm, semantics="art", sub_dim=sub_dim, max_queries=max_queries, tolerance=tolerance)
    noise = ArtDraws(seed=seed, channels=classifier.input_shape[0], side=sub_dim)
    return _asked_once(replay_attack(attack, classifier, image, noise=noise, limit=limit))


def _asked_once(replay: Replay) -> Replay:
    """Leave out every question that was asked before, bit for bit."""
    seen: set[bytes] = set()
    kept = []
    for index, point in enumerate(replay.points):
        data = point.numpy().tobytes()
        if data not in seen:
            kept.append(index)
        seen.add(data)
    return Replay(adversarial=replay.adversarial, labels=replay.labels[kept], points=replay.points[kept])
