"""Who is fooled by whose adversarials.

For each attacker's adversarials x' and each victim, labels are taken at x + s (x' - x) for the scales s, and at the
perturbation scaled to a given norm. From these, with A the outputs for inputs that the attacker's copy classifies
correctly, B those that it misclassifies, C those that the victim misclassifies:

- attack_success_rate = |B| / |A|
- replication_rate = |B and C| / |B| (paper, section 5.5), pooled over ordered pairs
- replication_rate_conditioned = the same over inputs that the victim classifies correctly when clean
- replicated_same_rate = the victim gives the attacker's wrong label
- end_to_end_rate = |B and C| / |A|
- replication_at(s), replication_within(eps): the curves against scale and against absolute norm

B is what the attacker's copy answered during the attack. Points can lie a millionth past the boundary, where another
batch size may round to the other side, so every record also counts how many of B were seen again (`reverified`).
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from variegate.errors import InputError
from variegate.evaluation.stats import rate_of_triples
from variegate.models.geometry import as_rows, distance
from variegate.records.base import NormPoint, ScalePoint
from variegate.records.replication import Matrix, Rates
from variegate.types import Bounds, Norm

SCALES = (1.0, 1.05, 1.1, 1.25, 1.5, 2.0, 3.0)

_CLIPPING_ROUNDS = 6
_L2_NORMS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)
_LINF_NORMS = tuple(step / 255 for step in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32))

PredictAll = Callable[[Tensor], Tensor]
"""float32 (N, *input_shape) -> int64 (N, m): labels by every copy of the group."""


def default_norms(norm: Norm, bounds: Bounds) -> tuple[float, ...]:
    """Return the norms of the security curve, in the units of the input."""
    return tuple(value * bounds.range for value in (_L2_NORMS if norm is Norm.L2 else _LINF_NORMS))


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AttackerOutcome:
    """What one attacker brought: his copy's position, his adversarials and for which inputs he has one.

    Attributes:
        copy: position of the attacker's copy in the group.
        adversarials: float32 (N, *input_shape).
        attempted: bool (N,), inputs that his copy classifies correctly (A).
        succeeded: bool (N,), inputs with an adversarial (B).
    """

    copy: int
    adversarials: Tensor
    attempted: Tensor
    succeeded: Tensor


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReplicationOutcome:
    """Everything that was seen; rates are computed from it.

    Attributes:
        attackers: int64 (a,), positions of the attackers' copies.
        attempted, succeeded: bool (a, N).
        clean: bool (m, N), where a copy classifies the clean input correctly.
        fooled: bool (a, S, m, N), where a copy misclassifies at scale s.
        same: bool (a, m, N), where a copy gives the attacker's wrong label at s = 1.
        fooled_within: bool (a, E, m, N), where a copy misclassifies at norm eps.
        noise: bool (a, S, m, N), the same as `fooled` for random directions of equal norm.
        noise_within: bool (a, E, m, N), the same as `fooled_within` for random directions.
    """

    attackers: npt.NDArray[np.int64]
    scales: tuple[float, ...]
    norms: tuple[float, ...]
    attempted: npt.NDArray[np.bool_]
    succeeded: npt.NDArray[np.bool_]
    clean: npt.NDArray[np.bool_]
    fooled: npt.NDArray[np.bool_]
    same: npt.NDArray[np.bool_]
    fooled_within: npt.NDArray[np.bool_]
    noise: npt.NDArray[np.bool_]
    noise_within: npt.NDArray[np.bool_]

    def rates(self) -> Rates:
        """Return the named rates at s = 1."""
        base, one = self._pairs(self.succeeded), self.scales.index(1.0)
        hit = self.fooled[:, one]
        own = np.ones((len(self.attackers), 1, 1), dtype=np.bool_)
        return Rates(
            attack_success_rate=rate_of_triples(
                self.succeeded[:, None, :], self.attempted[:, None, :] & own, self.attackers
            ),
            replication_rate=rate_of_triples(hit, base, self.attackers),
            replication_rate_conditioned=rate_of_triples(hit, base & self.clean[None], self.attackers),
            replicated_same_rate=rate_of_triples(self.same, base, self.attackers),
            end_to_end_rate=rate_of_triples(hit & base, self._pairs(self.attempted), self.attackers),
        )

    def replication_at(self) -> tuple[ScalePoint, ...]:
        """Return the replication rate at each scale, raw and conditioned."""
        base = self._pairs(self.succeeded)
        return tuple(
            ScalePoint(
                s=s,
                rate=rate_of_triples(self.fooled[:, i], base, self.attackers),
                conditioned=rate_of_triples(self.fooled[:, i], base & self.clean[None], self.attackers),
            )
            for i, s in enumerate(self.scales)
        )

    def noise_control(self) -> "ReplicationOutcome":
        """Return the same outcome with random directions of the adversarials' norms in place of the adversarials."""
        return replace(self, fooled=self.noise, fooled_within=self.noise_within, same=np.zeros_like(self.same))

    def replication_within(self) -> tuple[NormPoint, ...]:
        """Return the largest rate over perturbations scaled to a norm of at most eps: the security curve."""
        base, best, result = self._pairs(self.succeeded), None, list[NormPoint]()
        for i, epsilon in enumerate(self.norms):
            hit = self.fooled_within[:, i]
            rate = rate_of_triples(hit, base, self.attackers)
            conditioned = rate_of_triples(hit, base & self.clean[None], self.attackers)
            if best is None or (rate.rate or 0.0) >= (best[0].rate or 0.0):
                best = (rate, conditioned)
            result.append(NormPoint(epsilon=epsilon, rate=best[0], conditioned=best[1]))
        return tuple(result)

    def matrix(self) -> Matrix:
        """Return counts by attacker and victim at s = 1; None where both are the same copy."""
        base, one = self._pairs(self.succeeded), self.scales.index(1.0)
        k, n = (self.fooled[:, one] & base).sum(2).tolist(), base.sum(2).tolist()
        own, victims = tuple(self.attackers.tolist()), tuple(range(self.clean.shape[0]))

        def counted(table: list[list[int]]) -> tuple[tuple[int | None, ...], ...]:
            rows = zip(own, table, strict=True)
            return tuple(tuple(None if v == a else row[v] for v in victims) for a, row in rows)

        return Matrix(attackers=own, victims=victims, replicated=counted(k), n=counted(n))

    def reverified(self) -> int:
        """Return how many of B the attacker's copy misclassifies when asked again in another batch."""
        one = self.scales.index(1.0)
        own = self.fooled[np.arange(len(self.attackers)), one, self.attackers]
        return int((own & self.succeeded).sum())

    def _pairs(self, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Return bool (a, m, N): `mask` for every ordered pair of two different copies."""
        other = np.arange(self.clean.shape[0])[None, :] != self.attackers[:, None]
        result: npt.NDArray[np.bool_] = mask[:, None, :] & other[:, :, None]
        return result


def measure_replication(
    predict_all: PredictAll,
    inputs: Tensor,
    labels: Tensor,
    outcomes: Sequence[AttackerOutcome],
    *,
    norm: Norm,
    bounds: Bounds,
    seed: int,
    scales: Sequence[float] = SCALES,
    norms: Sequence[float] | None = None,
) -> ReplicationOutcome:
    """Show every attacker's adversarials to every copy.

    Args:
        predict_all: labels by every copy of the group.
        inputs: float32 (N, *input_shape), the clean inputs, within `bounds`.
        labels: int64 (N,), the correct labels.
        outcomes: one for each attacker.
        norm: how perturbations are measured.
        seed: of the random directions of the noise control.
        scales: must hold 1.
        norms: of the security curve; `default_norms` otherwise.

    Raises:
        InputError: no outcome, or scales without 1.

    Cost: 2 (scales + norms) forward passes of the original for each adversarial, whatever the number of copies.
    """
    norms = tuple(norms) if norms is not None else default_norms(norm, bounds)
    scales = tuple(scales)
    if not outcomes:
        raise InputError("replication needs at least one attacker's outcome; got none")
    if 1.0 not in scales:
        raise InputError(f"the scales must hold 1, at which the rates are taken; got {', '.join(map(str, scales))}")

    def fooled(points: Tensor) -> npt.NDArray[np.bool_]:
        wrong: npt.NDArray[np.bool_] = (
            predict_all(points.clamp(bounds.lower, bounds.upper)).cpu() != labels[:, None]
        ).T.numpy()
        return wrong

    seen: dict[str, list[npt.NDArray[np.bool_]]] = {
        name: [] for name in ("fooled", "within", "noise", "noise_within", "same")
    }
    for outcome in outcomes:
        step = outcome.adversarials - inputs
        size = distance(outcome.adversarials, inputs, norm).clamp_min(1e-12)
        noise = directions(inputs, norm, f"{seed}/{outcome.copy}")
        one = torch.ones_like(size)
        seen["fooled"].append(np.stack([fooled(inputs + s * step) for s in scales]))
        seen["noise"].append(np.stack([fooled(moved(inputs, noise, s * size, norm, bounds)) for s in scales]))
        seen["within"].append(np.stack([fooled(moved(inputs, step, eps * one, norm, bounds)) for eps in norms]))
        seen["noise_within"].append(np.stack([fooled(moved(inputs, noise, eps * one, norm, bounds)) for eps in norms]))
        given = predict_all(outcome.adversarials).cpu()  # (N, m)
        seen["same"].append(((given == given[:, [outcome.copy]]) & (given != labels[:, None])).T.numpy())
    return ReplicationOutcome(
        attackers=np.array([outcome.copy for outcome in outcomes], dtype=np.int64),
        scales=scales,
        norms=norms,
        attempted=np.stack([outcome.attempted.numpy() for outcome in outcomes]),
        succeeded=np.stack([(outcome.succeeded & outcome.attempted).numpy() for outcome in outcomes]),  # B is part of A
        clean=~fooled(inputs),
        fooled=np.stack(seen["fooled"]),
        same=np.stack(seen["same"]),
        fooled_within=np.stack(seen["within"]),
        noise=np.stack(seen["noise"]),
        noise_within=np.stack(seen["noise_within"]),
    )


def directions(inputs: Tensor, norm: Norm, seed: str) -> Tensor:
    """Return random directions, float32 like `inputs`: Gaussian for L2, signs for L-infinity."""
    number = int.from_bytes(hashlib.blake2b(f"noise/{seed}".encode(), digest_size=8).digest(), "big") >> 1
    noise = torch.randn(inputs.shape, generator=torch.Generator().manual_seed(number))
    return noise if norm is Norm.L2 else noise.sign()


def moved(inputs: Tensor, direction: Tensor, size: Tensor, norm: Norm, bounds: Bounds) -> Tensor:
    """Return the points along `direction` whose distance from `inputs` after clipping is `size` (float32 (N,)).

    Clipping shortens a perturbation, so its length is corrected a few times; a direction that leaves the bounds at
    once can stay short.
    """
    reach = size / distance(direction, torch.zeros_like(direction), norm).clamp_min(1e-12)
    points = inputs
    for _ in range(_CLIPPING_ROUNDS):
        points = (inputs + as_rows(reach, direction) * direction).clamp(bounds.lower, bounds.upper)
        reach = reach * (size / distance(points, inputs, norm).clamp_min(1e-12)).clamp(1.0, 4.0)
    return points
