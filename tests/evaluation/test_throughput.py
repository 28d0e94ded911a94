"""The floor of an attack is measured on as many inputs as memory allows."""

import pytest
import torch

from variegate.evaluation import provenance as throughput
from variegate.evaluation.provenance import quick_queries_per_second, raw_queries_per_second
from variegate.testing.seller import small_classifier
from variegate.types import Bounds, InputSpec


def test_the_default_rows_follow_the_budget_of_bytes(monkeypatch):
    classifier, rows = small_classifier(), []
    classifier.module.register_forward_pre_hook(lambda _, x: rows.append(len(x[0])))
    asked = []

    def two(input_shape, device):
        asked.append((input_shape, device))
        return 2

    monkeypatch.setattr("variegate.evaluation.provenance.question_rows", two)
    assert raw_queries_per_second(classifier, repeats=1) > 0
    assert set(rows) == {4}
    assert asked == [(classifier.input_shape, torch.device("cpu"))]


def quick(monkeypatch, row_seconds, *, lower=0.0, upper=1.0, most=200):
    """Measure a model that takes so long a row, on a clock of its own; return the rate, the rows and the values."""
    now, rows, values = [0.0], [], []

    def predict(x):
        now[0] += row_seconds * len(x)
        rows.append(len(x))
        values.extend((float(x.min()), float(x.max())))
        return torch.zeros(len(x), dtype=torch.int64)

    monkeypatch.setattr(throughput.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(throughput, "question_rows", lambda *_: most)
    rate = quick_queries_per_second(predict, input_spec=InputSpec((1, 2, 2), Bounds(lower, upper)))
    return rate, rows, values, now[0]


def test_a_quick_measurement_takes_larger_and_larger_questions(monkeypatch):
    rate, rows, values, _ = quick(monkeypatch, 1e-5, lower=-3.0, upper=5.0)
    assert rate == pytest.approx(1e5)
    assert rows == [1, 16, 32, 64, 128, 200]
    assert -3.0 <= min(values) < max(values) <= 5.0
    assert min(values) < 0.0


@pytest.mark.parametrize(("row_seconds", "rows"), [(0.005, [1, 16, 32, 64]), (0.02, [1, 16, 32]), (2.0, [1, 16])])
def test_a_quick_measurement_of_a_slow_model_ends_within_a_second(monkeypatch, row_seconds, rows):
    rate, asked, _, spent = quick(monkeypatch, row_seconds)
    assert rate == pytest.approx(1.0 / row_seconds)
    assert asked == rows
    assert spent <= 1.0 or asked == [1, 16]
