"""Runs any attack: checks inputs, marks those already misclassified, loops, saves, and tells how it went.

The driver owns the loop, the budget's end, checkpoints and progress; an attack owns one step. A batch never raises
because one input failed: each input has its `Status`. If the oracle itself raises, the inputs still running keep their
best adversarial, are marked ORACLE_FAILED, and the last state is saved for a resume.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from variegate import __version__
from variegate.attacks.base import (
    STATUS_CODES,
    Attack,
    AttackProblem,
    AttackResult,
    AttackState,
    NoiseSource,
    SeededNoise,
    Trajectory,
    fill_status,
    fresh_state,
)
from variegate.errors import ConfigurationError, FormatError, InputError, OracleError, VerificationError
from variegate.files import read_bounded, write_atomic
from variegate.models.classifier import check_inputs
from variegate.models.geometry import all_finite
from variegate.oracles.hard_label import Criterion, Misclassified, MisclassifiedAs, Oracle
from variegate.types import Status

_LOG = logging.getLogger(__name__)
_STATUSES = tuple(Status)


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Point:
    """A place between two steps, replaced as a whole: an interrupt finds a state and the meter that belongs to it."""

    state: AttackState
    meter: Tensor
    queries: tuple[Tensor, ...]
    distances: tuple[Tensor, ...]


def run_attack(
    attack: Attack,
    oracle: Oracle,
    inputs: Tensor,
    labels: Tensor,
    *,
    seed: int,
    targets: Tensor | None = None,
    starting_points: Tensor | None = None,
    identities: Sequence[int] | None = None,
    noise: NoiseSource | None = None,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 20.0,
    subject: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> AttackResult:
    """Attack every input through the oracle.

    Args:
        attack: hyper-parameters of one attack.
        oracle: built for exactly N inputs; its budget bounds the attack.
        inputs: float32 (N, *input_shape), within the oracle's bounds; rows with NaN get the status NON_FINITE.
        labels: int64 (N,), the correct labels.
        seed: decides all of the attack's randomness, together with the identities.
        targets: int64 (N,), for a targeted attack; labels that the adversarials shall get.
        starting_points: float32 (N, *input_shape), believed adversarial; needed by most targeted attacks.
        identities: an integer an input that names it in its random stream, so that the result does not depend on the
            batch; by default its position.
        noise: another source of randomness, in place of `seed`; a checkpoint needs the same one to go on.
        checkpoint: where to save the state between steps; if the file exists, the run goes on from it: on the same
            kind of device, with the same revision of the attack and the same versions of variegate and PyTorch.
        checkpoint_seconds: how often.
        subject: names the model behind the oracle (a digest, say), so that a checkpoint is never continued on another.
        progress: called with (queries so far, queries at most or 0).

    Raises:
        InputError: shapes, labels or bounds do not fit.
        ConfigurationError: the oracle was built for another number of inputs.
        FormatError, VerificationError: the checkpoint is not of this run.
    """
    identities = None if identities is None else [int(identity) for identity in identities]
    problem, status = _prepare(oracle, inputs, labels, seed, targets, starting_points, identities, noise)
    run_digest = _run_digest(attack, oracle, subject, inputs, labels, seed, targets, starting_points, identities)
    journal = _Journal(oracle, run_digest, checkpoint, checkpoint_seconds, progress)
    error: str | None = None
    try:
        if journal.point is None:
            status = _mark_misclassified(oracle, problem, labels, status)
            journal.add(attack.init(oracle, problem, status))
            journal.keep()
        while journal.state.running.numel():
            journal.add(attack.step(oracle, problem, journal.state))
            journal.keep_now_and_then()
        journal.keep()
        state = journal.state
    except OracleError as failure:
        error = str(failure)
        _LOG.warning("the attack stopped early: %s", error)
        journal.rewind()
        state = journal.state if journal.point is not None else fresh_state(problem, status)
        state = replace(state, status=fill_status(state.status, state.running, Status.ORACLE_FAILED))
    except BaseException:  # an interrupt, or an error in the caller's progress: what was paid for is kept
        journal.rewind()
        raise
    return _result(attack, oracle, problem, state, journal, error)


@final
class _Journal:
    """What is known after the last whole step, on disk where a checkpoint was asked for."""

    def __init__(
        self,
        oracle: Oracle,
        run_digest: str,
        checkpoint: Path | None,
        every_seconds: float,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.point: _Point | None = None
        self._oracle, self._run_digest, self._progress = oracle, run_digest, progress
        self._checkpoint, self._every_seconds = checkpoint, every_seconds
        self._started = self._kept_at = time.monotonic()
        self._spent_before = 0.0
        if checkpoint is not None and checkpoint.exists():
            self.point, self._spent_before = _resume(checkpoint, run_digest, oracle)
        self._kept = self.point

    @property
    def state(self) -> AttackState:
        """The last state; there is one once `init` is done."""
        if self.point is None:
            raise RuntimeError("the journal is empty: init comes first")
        return self.point.state

    @property
    def seconds(self) -> float:
        """Wall-clock seconds, those before a resume included."""
        return self._spent_before + time.monotonic() - self._started

    def add(self, state: AttackState) -> None:
        """Take over the state after a step, with the meter that belongs to it, and tell the progress."""
        meter = self._oracle.meter.per_sample.clone()
        queries, distances = (self.point.queries, self.point.distances) if self.point is not None else ((), ())
        self.point = _Point(
            state=state, meter=meter, queries=(*queries, meter), distances=(*distances, state.best_distance.cpu())
        )
        if self._progress is not None:
            self._progress(self._oracle.meter.total, (self._oracle.budget or 0) * meter.shape[0])

    def keep(self) -> None:
        """Save the last state, unless it is saved already."""
        if self._checkpoint is None or self.point is None or self.point is self._kept:
            return
        save_checkpoint(
            self._checkpoint,
            self.point.state,
            run_digest=self._run_digest,
            per_sample=self.point.meter,
            queries=self.point.queries,
            distances=self.point.distances,
            seconds=self.seconds,
        )
        self._kept, self._kept_at = self.point, time.monotonic()

    def keep_now_and_then(self) -> None:
        """Save the last state if the last save is long enough ago."""
        if time.monotonic() - self._kept_at >= self._every_seconds:
            self.keep()

    def rewind(self) -> None:
        """Forget the queries of an unfinished step, which a resume repeats, and save what is whole."""
        if self.point is not None:
            self._oracle.meter.per_sample.copy_(self.point.meter)
            self.keep()


def _prepare(
    oracle: Oracle,
    inputs: Tensor,
    labels: Tensor,
    seed: int,
    targets: Tensor | None,
    starting_points: Tensor | None,
    identities: Sequence[int] | None,
    noise: NoiseSource | None,
) -> tuple[AttackProblem, Tensor]:
    count = inputs.shape[0]
    if count != oracle.meter.per_sample.shape[0]:
        raise ConfigurationError(f"the oracle was built for {oracle.meter.per_sample.shape[0]} inputs; got {count}")
    for name, value in (("labels", labels), ("targets", targets)):
        if value is None:
            continue
        if value.shape != (count,) or value.dtype != torch.int64:
            raise InputError(f"{name} must be int64 of shape ({count},); got {value.dtype} {tuple(value.shape)}")
        if count and not 0 <= int(value.min()) <= int(value.max()) < oracle.num_classes:
            raise InputError(
                f"{name} must be from 0 to {oracle.num_classes - 1}; got {int(value.min())} to {int(value.max())}"
            )
    if identities is not None and len(identities) != count:
        raise InputError(f"identities must be {count} integers, one an input; got {len(identities)}")
    finite = (
        all_finite(inputs) if inputs.ndim > 1 and inputs.is_floating_point() else torch.ones(count, dtype=torch.bool)
    )
    middle = 0.5 * (oracle.bounds.lower + oracle.bounds.upper)
    whole = torch.where(finite.view(-1, *([1] * (inputs.ndim - 1))), inputs, torch.full_like(inputs, middle))
    clean = check_inputs(whole, oracle.input_spec).to(oracle.device)
    clean = clean.clamp(oracle.bounds.lower, oracle.bounds.upper)
    if starting_points is not None:
        starting_points = check_inputs(starting_points, oracle.input_spec, what="starting points")
        if starting_points.shape[0] != count:
            raise InputError(f"starting points must be as many as the inputs, {count}; got {starting_points.shape[0]}")
        starting_points = starting_points.to(oracle.device).clamp(oracle.bounds.lower, oracle.bounds.upper)
    criterion: Criterion = (
        Misclassified(labels.to(oracle.device)) if targets is None else MisclassifiedAs(targets.to(oracle.device))
    )
    if noise is None:
        noise = SeededNoise(seed, identities if identities is not None else range(count), device=oracle.device)
    status = torch.full((count,), STATUS_CODES[Status.RUNNING], device=oracle.device)
    status[~finite.to(oracle.device)] = STATUS_CODES[Status.NON_FINITE]
    return AttackProblem(inputs=clean, criterion=criterion, noise=noise, starting_points=starting_points), status


def _mark_misclassified(oracle: Oracle, problem: AttackProblem, labels: Tensor, status: Tensor) -> Tensor:
    """Ask for each clean input once; those already wrong (or already the target) are not attacked."""
    rows = (status == STATUS_CODES[Status.RUNNING]).nonzero().flatten()
    predicted = oracle.label(problem.inputs[rows], rows.cpu()).to(rows.device)
    wrong = (predicted != labels.to(rows.device)[rows]) | problem.criterion.is_adversarial(predicted, rows)
    return fill_status(status, rows[wrong], Status.ALREADY_MISCLASSIFIED)


def _resume(checkpoint: Path, run_digest: str, oracle: Oracle) -> tuple[_Point, float]:
    state, meter, queries, distances, spent = load_checkpoint(checkpoint, run_digest=run_digest, device=oracle.device)
    oracle.meter.per_sample.copy_(meter)
    return _Point(state=_reopen(state), meter=meter, queries=tuple(queries), distances=tuple(distances)), spent


def _reopen(state: AttackState) -> AttackState:
    failed = (state.status == STATUS_CODES[Status.ORACLE_FAILED]).nonzero().flatten()
    return replace(state, status=fill_status(state.status, failed, Status.RUNNING))


def _result(
    attack: Attack,
    oracle: Oracle,
    problem: AttackProblem,
    state: AttackState,
    journal: _Journal,
    error: str | None,
) -> AttackResult:
    point = journal.point
    codes = state.status.tolist()
    found = torch.isfinite(state.best_distance)
    status = tuple(
        Status.BUDGET_EXHAUSTED if _STATUSES[code] is Status.SUCCESS and not ok else _STATUSES[code]
        for code, ok in zip(codes, found.tolist(), strict=True)
    )
    empty = torch.zeros((0, len(status)))
    return AttackResult(
        adversarials=torch.where(found.view(-1, *([1] * (problem.inputs.ndim - 1))), state.best, problem.inputs).cpu(),
        status=status,
        queries=oracle.meter.per_sample.clone(),
        distances=torch.where(found, state.best_distance, torch.full_like(state.best_distance, float("nan"))).cpu(),
        trajectory=Trajectory(
            queries=torch.stack(point.queries) if point is not None else empty.long(),
            distances=torch.stack(point.distances) if point is not None else empty,
        ),
        norm=attack.norm,
        iterations=state.iteration,
        seconds=journal.seconds,
        error=error,
    )


def _run_digest(attack: Attack, oracle: Oracle, *parts: object) -> str:
    """Digest of everything that decides the run, the code too, so that a checkpoint is never continued by another."""
    kind = type(attack)
    code = (kind.__module__, kind.__qualname__, attack.revision, __version__, str(torch.__version__))
    sha = hashlib.sha256(
        f"{attack!r}|{oracle.budget}|{oracle.input_shape}|{oracle.bounds}|{code}|{oracle.device.type}".encode()
    )
    sha.update(str(getattr(oracle, "description", "")).encode())  # votes and the like
    for part in parts:
        if isinstance(part, Tensor):
            sha.update(part.detach().cpu().contiguous().numpy().tobytes())
        else:
            sha.update(repr(list(part) if isinstance(part, Sequence) else part).encode())
    return sha.hexdigest()


_FORMAT = "variegate-attack-1"
_LIMIT = 2**33
_FIELDS = ("points", "best", "best_distance", "status")


def save_checkpoint(
    path: Path,
    state: AttackState,
    *,
    run_digest: str,
    per_sample: Tensor,
    queries: Sequence[Tensor],
    distances: Sequence[Tensor],
    seconds: float,
) -> None:
    """Write the state, the meter (int64 (N,)), the trajectory and the time so far, atomically."""
    tensors = {name: getattr(state, name).cpu().contiguous() for name in _FIELDS}
    tensors |= {f"extra.{name}": value.cpu().contiguous() for name, value in state.extra.items()}
    tensors |= {
        "meter": per_sample.clone(),
        "queries": torch.stack(tuple(queries)),
        "distances": torch.stack(tuple(distances)),
    }
    header = {"format": _FORMAT, "run": run_digest, "iteration": str(state.iteration), "seconds": repr(seconds)}
    write_atomic(path, save(tensors, metadata=header))


def load_checkpoint(
    path: Path, *, run_digest: str, device: torch.device
) -> tuple[AttackState, Tensor, list[Tensor], list[Tensor], float]:
    """Return (state, meter, queries, distances, seconds) of the run with this digest.

    Raises:
        FormatError: the file is not a checkpoint, or is truncated.
        VerificationError: it belongs to another attack, seed, budget or other inputs.
    """
    data = read_bounded(path, _LIMIT)
    try:
        size = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + size])["__metadata__"]
        tensors = load(data)
        iteration = int(header["iteration"])
        extra = {k.removeprefix("extra."): v.to(device) for k, v in tensors.items() if k.startswith("extra.")}
        kept = {name: tensors[name].to(device) for name in _FIELDS}
        meter, queries, distances = tensors["meter"], tensors["queries"], tensors["distances"]
        run, seconds, known = header["run"], float(header["seconds"]), header["format"] == _FORMAT
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise FormatError(f"{path} is not an attack checkpoint or is truncated; delete it to start again") from error
    if not known:
        raise FormatError(f"{path} is of another format than {_FORMAT}; delete it to start again")
    if run != run_digest:
        raise VerificationError(
            f"{path} belongs to another attack (other inputs, parameters, seed or budget, or another version or "
            "device); resume with the same, "
            "or delete it"
        )
    return AttackState(iteration=iteration, extra=extra, **kept), meter, list(queries), list(distances), seconds
