"""One group of copies as a record holds it: accuracy, attacks, rates, curves and the matrix."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from variegate.attacks.base import AttackResult, Trajectory
from variegate.attacks.overshoot import overshoot
from variegate.evaluation.replication import ReplicationOutcome
from variegate.evaluation.subjects import AccuracyTable
from variegate.models.classifier import Classifier
from variegate.records.base import Attacked, Model, Overshoot, QuerySpread, Spread
from variegate.records.base import Trajectory as TrajectoryPart
from variegate.records.replication import Group, GroupAttacks

_QUERY_MARKS = (100, 250, 500, 750, 1000, 1500, 2000, 2500, 3000, 4000, 5000, 7500, 10_000, 15_000, 20_000, 25_000)


def model_record(original: Classifier, *, name: str, manifest_digest: str | None) -> Model:
    """Return what a record says of the original; `manifest_digest` is of the seller's manifest, where there is one."""
    return Model(
        name=name,
        digest=original.digest,
        manifest_digest=manifest_digest,
        num_classes=original.num_classes,
        input_shape=tuple(original.input_shape),
        bounds=(original.bounds.lower, original.bounds.upper),
    )


def group_record(
    name: str,
    rewriter: dict[str, Any] | None,
    copies: Sequence[str],
    outcome: ReplicationOutcome,
    results: Sequence[AttackResult],
    accuracy: AccuracyTable,
) -> Group:
    """Return the group as its record holds it.

    Args:
        name: of the group: a rewriter's, or a control's.
        rewriter: its spec, or None.
        copies: a name for each copy.
        outcome: what was measured.
        results: one attack an attacker, in the order of `outcome.attackers`.
        accuracy: of the original and of the copies, on clean inputs.
    """
    return Group(
        name=name,
        rewriter=rewriter,
        copies=tuple(copies),
        attackers=tuple(outcome.attackers.tolist()),
        accuracy=accuracy.record(),
        attack=GroupAttacks(attackers=tuple(map(attack_record, results)), reverified=outcome.reverified()),
        rates=outcome.rates(),
        replication_at=outcome.replication_at(),
        noise_at=outcome.noise_control().replication_at(),
        replication_within=outcome.replication_within(),
        matrix=outcome.matrix(),
    )


def attack_record(result: AttackResult) -> Attacked:
    """Return one attack's counts, queries, norms and progress."""
    return Attacked(**attack_parts(result))


def attack_parts(result: AttackResult) -> Mapping[str, Any]:
    """Return the fields of `attack_record`, for records that say more of an attack."""
    attempted = result.attempted
    attacked = result.queries[attempted]
    whole = result.trajectory
    trajectory = Trajectory(queries=whole.queries[:, attempted], distances=whole.distances[:, attempted])
    sizes = result.distances[result.success]
    marks = [q for q in _QUERY_MARKS if q <= _largest(attacked)]
    medians = [trajectory.median_at(q) for q in marks]
    reached = [(q, m) for q, m in zip(marks, medians, strict=True) if math.isfinite(m)]
    parts: dict[str, Any] = {
        "attempted": int(attempted.sum()),
        "succeeded": int(result.success.sum()),
        "status": result.status_counts,
        "queries": QuerySpread(**_quantiles(attacked, ("p10", "median", "p90")), total=int(result.queries.sum())),
        "distance": Spread(**_quantiles(sizes, ("p10", "p25", "median", "p75", "p90"))),
        "distances": tuple(round(value, 6) for value in sizes.tolist()),
        "trajectory": TrajectoryPart(
            queries=tuple(q for q, _ in reached), median_distance=tuple(round(m, 6) for _, m in reached)
        ),
    }
    if result.backward_rows is not None:
        differentiated = result.backward_rows
        spread = _quantiles(differentiated[attempted], ("p10", "median", "p90"))
        parts["backward_rows"] = QuerySpread(**spread, total=int(differentiated.sum()))
    if result.overshoot is not None:
        depths = result.overshoot[result.success]
        known = depths[depths.isfinite()]
        values = tuple(round(value, 7) if math.isfinite(value) else None for value in depths.tolist())
        parts["overshoot"] = Overshoot(**_quantiles(known, ("p10", "median", "p90")), values=values)
    return parts


def with_overshoot(
    result: AttackResult,
    predict: Callable[[Tensor], Tensor],
    clean: Tensor,
    labels: Tensor,
    *,
    targeted: bool = False,
) -> AttackResult:
    """Return the result with the share of each perturbation that lies past the boundary, asked of the attacked model.

    Args:
        result: of N inputs.
        predict: the attacked model; its labels for this count against no budget.
        clean: float32 (N, *input_shape).
        labels: int64 (N,): the correct labels, or those aimed at if `targeted`.
        targeted: which of both.
    """
    depth = torch.full((clean.shape[0],), float("nan"))
    found = result.success
    depth[found] = overshoot(predict, clean[found], result.adversarials[found], labels[found], targeted=targeted)
    return replace(result, overshoot=depth)


def _largest(values: Tensor) -> int:
    return int(values.max()) if values.numel() else 0


def _quantiles(values: Tensor, names: Sequence[str]) -> dict[str, Any]:
    """Return the named quantiles ("p10" is the 10 % quantile); None where there are no values."""
    share = {name: 0.5 if name == "median" else int(name[1:]) / 100 for name in names}
    if not values.numel():
        return dict.fromkeys(names)
    floats = values.to(torch.float64)
    return {name: round(float(floats.quantile(q)), 6) for name, q in share.items()}
