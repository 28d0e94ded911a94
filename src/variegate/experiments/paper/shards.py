"""Shards of a reproduction: attacks on some images, and replays of what they found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from variegate.attacks.base import Attack
from variegate.attacks.catalog import find_attack, preset_of
from variegate.attacks.driver import run_attack
from variegate.errors import OracleError
from variegate.evaluation.provenance import raw_queries_per_second
from variegate.evaluation.records import with_overshoot
from variegate.evaluation.replication import directions, moved
from variegate.evaluation.shards import Arrays, ShardFolder
from variegate.experiments.paper.study import CopyOf, Study, StudySource, load_study
from variegate.models.geometry import as_rows
from variegate.oracles.hard_label import HardLabelOracle

_RAW_ROWS, _RAW_ROWS_ON_A_GPU = 256, 1024


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AttackShard:
    """Attacks on `images` from one attacker.

    Attributes:
        source: the study.
        attacker: whose labels are asked.
        attack: full name in the catalog; its settings are those of the preset "reproduction".
        images: positions among the study's test images, which also name them in the attack's random stream.
        queries: for each image.
        preset: of the attack's settings; None for its own defaults.
    """

    source: StudySource = field(repr=False)
    attacker: CopyOf
    attack: str
    images: tuple[int, ...]
    queries: int
    preset: str | None = "reproduction"

    @property
    def name(self) -> str:
        """A file name: study, attack, attacker and the first image."""
        return f"{self.source.name}-attack-{self.attack}-{self.attacker}-{self.images[0]}"

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides the result."""
        attack = self.make()
        return {
            "study": self.source.identity,
            "attacker": str(self.attacker),
            "attack": repr(attack),
            "attack_revision": attack.revision,
            "images": list(self.images),
            "queries": self.queries,
            "revision": 2,
        }

    @property
    def cost(self) -> float:
        """Queries."""
        return float(len(self.images) * self.queries)

    def make(self) -> Attack:
        """Return the attack with its settings."""
        return find_attack(self.attack)(**(preset_of(self.preset, self.attack) if self.preset else {}))

    def run(self) -> Arrays:
        """Attack, and return one row an image.

        Keys: images int64 (N,); adversarials float32 (N, *input_shape); attempted, succeeded bool (N,); queries int64
        (N,); distances, overshoot float32 (N,), NaN without success; attack_seconds float64 (); raw float64 (), labels
        that the original alone gives in a second, in this process and at this time.
        """
        study = load_study(self.source)
        target = study.classifier(self.attacker)
        rows = torch.tensor(self.images)
        inputs, labels = study.images[rows], study.labels[rows]
        oracle = HardLabelOracle(
            target.predict,
            input_spec=target.input_spec,
            num_classes=target.num_classes,
            samples=len(rows),
            budget=self.queries,
            device=target.device,
        )
        original = study.originals[self.attacker.original]
        raw = raw_queries_per_second(original, rows=_RAW_ROWS if target.device.type == "cpu" else _RAW_ROWS_ON_A_GPU)
        result = run_attack(self.make(), oracle, inputs, labels, seed=self.source.seed, identities=list(self.images))
        if result.error is not None:
            raise OracleError(f"{self.name}: {result.error}")
        result = with_overshoot(result, target.predict, inputs, labels)
        overshoot = result.overshoot if result.overshoot is not None else torch.full_like(result.distances, np.nan)
        return {
            "images": rows.numpy(),
            "adversarials": result.adversarials.numpy(),
            "attempted": result.attempted.numpy(),
            "succeeded": result.success.numpy(),
            "queries": result.queries.numpy(),
            "distances": result.distances.numpy(),
            "overshoot": overshoot.numpy(),
            "attack_seconds": np.array(result.seconds),
            "raw": np.array(raw),
        }


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
