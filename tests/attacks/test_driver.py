"""What the driver owes besides the contract: which runs a checkpoint belongs to, and results as people read them."""

import stat

import pytest
import torch

from variegate.attacks import driver
from variegate.attacks.base import AttackResult, Trajectory
from variegate.attacks.driver import run_attack
from variegate.attacks.hopskipjump import HopSkipJump
from variegate.errors import ConfigurationError, InputError, NotFoundError, VerificationError
from variegate.oracles.hard_label import HardLabelOracle
from variegate.testing.closed_form import LinearClassifier, RecordingModel
from variegate.types import Norm, Status

MODEL = LinearClassifier((30,))
INPUTS = MODEL.inputs(3, distance=0.15, norm=Norm.L2)
LABELS = torch.zeros(3, dtype=torch.int64)
ATTACK = HopSkipJump(iterations=3)


def oracle(predict=MODEL.predict, *, samples=3, budget=None):
    return HardLabelOracle(
        predict, input_shape=(30,), bounds=MODEL.bounds, num_classes=2, samples=samples, budget=budget
    )


def test_an_oracle_for_another_number_of_inputs():
    with pytest.raises(ConfigurationError, match="the oracle was built for 2 inputs; got 3"):
        run_attack(ATTACK, oracle(samples=2), INPUTS, LABELS, seed=0)


def test_a_checkpoint_belongs_to_one_model(tmp_path):
    path = tmp_path / "state"
    run_attack(ATTACK, oracle(), INPUTS, LABELS, seed=0, checkpoint=path, subject="copy 1")
    run_attack(ATTACK, oracle(), INPUTS, LABELS, seed=0, checkpoint=path, subject="copy 1")
    with pytest.raises(VerificationError, match="belongs to another attack"):
        run_attack(ATTACK, oracle(), INPUTS, LABELS, seed=0, checkpoint=path, subject="copy 2")


@pytest.mark.parametrize(
    "other",
    [HopSkipJump(iterations=4), HopSkipJump(iterations=3, gamma=2.0), HopSkipJump(iterations=3, semantics="art")],
)
def test_a_checkpoint_belongs_to_one_attack(tmp_path, other):
    path = tmp_path / "state"
    run_attack(ATTACK, oracle(), INPUTS, LABELS, seed=0, checkpoint=path)
    with pytest.raises(VerificationError, match="other inputs, parameters, seed or budget"):
        run_attack(other, oracle(), INPUTS, LABELS, seed=0, checkpoint=path)


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [(HopSkipJump, "revision", 10**6), (driver, "__version__", "0.0.0+other"), (torch, "__version__", "1.0.0")],
)
def test_a_checkpoint_belongs_to_one_state_of_the_code(tmp_path, monkeypatch, place, name, value):
    path = tmp_path / "state"
    run_attack(ATTACK, oracle(), INPUTS, LABELS, seed=0, checkpoint=path)
    with monkeypatch.context() as other:
        other.setattr(place, name, value)
        with pytest.raises(VerificationError, match="belongs to another attack"):
            run_attack(ATTACK, oracle(), INPUTS, LABELS, seed=0, checkpoint=path)
    run_attack(ATTACK, oracle(), INPUTS, LABELS, seed=0, checkpoint=path)


def test_a_checkpoint_belongs_to_one_kind_of_device():
    """Sums differ in their last bits between kinds, not between two devices of one kind."""

    def digest(device):
        target = HardLabelOracle(
            MODEL.predict, input_shape=(30,), bounds=MODEL.bounds, num_classes=2, samples=3, device=device
        )
        return driver._run_digest(ATTACK, target, INPUTS)

    assert digest("cpu") != digest("cuda:0") == digest("cuda:1")


def test_a_checkpoint_belongs_to_one_class(monkeypatch):
    """A plug-in may give its class the name of another."""
    before = driver._run_digest(ATTACK, oracle())
    monkeypatch.setattr(HopSkipJump, "__module__", "elsewhere")
    assert driver._run_digest(ATTACK, oracle()) != before


def test_starting_points_are_put_into_the_bounds():
    bounds = MODEL.bounds
    start = MODEL.inputs(3, distance=-0.15, norm=Norm.L2)
    start[:, 0], start[:, 1] = bounds.lower - 5e-6 * bounds.range, bounds.upper + 5e-6 * bounds.range
    recorder = RecordingModel(MODEL.predict)
    run_attack(ATTACK, oracle(recorder.predict), INPUTS, LABELS, seed=0, starting_points=start)
    low, high = torch.aminmax(recorder.questions)
    assert bounds.lower <= float(low) <= float(high) <= bounds.upper


def test_an_attack_that_leaves_the_bounds_is_told_so(monkeypatch):
    monkeypatch.setattr("variegate.attacks.hopskipjump.bisect", lambda ask, x, y, rows, **_: ask(y + 1, rows))
    with pytest.raises(InputError, match="the inputs that an oracle labels must lie in"):
        run_attack(ATTACK, oracle(), INPUTS, LABELS, seed=0)


def test_identities_of_any_integer_kind_name_the_same_run(tmp_path):
    path = tmp_path / "state"
    names = torch.tensor([4, 5, 6])
    first = run_attack(ATTACK, oracle(), INPUTS, LABELS, seed=0, checkpoint=path, identities=names.numpy())
    again = run_attack(ATTACK, oracle(), INPUTS, LABELS, seed=0, checkpoint=path, identities=[4, 5, 6])
    assert torch.equal(first.adversarials, again.adversarials)


def test_many_identities_are_not_abbreviated(tmp_path):
    """repr() of a long array leaves out the middle: two runs must not be taken for one because of it."""
    count = 1500
    inputs, labels = INPUTS[:1].expand(count, 30), torch.ones(count, dtype=torch.int64)  # all misclassified: no work
    names = torch.arange(count).numpy()
    path = tmp_path / "state"
    run_attack(ATTACK, oracle(samples=count), inputs, labels, seed=0, checkpoint=path, identities=names)
    names[700] = 9999
    with pytest.raises(VerificationError):
        run_attack(ATTACK, oracle(samples=count), inputs, labels, seed=0, checkpoint=path, identities=names)


def test_a_checkpoint_in_a_missing_folder(tmp_path):
    with pytest.raises(NotFoundError, match="nowhere"):
        run_attack(ATTACK, oracle(), INPUTS, LABELS, seed=0, checkpoint=tmp_path / "nowhere" / "state")


def test_a_checkpoint_that_is_a_folder(tmp_path):
    with pytest.raises(InputError, match=str(tmp_path)):
        run_attack(ATTACK, oracle(), INPUTS, LABELS, seed=0, checkpoint=tmp_path)


def test_checkpoints_leave_nothing_beside_them(tmp_path):
    path = tmp_path / "state"
    run_attack(ATTACK, oracle(), INPUTS, LABELS, seed=0, checkpoint=path, checkpoint_seconds=0.0)
    assert list(tmp_path.iterdir()) == [path]
    assert stat.S_ISREG(path.stat().st_mode)


def test_an_error_in_progress_is_the_callers_and_keeps_the_state(tmp_path):
    path = tmp_path / "state"

    def progress(done, most):
        if done > 300:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_attack(ATTACK, oracle(), INPUTS, LABELS, seed=0, checkpoint=path, progress=progress)
    resumed = run_attack(ATTACK, oracle(), INPUTS, LABELS, seed=0, checkpoint=path)
    whole = run_attack(ATTACK, oracle(), INPUTS, LABELS, seed=0)
    assert torch.equal(resumed.adversarials, whole.adversarials)
    assert torch.equal(resumed.queries, whole.queries)


def test_seconds_add_up_over_a_resume(tmp_path):
    path = tmp_path / "state"
    first = run_attack(ATTACK, oracle(), INPUTS, LABELS, seed=0, checkpoint=path)
    again = run_attack(ATTACK, oracle(), INPUTS, LABELS, seed=0, checkpoint=path)
    assert 0 < again.seconds < first.seconds + 60
    assert first.iterations == again.iterations == 3


def test_an_oracle_that_answers_nonsense_fails_the_attack_and_says_how():
    for answer, message in (
        (lambda x: torch.zeros(len(x)), "int64 labels of shape (3,); got torch.float32 (3,)"),
        (lambda x: torch.zeros(1, dtype=torch.int64), "got torch.int64 (1,)"),
        (lambda x: [0] * len(x), "got a list"),
        (lambda x: torch.full((len(x),), -1), "labels from 0 to 1; got -1 to -1"),
    ):
        result = run_attack(ATTACK, oracle(answer), INPUTS, LABELS, seed=0)
        assert result.status == (Status.ORACLE_FAILED,) * 3
        assert message in result.error
        assert result.queries.tolist() == [0, 0, 0]


def test_queries_of_a_failed_step_are_not_counted_twice():
    recorder = RecordingModel(MODEL.predict)
    whole = run_attack(ATTACK, oracle(recorder.predict), INPUTS, LABELS, seed=0)
    failing = RecordingModel(MODEL.predict, fail_at=recorder.calls - 1)
    result = run_attack(ATTACK, oracle(failing.predict), INPUTS, LABELS, seed=0)
    assert bool((result.queries < whole.queries).all())
    assert torch.equal(result.queries, result.trajectory.queries[-1])


def result_of(status, distances, queries=None, sizes=None):
    count = len(status)
    return AttackResult(
        adversarials=torch.zeros((count, 1)),
        status=status,
        queries=torch.zeros(count, dtype=torch.int64),
        distances=torch.tensor(distances),
        trajectory=Trajectory(
            queries=torch.tensor(queries if queries is not None else [[0] * count]),
            distances=torch.tensor(sizes if sizes is not None else [[0.0] * count]),
        ),
        norm=Norm.L2,
        iterations=0,
        seconds=0.0,
    )


def test_success_is_a_finite_distance():
    """Also where the run ended before the attack was done."""
    nan = float("nan")
    result = result_of(
        (Status.SUCCESS, Status.ORACLE_FAILED, Status.ORACLE_FAILED, Status.NON_FINITE), [1.0, 2.0, nan, nan]
    )
    assert result.success.tolist() == [True, True, False, False]
    assert result.status_counts == {"success": 1, "oracle_failed": 2, "non_finite": 1}


def test_median_of_a_trajectory():
    inf = float("inf")
    trajectory = result_of(
        (Status.SUCCESS,) * 3,
        [0.1, 0.2, 0.3],
        queries=[[10, 12, 20], [30, 30, 40], [90, 95, 99]],
        sizes=[[3.0, inf, 5.0], [2.0, 4.0, inf], [1.0, 4.5, 2.5]],
    ).trajectory
    assert trajectory.median_at(5) == inf
    assert trajectory.median_at(11) == inf  # one of three
    assert trajectory.median_at(20) == 5.0  # 3, inf, 5
    assert trajectory.median_at(35) == 4.0  # 2, 4, 5
    assert trajectory.median_at(1000) == 2.5  # 1, 4, 2.5: the smallest so far, although the second went up
