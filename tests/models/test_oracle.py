"""The oracle shows labels only, counts every query of any attack, and ends where the budget does."""

import math

import pytest
import torch

from variegate.errors import BudgetError, ConfigurationError, InputError, OracleError
from variegate.oracles.hard_label import HardLabelOracle, QueryMeter
from variegate.testing.closed_form import RecordingModel
from variegate.types import Bounds


def oracle(predict=None, *, samples=3, budget=None, **options):
    predict = predict or (lambda x: (x.flatten(1).sum(1) > 1).long())
    return HardLabelOracle(
        predict, input_shape=(2,), bounds=Bounds(), num_classes=2, samples=samples, budget=budget, **options
    )


def ask(target, *samples):
    return target.label(torch.ones(len(samples), 2), torch.tensor(samples, dtype=torch.int64))


def test_labels_and_counts():
    recorder = RecordingModel(lambda x: (x[:, 0] > 0.5).long())
    target = oracle(recorder.predict)
    x = torch.tensor([[0.1, 0.0], [0.9, 0.0], [0.6, 0.0], [0.2, 0.0]])
    assert target.label(x, torch.tensor([0, 2, 2, 2])).tolist() == [0, 1, 1, 0]
    assert target.meter.per_sample.tolist() == [1, 0, 3]
    assert target.meter.total == recorder.rows == 4
    assert bool((target.remaining() > 10**15).all())


def test_budget_is_per_input_and_nothing_is_labelled_beyond_it():
    recorder = RecordingModel(lambda x: torch.zeros(len(x), dtype=torch.int64))
    target = oracle(recorder.predict, budget=3)
    ask(target, 0, 0, 1)
    assert target.remaining().tolist() == [1, 2, 3]
    with pytest.raises(BudgetError, match="input 0 has 1 of 3 queries left; 2 were asked for; nothing was labelled"):
        ask(target, 2, 0, 0)
    assert target.meter.per_sample.tolist() == [2, 1, 0]
    assert recorder.calls == 1
    ask(target, 0, 1, 1, 2, 2, 2)
    assert target.remaining().tolist() == [0, 0, 0]
    with pytest.raises(BudgetError, match="input 1 has 0 of 3"):
        ask(target, 1)


def test_no_rows_cost_nothing_and_do_not_reach_the_model():
    recorder = RecordingModel(lambda x: torch.zeros(len(x), dtype=torch.int64))
    target = oracle(recorder.predict, budget=1)
    labels = target.label(torch.empty(0, 2), torch.empty(0, dtype=torch.int64))
    assert labels.shape == (0,)
    assert labels.dtype is torch.int64
    assert (recorder.calls, target.meter.total) == (0, 0)


@pytest.mark.parametrize(
    ("x", "samples", "message"),
    [
        (torch.zeros(1, 3), [0], r"shape \(M, 2\) and M sample positions; got \(1, 3\) and \(1,\)"),
        (torch.zeros(2, 2), [0], r"got \(2, 2\) and \(1,\)"),
        (torch.zeros(2), [0, 1], r"got \(2,\) and \(2,\)"),
        (torch.zeros(1, 2), [3], "sample positions must be from 0 to 2; got 3 to 3"),
        (torch.zeros(2, 2), [0, -1], "sample positions must be from 0 to 2; got -1 to 0"),
    ],
)
def test_questions_that_do_not_fit(x, samples, message):
    target = oracle()
    with pytest.raises(InputError, match=message):
        target.label(x, torch.tensor(samples))
    assert target.meter.total == 0


def test_positions_must_be_integers():
    with pytest.raises(InputError, match="sample positions must be int64; got torch.float32"):
        oracle().label(torch.zeros(1, 2), torch.zeros(1))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (torch.zeros(2), r"int64 labels of shape \(2,\); got torch.float32 \(2,\)"),
        (torch.zeros(3, dtype=torch.int64), r"got torch.int64 \(3,\)"),
        (torch.zeros((2, 2)), r"got torch.float32 \(2, 2\)"),  # scores, as a white-box model would give
        (None, "got a NoneType"),
        ([0, 1], "got a list"),
        (torch.tensor([0, 2]), "labels from 0 to 1; got 0 to 2"),
        (torch.tensor([-1, 0]), "labels from 0 to 1; got -1 to 0"),
    ],
)
def test_answers_that_are_not_labels(answer, message):
    target = oracle(lambda x: answer)
    with pytest.raises(OracleError, match=message):
        ask(target, 0, 1)
    assert target.meter.total == 0


def test_a_failing_model_is_an_oracle_error_with_its_reason():
    target = oracle(RecordingModel(lambda x: x, fail_at=1, failure=ConnectionError("refused")).predict)
    with pytest.raises(OracleError, match="failed on 1 inputs: refused") as caught:
        ask(target, 0)
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert target.meter.total == 0


def test_an_interrupt_is_not_an_oracle_error():
    target = oracle(RecordingModel(lambda x: x, fail_at=1, failure=KeyboardInterrupt()).predict)
    with pytest.raises(KeyboardInterrupt):
        ask(target, 0)


def test_the_model_gets_no_gradients_to_keep():
    seen = []

    def predict(x):
        seen.append(torch.is_grad_enabled())
        return torch.zeros(len(x), dtype=torch.int64)

    ask(oracle(predict), 0)
    assert seen == [False]


@pytest.mark.parametrize("budget", [0, -5])
def test_bad_budget(budget):
    with pytest.raises(ConfigurationError, match=f"budget must be at least 1 per input; got {budget}"):
        oracle(budget=budget)


def test_bad_number_of_samples():
    with pytest.raises(ConfigurationError, match="0 or more inputs; got -1"):
        oracle(samples=-1)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ([[0.5, math.nan]], "the inputs that an oracle labels must be finite; got NaN or infinity"),
        ([[0.5, math.inf]], "must be finite"),
        ([[0.5, 0.5], [1.001, 0.5]], r"must lie in \[0, 1\]; got values from 0.5 to 1.001"),
        ([[-0.5, 0.5]], "got values from -0.5 to 0.5"),
    ],
)
def test_inputs_that_the_model_never_sees_are_not_labelled_or_counted(x, message):
    recorder = RecordingModel(lambda x: torch.zeros(len(x), dtype=torch.int64))
    target = oracle(recorder.predict, budget=9)
    with pytest.raises(InputError, match=message):
        target.label(torch.tensor(x), torch.zeros(len(x), dtype=torch.int64))
    assert (recorder.calls, target.meter.total) == (0, 0)


def test_inputs_must_be_floating_point():
    with pytest.raises(InputError, match=r"must be floating point in \[0, 1\]; got torch.uint8"):
        oracle().label(torch.zeros((1, 2), dtype=torch.uint8), torch.tensor([0]))


def test_rounding_at_the_bounds_is_no_mistake():
    target = oracle()
    target.label(torch.tensor([[1.000001, -0.000001]]), torch.tensor([0]))
    far = HardLabelOracle(
        lambda x: torch.zeros(len(x), dtype=torch.int64),
        input_shape=(2,),
        bounds=Bounds(1000.0, 1000.01),  # one step of float32 there is 6e-5, 600 times 1e-5 of the range
        num_classes=2,
        samples=1,
    )
    edge = torch.nextafter(torch.tensor([1000.0, 1000.01]), torch.tensor([0.0, 2000.0]))
    far.label(edge[None], torch.tensor([0]))
    assert (target.meter.total, far.meter.total) == (1, 1)


def test_preferred_rows():
    assert oracle(preferred_rows=5).preferred_rows == 5
    assert oracle().preferred_rows == 1024
    assert oracle(device="cuda").preferred_rows == 4096


def test_preferred_rows_of_large_images_fit_into_memory():
    for device, most in (("cpu", 2**26), ("cuda", 2**29)):
        target = HardLabelOracle(
            lambda x: x, input_shape=(3, 224, 224), bounds=Bounds(), num_classes=2, samples=1, device=device
        )
        assert most / 4 < target.preferred_rows * 3 * 224 * 224 * 4 <= most


def test_meter():
    meter = QueryMeter(4)
    meter.add(torch.tensor([1, 1, 3]))
    meter.add(torch.empty(0, dtype=torch.int64))
    assert meter.per_sample.tolist() == [0, 2, 0, 1]
    assert meter.total == 3
