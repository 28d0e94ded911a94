"""The floor of an attack is measured on as many inputs as memory allows."""

import torch

from variegate.evaluation.throughput import raw_queries_per_second
from variegate.testing.seller import small_classifier


def test_the_default_rows_follow_the_budget_of_bytes(monkeypatch):
    classifier, rows = small_classifier(), []
    classifier.module.register_forward_pre_hook(lambda _, x: rows.append(len(x[0])))
    asked = []

    def two(input_shape, device):
        asked.append((input_shape, device))
        return 2

    monkeypatch.setattr("variegate.evaluation.throughput.question_rows", two)
    assert raw_queries_per_second(classifier, repeats=1) > 0
    assert set(rows) == {4}
    assert asked == [(classifier.input_shape, torch.device("cpu"))]
