"""One shard of attacks: some images, attacked on one classifier of a study with one hard-label attack."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import torch

from variegate.attacks.base import Attack
from variegate.attacks.catalog import find_attack, preset_of
from variegate.attacks.driver import run_attack
from variegate.errors import OracleError
from variegate.evaluation.records import with_overshoot
from variegate.evaluation.shards import Arrays
from variegate.evaluation.throughput import raw_queries_per_second
from variegate.experiments.paper.study import CopyOf, StudySource, load_study
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
