import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from variegate.data import load_dataset
from variegate.errors import FormatError, InputError

LABELS = np.asarray([0, 2, 1, 0], dtype=np.int64)


def save(folder: Path, *, compressed: bool = True, **arrays: Any) -> Path:
    path = folder / "set.npz"
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


def images_of(shape: tuple[int, ...], dtype: type = np.uint8) -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 256, shape)
    return values.astype(dtype) if dtype is np.uint8 else (values / 255).astype(dtype)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.float16])
@pytest.mark.parametrize("shape", [(4, 6, 5), (4, 6, 5, 1), (4, 6, 5, 3), (4, 1, 6, 5), (4, 3, 6, 5)])
def test_layouts_and_types(tmp_path: Path, shape: tuple[int, ...], dtype: type, compressed: bool) -> None:
    images = images_of(shape, dtype)
    data = load_dataset(save(tmp_path, compressed=compressed, images=images, labels=LABELS))
    expected = images / 255 if dtype is np.uint8 else images
    if images.ndim == 3:
        expected = expected[:, None]
    elif shape[1] not in (1, 3):
        expected = expected.transpose(0, 3, 1, 2)
    np.testing.assert_allclose(data.images, expected.astype(np.float32), rtol=1e-6)
    assert data.labels.tolist() == LABELS.tolist()
    assert (data.class_names, data.name) == (("class 0", "class 1", "class 2"), "set")


@pytest.mark.parametrize("names", [("x_{}", "y_{}"), ("{}_images", "{}_labels")])
def test_split_names(tmp_path: Path, names: tuple[str, str]) -> None:
    arrays = {}
    for index, split in enumerate(("train", "test")):
        arrays[names[0].format(split)] = np.full((4, 2, 2), index, dtype=np.float32)
        arrays[names[1].format(split)] = LABELS[:, None].astype(np.uint8)  # (N, 1), as MedMNIST has it
    path = save(tmp_path, **arrays)
    assert load_dataset(path).images.max() == 1
    assert load_dataset(path, split="train").images.max() == 0


def test_class_names(tmp_path: Path) -> None:
    names = np.asarray(["a", "b", "c", "d"])
    path = save(tmp_path, images=images_of((4, 2, 2)), labels=LABELS, class_names=names)
    assert load_dataset(path).class_names == ("a", "b", "c", "d")


@settings(max_examples=30)
@given(
    offset=st.integers(0, 11),
    limit=st.none() | st.integers(1, 15),
    fortran=st.booleans(),
    compressed=st.booleans(),
)
def test_windows(
    tmp_path_factory: pytest.TempPathFactory, offset: int, limit: int | None, fortran: bool, compressed: bool
) -> None:
    images = images_of((12, 3, 4, 5))
    stored = np.asfortranarray(images) if fortran else images
    labels = np.arange(12)
    path = save(tmp_path_factory.mktemp("npz"), compressed=compressed, images=stored, labels=labels)
    data = load_dataset(path, offset=offset, limit=limit)
    rows = slice(offset, None if limit is None else offset + limit)
    np.testing.assert_array_equal(np.rint(data.images * 255), images[rows])
    assert data.labels.tolist() == labels[rows].tolist()
    assert data.num_classes == 12


def test_resize(tmp_path: Path) -> None:
    path = save(tmp_path, images=images_of((4, 6, 5, 3)), labels=LABELS)
    assert load_dataset(path, resize=(3, 7)).images.shape == (4, 3, 3, 7)


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("which", ["images", "labels", "class_names"])
def test_pickles_are_refused_and_not_run(tmp_path: Path, which: str) -> None:
    arrays: dict[str, Any] = {
        "images": images_of((4, 2, 2)),
        "labels": LABELS,
        "class_names": np.asarray(["a", "b", "c"]),
    }
    mark = tmp_path / "ran"
    arrays[which] = np.asarray([Bomb(mark)] * 4, dtype=object)
    path = save(tmp_path, **arrays)
    with pytest.raises(FormatError, match=f"{which} holds pickled Python objects, .* never loaded"):
        load_dataset(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": LABELS}, r"must hold the arrays images and labels, or x_test and y_test, .* it holds pictures"),
        ({"images": images_of((4, 2, 2))}, "it holds images"),
        ({"images": images_of((3, 2, 2)), "labels": LABELS}, "as many images as labels"),
        ({"images": np.float32(1), "labels": LABELS}, r"images of shape \(\) .* as many images as labels"),
        ({"images": images_of((4, 8)), "labels": LABELS}, r"must have shape \(N, H, W\).*; got \(4, 8\)"),
        ({"images": images_of((4, 2, 2, 2)), "labels": LABELS}, r"1 or 3 channels; got \(4, 2, 2, 2\)"),
        (
            {"images": np.zeros((4, 2, 2), np.int64), "labels": LABELS},
            r"must be uint8 .* or floating point .*; got int64",
        ),
        ({"images": images_of((4, 2, 2)), "labels": LABELS.astype(float)}, r"integers of shape \(N,\); got float64"),
        ({"images": images_of((4, 2, 2)), "labels": np.eye(4, dtype=int)}, r"got int64 of shape \(4, 4\)"),
        (
            {"images": images_of((4, 2, 2)), "labels": LABELS, "class_names": LABELS},
            "class_names must be an array of strings",
        ),
    ],
)
def test_wrong_arrays(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError, match=message):
        load_dataset(save(tmp_path, **arrays))


def test_wrong_values(tmp_path: Path) -> None:
    images = images_of((4, 2, 2), np.float32)
    for value, message in ((np.nan, "image 2 holds NaN"), (255.0, "image 2 holds values from .* to 255")):
        images[2, 1, 1] = value
        with pytest.raises(InputError, match=message):
            load_dataset(save(tmp_path, images=images, labels=LABELS))
    huge = np.full((4, 2, 2), 1e300)
    with pytest.raises(InputError, match="to inf"):
        load_dataset(save(tmp_path, images=huge, labels=LABELS))
    with pytest.raises(InputError, match=r"labels must lie in 0 \.\. 2; image 0 has label -1"):
        load_dataset(save(tmp_path, images=images_of((4, 2, 2)), labels=LABELS - 1 + np.eye(4, dtype=int)[1]))
    with pytest.raises(InputError, match=r"labels must lie in 0 \.\. 1; image 1 has label 2"):
        load_dataset(save(tmp_path, images=images_of((4, 2, 2)), labels=LABELS, class_names=np.asarray(["a", "b"])))


def test_empty(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no images"):
        load_dataset(save(tmp_path, images=images_of((0, 2, 2)), labels=LABELS[:0]))
    no_names = np.asarray([], dtype="<U4")
    with pytest.raises(InputError, match="name no classes"):
        load_dataset(save(tmp_path, images=images_of((4, 2, 2)), labels=LABELS, class_names=no_names))


@pytest.mark.parametrize("keep", [0, 10, 200, -30])
def test_truncated(tmp_path: Path, keep: int) -> None:
    path = save(tmp_path, images=images_of((4, 8, 8)), labels=LABELS)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FormatError, match=r"set\.npz is not a whole \.npz archive"):
        load_dataset(path)


def test_damaged_content(tmp_path: Path) -> None:
    path = save(tmp_path, compressed=False, images=images_of((4, 8, 8)), labels=LABELS)
    data = bytearray(path.read_bytes())
    data[200] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(FormatError, match=r"not a whole \.npz archive|not a plain NumPy array"):
        load_dataset(path)


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_an_array_that_ends_early(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.npz", images=npy(images_of((4, 2, 2)))[:-3], labels=npy(LABELS))
    with pytest.raises(FormatError, match="images ends after 13 of 16 bytes"):
        load_dataset(path)


def test_a_member_that_is_no_array(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.npz", images=b"hello, world", labels=npy(LABELS))
    with pytest.raises(FormatError, match="images is not a plain NumPy array"):
        load_dataset(path)


def test_sizes_are_bounded_before_memory_is_taken(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (4, 2**20, 2**20)})
    path = archive(tmp_path / "x.npz", images=header.getvalue(), labels=npy(LABELS))
    with pytest.raises(InputError, match="images takes 4194304 MiB; expected at most 8192 MiB"):
        load_dataset(path)
