"""Loading a copy again is quick while its head is kept; the cache itself is tested with the rewriters."""

import pytest
import torch

from tests.raising import raises
from variegate.authority import Authority
from variegate.errors import ConfigurationError
from variegate.rewriters import base


def test_bad_budget(desk):
    with raises(ConfigurationError, "-1"):
        Authority.open(desk.home.root, desk.secret, head_budget=-1)


@pytest.mark.parametrize(("budget", "kept"), [(2**20, True), (0, False)])
def test_loading_again_builds_no_head(desk, monkeypatch, budget, kept):
    (manifest,) = desk.issue("net", "qim", ["acme"])
    x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with Authority.open(desk.home.root, desk.secret, head_budget=budget) as other:
        first = other.load_copy(manifest.copy_id)
        made = []
        rewrite = base.rewrite
        monkeypatch.setattr(base, "rewrite", lambda *arguments: made.append(1) or rewrite(*arguments))
        again = other.load_copy(manifest.copy_id)
        assert (again.head is first.head) == kept
        assert made == ([] if kept else [1])
        assert torch.equal(first.scores(x), again.scores(x))
