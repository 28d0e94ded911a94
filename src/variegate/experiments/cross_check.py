"""A cross-check: the same images and budget for variegate's attacks and for ART's and Foolbox's, and do they agree?

One target is attacked by each engine; what each found is shown to the victims. Every engine is judged by one rule, the
closest adversarial row that the target has labelled within the budget (`variegate.adapters.closest`), because what
libraries return differs: ART the point after its last step, or nothing when its queries run out.
"""

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from variegate.adapters.closest import WatchedOracle, with_closest
from variegate.adapters.library import library_versions
from variegate.attacks.base import AttackResult
from variegate.attacks.catalog import plain_parameters
from variegate.attacks.driver import run_attack
from variegate.errors import ConfigurationError, InputError, OracleError
from variegate.evaluation.progress import Progress, silent
from variegate.evaluation.provenance import made_now
from variegate.evaluation.records import attack_parts, with_overshoot
from variegate.evaluation.replication import AttackerOutcome, default_norms, measure_replication
from variegate.experiments.attack import Target
from variegate.experiments.cross_check_engines import Pair, compare, median, pairs_of
from variegate.files import make_folder
from variegate.models.classifier import check_inputs
from variegate.oracles.hard_label import HardLabelOracle, Misclassified
from variegate.records import cross_check as records
from variegate.records.attack import Target as TargetRecord
from variegate.records.base import Attacked, Data
from variegate.records.load import write_record
from variegate.types import Norm

_SCALES = (1.0, 1.05, 1.1, 1.25)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CrossCheck:
    """What is compared.

    Args:
        target_name, target_digest: of what is attacked; the digest identifies its parameters.
        victim_names: one for each victim.
        data_name, split: for the record.
        libraries: "art", "foolbox".
        attacks: names in the catalog; empty for all that a library has, too.
        images: inputs that are attacked: the first of a seeded order that the target classifies correctly.
        queries: the budget for each.
        norm: the norm that is made small.
        seed: decides images, all engines' randomness and the bootstrap.
        rewriter: the spec of the copies, as a record holds it, or None.
        command: what was typed, for the record.
    """

    target_name: str
    target_digest: str
    victim_names: tuple[str, ...]
    data_name: str
    split: str
    libraries: tuple[str, ...] = ("art", "foolbox")
    attacks: tuple[str, ...] = ()
    images: int = 10
    queries: int = 1000
    norm: Norm = Norm.L2
    seed: int = 0
    rewriter: dict[str, Any] | None = None
    command: str = ""

    def __post_init__(self) -> None:
        if self.images < 1 or self.queries < 1:
            raise ConfigurationError(f"images and queries must be at least 1; got {self.images} and {self.queries}")
        if not 0 <= self.seed < 2**31:
            raise ConfigurationError(f"the seed must be from 0 to 2147483647; got {self.seed}")


def cross_check(
    spec: CrossCheck,
    *,
    target: Target,
    victims: Sequence[Target],
    images: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    out: Path,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
) -> records.CrossCheckRecord:
    """Run every engine and return the record; also writes `out`/record.json.

    Args:
        spec: what is compared.
        target: what is attacked.
        victims: other copies, to which the adversarials are shown; may be empty.
        images: float32 (P, *input_shape), the pool from which the attacked images are drawn.
        labels: int64 (P,).
        out: folder of this cross-check; libraries' attacks that it holds already are taken over, image by image.
        device: where questions are made: that of the target.
        progress: called with what is done, how much is done, how much there is.

    Raises:
        ConfigurationError: a library is missing, an attack is in none of them, or victims and names do not fit.
        InputError: the pool holds fewer correctly classified images than are asked for, or does not fit the target.
        OracleError: the target failed while labelling.
        VerificationError: `out` holds attacks of another cross-check.
    """
    started = time.monotonic()
    pairs = pairs_of(spec.attacks, spec.libraries, norm=spec.norm, queries=spec.queries)
    if len(victims) != len(spec.victim_names):
        raise ConfigurationError(f"expected a name for each of the {len(victims)} victims; got {spec.victim_names}")
    if not pairs:
        raise ConfigurationError(f"{', '.join(spec.libraries)} and variegate have no attack in common for {spec.norm}")
    pool = check_inputs(torch.from_numpy(np.asarray(images)), target.input_spec)
    chosen = _choose(spec, target, pool, torch.from_numpy(np.asarray(labels)))
    make_folder(out / "shards")
    bench = _Bench(spec, target, victims, pool[chosen], torch.from_numpy(labels)[chosen], chosen.tolist(), out, device)
    attacks = bench.run(pairs, progress or silent)
    record = records.CrossCheckRecord(
        **made_now(command=spec.command, seconds=round(time.monotonic() - started, 3)),
        numpy=np.__version__,
        python=platform.python_version(),
        libraries={name: library_versions()[name] for name in spec.libraries},
        device=str(device),
        target=TargetRecord(
            name=spec.target_name,
            digest=spec.target_digest,
            num_classes=target.num_classes,
            input_shape=tuple(target.input_shape),
            bounds=(target.bounds.lower, target.bounds.upper),
        ),
        victims=tuple(spec.victim_names),
        rewriter=spec.rewriter,
        data=Data(name=spec.data_name, split=spec.split, images=spec.images, indices=tuple(chosen.tolist())),
        budget=spec.queries,
        norm=spec.norm.value,
        seed=spec.seed,
        rule="closest",
        attacks=attacks,
    )
    write_record(out / "record.json", record)
    return record


def _choose(spec: CrossCheck, target: Target, pool: Tensor, truth: Tensor) -> Tensor:
    """Return int64 (images,), sorted: the first of a seeded order that the target classifies correctly."""
    if truth.shape != (pool.shape[0],) or truth.dtype != torch.int64:
        raise InputError(f"labels must be int64 of shape ({pool.shape[0]},); got {truth.dtype} {tuple(truth.shape)}")
    order = torch.from_numpy(np.random.default_rng(spec.seed).permutation(pool.shape[0]))
    found: list[int] = []
    for block in order.split(max(64, 2 * spec.images)):
        found.extend(block[target.predict(pool[block]).cpu() == truth[block]].tolist())
        if len(found) >= spec.images:
            return torch.tensor(sorted(found[: spec.images]))
    raise InputError(
        f"the cross-check needs {spec.images} images that the target gets right; the {pool.shape[0]} given hold "
        f"{len(found)}"
    )


@final
class _Bench:
    """What all engines share: target, victims, images, folder."""

    def __init__(
        self,
        spec: CrossCheck,
        target: Target,
        victims: Sequence[Target],
        inputs: Tensor,
        labels: Tensor,
        identities: list[int],
        out: Path,
        device: torch.device | str,
    ) -> None:
        self.spec, self.target, self.victims = spec, target, victims
        self.inputs, self.labels, self.identities = inputs, labels, identities
        self.out, self.device = out, torch.device(device)

    def run(self, pairs: Sequence[Pair], say: Progress) -> tuple[records.CheckedAttack, ...]:
        """Return the record of each attack: its engines, and each library's compared with variegate's."""
        engines: dict[str, dict[str, records.Engine]] = {pair.attack: {} for pair in pairs}
        comparisons: dict[str, list[records.Comparison]] = {pair.attack: [] for pair in pairs}
        total, done = len({(p.attack, p.ours_name) for p in pairs}) + len(pairs), 0
        for pair in pairs:
            found = engines[pair.attack]
            for name, attack in ((pair.ours_name, self._ours), (pair.library, self._theirs)):
                if name not in found:
                    say(f"{pair.attack} by {name}", done, total)
                    found[name] = self._measure(name, pair, attack(pair))
                    done += 1
            ours, theirs = found[pair.ours_name], found[pair.library]
            comparisons[pair.attack].append(compare(ours, theirs, seed=self.spec.seed))
        return tuple(
            records.CheckedAttack(name=name, engines=tuple(found.values()), comparisons=tuple(comparisons[name]))
            for name, found in engines.items()
        )

    def _oracle(self) -> HardLabelOracle:
        return HardLabelOracle(
            self.target.predict,
            input_spec=self.target.input_spec,
            num_classes=self.target.num_classes,
            samples=self.inputs.shape[0],
            budget=self.spec.queries,
            device=self.device,
        )

    def _ours(self, pair: Pair) -> AttackResult:
        criterion = Misclassified(self.labels.to(self.device))
        oracle = WatchedOracle(self._oracle(), self.inputs.to(self.device), criterion, norm=self.spec.norm)
        result = run_attack(
            pair.ours, oracle, self.inputs, self.labels, seed=self.spec.seed, identities=self.identities
        )
        return with_closest(result, oracle)

    def _theirs(self, pair: Pair) -> AttackResult:
        result: AttackResult = pair.run(
            self._oracle(),
            self.inputs,
            self.labels,
            seed=self.spec.seed,
            identities=self.identities,
            checkpoint=self.out / "shards" / f"{pair.attack}-{pair.library}.safetensors",
            subject=f"{self.spec.target_name} {self.spec.target_digest}",
        )
        return result

    def _measure(self, name: str, pair: Pair, result: AttackResult) -> records.Engine:
        """Return one engine's record: success, distances, queries, overshoot, and replication on the victims."""
        if result.error is not None:
            raise OracleError(f"{result.error}; the cross-check can be resumed from {self.out}")
        result = with_overshoot(result, self._predict, self.inputs, self.labels)
        attempted = result.attempted
        outcome = measure_replication(
            lambda x: torch.stack([one.predict(x).cpu() for one in (self.target, *self.victims)], 1),
            self.inputs,
            self.labels,
            [AttackerOutcome(copy=0, adversarials=result.adversarials, attempted=attempted, succeeded=result.success)],
            norm=self.spec.norm,
            bounds=self.target.bounds,
            seed=self.spec.seed,
            scales=_SCALES,
            norms=default_norms(self.spec.norm, self.target.bounds)[:1],
        )
        found, depth = result.distances.double().numpy(), result.overshoot
        depths = np.full_like(found, np.nan) if depth is None else depth.double().numpy()
        seed = self.spec.seed
        return records.Engine(
            name=name,
            parameters=plain_parameters(pair.ours) if name == pair.ours_name else None,
            attack=Attacked(**attack_parts(result), seconds=round(result.seconds, 3)),
            rates=outcome.rates(),
            replication_at=outcome.replication_at(),
            reverified=outcome.reverified(),
            median_distance=median(found, seed),
            median_overshoot=median(depths, seed),
            distances=tuple(None if np.isnan(value) else round(float(value), 6) for value in found),
        )

    def _predict(self, x: Tensor) -> Tensor:
        return self.target.predict(x).cpu()
