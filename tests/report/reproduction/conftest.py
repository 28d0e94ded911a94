"""Synthetic records of all six experiments."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.report.reproduction.samples import make_all


@pytest.fixture
def reproduced() -> dict[str, dict[str, Any]]:
    """One record of each experiment, on a study that the paper has."""
    return make_all()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as `variegate reproduce` leaves it, with records of two studies."""
    place = tmp_path / "reproduction"
    place.mkdir()
    for name, record in make_all(studies=("cifar10", "own")).items():
        (place / f"{name}.json").write_text(json.dumps(record))
    return place
