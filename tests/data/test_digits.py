import sys

import numpy as np
import pytest

from variegate.data import load_dataset
from variegate.errors import ConfigurationError, InputError


def test_splits_are_disjoint_and_whole() -> None:
    train, test = load_dataset("digits", split="train"), load_dataset("digits")
    assert (len(train), len(test)) == (1438, 359)
    assert train.image_shape == test.image_shape == (1, 8, 8)
    assert set(train.labels.tolist()) == set(test.labels.tolist()) == set(range(10))
    assert test.class_names == tuple("0123456789")
    counts = np.bincount(test.labels)
    assert counts.min() > 20


def test_values_are_sixteenths() -> None:
    images = load_dataset("digits").images
    np.testing.assert_array_equal(images * 16, np.rint(images * 16))
    assert (images.min(), images.max()) == (0.0, 1.0)


def test_windows_and_sizes() -> None:
    whole = load_dataset("digits")
    part = load_dataset("digits", offset=350, limit=100, resize=(16, 16), channels=3)
    assert part.images.shape == (9, 3, 16, 16)
    assert part.labels.tolist() == whole.labels[350:].tolist()
    with pytest.raises(InputError, match="the test split of digits holds 359 images; offset 359 leaves none"):
        load_dataset("digits", offset=359)


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ConfigurationError, match=r'"digits" needs sklearn, .* pip install "variegate\[quickstart\]"'):
        load_dataset("digits")
