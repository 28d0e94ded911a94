import re

import numpy as np
import pytest

from variegate.data.images import LabelledImages, default_class_names
from variegate.errors import InputError


def make(**changes: object) -> LabelledImages:
    fields: dict[str, object] = {
        "images": np.full((3, 1, 2, 2), 0.5, dtype=np.float32),
        "labels": np.asarray([0, 1, 1], dtype=np.int64),
        "class_names": ("no", "yes"),
        "name": "toy",
    }
    return LabelledImages(**{**fields, **changes})  # type: ignore[arg-type]


def test_shape_count_and_classes() -> None:
    data = make()
    assert (len(data), data.num_classes, data.image_shape) == (3, 2, (1, 2, 2))


def test_select_keeps_the_order_asked_for() -> None:
    data = make(images=np.arange(12, dtype=np.float32).reshape(3, 1, 2, 2) / 12)
    chosen = data.select([2, 0])
    assert chosen.labels.tolist() == [1, 0]
    np.testing.assert_array_equal(chosen.images, data.images[[2, 0]])


@pytest.mark.parametrize("indices", [[], [3], [-1], [[0]]])
def test_select_refuses(indices: list[int]) -> None:
    with pytest.raises(InputError, match="from 0 to 2"):
        make().select(indices)


def with_value(value: float) -> np.ndarray:
    images = np.full((3, 1, 2, 2), 0.5, dtype=np.float32)
    images[1, 0, 1, 1] = value
    return images


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": np.zeros((3, 1, 2, 2))}, r"must be float32 of shape \(N, C, H, W\); got float64"),
        ({"images": np.zeros((3, 2, 2), dtype=np.float32)}, r"got float32 of shape \(3, 2, 2\)"),
        ({"images": np.zeros((0, 1, 2, 2), dtype=np.float32)}, "at least one image; got none"),
        ({"images": np.zeros((3, 2, 2, 2), dtype=np.float32)}, "1 or 3 channels"),
        ({"images": np.zeros((3, 1, 0, 2), dtype=np.float32)}, "at least one pixel"),
        ({"images": with_value(np.nan)}, r"\[0, 1\]; image 1 holds NaN"),
        ({"images": with_value(1.5)}, "image 1 holds values from 0.5 to 1.5"),
        ({"images": with_value(-0.25)}, "image 1 holds values from -0.25 to 0.5"),
        ({"images": with_value(np.inf)}, "image 1 holds values from 0.5 to inf"),
        ({"labels": np.asarray([0, 1, 1], dtype=np.int32)}, "one int64 label for each of 3 images; got int32"),
        ({"labels": np.asarray([0, 1])}, r"for each of 3 images; got int64 of shape \(2,\)"),
        ({"labels": np.asarray([0, 1, 2])}, r"labels must lie in 0 \.\. 1; image 2 has label 2"),
        ({"labels": np.asarray([0, -1, 1])}, "image 1 has label -1"),
        ({"class_names": ()}, "no classes; expected at least one"),
    ],
)
def test_refuses(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        make(**changes)
    assert str(error.value).startswith("toy: ")
    assert not re.search(r"\n", str(error.value))


def test_default_names() -> None:
    assert default_class_names(2) == ("class 0", "class 1")
