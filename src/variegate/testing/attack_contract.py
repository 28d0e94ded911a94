"""What every attack must do, as checks by name: `ATTACK_CHECKS[name](attack)` returns or raises `AssertionError`.

The checks run an attack through the driver on classifiers whose distances are known, with small budgets. They say
nothing of how good an attack is: see the closed-form tests for that.
"""

import random
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from variegate.attacks.base import Attack, AttackResult
from variegate.attacks.driver import run_attack
from variegate.errors import ConfigurationError, FormatError, InputError, VariegateError, VerificationError
from variegate.models.geometry import distance
from variegate.oracles.hard_label import HardLabelOracle
from variegate.testing.closed_form import ClosedForm, LinearClassifier, QuadricClassifier, RecordingModel
from variegate.types import Bounds, Norm, Status

AttackCheck = Callable[[Attack], None]

_BUDGET = 700
_SETTINGS: tuple[tuple[tuple[int, ...], Bounds], ...] = (
    ((30,), Bounds()),
    ((5, 6), Bounds(-1.0, 1.0)),
    ((3, 4, 3), Bounds(0.0, 255.0)),
    ((1, 6, 5), Bounds(-0.3, 0.7)),
)


def attack_closed_form(
    attack: Attack,
    model: ClosedForm,
    inputs: Tensor,
    *,
    budget: int | None = _BUDGET,
    seed: int = 0,
    recorder: RecordingModel | None = None,
    labels: Tensor | None = None,
    targets: Tensor | None = None,
    starting_points: Tensor | None = None,
    identities: list[int] | None = None,
    num_classes: int = 2,
    checkpoint: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> AttackResult:
    """Attack a closed-form classifier through a fresh oracle; labels are the classifier's own by default."""
    predict = recorder.predict if recorder is not None else model.predict
    oracle = HardLabelOracle(
        predict,
        input_spec=model.input_spec,
        num_classes=num_classes,
        samples=inputs.shape[0],
        budget=budget,
    )
    return run_attack(
        attack,
        oracle,
        inputs,
        labels if labels is not None else model.predict(inputs),
        seed=seed,
        targets=targets,
        starting_points=starting_points,
        identities=identities,
        checkpoint=checkpoint,
        checkpoint_seconds=0.0,
        progress=progress,
    )


def _problem(attack: Attack, count: int = 4, *, setting: int = 0) -> tuple[LinearClassifier, Tensor]:
    input_shape, bounds = _SETTINGS[setting]
    model = LinearClassifier(input_shape, bounds=bounds)
    distance = (0.15 if attack.norm is Norm.L2 else 0.03) * bounds.range
    return model, model.inputs(count, distance=distance, norm=attack.norm)


def _same(one: AttackResult, other: AttackResult) -> bool:
    return (
        torch.equal(one.adversarials, other.adversarials)
        and one.status == other.status
        and torch.equal(one.queries, other.queries)
        and torch.equal(one.distances.nan_to_num(-1.0), other.distances.nan_to_num(-1.0))
    )


def _refusal(kinds: type[VariegateError] | tuple[type[VariegateError], ...], call: Callable[[], object]) -> str:
    """Return the message of the error that `call` raises, or "" if it raises none."""
    try:
        call()
    except kinds as error:
        return str(error)
    return ""


def _check_result_is_consistent(attack: Attack) -> None:
    for setting in range(len(_SETTINGS)):
        model, inputs = _problem(attack, setting=setting)
        recorder = RecordingModel(model.predict)
        result = attack_closed_form(attack, model, inputs, recorder=recorder)
        assert result.status == (Status.SUCCESS,) * 4, f"a hyperplane must be crossed; got {result.status}"
        assert result.adversarials.dtype is torch.float32
        assert result.adversarials.shape == inputs.shape
        assert bool(result.success.all())
        assert result.error is None
        sizes = distance(result.adversarials, inputs, attack.norm)
        assert torch.allclose(sizes, result.distances, rtol=1e-6), "distances must be those of the adversarials"
        assert bool((result.distances >= 0.999 * model.distance(inputs, attack.norm)).all()), "closer than possible"
        assert bool((model.predict(result.adversarials) != model.predict(inputs)).all()), "an adversarial is none"
        for point, clean in zip(result.adversarials, inputs, strict=True):
            answer = recorder.answer_to(point)
            assert answer is not None, "the adversarial returned was never asked"
            assert answer != int(model.predict(clean[None])), "the adversarial returned was seen not to be one"


def _check_points_stay_in_bounds(attack: Attack) -> None:
    for setting, (_, bounds) in enumerate(_SETTINGS):
        model, inputs = _problem(attack, setting=setting)
        inputs[0] = bounds.lower
        inputs[1] = bounds.upper
        recorder = RecordingModel(model.predict)
        attack_closed_form(attack, model, inputs, recorder=recorder)
        low, high = (float(value) for value in torch.aminmax(recorder.questions))
        limits = torch.tensor([bounds.lower, bounds.upper]).tolist()  # as float32 has them
        assert limits[0] <= low, f"asked at {low!r}, below the lower bound {limits[0]!r}"
        assert high <= limits[1], f"asked at {high!r}, above the upper bound {limits[1]!r}"


def _check_budget_is_kept(attack: Attack) -> None:
    """Also where it ends in a start, in a bisection, inside a batch of probes or in a line search."""
    plain, wide = _problem(attack, 3), _problem(attack, 3, setting=2)
    for budget in (*range(1, 50), *range(50, 400, 13)):
        model, inputs = wide if budget % 3 else plain
        recorder = RecordingModel(model.predict)
        result = attack_closed_form(attack, model, inputs, budget=budget, recorder=recorder)
        assert result.error is None, f"with {budget} queries: {result.error}"
        assert int(result.queries.max()) <= budget, f"asked {int(result.queries.max())} of {budget} queries"
        assert recorder.rows == int(result.queries.sum()), "the meter's count is not the model's"
        assert bool(recorder.questions.isfinite().all()), f"with {budget} queries, asked for NaN or infinity"
        for row, status in enumerate(result.status):
            expected = Status.SUCCESS if bool(result.success[row]) else Status.BUDGET_EXHAUSTED
            assert status is expected, f"with {budget} queries, {status} where success is {bool(result.success[row])}"
            answer = recorder.answer_to(result.adversarials[row])
            assert answer == int(result.success[row]), f"with {budget} queries, returned a point answered {answer}"


def _check_more_queries_do_not_hurt(attack: Attack) -> None:
    model, inputs = _problem(attack)
    sizes = [float(attack_closed_form(attack, model, inputs, budget=b).distances.median()) for b in (100, 400, 2000)]
    best = 1.0001 * float(model.distance(inputs, attack.norm).median())  # nothing is left to gain there
    told = f"median norms at 100, 400 and 2000 queries: {sizes}"
    assert sizes[1] < sizes[0], told
    assert sizes[2] < sizes[1] or sizes[1] <= best, told


def _check_statuses(attack: Attack) -> None:
    model, inputs = _problem(attack, 5)
    inputs[1, 3] = float("nan")
    inputs[2, 0] = float("inf")
    labels = torch.tensor([0, 0, 0, 1, 0])  # row 3 is misclassified when clean
    result = attack_closed_form(attack, model, inputs, labels=labels)
    expected = (Status.SUCCESS, Status.NON_FINITE, Status.NON_FINITE, Status.ALREADY_MISCLASSIFIED, Status.SUCCESS)
    assert result.status == expected, f"got {result.status}"
    assert result.success.tolist() == [True, False, False, False, True]
    assert bool(result.distances[~result.success].isnan().all()), "no distance where there is no adversarial"
    assert torch.equal(result.adversarials[3], inputs[3]), "without success, the clean input comes back"
    assert bool(result.adversarials.isfinite().all())
    assert result.queries[1] == 0, "a row that is not finite costs nothing"
    assert result.queries[2] == 0, "a row that is not finite costs nothing"
    assert result.queries[3] == 1, "one query tells that an input is misclassified"
    assert result.status_counts == {"success": 2, "non_finite": 2, "already_misclassified": 1}


def _check_no_starting_point(attack: Attack) -> None:
    model, inputs = _problem(attack)
    recorder = RecordingModel(lambda x: torch.zeros(x.shape[0], dtype=torch.int64))
    result = attack_closed_form(attack, model, inputs, budget=None, recorder=recorder)
    assert result.status == (Status.NO_STARTING_POINT,) * 4, f"got {result.status}"
    assert torch.equal(result.adversarials, inputs)
    assert not bool(result.success.any())
    result = attack_closed_form(attack, model, inputs, budget=5, recorder=recorder)
    assert result.status == (Status.BUDGET_EXHAUSTED,) * 4, f"got {result.status}"
    assert result.queries.tolist() == [5] * 4


def _check_starting_points(attack: Attack) -> None:
    """A small ball that no random start hits is found from a point in it; a bad point is not believed."""
    model = QuadricClassifier((30,), radius=0.3)
    inputs = model.inputs(3, length=0.8)
    inside = torch.full((3, 30), 0.5)
    for budget in (1, 2, 400):
        result = attack_closed_form(attack, model, inputs, budget=budget, starting_points=inside)
        assert result.error is None, result.error
        assert bool(result.success.all()) is (budget > 1), f"with {budget} queries, success {result.success.tolist()}"
    inside[1] = inputs[0]
    result = attack_closed_form(attack, model, inputs, budget=400, starting_points=inside)
    assert result.success.tolist() == [True, False, True]
    assert result.status[1] in (Status.NO_STARTING_POINT, Status.BUDGET_EXHAUSTED)


def _check_targeted(attack: Attack) -> None:
    """Of three classes in stripes, the middle one is aimed at; a label in between does not count."""
    model, inputs = _problem(attack, 3)

    def predict(x: Tensor) -> Tensor:
        flat = x.flatten(1).double()
        gap = (flat * model.normal).sum(1) - model.threshold
        labels: Tensor = (gap > 0).long() + (gap > 0.05).long()
        return labels

    targets = torch.tensor([2, 1, 0])
    starts = torch.rand((3, 30), generator=torch.Generator().manual_seed(0))
    normal = model.normal.float()
    starts[0] = inputs[0] + 0.5 * normal
    starts[1] = inputs[1] + (0.02 - float(((inputs[1] - 0.5).double() * model.normal).sum())) * normal
    recorder = RecordingModel(predict)
    result = attack_closed_form(
        attack, model, inputs, recorder=recorder, targets=targets, starting_points=starts.clamp(0.0, 1.0), num_classes=3
    )
    assert result.status == (Status.SUCCESS, Status.SUCCESS, Status.ALREADY_MISCLASSIFIED), f"got {result.status}"
    assert predict(result.adversarials).tolist() == [2, 1, 0], "an adversarial has another label than its target"


def _check_batch_does_not_matter(attack: Attack) -> None:
    model, inputs = _problem(attack, 4)
    names = [11, 7, 1_000_000, 3]
    whole = attack_closed_form(attack, model, inputs, identities=names)
    back = attack_closed_form(attack, model, inputs.flip(0), identities=names[::-1])
    assert torch.equal(back.adversarials.flip(0), whole.adversarials), "the order of a batch changes the result"
    assert torch.equal(back.queries.flip(0), whole.queries), "the order of a batch changes the queries"
    for row in range(4):
        alone = attack_closed_form(attack, model, inputs[row : row + 1], identities=names[row : row + 1])
        assert torch.equal(alone.adversarials[0], whole.adversarials[row]), "an input's result depends on its batch"
        assert alone.queries[0] == whole.queries[row]
        assert alone.status[0] is whole.status[row]
    troubled = inputs.clone()
    troubled[1] = float("nan")
    beside = attack_closed_form(attack, model, troubled, identities=names)
    assert torch.equal(beside.adversarials[[0, 2, 3]], whole.adversarials[[0, 2, 3]]), "a bad row changes the others"


def _check_seeds(attack: Attack) -> None:
    model, inputs = _problem(attack, 2)
    one, again, other = (attack_closed_form(attack, model, inputs, seed=seed) for seed in (1, 1, 2))
    fixed = bool(getattr(attack, "deterministic", False))
    assert _same(one, again), "the same seed must give the same result"
    if fixed:
        assert _same(one, other), "a deterministic attack must give the same result whatever the seed"
    else:
        assert not _same(one, other), "another seed must give another result, or take other queries to it"
    twins = attack_closed_form(attack, model, inputs[[0, 0]], identities=[5, 5])
    assert torch.equal(twins.adversarials[0], twins.adversarials[1]), "equal inputs of one identity must come out equal"
    strangers = attack_closed_form(attack, model, inputs[[0, 0]], identities=[5, 6])
    alike = torch.equal(strangers.adversarials[0], strangers.adversarials[1])
    alike = alike and bool(strangers.queries[0] == strangers.queries[1])
    assert alike is fixed, "identities must draw other noise, but for a deterministic attack"


def _check_nothing_else_is_touched(attack: Attack) -> None:
    model, inputs = _problem(attack, 2)
    given, shown = inputs.clone(), repr(attack)
    before = torch.get_rng_state(), random.getstate(), repr(np.random.get_state())  # noqa: NPY002 - must stay as it is
    attack_closed_form(attack, model, inputs)
    after = torch.get_rng_state(), random.getstate(), repr(np.random.get_state())  # noqa: NPY002
    assert torch.equal(before[0], after[0]), "torch's global generator was used"
    assert before[1:] == after[1:], "a global generator was used"
    assert torch.equal(inputs, given), "the inputs were changed"
    assert repr(attack) == shown, "the attack remembers a run; it must hold hyper-parameters only"


def _check_units_do_not_matter(attack: Attack) -> None:
    """In bounds of [0, 256] everything is 256 times as large, bit for bit, because 256 is a power of two."""
    plain = LinearClassifier((30,))
    wide = LinearClassifier((30,), bounds=Bounds(0.0, 256.0))
    inputs = plain.inputs(3, distance=0.15 if attack.norm is Norm.L2 else 0.03, norm=attack.norm)
    one = attack_closed_form(attack, plain, inputs)
    other = attack_closed_form(attack, wide, 256.0 * inputs)
    assert torch.equal(one.queries, other.queries), "the number of queries depends on the units of the input"
    assert torch.equal(256.0 * one.adversarials, other.adversarials), "the result depends on the units of the input"


def _check_empty_batch(attack: Attack) -> None:
    model, inputs = _problem(attack)
    result = attack_closed_form(attack, model, inputs[:0], labels=torch.zeros(0, dtype=torch.int64))
    assert result.adversarials.shape == (0, 30)
    assert result.status == ()
    assert result.queries.shape == (0,)
    assert result.status_counts == {}


def _check_trajectory(attack: Attack) -> None:
    model, inputs = _problem(attack)
    result = attack_closed_form(attack, model, inputs)
    queries, sizes = result.trajectory.queries, result.trajectory.distances
    assert queries.shape == sizes.shape
    assert queries.shape[1] == 4
    assert bool((queries[1:] >= queries[:-1]).all()), "queries never go down"
    assert torch.equal(queries[-1], result.queries), "the trajectory must end at the end"
    assert torch.equal(sizes[-1], result.distances)
    assert result.trajectory.median_at(_BUDGET) <= result.trajectory.median_at(_BUDGET // 3)


def _check_progress(attack: Attack) -> None:
    model, inputs = _problem(attack, 2)
    told: list[tuple[int, int]] = []
    result = attack_closed_form(attack, model, inputs, progress=lambda done, most: told.append((done, most)))
    assert told, "a run of several iterations must tell how far it is"
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (int(result.queries.sum()), 2 * _BUDGET)


def _check_resume(attack: Attack) -> None:
    """Killed or failed at any call to the model, and resumed, a run ends as if nothing had happened."""
    model, inputs = _problem(attack, 3)
    whole_recorder = RecordingModel(model.predict)
    whole = attack_closed_form(attack, model, inputs, recorder=whole_recorder)
    calls = whole_recorder.calls
    for fail_at in sorted({1, 2, calls // 4, calls // 2, calls - 3, calls}):
        for failure in (KeyboardInterrupt(), RuntimeError("out of order")):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "state.safetensors"
                broken = RecordingModel(model.predict, fail_at=fail_at, failure=failure)
                try:
                    result = attack_closed_form(attack, model, inputs, recorder=broken, checkpoint=path)
                except KeyboardInterrupt:
                    result = None
                if result is not None:
                    assert result.error is not None
                    assert "out of order" in result.error, f"the error does not say what happened: {result.error}"
                    assert Status.ORACLE_FAILED in result.status, f"got {result.status}"
                    assert Status.RUNNING not in result.status
                resumed = attack_closed_form(attack, model, inputs, checkpoint=path)
                assert resumed.error is None
                assert _same(resumed, whole), f"resumed after call {fail_at} of {calls}, the result is another"
                assert torch.equal(resumed.trajectory.queries, whole.trajectory.queries)
                assert torch.equal(resumed.trajectory.distances, whole.trajectory.distances)
                again = attack_closed_form(
                    attack, model, inputs, checkpoint=path, recorder=RecordingModel(model.predict, fail_at=1)
                )
                assert _same(again, whole), "a finished run must come back from its checkpoint without a query"


def _check_interrupted_progress(attack: Attack) -> None:
    """Ctrl-C lands in the caller's progress as often as in the model."""
    model, inputs = _problem(attack, 2)
    whole = attack_closed_form(attack, model, inputs)
    for stop_at in (1, 2, 3):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "state.safetensors"
            told: list[int] = []

            def progress(done: int, _most: int, told: list[int] = told, stop_at: int = stop_at) -> None:
                told.append(done)
                if len(told) == stop_at:
                    raise KeyboardInterrupt

            try:
                attack_closed_form(attack, model, inputs, checkpoint=path, progress=progress)
            except KeyboardInterrupt:
                assert path.exists(), "an interrupt must leave a checkpoint"
            resumed = attack_closed_form(attack, model, inputs, checkpoint=path)
            assert _same(resumed, whole), f"interrupted in progress call {stop_at}, the resumed result is another"
            assert torch.equal(resumed.trajectory.queries, whole.trajectory.queries)


def _check_failed_oracle_keeps_the_best(attack: Attack) -> None:
    model, inputs = _problem(attack, 3)
    recorder = RecordingModel(model.predict)
    attack_closed_form(attack, model, inputs, recorder=recorder)
    late = RecordingModel(model.predict, fail_at=recorder.calls - 1)
    result = attack_closed_form(attack, model, inputs, recorder=late)
    assert bool(result.success.all()), "what was found before the failure must not be lost"
    assert bool((model.predict(result.adversarials) == 1).all())
    first = RecordingModel(model.predict, fail_at=1)
    result = attack_closed_form(attack, model, inputs, recorder=first)
    assert result.status == (Status.ORACLE_FAILED,) * 3, f"got {result.status}"
    assert torch.equal(result.adversarials, inputs)
    assert not bool(result.success.any())


def _check_foreign_checkpoint(attack: Attack) -> None:
    model, inputs = _problem(attack, 2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.safetensors"
        attack_closed_form(attack, model, inputs, checkpoint=path)
        for what, call in {
            "seed": lambda: attack_closed_form(attack, model, inputs, checkpoint=path, seed=9),
            "budget": lambda: attack_closed_form(attack, model, inputs, checkpoint=path, budget=_BUDGET + 1),
            "inputs": lambda: attack_closed_form(attack, model, 0.99 * inputs, checkpoint=path),
            "targets": lambda: attack_closed_form(
                attack, model, inputs, checkpoint=path, targets=torch.ones(2, dtype=torch.int64)
            ),
            "identities": lambda: attack_closed_form(attack, model, inputs, checkpoint=path, identities=[4, 5]),
        }.items():
            message = _refusal(VerificationError, call)
            assert "belongs to another attack" in message, f"a checkpoint with another {what} was taken: {message!r}"
        data = path.read_bytes()
        for broken in (b"", b"\0", data[:7], data[:8], data[: len(data) // 2], data[:-1], b"[" * 4096, b"PK" + data):
            path.write_bytes(broken)
            message = _refusal(FormatError, lambda: attack_closed_form(attack, model, inputs, checkpoint=path))
            assert str(path) in message, f"{len(broken)} bytes of a checkpoint were taken: {message!r}"


def _check_bad_inputs(attack: Attack) -> None:
    model, inputs = _problem(attack, 3)
    zeros, wide = torch.zeros(3, dtype=torch.int64), inputs.double()
    run = attack_closed_form
    mistakes: dict[str, Callable[[], object]] = {
        r"shape (N, 30); got (3, 31)": lambda: run(attack, model, torch.rand(3, 31), labels=zeros),
        r"shape (N, 30); got (3, 30, 1)": lambda: run(attack, model, inputs[:, :, None], labels=zeros),
        r"shape (N, 30); got (3,)": lambda: run(attack, model, inputs[:, 0], labels=zeros),
        "floating point in [0, 1]; got torch.int64": lambda: run(
            attack, model, zeros[:, None].expand(3, 30), labels=zeros
        ),
        "must lie in [0, 1]; got values from": lambda: run(attack, model, inputs + 1.0, labels=zeros),
        "labels must be int64 of shape (3,); got torch.int64 (2,)": lambda: run(
            attack, model, inputs, labels=zeros[:2]
        ),
        "labels must be int64 of shape (3,); got torch.float32": lambda: run(
            attack, model, inputs, labels=zeros.float()
        ),
        "labels must be from 0 to 1; got 0 to 7": lambda: run(attack, model, inputs, labels=torch.tensor([0, 7, 1])),
        "labels must be from 0 to 1; got -1 to 0": lambda: run(attack, model, inputs, labels=torch.tensor([0, -1, 0])),
        "targets must be int64 of shape (3,)": lambda: run(attack, model, inputs, targets=zeros[:1]),
        "targets must be from 0 to 1; got 0 to 2": lambda: run(attack, model, inputs, targets=torch.tensor([0, 2, 1])),
        "starting points must have shape (N, 30)": lambda: run(attack, model, inputs, starting_points=inputs[:, :9]),
        "starting points must be finite": lambda: run(attack, model, inputs, starting_points=inputs / 0.0),
        "starting points must be as many as the inputs, 3; got 2": lambda: run(
            attack, model, inputs, starting_points=inputs[:2]
        ),
        "identities must be 3 integers, one an input; got 2": lambda: run(attack, model, inputs, identities=[1, 2]),
        "budget must be at least 1 per input; got 0": lambda: run(attack, model, inputs, budget=0),
    }
    for expected, call in mistakes.items():
        message = _refusal((InputError, ConfigurationError), call)
        assert expected in message, f"expected an error with {expected!r}; got {message!r}"
    assert run(attack, model, wide).status == (Status.SUCCESS,) * 3, "float64 inputs are as good"


ATTACK_CHECKS: Mapping[str, AttackCheck] = {
    "result_is_consistent": _check_result_is_consistent,
    "points_stay_in_bounds": _check_points_stay_in_bounds,
    "budget_is_kept": _check_budget_is_kept,
    "more_queries_do_not_hurt": _check_more_queries_do_not_hurt,
    "statuses": _check_statuses,
    "no_starting_point": _check_no_starting_point,
    "starting_points": _check_starting_points,
    "targeted": _check_targeted,
    "batch_does_not_matter": _check_batch_does_not_matter,
    "seeds": _check_seeds,
    "nothing_else_is_touched": _check_nothing_else_is_touched,
    "units_do_not_matter": _check_units_do_not_matter,
    "empty_batch": _check_empty_batch,
    "trajectory": _check_trajectory,
    "progress": _check_progress,
    "resume": _check_resume,
    "interrupted_progress": _check_interrupted_progress,
    "failed_oracle_keeps_the_best": _check_failed_oracle_keeps_the_best,
    "foreign_checkpoint": _check_foreign_checkpoint,
    "bad_inputs": _check_bad_inputs,
}
"""Checks by name; each takes an attack."""
