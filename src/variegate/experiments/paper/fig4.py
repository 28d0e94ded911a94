"""Figure 4: change of output values under GeoDA, without and with the permutation rewriter (paper, section 5.4).

GeoDA (untargeted, the preset "reproduction") attacks the first original and, separately, its permutation copy 0, each
on the first images of the study's order that it classifies correctly (the paper takes all 10,000 test images). Of
successful attacks, the change of each class's output value from the clean image to the adversarial one is recorded:

- original: F1 of the victim class (the true one), F2 of all other classes;
- copy: G1 of the victim class, G2 of its binding partner, G3 of all other classes.

The paper's output values are "before softmax". A copy has no such values: it adds softmax scores. Nearest by these
words are the "logits" of the original inside the copy, before its softmax; "scores" (after it, what the copy gives out)
and "log_scores" (their logarithms) are recorded too. So are both readings of "binding partner", "added" and
"receiving" (`variegate.experiments.paper.fig4`); the rewriter's formula, and the paper's explanation, mean "added".

The permutation is an experiment's, from a public seed; even so, only changes by role leave a shard's computation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from variegate.attacks.white_box.toolbox import log_scores
from variegate.errors import ConfigurationError, InputError
from variegate.evaluation.density import describe, mean_interval, symmetric_grid
from variegate.evaluation.shards import Arrays, ShardFolder, ShardTask
from variegate.experiments.paper.paper import Effort
from variegate.experiments.paper.shards import AttackShard
from variegate.experiments.paper.study import CopyOf, Study, StudySource, load_study
from variegate.models.classifier import Classifier
from variegate.records.reproduction import (
    BindingAttack,
    BindingResults,
    Curve,
    Gap,
    Nearest,
    OriginalValues,
    PermutationValues,
    Reading,
    Values,
)
from variegate.rewriters.base import AbstractHead, RewrittenCopy
from variegate.rewriters.permutation import PermutationHead

MEASURES = ("logits", "scores", "log_scores")
"""Output values: of the original inside, before softmax; of the classifier, after it; their logarithms."""


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Roles:
    """Changes of output values by the role of the class; NaN where there is no class of that role.

    Attributes:
        victim: float64 (N,), the true class.
        partner: float64 (N,), the true class's binding partner.
        others: float64 (N, n), all other classes, each in its place.
    """

    victim: Tensor
    partner: Tensor
    others: Tensor


def added_partners(head: AbstractHead) -> Tensor:
    """Return int64 (n,): for each class j the other class whose score the copy adds to that of j; -1 for none.

    There is none where the partner is a dummy class or j itself.

    Raises:
        ConfigurationError: the head is not a permutation's.
    """
    if not isinstance(head, PermutationHead):
        raise ConfigurationError(f"only a permutation binds classes to each other; got a {type(head).__name__}")
    partners = head.partners.cpu()
    own = torch.arange(len(partners))
    return torch.where((partners < len(partners)) & (partners != own), partners, torch.full_like(own, -1))


def receiving_partners(partners: Tensor) -> Tensor:
    """Return int64 (n,): for each class j the other class to whose score that of j is added; -1 for none.

    Args:
        partners: int64 (n,), as `added_partners` gives them.
    """
    receivers = torch.full_like(partners, -1)
    bound = (partners >= 0).nonzero().flatten()
    receivers[partners[bound]] = bound
    return receivers


def output_values(target: Classifier | RewrittenCopy, x: Tensor) -> dict[str, Tensor]:
    """Return what the classifier answers to `x`, float64 (N, n) on the CPU, for each of `MEASURES`.

    "logits" of a copy are those of the original inside: a copy has none of its own. "log_scores" are the logarithms of
    what the classifier gives out, a score below 1.2e-38 counted as that: for an original its logits less one number a
    row; for a copy what comes nearest to logits.
    """
    original = target.original if isinstance(target, RewrittenCopy) else target
    scores = target.scores(x)
    found = {"logits": original.logits(x), "scores": scores, "log_scores": log_scores(scores)}
    return {name: values.cpu().to(torch.float64) for name, values in found.items()}


def by_role(changes: Tensor, labels: Tensor, partners: Tensor | None = None) -> Roles:
    """Sort the classes of each input by their roles.

    Args:
        changes: float64 (N, n), of the output values.
        labels: int64 (N,), the victim classes.
        partners: int64 (n,), partner of each class or -1; None where nothing is bound.
    """
    rows = torch.arange(len(labels))
    partner = torch.full_like(labels, -1) if partners is None else partners[labels]
    bound = partner >= 0
    missing = torch.full_like(changes[:, 0], float("nan"))
    others = changes.clone()
    others[rows, labels] = float("nan")
    others[rows[bound], partner[bound]] = float("nan")
    return Roles(
        victim=changes[rows, labels],
        partner=torch.where(bound, changes[rows, partner.clamp_min(0)], missing),
        others=others,
    )


READINGS: tuple[Literal["added", "receiving"], ...] = ("added", "receiving")
"""Of "binding partner"; the first is the rewriter's."""

Floats = npt.NDArray[np.float64]

_ATTACK, _REWRITER = "geoda", "permutation"
_NEAREST = "logits"
_ROOM = 1.05  # the grid's half width, over the largest change


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BindingShard:
    """An attack shard, with the changes of output values in place of its adversarials.

    It has a file of its own: Table 2 attacks other images from the same classifiers.

    Attributes:
        attack: the attack, on an original or on a permutation copy.
    """

    attack: AttackShard

    @property
    def name(self) -> str:
        """A file name: study, attacker and the first image."""
        return f"{self.attack.source.name}-binding-{self.attack.attacker}-{self.attack.images[0]}"

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides the result."""
        return {"attack": self.attack.identity, "revision": 1}

    @property
    def cost(self) -> float:
        """Queries, and four passes an image for the output values."""
        return self.attack.cost + 4.0 * len(self.attack.images)

    def run(self) -> Arrays:
        """Attack, and return one row an image.

        Keys: attempted, succeeded bool (N,); queries int64 (N,); distances float32 (N,), NaN without success; for each
        of `MEASURES` "MEASURE-victim" float64 (N,); for an original "MEASURE-others" float64 (N, n), NaN at the victim
        class; for a copy and each of `READINGS` "MEASURE-READING-partner" float64 (N,), NaN where a class is not bound,
        and "MEASURE-READING-others" float64 (N, n), NaN at both. Without success a change is 0 and means nothing.
        """
        found = self.attack.run()
        study, attacker = load_study(self.attack.source), self.attack.attacker
        rows = torch.from_numpy(found["images"])
        target, labels = study.classifier(attacker), study.labels[rows]
        before = output_values(target, study.images[rows])
        after = output_values(target, torch.from_numpy(found["adversarials"]))
        arrays = {name: found[name] for name in ("attempted", "succeeded", "queries", "distances")}
        for measure in MEASURES:
            changes = after[measure] - before[measure]
            roles = by_role(changes, labels)
            arrays[f"{measure}-victim"] = roles.victim.numpy()
            if attacker.rewriter is None:
                arrays[f"{measure}-others"] = roles.others.numpy()
                continue
            added = added_partners(study.head(attacker))
            for reading, partners in zip(READINGS, (added, receiving_partners(added)), strict=True):
                roles = by_role(changes, labels, partners)
                arrays[f"{measure}-{reading}-partner"] = roles.partner.numpy()
                arrays[f"{measure}-{reading}-others"] = roles.others.numpy()
        return arrays


def tasks(source: StudySource, effort: Effort) -> list[ShardTask]:
    """Return the attacks on the original and, if the study has that rewriter, on its permutation copy.

    Raises:
        InputError: one of them classifies no image correctly.
    """
    return [shard for shards in _shards(source, effort).values() for shard in shards]


def collect(source: StudySource, effort: Effort, shards: ShardFolder) -> BindingResults:
    """Return the study's part of the figure.

    `attacks`: counts, queries and norms for "original" and "permutation". `measures`: for each of `MEASURES` the curves
    (`variegate.evaluation.density.describe`, with the share of negative values) under "original" (F1, F2) and
    "permutation" (G1; for each reading G2, G3 and the paired difference of means G2 - G1), all on one grid.
    """
    made = _shards(source, effort)
    found = {_title(attacker): _joined([shards.require(shard) for shard in parts]) for attacker, parts in made.items()}
    attack = next(iter(made.values()))[0].attack
    return BindingResults(
        attack=_ATTACK,
        settings=repr(attack.make()),
        preset=attack.preset,
        queries=attack.queries,
        nearest_to_the_paper=Nearest(measure=_NEAREST, reading=READINGS[0]),
        attacks={title: _counts(arrays) for title, arrays in found.items()},
        measures={measure: _curves(measure, found, seed=source.seed) for measure in MEASURES},
    )


def _title(attacker: CopyOf) -> str:
    return "original" if attacker.rewriter is None else attacker.rewriter


def _shards(source: StudySource, effort: Effort) -> dict[CopyOf, list[BindingShard]]:
    study, queries = load_study(source), effort.queries[_ATTACK]
    found: dict[CopyOf, list[BindingShard]] = {}
    for attacker in (CopyOf(0), *([CopyOf(0, _REWRITER, 0)] if _REWRITER in source.specs else [])):
        images = _right(study, attacker, effort.binding_images)
        chunks = [images[i : i + effort.shard_images] for i in range(0, len(images), effort.shard_images)]
        found[attacker] = [
            BindingShard(
                attack=AttackShard(
                    source=source, attacker=attacker, attack=_ATTACK, images=tuple(chunk), queries=queries
                )
            )
            for chunk in chunks
        ]
    return found


def _right(study: Study, attacker: CopyOf, wanted: int) -> list[int]:
    """Return the first images of the study's order that `attacker` classifies correctly, `wanted` of them at most."""
    target, order, images = study.classifier(attacker), study.order(), list[int]()
    for start in range(0, len(order), 2 * wanted):
        block = torch.tensor(order[start : start + 2 * wanted])
        images += block[target.predict(study.images[block]).cpu() == study.labels[block]].tolist()
        if len(images) >= wanted:
            break
    if not images:
        raise InputError(
            f"study {study.source.name!r}: {attacker} must classify an image correctly, to be attacked there; "
            f"it gets all {len(order)} wrong"
        )
    return images[:wanted]


def _joined(parts: Sequence[Mapping[str, npt.NDArray[np.generic]]]) -> dict[str, npt.NDArray[Any]]:
    """Return all shards' arrays without the seconds, one row an image; changes only of successful attacks."""
    names = [name for name in parts[0] if name != "seconds"]
    joined: dict[str, npt.NDArray[Any]] = {name: np.concatenate([part[name] for part in parts]) for name in names}
    hit = joined["succeeded"] & joined["attempted"]
    return {name: values[hit] if name.startswith(MEASURES) else values for name, values in joined.items()}


def _counts(arrays: Mapping[str, npt.NDArray[Any]]) -> BindingAttack:
    attempted = arrays["attempted"]
    hit = arrays["succeeded"] & attempted
    return BindingAttack(
        images=int(attempted.size),
        attempted=int(attempted.sum()),
        succeeded=int(hit.sum()),
        queries_median=float(np.median(arrays["queries"][attempted])) if attempted.any() else None,
        distance_median=float(np.median(arrays["distances"][hit])) if hit.any() else None,
    )


def _curves(measure: str, found: Mapping[str, Mapping[str, npt.NDArray[Any]]], *, seed: int) -> Values:
    mine = [values for arrays in found.values() for name, values in arrays.items() if name.startswith(f"{measure}-")]
    known = np.concatenate([np.abs(values[np.isfinite(values)]) for values in mine])
    grid = symmetric_grid(_ROOM * float(known.max(initial=0.0)) or 1.0)

    def curve(values: Floats) -> Curve:
        finite = values[np.isfinite(values)]
        negative = float((finite < 0).mean()) if finite.size else None
        return describe(values, grid, seed=seed, share_negative=negative)

    original = found["original"]
    before = OriginalValues(F1=curve(original[f"{measure}-victim"]), F2=curve(original[f"{measure}-others"]))
    if _REWRITER not in found:
        return Values(original=before)
    copy = found[_REWRITER]
    victim = copy[f"{measure}-victim"]

    def read(reading: str) -> Reading:
        partner = copy[f"{measure}-{reading}-partner"]
        return Reading(
            G2=curve(partner),
            G3=curve(copy[f"{measure}-{reading}-others"]),
            G2_minus_G1=_difference(partner - victim, seed=seed),
        )

    after = PermutationValues(G1=curve(victim), **{reading: read(reading) for reading in READINGS})
    return Values(original=before, permutation=after)


def _difference(values: Floats, *, seed: int) -> Gap:
    """Return the mean of paired differences, with its 95 % interval over images."""
    known, ends = values[np.isfinite(values)], mean_interval(values, seed=seed)
    return Gap(
        n=int(known.size),
        mean=float(known.mean()) if known.size else None,
        low=None if ends is None else ends[0],
        high=None if ends is None else ends[1],
    )
