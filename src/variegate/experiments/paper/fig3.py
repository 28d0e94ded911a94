"""Figure 3: cosine between the input gradients of two copies' training loss (paper, section 5.3).

With phi and psi the first two originals (the paper has two as well; further ones are not used), and copies of each
rewriter with the numbers 0 and 1:

- H1 = (phi, psi): independent training;
- H2 = (phi's copy 0, phi's copy 1): rewriting;
- H3 = (phi's copy 0, psi's copy 1): both.

The loss and what makes a gradient 0 are those of `variegate.evaluation.gradients`: zero gradients are counted and left
out of the curves. The paper measures at clean test images, whether they are classified correctly or not. Added here,
because a softmax is flat there:

- "boundary": the same images, moved to phi's decision boundary. All gradients of all pairs are taken at these points.
  Images that phi gets wrong are left out and counted. psi and its copies need not be undecided there, so H1 and H3 are
  at the boundary for one of their members only.
- "smoothed": clean images, gradients of the mean loss over Gaussian noise of each of the effort's levels, the same
  noise for all networks.

Both are measured on the first `Effort.boundary_images` of the images, because each costs a multiple of a clean one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt
import torch

from variegate.attacks.white_box.deepfool import DeepFool
from variegate.errors import ConfigurationError
from variegate.evaluation.density import describe, symmetric_grid
from variegate.evaluation.gradients import (
    SATURATED,
    Group,
    Smoothing,
    boundary_points,
    compare_gradients,
    gradient_cost,
)
from variegate.evaluation.shards import Arrays, ShardFolder, ShardTask
from variegate.experiments.paper.paper import Effort
from variegate.experiments.paper.study import REWRITERS, CopyOf, Study, StudySource, load_study
from variegate.records.reproduction import CosineResults, Cosines, Curve, GradientNorms
from variegate.records.reproduction import Place as PlaceRecord

Place = Literal["clean", "boundary", "smoothed"]
Floats = npt.NDArray[np.float64]

_SHARD = 250
_WALK_COST = 60.0  # about what it takes to bring one image to the boundary, in forward rows
_SMALL, _LARGE = 0.1, 0.9  # cosines whose shares the record gives
_LOSS = "-log of the true class's score: softmax for originals, L1-normalised for copies"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CosineShard:
    """Cosines and norms of all pairs and networks at some images.

    Attributes:
        source: the study, of at least two originals.
        images: positions among the study's test images, which also name them in the noise.
        place: "clean", "boundary" or "smoothed".
        sigma: of the noise, in parts of the range; 0 without noise.
        samples: of the noise; 1 without.
    """

    source: StudySource = field(repr=False)
    images: tuple[int, ...]
    place: Place
    sigma: float = 0.0
    samples: int = 1

    @property
    def name(self) -> str:
        """A file name: study, place and the first image."""
        noise = f"-{self.sigma:g}" if self.place == "smoothed" else ""
        return f"{self.source.name}-cosine-{self.place}{noise}-{self.images[0]}"

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides the result."""
        return {
            "study": self.source.identity,
            "images": list(self.images),
            "place": [self.place, self.sigma, self.samples],
            "deepfool_revision": DeepFool.revision,
            "revision": 1,
        }

    @property
    def cost(self) -> float:
        """Forward rows, a backward row counted as two; the way to the boundary is estimated."""
        walk = _WALK_COST if self.place == "boundary" else 0.0
        return len(self.images) * (walk + gradient_cost(2, len(_networks(self.source)), samples=self.samples))

    def run(self) -> Arrays:
        """Return cosines float64 (pairs, N), norms float64 (networks, N), doubts float64 (2, N), used bool (N,).

        Pairs: H1, then H2 and H3 of each rewriter. Columns of images that are not used (no boundary was found) are NaN.
        """
        study = load_study(self.source)
        rows = torch.tensor(self.images)
        x, labels = study.images[rows], study.labels[rows]
        used = torch.ones(len(rows), dtype=torch.bool)
        if self.place == "boundary":
            x, used = boundary_points(study.originals[0], x, labels)
        smoothing = None
        if self.place == "smoothed":
            smoothing = Smoothing(sigma=self.sigma, samples=self.samples, seed=self.source.seed)
        networks = _networks(self.source)
        pairs = [(networks.index(a), networks.index(b)) for a, b in _pairs(self.source).values()]
        found = compare_gradients(
            _groups(study),
            pairs,
            x[used],
            labels[used],
            smoothing=smoothing,
            identities=rows[used].tolist(),
        )
        arrays = {"used": used.numpy()}
        for name in ("cosines", "norms", "doubts"):
            values = getattr(found, name).numpy()
            arrays[name] = np.full((values.shape[0], len(rows)), np.nan)
            arrays[name][:, used.numpy()] = values
        return arrays


def tasks(source: StudySource, effort: Effort) -> list[ShardTask]:
    """Return the shards, of 250 images each, in all places.

    Raises:
        ConfigurationError: the study has one original only.
    """
    return [shard for shards in _shards(source, effort).values() for shard in shards]


def collect(source: StudySource, effort: Effort, shards: ShardFolder) -> CosineResults:
    """Return the study's part of the figure: for each place the curves, shares of small and large cosines and norms.

    `places` is a list; each has H1 (the same for all rewriters), and H2 and H3 by rewriter. A curve is that of
    `variegate.evaluation.density.describe`, with `zero_gradients` and the shares |cosine| < 0.1 and cosine > 0.9.
    """
    grid, names = symmetric_grid(1.0), list(_pairs(source))
    places = []
    for (place, sigma), parts in _shards(source, effort).items():
        arrays = [shards.require(shard) for shard in parts]
        used: npt.NDArray[np.bool_] = np.concatenate([part["used"] for part in arrays]).astype(np.bool_)
        cosines, norms, doubts = (
            np.concatenate([part[name] for part in arrays], axis=1).astype(np.float64)[:, used]
            for name in ("cosines", "norms", "doubts")
        )
        curves = {name: _curve(row, grid, seed=source.seed) for name, row in zip(names, cosines, strict=True)}
        places.append(
            PlaceRecord(
                place=place,
                sigma=sigma,
                samples=parts[0].samples,
                images=int(used.size),
                without_boundary=int((~used).sum()),
                saturated={f"o{i}": int((row <= SATURATED).sum()) for i, row in enumerate(doubts)},
                norms={str(network): _norms(row) for network, row in zip(_networks(source), norms, strict=True)},
                H1=curves["H1"],
                rewriters={
                    rewriter: Cosines(H2=curves[f"H2-{rewriter}"], H3=curves[f"H3-{rewriter}"])
                    for rewriter in _rewriters(source)
                },
            )
        )
    return CosineResults(originals=(0, 1), copies=(0, 1), loss=_LOSS, places=tuple(places))


def _rewriters(source: StudySource) -> list[str]:
    return [name for name in REWRITERS if name in source.specs]


def _networks(source: StudySource) -> list[CopyOf]:
    """Return phi and its copies, then psi and its copies, as `_groups` has them."""
    copies = {0: (0, 1), 1: (1,)}  # psi's copy 0 is in no pair
    return [
        which
        for original, numbers in copies.items()
        for which in (CopyOf(original), *(CopyOf(original, r, c) for r in _rewriters(source) for c in numbers))
    ]


def _groups(study: Study) -> list[Group]:
    networks = _networks(study.source)
    return [
        (study.originals[o], [study.head(one) for one in networks if one.original == o and one.rewriter is not None])
        for o in (0, 1)
    ]


def _pairs(source: StudySource) -> dict[str, tuple[CopyOf, CopyOf]]:
    pairs = {"H1": (CopyOf(0), CopyOf(1))}
    for rewriter in _rewriters(source):
        pairs[f"H2-{rewriter}"] = (CopyOf(0, rewriter, 0), CopyOf(0, rewriter, 1))
        pairs[f"H3-{rewriter}"] = (CopyOf(0, rewriter, 0), CopyOf(1, rewriter, 1))
    return pairs


def _shards(source: StudySource, effort: Effort) -> dict[tuple[Place, float], list[CosineShard]]:
    if len(source.originals) < 2:
        raise ConfigurationError(
            f"figure 3 compares two originals that were trained independently; study {source.name!r} has 1"
        )
    order = load_study(source).order()
    clean, near = order[: effort.gradient_images], order[: min(effort.boundary_images, effort.gradient_images)]

    def cut(images: Sequence[int], place: Place, sigma: float = 0.0, samples: int = 1) -> list[CosineShard]:
        return [
            CosineShard(source=source, images=tuple(images[i : i + _SHARD]), place=place, sigma=sigma, samples=samples)
            for i in range(0, len(images), _SHARD)
        ]

    found: dict[tuple[Place, float], list[CosineShard]] = {("clean", 0.0): cut(clean, "clean")}
    found["boundary", 0.0] = cut(near, "boundary")
    for sigma in effort.smoothing:
        found["smoothed", sigma] = cut(near, "smoothed", sigma, effort.smoothing_samples)
    return {key: shards for key, shards in found.items() if shards}


def _curve(cosines: Floats, grid: Floats, *, seed: int) -> Curve:
    known = cosines[np.isfinite(cosines)]
    return describe(
        cosines,
        grid,
        seed=seed,
        zero_gradients=int(cosines.size - known.size),
        share_small=float((np.abs(known) < _SMALL).mean()) if known.size else None,
        share_large=float((known > _LARGE).mean()) if known.size else None,
    )


def _norms(values: Floats) -> GradientNorms:
    """Return mean and median of a network's gradient norms, zero ones among them, and how many are zero."""
    known = values[np.isfinite(values)]
    return GradientNorms(
        n=int(known.size),
        zero=int((known == 0).sum()),
        mean=float(known.mean()) if known.size else None,
        median=float(np.median(known)) if known.size else None,
    )
