"""A desk with one original and two specs; its secret is `SECRET` and its clock stands still."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.authority.linear_seller import imported
from variegate.authority import Authority
from variegate.keys import SellerSecret
from variegate.rewriters.permutation import PermutationSpec
from variegate.rewriters.qim import QimSpec

SECRET = SellerSecret.from_bytes(bytes(range(32)))
NOW = 1_790_000_000


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Authority]:
    with Authority.create(tmp_path / "home", SECRET) as desk:
        desk._clock = lambda: NOW + 0.5
        yield desk


@pytest.fixture
def desk(empty: Authority, tmp_path: Path) -> Authority:
    empty.import_model(imported(tmp_path / "seller"))
    empty.save_spec("qim", QimSpec(messages_per_class=4), model="net")
    empty.save_spec("permutation", PermutationSpec())
    return empty
