"""Table 1: accuracy of the originals, and of copies of each rewriter (paper, section 5.2).

The paper's mean and standard deviation are over ten trainings (originals) and over ten copies of one of them
(rewriters); here the copies of every original are measured, and those of the first give the paper's number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import numpy.typing as npt

from variegate.evaluation.shards import Arrays, ShardFolder, ShardTask
from variegate.evaluation.stats import mean_of_units, wilson_rate
from variegate.experiments.paper.paper import Effort
from variegate.experiments.paper.study import REWRITERS, StudySource, load_study
from variegate.models.bank import CopyBank
from variegate.records.base import Rate
from variegate.records.reproduction import AccuracyResults, AccuracyRow, ClassifierMeans, ClassifierRate, Drop

_SHARD = 1000


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LabelShard:
    """Labels of clean test images by one original and its copies, in one forward pass of the original an image.

    Attributes:
        source: the study.
        original: position among its originals.
        copies: of each rewriter.
        start, stop: which test images.
    """

    source: StudySource = field(repr=False)
    original: int
    copies: int
    start: int
    stop: int

    @property
    def name(self) -> str:
        """A file name."""
        return f"{self.source.name}-labels-o{self.original}-{self.start}"

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides the result."""
        place = [self.original, self.copies, self.start, self.stop]
        return {"study": self.source.identity, "place": place, "revision": 1}

    @property
    def cost(self) -> float:
        """Forward rows."""
        return float(self.stop - self.start)

    def run(self) -> Arrays:
        """Return labels: original int64 (N,), and for each rewriter int64 (N, copies); truth int64 (N,)."""
        study = load_study(self.source)
        x = study.images[self.start : self.stop]
        names = [name for name in REWRITERS if name in study.specs]
        heads = [head for name in names for head in study.bank(self.original, name, self.copies).heads]
        arrays = {
            "truth": study.labels[self.start : self.stop].numpy(),
            "original": study.originals[self.original].predict(x).cpu().numpy(),
        }
        if heads:
            labels = CopyBank(study.originals[self.original], heads).predict_all(x).cpu().numpy()
            blocks = np.split(labels, len(names), axis=1)
            arrays |= dict(zip(names, blocks, strict=True))
        return arrays


def tasks(source: StudySource, effort: Effort) -> list[ShardTask]:
    """Return the shards of 1,000 images for each original."""
    return [*_shards(source, effort)]


def collect(source: StudySource, effort: Effort, shards: ShardFolder) -> AccuracyResults:
    """Return the study's part of the table: counts, accuracies, means and standard deviations, changed labels."""
    names = [name for name in REWRITERS if name in source.specs]
    accuracies: dict[str, list[ClassifierRate]] = {name: [] for name in ("original", *names)}
    lost: dict[str, list[npt.NDArray[np.float64]]] = {name: [] for name in names}
    for original in range(len(source.originals)):
        parts = [shards.require(shard) for shard in _shards(source, effort) if shard.original == original]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in ("truth", *accuracies)}
        truth = joined["truth"]
        before = _accuracy(joined["original"], truth)
        accuracies["original"].append(ClassifierRate(**dict(before), original=original))
        for name in names:
            for copy in range(effort.copies):
                labels = joined[name][:, copy]
                after = _accuracy(labels, truth)
                accuracies[name].append(
                    ClassifierRate(
                        **dict(after),
                        original=original,
                        copy=copy,
                        labels_changed=wilson_rate(int((labels != joined["original"]).sum()), len(truth)),
                        drop=_share(before) - _share(after),
                    )
                )
            right = (joined["original"] == truth)[:, None].astype(float)
            lost[name].append((right - (joined[name] == truth[:, None])).T)
    rows = {"original": AccuracyRow(**_row(accuracies["original"], accuracies["original"]))}
    for name in names:
        found = accuracies[name]
        originals = np.repeat(np.arange(len(source.originals)), effort.copies)
        drops = [each.drop for each in found if each.drop is not None]
        changes = [_share(each.labels_changed) for each in found if each.labels_changed is not None]
        drop = _spread(drops) | mean_of_units(np.concatenate(lost[name]), clusters=originals)
        rows[name] = AccuracyRow(
            **_row(found, [each for each in found if each.original == 0]),
            drop=Drop(**drop),
            largest_drop=max(drops),
            labels_changed=ClassifierMeans(**_spread(changes)),
        )
    return AccuracyResults(images=accuracies["original"][0].n, copies=effort.copies, rows=rows)


def _row(every: Sequence[ClassifierRate], first: Sequence[ClassifierRate]) -> dict[str, Any]:
    """Return what all rows of the table have; `first` are those of the first original."""
    of_first, of_all = (ClassifierMeans(**_spread([_share(one) for one in group])) for group in (first, every))
    return {"classifiers": tuple(every), "of_first": of_first, "of_all": of_all}


def _shards(source: StudySource, effort: Effort) -> list[LabelShard]:
    available = len(load_study(source).labels)
    count = available if effort.accuracy_images is None else min(effort.accuracy_images, available)
    return [
        LabelShard(source=source, original=original, copies=effort.copies, start=start, stop=min(start + _SHARD, count))
        for original in range(len(source.originals))
        for start in range(0, count, _SHARD)
    ]


def _accuracy(labels: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> Rate:
    return wilson_rate(int((labels == truth).sum()), len(truth))


def _share(rate: Rate) -> float:
    return 0.0 if rate.rate is None else rate.rate


def _spread(values: Sequence[float]) -> dict[str, Any]:
    """Return mean and sample standard deviation over classifiers."""
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {"mean": float(np.mean(values)), "sd": spread, "classifiers": len(values)}
