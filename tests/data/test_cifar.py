from pathlib import Path

import numpy as np
import pytest

from variegate.data import load_dataset
from variegate.data.cifar import CIFAR10_CLASSES
from variegate.errors import FormatError, InputError, NotFoundError, UnsafeFormatError


def records(labels: list[list[int]], first_pixel: int) -> bytes:
    """One record per row of label bytes; every pixel of record i is first_pixel + i, its red corner 255."""
    parts = []
    for index, row in enumerate(labels):
        image = np.full((3, 32, 32), first_pixel + index, dtype=np.uint8)
        image[0, 0, 0] = 255
        parts.append(bytes(row) + image.tobytes())
    return b"".join(parts)


@pytest.fixture
def cifar10(tmp_path: Path) -> Path:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    for batch in range(1, 6):
        (folder / f"data_batch_{batch}.bin").write_bytes(records([[batch], [9]], 10 * batch))
    (folder / "test_batch.bin").write_bytes(records([[3], [5], [7]], 100))
    return folder


def test_ten(cifar10: Path) -> None:
    data = load_dataset(cifar10)
    assert data.images.shape == (3, 3, 32, 32)
    assert data.labels.tolist() == [3, 5, 7]
    assert (data.class_names, data.name) == (CIFAR10_CLASSES, "cifar-10-batches-bin")
    np.testing.assert_array_equal(data.images[:, 0, 0, 0], 1.0)  # channel, row, column
    assert np.rint(data.images[:, 2, 31, 31] * 255).tolist() == [100, 101, 102]


@pytest.mark.parametrize(("offset", "limit"), [(0, None), (1, 4), (3, 1), (9, 5), (4, 2)])
def test_windows_cross_files(cifar10: Path, offset: int, limit: int | None) -> None:
    data = load_dataset(cifar10, split="train", offset=offset, limit=limit)
    every = [pixel for batch in range(1, 6) for pixel in (10 * batch, 10 * batch + 1)]
    expected = every[offset : None if limit is None else offset + limit]
    assert np.rint(data.images[:, 1, 1, 1] * 255).tolist() == expected


def test_names_from_the_folder(cifar10: Path) -> None:
    (cifar10 / "batches.meta.txt").write_text("\n".join("abcdefghij") + "\n\n", encoding="utf-8")
    assert load_dataset(cifar10).class_names == tuple("abcdefghij")


def test_hundred_takes_the_fine_label(tmp_path: Path) -> None:
    (tmp_path / "test.bin").write_bytes(records([[4, 99], [1, 0]], 7))
    for path in (tmp_path, tmp_path / "test.bin"):
        data = load_dataset(path)
        assert data.labels.tolist() == [99, 0]
        assert data.num_classes == 100


def test_one_file(cifar10: Path) -> None:
    data = load_dataset(cifar10 / "data_batch_2.bin")
    assert (data.labels.tolist(), data.name) == ([2, 9], "data_batch_2")


def test_resize(cifar10: Path) -> None:
    assert load_dataset(cifar10, resize=(16, 8)).images.shape == (3, 3, 16, 8)


def test_truncated(cifar10: Path) -> None:
    file = cifar10 / "test_batch.bin"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(FormatError, match="has 9218 bytes, not a whole number of CIFAR records"):
        load_dataset(cifar10)


def test_empty(cifar10: Path) -> None:
    (cifar10 / "test_batch.bin").write_bytes(b"")
    with pytest.raises(InputError, match="holds no images"):
        load_dataset(cifar10)


def test_label_out_of_range(cifar10: Path) -> None:
    (cifar10 / "test_batch.bin").write_bytes(records([[0], [10]], 0))
    with pytest.raises(InputError, match=r"labels must lie in 0 \.\. 9; image 1 has label 10"):
        load_dataset(cifar10)


def test_missing_file(cifar10: Path) -> None:
    (cifar10 / "data_batch_4.bin").unlink()
    with pytest.raises(NotFoundError, match=r"data_batch_4\.bin does not exist; the train split needs it"):
        load_dataset(cifar10, split="train")


def test_the_python_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1").write_bytes(b"\x80\x02}q\x01.")
    with pytest.raises(UnsafeFormatError, match="pickles and could run code; use the binary version"):
        load_dataset(tmp_path)
