"""Rows follow from bytes and the device; full precision is set in the context alone, in any nesting and thread."""

import math
import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from variegate.models.classifier import forward_rows, full_precision, gradient_rows, question_rows

PLACES = torch.backends.cudnn.conv, torch.backends.cudnn.rnn, torch.backends.cuda.matmul


def precisions():
    return [place.fp32_precision for place in PLACES]


def set_precisions(*values):
    for place, value in zip(PLACES, values, strict=True):
        place.fp32_precision = value


@pytest.fixture(autouse=True)
def _settings_are_put_back():
    before = precisions()
    yield
    set_precisions(*before)


@pytest.mark.parametrize(
    ("device", "input_shape", "rows", "asked"),
    [
        ("cpu", (1, 8, 8), 64, 1024),
        ("cpu", (3, 224, 224), 64, 64),
        ("cpu", (3, 1024, 1024), 4, 4),
        ("cuda", (3, 32, 32), 512, 4096),
        ("cuda:1", (3, 128, 128), 256, 2048),
        ("cuda", (3, 224, 224), 64, 512),
        ("cuda", (3, 20000, 20000), 1, 1),
        ("mps", (3, 224, 224), 64, 512),
    ],
)
def test_rows(device, input_shape, rows, asked):
    assert forward_rows(input_shape, device) == rows
    assert question_rows(input_shape, torch.device(device)) == asked


@given(st.lists(st.integers(1, 300), min_size=1, max_size=3), st.sampled_from(["cpu", "cuda"]))
def test_rows_fit_into_the_budget_and_fill_half_of_it(input_shape, device):
    rows = forward_rows(input_shape, device)
    budget, most = 2**26, 64 if device == "cpu" else 512
    nbytes = 4 * math.prod(input_shape)
    assert 1 <= rows <= most
    assert rows == 1 or rows * nbytes <= budget
    assert rows == most or 2 * rows * nbytes > budget


def test_rows_of_a_backward_pass():
    assert gradient_rows(64, "cpu") == 64
    assert gradient_rows(512, "cuda") == 256
    assert gradient_rows(1, "cuda") == 1


def test_a_cpu_needs_no_settings():
    before = precisions()
    with full_precision("cpu"):
        assert precisions() == before


@pytest.mark.parametrize("found", ["tf32", "ieee"])
def test_tf32_is_off_inside_and_put_back_after(found):
    set_precisions(found, found, found)
    with full_precision("cuda"):
        assert precisions() == ["ieee"] * 3
        with full_precision(torch.device("cuda:0")):
            assert precisions() == ["ieee"] * 3
        assert precisions() == ["ieee"] * 3
    assert precisions() == [found] * 3
    with pytest.raises(KeyError), full_precision("cuda"):
        raise KeyError
    assert precisions() == [found] * 3


def test_the_defaults_survive():
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    with full_precision("cuda"):
        pass
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before


def test_contexts_that_overlap_in_threads():
    """The first to begin is the first to end: the other must stay in full precision, and put back what was found."""
    set_precisions("tf32", "tf32", "tf32")
    began, ended, seen = threading.Event(), threading.Event(), []

    def second():
        with full_precision("cuda"):
            began.set()
            ended.wait(10)
            seen.append(precisions())

    thread = threading.Thread(target=second)
    with full_precision("cuda"):
        thread.start()
        began.wait(10)
    ended.set()
    thread.join(10)
    assert seen == [["ieee"] * 3]
    assert precisions() == ["tf32"] * 3
