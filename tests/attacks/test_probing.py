"""Probing: the sums are those of a naive computation, the same in any batch, and questions are as large as wished."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from variegate.attacks import toolbox
from variegate.attacks.base import Asker
from variegate.attacks.toolbox import PROBE_CHUNK, ProbeSums, probe
from variegate.oracles.hard_label import HardLabelOracle, Misclassified
from variegate.testing.closed_form import RecordingModel
from variegate.types import Bounds

SIZE = 6


def predict(x):
    return (x.flatten(1).double().sum(1) > 0.0).long()


def drawn(row, first, count):
    """Offsets of one input, decided by the input and the place alone."""
    return torch.randn((count, SIZE), generator=torch.Generator().manual_seed(1000 * row + first))


def run(rows, counts, *, preferred=256, budget=None, **options):
    recorder = RecordingModel(predict)
    oracle = HardLabelOracle(
        recorder.predict,
        input_shape=(2, 3),
        bounds=Bounds(-100.0, 100.0),
        num_classes=2,
        samples=50,
        budget=budget,
        preferred_rows=preferred,
    )
    points = torch.stack([0.1 * torch.full((2, 3), float(row % 5 - 2)) for row in rows])
    asked = []

    def offsets(position, first, count):
        asked.append((position, first, count))
        return drawn(rows[position], first, count)

    sums = probe(
        Asker(oracle, Misclassified(torch.zeros(50, dtype=torch.int64))),
        points,
        torch.tensor(rows),
        torch.tensor(counts),
        offsets,
        **options,
    )
    return sums, points, recorder, oracle, asked


@given(st.lists(st.integers(1, 200), min_size=1, max_size=4), st.sampled_from([1, 64, 100, 256]))
def test_sums_are_those_of_a_naive_computation(counts, preferred):
    rows = list(range(7, 7 + len(counts)))
    sums, points, _, oracle, _ = run(rows, counts, preferred=preferred)
    for position, (row, count) in enumerate(zip(rows, counts, strict=True)):
        chunks = [drawn(row, first, min(PROBE_CHUNK, count - first)) for first in range(0, count, PROBE_CHUNK)]
        offsets = torch.cat(chunks)
        f = 2.0 * predict(points[position].view(1, SIZE) + offsets).double() - 1.0
        assert torch.allclose(sums.signed[position].double(), f @ offsets.double(), atol=1e-4)
        assert torch.allclose(sums.plain[position].double(), offsets.double().sum(0), atol=1e-4)
        assert sums.votes[position] == f.sum()
        assert sums.counts[position] == count
        assert oracle.meter.per_sample[row] == count


def test_a_batch_changes_nothing_bit_for_bit():
    counts = {3: 130, 9: 64, 20: 1, 41: 65}
    whole = run(list(counts), list(counts.values()))[0]
    back = run(list(counts)[::-1], list(counts.values())[::-1], preferred=100)[0]
    for position, (row, count) in enumerate(counts.items()):
        alone = run([row], [count], preferred=64)[0]
        for name in ("signed", "plain", "votes"):
            value = getattr(whole, name)[position]
            assert torch.equal(getattr(alone, name)[0], value)
            assert torch.equal(getattr(back, name)[len(counts) - 1 - position], value)


def test_chunks_and_questions():
    """Chunks have the same cuts in any batch; they share questions up to the oracle's wish, or go alone."""
    _, _, recorder, _, asked = run([1, 2, 3], [130, 10, 64], preferred=140)
    assert asked == [(0, 0, 64), (0, 64, 64), (0, 128, 2), (1, 0, 10), (2, 0, 64)]
    assert [len(part) for part in recorder._answers] == [140, 64]
    _, _, recorder, _, again = run([1, 2, 3], [130, 10, 64], preferred=1)
    assert again == asked
    assert [len(part) for part in recorder._answers] == [64, 64, 2, 10, 64]


def test_the_budget_can_be_spent_to_the_last_query():
    _, _, recorder, oracle, _ = run([0, 4], [100, 100], budget=100)
    assert recorder.rows == 200
    assert oracle.remaining()[[0, 4]].tolist() == [0, 0]


def test_bounds_clip_what_is_asked_and_not_what_is_summed(monkeypatch):
    bounds, seen = Bounds(-0.3, 0.3), []
    monkeypatch.setitem(globals(), "predict", lambda x: seen.append(x.clone()) or (x.flatten(1).sum(1) > 0.0).long())
    sums, points, _, _, _ = run([0, 3], [10, 70], preferred=1, bounds=bounds)
    asked = torch.cat(seen).flatten(1)
    offsets = [drawn(0, 0, 10), drawn(3, 0, 64), drawn(3, 64, 6)]
    free = torch.cat(offsets) + points.flatten(1)[[0] * 10 + [1] * 70]
    assert torch.equal(asked, free.clamp(bounds.lower, bounds.upper))
    assert not torch.equal(asked, free)
    f = 2.0 * (asked.sum(1) > 0.0).float() - 1.0
    assert torch.allclose(sums.signed[0], f[:10] @ offsets[0], atol=1e-4)
    assert torch.allclose(sums.plain[1], torch.cat(offsets[1:]).sum(0), atol=1e-4)


def test_whose_probe_it_is_is_found_once_for_all_questions(monkeypatch):
    made, repeat = [], torch.repeat_interleave
    monkeypatch.setattr(torch, "repeat_interleave", lambda *args, **more: made.append(args) or repeat(*args, **more))
    _, _, recorder, oracle, _ = run([1, 2, 3], [130, 10, 64], preferred=1)
    assert len(recorder._answers) == 5
    assert len(made) == 1
    assert oracle.meter.per_sample[[1, 2, 3]].tolist() == [130, 10, 64]


def some_sums():
    return ProbeSums(
        signed=torch.tensor([[3.0, 1.0], [4.0, 6.0], [-4.0, -6.0]]),
        plain=torch.tensor([[1.0, 1.0], [4.0, 6.0], [4.0, 6.0]]),
        votes=torch.tensor([2.0, 4.0, -4.0]),
        counts=torch.tensor([4, 4, 4]),
    )


def test_the_normal_subtracts_the_mean_answer():
    """And where all answers are equal, it is the mean direction, signed by them."""
    assert torch.equal(some_sums().normal(), torch.tensor([[2.5, 0.5], [4.0, 6.0], [-4.0, -6.0]]))


def test_without_the_signs_the_naive_computation_differs(mutant, monkeypatch):
    made = mutant(toolbox, r"torch\.stack\(\(f, torch", "torch.stack((f.abs(), torch")
    monkeypatch.setitem(globals(), "probe", made.probe)
    with pytest.raises(AssertionError):
        test_sums_are_those_of_a_naive_computation.hypothesis.inner_test([130, 20], 100)
