"""What holds a copy's messages is not written to files or sent to other processes by accident."""

import copy
import io
import pickle

import pytest
import torch

from variegate.errors import SecretError
from variegate.models.bank import CopyBank
from variegate.rewriters.base import rewrite
from variegate.testing.rewriter_contract import example_specs
from variegate.testing.seller import known_key, small_classifier

SPECS = example_specs()


@pytest.fixture(params=SPECS)
def made(request):
    return rewrite(small_classifier(), known_key(1), SPECS[request.param])


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_pickles(made, protocol):
    with pytest.raises(SecretError, match="a RewrittenCopy cannot be pickled, .* keep the spec and derive the key"):
        pickle.dumps(made, protocol)
    for holder in (made.head, {"head": made.head}, CopyBank(made.original, [made.head]).heads):
        with pytest.raises(SecretError, match=f"a {type(made.head).__name__} cannot be pickled"):
            pickle.dumps(holder, protocol)


def test_no_torch_save(made):
    for holder in (made, made.head):
        with pytest.raises(SecretError, match="cannot be pickled"):
            torch.save(holder, io.BytesIO())


def test_copies_in_memory_answer_alike_and_share_no_memory_where_deep(made):
    x = torch.rand((3, *made.input_shape), generator=torch.Generator().manual_seed(0))
    expected = made.scores(x)
    shallow, deep = copy.copy(made), copy.deepcopy(made)
    assert shallow.head is made.head
    assert deep.head is not made.head
    assert torch.equal(shallow.scores(x), expected)
    assert torch.equal(deep.scores(x), expected)
    assert torch.equal(copy.copy(made.head)(x, made.original.scores(x), {}), expected)
    before = {buffer.data_ptr() for buffer in made.head.buffers() if buffer.numel()}
    assert not before & {buffer.data_ptr() for buffer in deep.head.buffers()}


def test_a_head_still_moves(made):
    x = torch.rand((3, *made.input_shape), generator=torch.Generator().manual_seed(0))
    expected = made.scores(x)
    assert torch.equal(made.head.to("cpu")(x, made.original.scores(x), {}), expected)
