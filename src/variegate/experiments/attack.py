"""One attack on one target, with its record and files: what stands behind `variegate attack`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, final

import numpy as np
import torch
from torch import Tensor

from variegate.attacks.base import Attack, AttackResult
from variegate.attacks.catalog import plain_parameters
from variegate.attacks.driver import run_attack
from variegate.attacks.white_box.base import Differentiable, WhiteBoxAttack
from variegate.data.images import LabelledImages
from variegate.errors import ConfigurationError, InputError, OracleError
from variegate.evaluation.kept import AdversarialFormat, adversarial_arrays, pictures_of, write_adversarials
from variegate.evaluation.progress import Progress, silent
from variegate.evaluation.provenance import made_now, quick_queries_per_second
from variegate.evaluation.records import attack_parts, with_overshoot
from variegate.evaluation.stats import wilson_rate
from variegate.files import write_atomic
from variegate.models.geometry import as_rows, distance
from variegate.oracles.hard_label import HardLabelOracle, Oracle
from variegate.oracles.jitter import Jitter
from variegate.oracles.rounding import Rounded
from variegate.oracles.voting import MajorityVote
from variegate.records import attack as records
from variegate.records.base import Efficiency
from variegate.records.load import write_record
from variegate.types import Bounds, InputSpec

CHECKPOINT_FILE = "attack.safetensors"


class Target(Protocol):
    """What is attacked: a `Classifier`, a `RewrittenCopy` or an `OnnxLabeler`."""

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        ...

    @property
    def input_spec(self) -> InputSpec:
        """What one input is."""
        ...

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        ...

    @property
    def bounds(self) -> Bounds:
        """The interval of valid input values."""
        ...

    def predict(self, x: Tensor) -> Tensor:
        """Return int64 (N,): hard labels."""
        ...


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Voting:
    """How an attacker asks for one answer several times.

    Attributes:
        jitter: how the questions differ.
        votes: questions for an answer.
    """

    jitter: Jitter
    votes: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SingleAttack:
    """How one attack is run.

    Attributes:
        command: what was typed, for the summary.
        target_name: what is attacked, for the summary.
        target_digest: identifies its parameters, so that a saved state is never continued on another target.
        attack: its hyper-parameters.
        images: how many inputs are attacked: the first ones of the pool.
        queries: the budget for each of a hard-label attack; None for none.
        targeted: whether each input gets a random other class to aim at, among those of which the pool holds an image
            to start from.
        seed: decides the attack's noise, the classes to aim at and the jitter.
        voting: whether each answer is a majority of jittered ones (hard-label attacks).
        levels: whether questions are rounded to so many levels first (hard-label attacks); 256 as in an 8-bit image.
        rows: how many rows a hard-label attack asks at once, which bounds its memory and changes no result; None for
            what keeps the model busy (`variegate.models.classifier.question_rows`).
        file_format: of the adversarials.

    Raises:
        ConfigurationError: a white-box attack has a budget of queries, votes, levels or rows.
    """

    command: str
    target_name: str
    target_digest: str
    attack: Attack | WhiteBoxAttack
    images: int
    queries: int | None
    targeted: bool
    seed: int
    voting: Voting | None = None
    levels: int | None = None
    rows: int | None = None
    file_format: AdversarialFormat = "npz"

    def __post_init__(self) -> None:
        of_labels = (self.queries, self.voting, self.levels, self.rows)
        if self.white_box and any(setting is not None for setting in of_labels):
            raise ConfigurationError(
                f"{self.attack.name} sees scores and gradients: it takes no budget of queries, no votes, no levels and "
                "no rows"
            )

    @property
    def white_box(self) -> bool:
        """Whether the attack needs scores and gradients."""
        return isinstance(self.attack, WhiteBoxAttack)

    def run(
        self,
        target: Target,
        pool: LabelledImages,
        *,
        out: Path | None,
        device: torch.device | str = "cpu",
        progress: Progress | None = None,
    ) -> records.AttackRecord:
        """Attack, write record.json, the adversarials and pictures.npz to `out` if there is one; return the record.

        If the target fails while it labels, in the attack or when its results are measured, the files hold what was
        found until then, with -1 for the labels of the adversarials, and the record's "error" says why; what was paid
        for is saved for a resume.

        Args:
            target: what is attacked.
            pool: images within the target's bounds; a targeted attack takes its starting points from all of them.
            out: an existing folder; a hard-label attack's state is saved in it, and is taken up if it is there.
            device: where the attack computes: that of the target.
            progress: called with what is done, how much is done, how much there is.

        With `levels`, adversarials, norms and labels are those of the rounded points; the trajectory is of those that
        the attack moved. The record's "confirmed" counts the successes whose adversarial the target itself gets wrong
        when asked once more, without votes. Its "raw_queries_per_second" are measured before the attack, outside of
        the budget.

        Raises:
            ConfigurationError: if a white-box attack meets a target without gradients.
            InputError: if the images or labels do not fit the target, or the target puts all images of a targeted
                attack into one class.
            OracleError: if the target fails before a targeted attack, when the classes of the pool are asked for.
            VerificationError: if the state in `out` is of another attack.
        """
        say = progress or silent
        inputs, labels = torch.from_numpy(pool.images[: self.images]), torch.from_numpy(pool.labels[: self.images])
        predict = self._asked(target)
        aims, starts = self._aims(predict, target.num_classes, pool) if self.targeted else (None, None)
        raw = _raw_speed(target, device)

        def tell(done: int, most: int) -> None:
            say("attacking", done, most)

        if isinstance(self.attack, WhiteBoxAttack):
            result = self.attack.run(
                _differentiable(target, self.attack.name), inputs, labels, seed=self.seed, targets=aims, progress=tell
            )
        else:
            result = run_attack(
                self.attack,
                self._oracle(target, inputs.shape[0], device),
                inputs,
                labels,
                seed=self.seed,
                targets=aims,
                starting_points=starts,
                checkpoint=None if out is None else out / CHECKPOINT_FILE,
                subject=f"{self.target_name} {self.target_digest}",
                progress=tell,
            )
        if self.levels is not None:
            result = _rounded(
                result, inputs, Rounded(self._oracle_of(target, 0, "cpu", budget=None), levels=self.levels)
            )
        answers = None
        if result.error is None:
            wanted = labels if aims is None else aims
            try:
                result = with_overshoot(result, predict, inputs, wanted, targeted=self.targeted)
                answers = predict(result.adversarials)
            except OracleError as failure:
                result = replace(result, error=f"the attack is done, but its results are not measured: {failure}")
        record = self._record(target, result, pool, raw)
        if out is not None:
            arrays = adversarial_arrays(result, inputs, labels, answers)
            write_adversarials(out, arrays, self.file_format)
            write_atomic(out / "pictures.npz", pictures_of(self.attack.name, arrays))
            write_record(out / "record.json", record)
        return record

    def _asked(self, target: Target) -> Callable[[Tensor], Tensor]:
        """Return the target's `predict` for the lab: outside of the budget, and each failure is an `OracleError`."""
        lab = self._oracle_of(target, 1, "cpu", budget=None)
        return lambda x: lab.label(x, torch.zeros(len(x), dtype=torch.int64))

    def _oracle_of(
        self, target: Target, samples: int, device: torch.device | str, *, budget: int | None
    ) -> HardLabelOracle:
        return HardLabelOracle(
            target.predict,
            input_spec=target.input_spec,
            num_classes=target.num_classes,
            samples=samples,
            budget=budget,
            device=device,
            preferred_rows=self.rows,
        )

    def _oracle(self, target: Target, samples: int, device: torch.device | str) -> Oracle:
        oracle: Oracle = self._oracle_of(target, samples, device, budget=self.queries)
        if self.levels is not None:
            oracle = Rounded(oracle, levels=self.levels)
        if self.voting is not None:
            oracle = MajorityVote(oracle, self.voting.jitter, votes=self.voting.votes, seed=self.seed)
        return oracle

    def _aims(
        self, predict: Callable[[Tensor], Tensor], num_classes: int, pool: LabelledImages
    ) -> tuple[Tensor, Tensor]:
        """Return a random other class for each input, int64 (N,), and an image that the target puts into it.

        Classes into which it puts no image are not drawn.
        """
        everything, labels = torch.from_numpy(pool.images), torch.from_numpy(pool.labels[: self.images])
        first = {label: i for i, label in reversed(list(enumerate(predict(everything).tolist())))}
        if len(first) < 2:
            raise InputError(
                f"a targeted attack starts from images of other classes; the target puts all {len(everything)} images "
                f"into class {min(first, default=0)}: give more images"
            )
        known = torch.zeros(num_classes, dtype=torch.bool)
        known[list(first)] = True
        generator = np.random.default_rng(self.seed)
        aims, left = labels.clone(), torch.arange(labels.shape[0])
        while left.numel():
            aims[left] = labels[left] + torch.from_numpy(generator.integers(1, num_classes, left.shape[0]))
            aims %= num_classes
            left = (~known[aims]).nonzero().flatten()
        return aims, everything[[first[label] for label in aims.tolist()]]

    def _record(
        self, target: Target, result: AttackResult, pool: LabelledImages, raw: float | None
    ) -> records.AttackRecord:
        found = int(result.success.sum())
        confirmed = wilson_rate(0, 0)  # not asked, because the target failed
        if result.overshoot is not None:
            confirmed = wilson_rate(int(result.overshoot[result.success].isfinite().sum()), found)
        attempted = int(result.attempted.sum())
        queries = int(result.queries.sum())
        speed = queries / result.seconds if result.seconds else None
        return records.AttackRecord(
            **made_now(command=self.command, seconds=round(result.seconds, 3)),
            target=records.Target(
                name=self.target_name,
                digest=self.target_digest,
                num_classes=target.num_classes,
                input_shape=tuple(target.input_shape),
                bounds=(target.bounds.lower, target.bounds.upper),
            ),
            data=records.Inputs(name=pool.name, images=len(result.status)),
            attack=records.AttackRun(
                name=self.attack.name,
                kind="white_box" if self.white_box else "hard_label",
                parameters=plain_parameters(self.attack),
                norm=self.attack.norm.value,
                budget=self.queries,
                targeted=self.targeted,
                seed=self.seed,
                oracle=self._asking(),
            ),
            outcome=records.Outcome(
                **attack_parts(result), attack_success_rate=wilson_rate(found, attempted), confirmed=confirmed
            ),
            efficiency=Efficiency(
                queries=queries,
                seconds=round(result.seconds, 3),
                queries_per_second=None if speed is None else round(speed, 1),
                raw_queries_per_second=None if raw is None else round(raw, 1),
                share_of_raw=None if speed is None or raw is None else round(speed / raw, 4),
            ),
            error=result.error,
        )

    def _asking(self) -> records.OracleSettings | None:
        if self.voting is None and self.levels is None:
            return None
        voting = self.voting
        return records.OracleSettings(
            jitter=None if voting is None else str(voting.jitter),
            votes=1 if voting is None else voting.votes,
            levels=self.levels,
        )


def _rounded(result: AttackResult, clean: Tensor, rounded: Rounded) -> AttackResult:
    """Return the result with what the target saw: adversarials on the grid, and their norms."""
    found = result.success
    points = torch.where(as_rows(found, clean), rounded.round(result.adversarials), result.adversarials)
    sizes = torch.where(found, distance(points, clean, result.norm), result.distances)
    return replace(result, adversarials=points, distances=sizes)


def _raw_speed(target: Target, device: torch.device | str) -> float | None:
    """Return how many inputs a second the target labels by itself; None where it fails, as the attack will say."""
    try:
        return quick_queries_per_second(target.predict, input_spec=target.input_spec, device=device)
    except Exception:  # noqa: BLE001 - whatever a seller's model raises
        return None


def _differentiable(target: Target, attack: str) -> Differentiable:
    if not hasattr(target, "differentiable_scores"):
        raise ConfigurationError(f"{attack} needs scores and gradients; an ONNX file gives labels alone")
    return target  # type: ignore[return-value]
