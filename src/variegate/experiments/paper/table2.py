"""Table 2: replication by attack, rewriter and data set, on copies of one original and on copies of two trainings.

Groups: the originals themselves (independent training), and for each rewriter all copies of all originals. Attackers
attack images that their own copy classifies correctly (paper, section 5.5: set A), in the study's seeded order: every
attacker the same number, or, with `Effort.deal`, each image one attacker in turn. What an attacker finds is shown to
every copy of his rewriter:

- "rewriting": copies of the attacker's own original with other keys (rows d, g, j);
- "training": copies of the other originals, with whatever key (rows b, e, h, k).

The paper's rate |B and C| / |B| counts a victim who was wrong on the clean image already; `conditioned` does not.
Attacks stop at very different depths past the attacker's boundary, and a deeper point replicates more: `boundary` is
the rate of the same perturbations cut back to that boundary, `at` that of lengthened ones. Mean and standard deviation
are taken as the paper takes them, over attackers (success) or ordered pairs (replication); with dealt images a pair has
few, so that standard deviation holds much chance. The interval is that of the pooled rate, by a bootstrap over images,
originals and copies of each.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch

from variegate.errors import InputError
from variegate.evaluation.shards import ShardFolder, ShardTask
from variegate.evaluation.stats import rate_of_triples
from variegate.experiments.paper.paper import ATTACKS, Effort
from variegate.experiments.paper.shards import SCALES, AttackShard, ReplayShard, victims_of
from variegate.experiments.paper.study import REWRITERS, CopyOf, Study, StudySource, load_study
from variegate.records.base import Rate, ScalePoint, Spread
from variegate.records.reproduction import (
    AttackGroup,
    AttackResults,
    PairsRate,
    PaperAttacks,
    ReplicationResults,
    SuccessRate,
)

Mask = npt.NDArray[np.bool_]


def tasks(source: StudySource, effort: Effort) -> list[ShardTask]:
    """Return the attacks."""
    return [*_attacks(source, effort)]


def replays(source: StudySource, effort: Effort, shards: ShardFolder) -> list[ShardTask]:
    """Return the replays of the attacks, which must be done."""
    return [ReplayShard(attack=a, folder=shards.folder, copies=effort.copies) for a in _attacks(source, effort)]


def collect(source: StudySource, effort: Effort, shards: ShardFolder) -> ReplicationResults:
    """Return the study's part of the table: for each attack and group the cells, with counts, norms and queries."""
    made = _attacks(source, effort)
    attacks: dict[str, AttackResults] = {}
    for attack in ATTACKS:
        groups: dict[str, AttackGroup] = {}
        for rewriter in (None, *(name for name in REWRITERS if name in source.specs)):
            mine = [one for one in made if one.attack == attack and one.attacker.rewriter == rewriter]
            found = _gather(mine, shards, originals=len(source.originals), copies=effort.copies)
            groups["independent" if rewriter is None else rewriter] = _cells(found)
        shard = next(one for one in made if one.attack == attack)
        attacks[attack] = AttackResults(
            settings=repr(shard.make()), preset=shard.preset, queries=shard.queries, groups=groups
        )
    return ReplicationResults(copies=effort.copies, deal=effort.deal, attacks=PaperAttacks(**attacks))


def _attacks(source: StudySource, effort: Effort) -> list[AttackShard]:
    study = load_study(source)
    found: list[AttackShard] = []
    for rewriter in (None, *(name for name in REWRITERS if name in source.specs)):
        lanes = _lanes(study, rewriter, effort)
        for attack, (attacker, images) in itertools.product(ATTACKS, lanes.items()):
            found += [
                AttackShard(
                    source=source,
                    attacker=attacker,
                    attack=attack,
                    images=tuple(images[start : start + effort.shard_images]),
                    queries=effort.queries[attack],
                )
                for start in range(0, len(images), effort.shard_images)
            ]
    return found


def _lanes(study: Study, rewriter: str | None, effort: Effort) -> dict[CopyOf, list[int]]:
    """Return the images of each attacker: the first of the study's order (or of his part of it) that he gets right."""
    key = ("lanes", rewriter, effort.copies, effort.deal, effort.attack_images)
    if key not in study.memory:
        study.memory[key] = _new_lanes(study, rewriter, effort)
    found: dict[CopyOf, list[int]] = study.memory[key]
    return found


def _new_lanes(study: Study, rewriter: str | None, effort: Effort) -> dict[CopyOf, list[int]]:
    copies = effort.copies if rewriter is not None else 1
    attackers = [CopyOf(o, rewriter, copy) for copy in range(copies) for o in range(len(study.originals))]
    order, lanes = study.order(), {}
    for place, attacker in enumerate(attackers):
        mine = order[place :: len(attackers)] if effort.deal else order
        wanted = len(range(place, effort.attack_images, len(attackers))) if effort.deal else effort.attack_images
        target, images = study.classifier(attacker), list[int]()
        for start in range(0, len(mine), 2 * max(1, wanted)):
            block = torch.tensor(mine[start : start + 2 * max(1, wanted)])
            right = target.predict(study.images[block]).cpu() == study.labels[block]
            images += block[right].tolist()
            if len(images) >= wanted:
                break
        if len(images) < wanted:
            raise InputError(
                f"study {study.source.name!r}: {attacker} must classify {wanted} of its {len(mine)} images correctly, "
                f"to attack them; it does so for {len(images)}"
            )
        lanes[attacker] = images[:wanted]
    return {attacker: images for attacker, images in lanes.items() if images}


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Group:
    """Everything seen of one attack on one group: a attackers, v victims, n images.

    Attributes:
        attackers: int64 (a,), positions among the victims.
        victims: the victims.
        attempted, succeeded: bool (a, n).
        clean: bool (a, v, n): where the victim is right on the clean image.
        fooled: bool (S, a, v, n), by scale.
        boundary: bool (a, v, n), just past the attacker's boundary.
        noise: bool (a, v, n), at random directions of equal norm.
        distances, overshoot, queries: float64, of the successes (queries: of the attempts).
        seconds: of all attacks, added up over processes.
        raw: labels that the originals alone gave in a second beside these attacks, median over shards.
    """

    attackers: npt.NDArray[np.int64]
    victims: Sequence[CopyOf]
    attempted: Mask
    succeeded: Mask
    clean: Mask
    fooled: Mask
    boundary: Mask
    noise: Mask
    distances: npt.NDArray[np.float64]
    overshoot: npt.NDArray[np.float64]
    queries: npt.NDArray[np.float64]
    seconds: float
    raw: float

    @property
    def clusters(self) -> npt.NDArray[np.int64]:
        """Return int64 (v,): the original of each victim."""
        return np.array([victim.original for victim in self.victims], dtype=np.int64)


def _gather(made: Sequence[AttackShard], shards: ShardFolder, *, originals: int, copies: int) -> _Group:
    victims = victims_of(made[0].attacker, originals=originals, copies=copies)
    attackers = sorted({shard.attacker for shard in made})
    images = sorted({image for shard in made for image in shard.images})
    column = {image: place for place, image in enumerate(images)}
    a, v, n = len(attackers), len(victims), len(images)
    attempted, succeeded = np.zeros((a, n), bool), np.zeros((a, n), bool)
    clean, boundary, noise = (np.zeros((a, v, n), bool) for _ in range(3))
    fooled = np.zeros((len(SCALES), a, v, n), bool)
    sizes: dict[str, list[npt.NDArray[Any]]] = {"distances": [], "overshoot": [], "queries": []}
    seconds, raw = 0.0, list[float]()
    for shard in made:
        attack = shards.require(shard)
        replay = shards.require(ReplayShard(attack=shard, folder=shards.folder, copies=copies))
        row, columns = attackers.index(shard.attacker), [column[image] for image in shard.images]
        truth, hit = replay["truth"], attack["succeeded"] & attack["attempted"]
        attempted[row, columns], succeeded[row, columns] = attack["attempted"], hit
        clean[row][:, columns] = replay["clean"] == truth
        boundary[row][:, columns] = replay["boundary"] != truth
        noise[row][:, columns] = replay["noise"] != truth
        for place in range(len(SCALES)):
            fooled[place, row][:, columns] = replay["at"][place] != truth
        sizes["distances"].append(attack["distances"][hit])
        sizes["overshoot"].append(attack["overshoot"][hit])
        sizes["queries"].append(attack["queries"][attack["attempted"]])
        seconds += float(attack["attack_seconds"])
        raw.append(float(attack["raw"]))
    return _Group(
        attackers=np.array([victims.index(attacker) for attacker in attackers], dtype=np.int64),
        victims=victims,
        attempted=attempted,
        succeeded=succeeded,
        clean=clean,
        fooled=fooled,
        boundary=boundary,
        noise=noise,
        seconds=seconds,
        raw=float(np.median(raw)),
        **{name: np.concatenate(parts).astype(np.float64) for name, parts in sizes.items()},
    )


def _cells(group: _Group) -> AttackGroup:
    """Return what a record holds of a group."""
    own = np.zeros(group.clean.shape[:2], bool)
    own[np.arange(len(group.attackers)), group.attackers] = True
    base = group.clusters
    same = base[group.attackers][:, None] == base[None, :]
    kinds = {"identical": own, "rewriting": same & ~own, "training": ~same}
    tried = _own(group.attempted, own)
    return AttackGroup(
        attackers=len(group.attackers),
        images=int(group.attempted.any(0).sum()),
        success=SuccessRate(**_cell(_own(group.succeeded, own), tried, group, over="attackers")),
        **{kind: _replication(group, pairs) for kind, pairs in kinds.items() if kind == "identical" or pairs.any()},
        distance=Spread(**_quantiles(group.distances)),
        overshoot=Spread(**_quantiles(group.overshoot)),
        queries=Spread(**_quantiles(group.queries), total=int(group.queries.sum())),
        seconds=round(group.seconds, 1),
        queries_per_second=float(group.queries.sum()) / group.seconds if group.seconds else None,
        raw_queries_per_second=group.raw,
    )


def _replication(group: _Group, pairs: Mask) -> PairsRate:
    """Return the rates over the pairs of this kind (bool (a, v)): at s = 1 the paper's, and their companions."""
    counted = group.succeeded[:, None] & pairs[:, :, None]
    tried = group.attempted[:, None] & pairs[:, :, None]
    at = []
    for place, scale in enumerate(SCALES):
        fooled = group.fooled[place]
        rate, conditioned = (_rate(fooled, mask, group) for mask in (counted, counted & group.clean))
        at.append(ScalePoint(s=scale, rate=rate, conditioned=conditioned))
    one = group.fooled[SCALES.index(1.0)]
    return PairsRate(
        **_cell(one, counted, group, over="pairs"),
        conditioned=_rate(one, counted & group.clean, group),
        end_to_end=_rate(one & counted, tried, group),
        boundary=_rate(group.boundary, counted, group),
        boundary_conditioned=_rate(group.boundary, counted & group.clean, group),
        noise=_rate(group.noise, counted, group),
        noise_conditioned=_rate(group.noise, counted & group.clean, group),
        at=tuple(at),
    )


def _rate(hit: Mask, counted: Mask, group: _Group) -> Rate:
    return rate_of_triples(hit, counted, group.attackers, clusters=group.clusters)


def _own(mask: Mask, own: Mask) -> Mask:
    """Return bool (a, v, n): `mask`, bool (a, n), with the attacker's own copy as its victim."""
    found: Mask = mask[:, None] & own[:, :, None]
    return found


def _cell(hit: Mask, counted: Mask, group: _Group, *, over: str) -> dict[str, Any]:
    """Return the pooled rate, and mean and standard deviation over attackers or pairs, whose n varies.

    Args:
        hit, counted: bool (attackers, victims, images).
        group: whose they are.
        over: "attackers" or "pairs", for the record.
    """
    k, n = (hit & counted).sum(2), counted.sum(2)
    rates = k[n > 0] / n[n > 0]
    return {
        **dict(_rate(hit, counted, group)),
        "mean": float(rates.mean()) if rates.size else None,
        "sd": float(rates.std(ddof=1)) if rates.size > 1 else None,
        over: int(rates.size),
        "least_n": int(n[n > 0].min()) if rates.size else 0,
    }


def _quantiles(values: npt.NDArray[np.float64]) -> dict[str, Any]:
    known = values[np.isfinite(values)]
    found = np.quantile(known, (0.25, 0.5, 0.75)) if known.size else (None, None, None)
    return {name: None if v is None else float(v) for name, v in zip(("p25", "median", "p75"), found, strict=True)}
