"""A whole replication audit: attacks from copies, who is fooled by them, controls, Table 1, one JSON record.

Steps, each of which a killed audit keeps:

1. choose the images: a seeded draw from those that the original classifies correctly;
2. attack the original, and the attackers' copies of each rewriter (one shard an attacker, resumable in the middle);
3. show the adversarials of each group to all copies of the group, at every scale and norm;
4. count, add the controls (identical copies, independent training, random noise of equal norm), write the record.
"""

import itertools
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from variegate.attacks.base import Attack, AttackResult
from variegate.attacks.catalog import plain_parameters
from variegate.attacks.driver import run_attack
from variegate.attacks.hopskipjump import HopSkipJump
from variegate.errors import ConfigurationError, OracleError
from variegate.evaluation.kept import collect_pictures
from variegate.evaluation.progress import Progress, silent
from variegate.evaluation.provenance import made_now, raw_queries_per_second
from variegate.evaluation.records import group_record, model_record, with_overshoot
from variegate.evaluation.replication import AttackerOutcome, PredictAll, ReplicationOutcome, measure_replication
from variegate.evaluation.subjects import AccuracyTable, choose_images, experiment_heads, measure_accuracy
from variegate.files import make_folder, write_atomic
from variegate.models.bank import CopyBank
from variegate.models.classifier import Classifier, check_inputs
from variegate.oracles.hard_label import HardLabelOracle
from variegate.records.base import Data, Efficiency
from variegate.records.load import write_record
from variegate.records.replication import AttackSettings, Group, ReplicationRecord
from variegate.rewriters.base import AbstractSpec, RewrittenCopy

_CONTROLS = frozenset({"identical", "independent", "noise", "original"})


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSpec:
    """What is audited, and how hard.

    Args:
        model_name, data_name, split: names for the record.
        rewriters: one group of copies for each.
        copies: copies of each rewriter (m).
        attackers: how many of them attack; None for all, which gives every ordered pair.
        images: inputs that are attacked from each attacker.
        queries: the attacker's budget for each input.
        attack: how adversarials are made.
        seed: decides images, copies' experiment keys, the attack's noise and the bootstrap.
        deal_images: attack each image from one attacker only, dealt out in turn, instead of from every attacker: the
            same number of attacks covers more copies, with fewer images for each pair.
        model_digest: of the seller's manifest, where there is one; binds shards to more than the weights.
        command: what was typed, for the record.
    """

    model_name: str
    data_name: str
    split: str
    rewriters: tuple[AbstractSpec, ...]
    copies: int
    attackers: int | None = None
    images: int = 50
    queries: int = 5000
    attack: Attack = field(default_factory=HopSkipJump)
    seed: int = 0
    deal_images: bool = False
    model_digest: str = ""
    command: str = ""

    def __post_init__(self) -> None:
        if self.copies < 2:
            raise ConfigurationError(f"replication needs at least 2 copies; got {self.copies}")
        if self.attackers is not None and not 1 <= self.attackers <= self.copies:
            raise ConfigurationError(f"attackers must be from 1 to the {self.copies} copies; got {self.attackers}")
        if self.images < 1 or self.queries < 1:
            raise ConfigurationError(f"images and queries must be at least 1; got {self.images} and {self.queries}")
        if not 0 <= self.seed < 2**31:
            raise ConfigurationError(f"the seed must be from 0 to 2147483647; got {self.seed}")
        if self.deal_images and self.images < len(self.attacking):
            raise ConfigurationError(f"{self.images} images cannot be dealt out to {len(self.attacking)} attackers")
        if reserved := {spec.rewriter for spec in self.rewriters} & _CONTROLS:
            raise ConfigurationError(f"a rewriter cannot be called {', '.join(sorted(reserved))}: that names a control")

    @property
    def attacking(self) -> range:
        """Positions of the attackers' copies."""
        return range(self.attackers if self.attackers is not None else self.copies)


def audit_replicate(
    spec: AuditSpec,
    *,
    original: Classifier,
    independent: Sequence[Classifier],
    images: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    out: Path,
    progress: Progress | None = None,
) -> ReplicationRecord:
    """Run the audit and return its record; also writes `out`/record.json and `out`/pictures.npz.

    Args:
        spec: what is audited.
        original: the seller's classifier.
        independent: classifiers trained independently on the same task, for the control; may be empty.
        images: float32 (P, *input_shape); the pool from which the attacked images are drawn, and Table 1's inputs.
        labels: int64 (P,).
        out: folder of this audit; if it holds shards of the same audit, these are taken over.

    Raises:
        InputError: the pool holds fewer correctly classified images than are asked for, or does not fit the original.
        VerificationError: `out` holds shards of another audit.
    """
    say = progress or silent
    started = time.monotonic()
    pool = check_inputs(torch.from_numpy(np.asarray(images)), original.input_spec)
    truth = torch.from_numpy(np.asarray(labels))
    _check_controls(original, independent)
    chosen = choose_images([original, *independent], pool, truth, count=spec.images, seed=spec.seed)
    inputs, targets = pool[chosen], truth[chosen]
    make_folder(out / "shards")
    names = _group_names(spec.rewriters)
    run = _Run(spec, original, inputs, targets, chosen.tolist(), out, say)

    control = run.attack("original", 0, original.predict)
    groups: list[Group] = []
    examples = {"identical": run.outcome(0, control)}
    outcome = run.measure(_stacked([original, original]), [control], [0])
    table = _accuracy_of([original, original], pool, truth)
    twins = ["original", "the same"]
    groups.append(group_record("identical", None, twins, outcome, [control], table))
    groups.append(group_record("noise", None, twins, outcome.noise_control(), [control], table))
    if independent:
        trained = [original, *independent]
        outcome = run.measure(_stacked(trained), [control], [0])
        table = _accuracy_of(trained, pool, truth)
        numbered = [f"training {i}" for i in range(len(trained))]
        groups.append(group_record("independent", None, numbered, outcome, [control], table))
        examples["independent"] = examples["identical"]
    for name, rewriter in zip(names, spec.rewriters, strict=True):
        heads = experiment_heads(original, rewriter, copies=spec.copies, seed=spec.seed)
        bank = CopyBank(original, heads)
        results = [run.attack(name, i, RewrittenCopy(original, heads[i]).predict, rewriter) for i in spec.attacking]
        outcome = run.measure(bank.predict_all, results, spec.attacking)
        table = measure_accuracy(bank, pool, truth)
        numbered = [f"copy {i}" for i in range(spec.copies)]
        groups.append(group_record(name, rewriter.to_dict(), numbered, outcome, results, table))
        examples[name] = run.outcome(0, results[0], dealt=len(results) > 1)
    record = _record(spec, original, chosen, groups, run, time.monotonic() - started)
    write_record(out / "record.json", record)
    write_atomic(out / "pictures.npz", collect_pictures(inputs, targets, examples, original.predict))
    return record


def _check_controls(original: Classifier, independent: Sequence[Classifier]) -> None:
    """Refuse independent classifiers that do not take the original's inputs, or are the original."""
    for number, other in enumerate(independent, start=1):
        if other.digest == original.digest:
            raise ConfigurationError(
                f"independent classifier {number} has the original's weights; give another training"
            )
        theirs, ours = ((c.input_shape, c.bounds, c.num_classes) for c in (other, original))
        if theirs != ours:
            raise ConfigurationError(
                f"independent classifier {number} must take the original's inputs and classes, {ours}; got {theirs}"
            )


@final
class _Run:
    """What every group of an audit shares: the images, the attack, the folder, the count of queries."""

    def __init__(
        self,
        spec: AuditSpec,
        original: Classifier,
        inputs: Tensor,
        labels: Tensor,
        identities: list[int],
        out: Path,
        say: Progress,
    ) -> None:
        self.spec, self.original, self.inputs, self.labels = spec, original, inputs, labels
        self.queries, self.seconds = 0, 0.0
        self._identities, self._out, self._say = identities, out, say
        self._asked = 0
        dealt = spec.images if spec.deal_images else spec.images * len(spec.attacking)
        self._most = spec.queries * (spec.images + dealt * len(spec.rewriters))

    def rows(self, copy: int | None) -> Tensor:
        """Return int64: positions of the images that attacker `copy` attacks (None: the attacker of the original)."""
        if copy is None or not self.spec.deal_images:
            return torch.arange(self.spec.images)
        return torch.arange(copy, self.spec.images, len(self.spec.attacking))

    def attack(
        self, group: str, copy: int, predict: Callable[[Tensor], Tensor], rewriter: AbstractSpec | None = None
    ) -> AttackResult:
        """Attack one copy with the whole budget; a finished or half-done shard is taken over."""
        made_by = rewriter.digest if rewriter is not None else "nothing"
        rows = self.rows(None if rewriter is None else copy)
        oracle = HardLabelOracle(
            predict,
            input_spec=self.original.input_spec,
            num_classes=self.original.num_classes,
            samples=rows.shape[0],
            budget=self.spec.queries,
            device=self.original.device,
        )

        def tell(done: int, _most: int) -> None:
            self._say(f"attacking {group}, copy {copy}", self._asked + done, self._most)

        result = run_attack(
            self.spec.attack,
            oracle,
            self.inputs[rows],
            self.labels[rows],
            seed=self.spec.seed,
            identities=[self._identities[row] for row in rows.tolist()],
            checkpoint=self._out / "shards" / f"{group}-{copy}.safetensors",
            subject=f"{self.spec.model_digest} {self.original.digest} rewritten by {made_by}, copy {copy}",
            progress=tell,
        )
        if result.error is not None:
            raise OracleError(f"{result.error}; the audit can be resumed from {self._out}")
        self._asked += self.spec.queries * rows.shape[0]
        self.queries += int(result.queries.sum())
        self.seconds += result.seconds
        return with_overshoot(result, predict, self.inputs[rows], self.labels[rows])

    def measure(
        self, predict_all: PredictAll, results: Sequence[AttackResult], attackers: Sequence[int]
    ) -> ReplicationOutcome:
        """Show the attackers' adversarials to all copies of a group."""
        outcomes = [
            self.outcome(copy, result, dealt=len(results) > 1) for copy, result in zip(attackers, results, strict=True)
        ]
        return measure_replication(
            predict_all,
            self.inputs,
            self.labels,
            outcomes,
            norm=self.spec.attack.norm,
            bounds=self.original.bounds,
            seed=self.spec.seed,
        )

    def outcome(self, copy: int, result: AttackResult, *, dealt: bool = False) -> AttackerOutcome:
        """Spread an attack on some of the images over all of them."""
        rows = self.rows(copy if dealt else None)
        adversarials = self.inputs.clone()
        adversarials[rows] = result.adversarials
        attempted, succeeded = (torch.zeros(self.spec.images, dtype=torch.bool) for _ in range(2))
        attempted[rows] = result.attempted
        succeeded[rows] = result.success
        return AttackerOutcome(copy=copy, adversarials=adversarials, attempted=attempted, succeeded=succeeded)


def _stacked(classifiers: Sequence[Classifier]) -> PredictAll:
    return lambda x: torch.stack([classifier.predict(x) for classifier in classifiers], 1)


def _accuracy_of(classifiers: Sequence[Classifier], pool: Tensor, truth: Tensor) -> AccuracyTable:
    predicted = [classifier.predict(pool).cpu() for classifier in classifiers]
    return AccuracyTable(
        n=int(truth.shape[0]),
        original=int((predicted[0] == truth).sum()),
        copies=tuple(int((labels == truth).sum()) for labels in predicted),
        changed=tuple(int((labels != predicted[0]).sum()) for labels in predicted),
    )


def _group_names(rewriters: Sequence[AbstractSpec]) -> list[str]:
    """Return one name a rewriter: its own, numbered where it comes twice."""
    names: list[str] = []
    for spec in rewriters:
        numbered = (f"{spec.rewriter}-{number}" for number in itertools.count(2))
        own = {other.rewriter for other in rewriters}
        free = (name for name in numbered if name not in names and name not in own)
        names.append(spec.rewriter if spec.rewriter not in names else next(free))
    return names


def _record(
    spec: AuditSpec, original: Classifier, chosen: Tensor, groups: Sequence[Group], run: _Run, seconds: float
) -> ReplicationRecord:
    return ReplicationRecord(
        **made_now(command=spec.command, seconds=round(seconds, 3)),
        python=platform.python_version(),
        device=str(original.device),
        model=model_record(original, name=spec.model_name, manifest_digest=spec.model_digest or None),
        data=Data(name=spec.data_name, split=spec.split, images=int(chosen.shape[0]), indices=tuple(chosen.tolist())),
        attack=AttackSettings(
            name=spec.attack.name,
            parameters=plain_parameters(spec.attack),
            budget=spec.queries,
            norm=spec.attack.norm.value,
            seed=spec.seed,
        ),
        groups=tuple(groups),
        efficiency=Efficiency(
            queries=run.queries,
            seconds=round(run.seconds, 3),
            queries_per_second=round(run.queries / run.seconds, 1) if run.seconds else None,
            raw_queries_per_second=round(raw_queries_per_second(original), 1),
        ),
    )
