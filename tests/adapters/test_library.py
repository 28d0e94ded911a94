"""A library's attack in variegate's driver, with libraries made up for the purpose."""

import pytest
import torch

from variegate.adapters.library import LibraryAttack, run_library_attack
from variegate.errors import ConfigurationError
from variegate.oracles.hard_label import HardLabelOracle
from variegate.testing.closed_form import LinearClassifier, RecordingModel
from variegate.types import Norm, Status

SHAPE = (2, 3)
MODEL = LinearClassifier(SHAPE)
INPUTS = MODEL.inputs(3, distance=0.1, norm=Norm.L2)


def towards(image, question, steps=20):
    """Step across the hyperplane, ask at each step, and return the last point."""
    way = MODEL.normal.float().view(1, *SHAPE)
    points = torch.cat([question.clean + way * 0.4 * step / steps for step in range(steps)])
    image(points)
    return points[-1:]


def attack(run, *, budget=30, rule="closest", predict=MODEL.predict, labels=None, **options):
    recorder = RecordingModel(predict)
    oracle = HardLabelOracle(
        recorder.predict, input_shape=SHAPE, bounds=MODEL.bounds, num_classes=2, samples=3, budget=budget
    )
    made = LibraryAttack(library="made up", attack="towards", settings="", run=run, rule=rule)
    labels = MODEL.predict(INPUTS) if labels is None else labels
    return run_library_attack(made, oracle, INPUTS, labels, seed=0, **options), recorder


def test_closest_and_returned():
    closest, recorder = attack(towards)
    assert closest.status == (Status.SUCCESS,) * 3
    assert closest.queries.tolist() == [21] * 3  # one is the driver's, for the clean input
    assert recorder.rows == int(closest.queries.sum())
    returned, _ = attack(towards, rule="returned")
    assert returned.queries.tolist() == [22] * 3  # and one for what was returned
    assert bool((returned.distances > closest.distances).all())
    for result in (closest, returned):
        assert bool((MODEL.predict(result.adversarials) == 1).all())
        assert torch.allclose((result.adversarials - INPUTS).flatten(1).norm(dim=1), result.distances, atol=1e-6)
    assert closest.trajectory.median_at(5) == float("inf")
    assert closest.trajectory.median_at(30) == pytest.approx(float(closest.distances.median()))


@pytest.mark.parametrize("rule", ["closest", "returned"])
@pytest.mark.parametrize("budget", [1, 2, 3, 9, 15, 21, 22])
def test_no_budget_is_exceeded(budget, rule):
    result, recorder = attack(towards, budget=budget, rule=rule)
    assert recorder.rows == int(result.queries.sum()) <= 3 * budget
    assert int(result.queries.max()) <= budget
    assert set(result.status) <= {Status.SUCCESS, Status.BUDGET_EXHAUSTED}
    found = [status is Status.SUCCESS for status in result.status]
    assert result.success.tolist() == found
    if rule == "returned":
        assert all(found) == (budget >= 22)


def test_statuses():
    def nowhere(image, question):
        image(question.clean)
        return question.clean

    assert attack(nowhere)[0].status == (Status.NO_STARTING_POINT,) * 3
    assert attack(nowhere, rule="returned")[0].status == (Status.NO_STARTING_POINT,) * 3
    labels = torch.tensor([0, 1, 0])
    assert attack(towards, labels=labels)[0].status[1] is Status.ALREADY_MISCLASSIFIED

    def failing(image, question):
        towards(image, question)
        raise ValueError("init_attack failed")

    assert attack(failing)[0].status == (Status.SUCCESS,) * 3  # what was seen counts
    assert attack(failing, rule="returned")[0].status == (Status.BUDGET_EXHAUSTED,) * 3

    def asks_nonsense(image, question):
        image(question.clean)
        image(question.clean * float("nan"))

    assert attack(asks_nonsense)[0].status == (Status.NO_STARTING_POINT,) * 3


def test_a_model_that_fails():
    recorder = RecordingModel(MODEL.predict, fail_at=3)
    result, _ = attack(towards, predict=recorder.predict)
    assert result.status == (Status.SUCCESS, Status.ORACLE_FAILED, Status.ORACLE_FAILED)
    assert "out of order" in result.error


def test_a_resumed_run_goes_on_with_the_next_image(tmp_path):
    whole, _ = attack(towards)
    stopping = RecordingModel(MODEL.predict, fail_at=3, failure=KeyboardInterrupt())
    asked = []

    def count(x):
        asked.append(len(x))
        return MODEL.predict(x)

    with pytest.raises(KeyboardInterrupt):
        attack(towards, predict=stopping.predict, checkpoint=tmp_path / "a")
    result, _ = attack(towards, predict=count, checkpoint=tmp_path / "a")
    assert asked == [20, 20]
    assert torch.equal(result.adversarials, whole.adversarials)
    assert torch.equal(result.queries, whole.queries)
    assert float(result.trajectory.distances[-1, 0]) == float(result.distances[0])


def test_an_image_does_not_depend_on_the_others():
    def drawn(image, question):
        image(question.clean + torch.randn(12, *SHAPE))
        return question.clean

    whole, _ = attack(drawn, identities=[7, 8, 9])
    again, _ = attack(drawn, identities=[9, 8, 7])
    assert float(whole.distances[1]) == float(again.distances[1])
    assert float(whole.distances[0]) != float(again.distances[0])


def test_mistakes():
    def refuses(_image, _question):
        raise TypeError("unexpected keyword")

    with pytest.raises(ConfigurationError, match="made up towards failed before its first question: unexpected"):
        attack(refuses)
    with pytest.raises(ConfigurationError, match="ended by the budget"):
        attack(towards, budget=None)
