"""One shard of replays: the adversarials of an attack shard, shown to every copy that they may be replayed on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from variegate.evaluation.replication import directions, moved
from variegate.evaluation.shards import Arrays, ShardFolder
from variegate.experiments.paper.attack_shard import AttackShard
from variegate.experiments.paper.study import CopyOf, Study, load_study
from variegate.models.geometry import as_rows

JUST_PAST = 1.001
"""How far past the attacker's boundary the point "boundary" lies, in lengths of the perturbation up to it."""

SCALES = (1.0, 1.05, 1.1, 1.25, 1.5, 2.0)


def victims_of(attacker: CopyOf, *, originals: int, copies: int) -> tuple[CopyOf, ...]:
    """Return what an attacker's adversarials are shown to: all classifiers of his kind, his own among them."""
    if attacker.rewriter is None:
        return tuple(CopyOf(original) for original in range(originals))
    return tuple(CopyOf(o, attacker.rewriter, copy) for o in range(originals) for copy in range(copies))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayShard:
    """Labels of one attack shard's adversarials by all victims.

    Attributes:
        attack: what made them; it must be done.
        folder: where its shard lies.
        copies: of the attacker's rewriter and each original.
    """

    attack: AttackShard
    folder: Path = field(repr=False)
    copies: int

    @property
    def name(self) -> str:
        """A file name."""
        return f"{self.attack.name}-replay"

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides the result."""
        return {"attack": self.attack.identity, "copies": self.copies, "scales": list(SCALES), "revision": 3}

    @property
    def cost(self) -> float:
        """Forward rows."""
        return float(len(self.attack.images) * len(self.attack.source.originals) * (len(SCALES) + 3))

    def run(self) -> Arrays:
        """Return labels, int16, by the victims in the order of `victims_of`.

        Keys: clean (V, N); at (S, V, N) at x + s (x' - x); boundary (V, N) where the perturbation is cut to 1.001 of
        its part up to the attacker's boundary, because attacks stop at different depths past it; noise (V, N) at random
        directions of the norm at s = 1; truth int64 (N,).
        """
        study = load_study(self.attack.source)
        made = ShardFolder(self.folder).require(self.attack)
        rows = torch.from_numpy(made["images"])
        clean, bounds = study.images[rows], study.originals[0].bounds
        step = torch.from_numpy(made["adversarials"]) - clean
        size = torch.from_numpy(made["distances"]).nan_to_num(0.0)
        kept = JUST_PAST * (1.0 - torch.from_numpy(made["overshoot"]).nan_to_num(0.0))
        norm = self.attack.make().norm
        noise = torch.cat(
            [
                directions(clean[i : i + 1], norm, f"{self.attack.source.seed}/{row}")
                for i, row in enumerate(rows.tolist())
            ]
        )

        points = [clean, *(clean + s * step for s in SCALES), clean + as_rows(kept, step) * step]
        points.append(moved(clean, noise, size, norm, bounds))
        labels = self._label(study, torch.cat(points).clamp(bounds.lower, bounds.upper))
        by_point = labels.reshape(len(labels), len(points), len(rows)).swapaxes(0, 1)
        return {
            "truth": study.labels[rows].numpy(),
            "clean": by_point[0],
            "at": by_point[1:-2],
            "boundary": by_point[-2],
            "noise": by_point[-1],
        }

    def _label(self, study: Study, x: Tensor) -> np.ndarray[Any, Any]:
        """Return int16 (V, len(x))."""
        rewriter = self.attack.attacker.rewriter
        if rewriter is None:
            found = [original.predict(x)[:, None] for original in study.originals]
        else:
            banks = (study.bank(o, rewriter, self.copies) for o in range(len(study.originals)))
            found = [bank.predict_all(x) for bank in banks]
        return torch.cat(found, 1).T.cpu().numpy().astype(np.int16)
