from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from variegate.data import decode, load_dataset
from variegate.errors import ConfigurationError, FormatError, InputError, NotFoundError


@pytest.fixture
def ten(tmp_path: Path, pixels: Callable, png: Callable, write_parquet: Callable) -> Path:
    """Ten images whose pixels are their row number, labels row % 3, in groups of four rows."""
    images = [png(np.full((6, 5, 3), row, dtype=np.uint8)) for row in range(10)]
    return write_parquet(tmp_path / "ten.parquet", images, [row % 3 for row in range(10)], names=["a", "b", "c"])


def rows_of(images: np.ndarray) -> list[int]:
    return np.rint(images[:, 0, 0, 0] * 255).astype(int).tolist()


def test_reads_all(ten: Path) -> None:
    data = load_dataset(ten)
    assert data.images.shape == (10, 3, 6, 5)
    assert rows_of(data.images) == list(range(10))
    assert data.labels.tolist() == [row % 3 for row in range(10)]
    assert (data.class_names, data.name) == (("a", "b", "c"), "ten")


@pytest.mark.parametrize("offset", range(10))
@pytest.mark.parametrize("limit", [1, 3, 4, 5, 20, None])
def test_windows(ten: Path, offset: int, limit: int | None) -> None:
    data = load_dataset(ten, offset=offset, limit=limit)
    expected = list(range(10))[offset : None if limit is None else offset + limit]
    assert rows_of(data.images) == expected
    assert data.labels.tolist() == [row % 3 for row in expected]


def test_only_the_window_is_decoded(ten: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = decode._decode
    monkeypatch.setattr(decode, "_decode", lambda *args: (calls.append(args[2]), original(*args))[1])
    load_dataset(ten, offset=5, limit=2)
    assert calls == ["row 5 of ten.parquet", "row 6 of ten.parquet"]


def test_row_groups_outside_the_window_are_not_read(ten: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = []
    original = pq.ParquetFile.iter_batches
    monkeypatch.setattr(
        pq.ParquetFile,
        "iter_batches",
        lambda self, *args, **kwargs: (groups.append(kwargs["row_groups"]), original(self, *args, **kwargs))[1],
    )
    load_dataset(ten, offset=4, limit=4)
    assert groups == [[1]]


@pytest.mark.parametrize("layout", ["test-{}.parquet", "data/test-{}.parquet", "test/{}.parquet"])
def test_shards_are_read_in_order(
    layout: str, tmp_path: Path, pixels: Callable, png: Callable, write_parquet: Callable
) -> None:
    for shard in range(3):
        images = [png(np.full((4, 4, 3), 10 * shard + row, dtype=np.uint8)) for row in range(3)]
        write_parquet(tmp_path / layout.format(f"0000{shard}-of-00003"), images, [shard] * 3)
    write_parquet(tmp_path / layout.format("x").replace("test", "train"), [png(pixels())], [0])
    data = load_dataset(tmp_path, offset=2, limit=5)
    assert rows_of(data.images) == [2, 10, 11, 12, 20]
    assert data.labels.tolist() == [0, 1, 1, 1, 2]
    assert data.class_names == ("class 0", "class 1", "class 2")
    assert len(load_dataset(tmp_path, split="train")) == 1


def test_class_count_does_not_depend_on_the_window(
    tmp_path: Path, pixels: Callable, png: Callable, write_parquet: Callable
) -> None:
    path = write_parquet(tmp_path / "x.parquet", [png(pixels())] * 6, [0, 1, 2, 3, 4, 5])
    assert load_dataset(path, limit=1).num_classes == 6


def test_column_names_and_plain_binary(tmp_path: Path, pixels: Callable, png: Callable) -> None:
    table = pa.table({"img": [png(pixels())] * 2, "fine_label": pa.array([1, 0], pa.uint8())})
    pq.write_table(table, tmp_path / "x.parquet")
    assert load_dataset(tmp_path / "x.parquet").labels.tolist() == [1, 0]


def test_images_by_path(tmp_path: Path, pixels: Callable, png: Callable, write_parquet: Callable) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.png").write_bytes(png(pixels()))
    path = write_parquet(tmp_path / "x.parquet", [{"bytes": None, "path": "sub/a.png"}], [0])
    assert load_dataset(path).images.shape == (1, 3, 6, 5)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/hostname", "sub/../../secret.png"])
def test_a_path_out_of_the_folder_is_refused(
    name: str, tmp_path: Path, pixels: Callable, png: Callable, write_parquet: Callable
) -> None:
    (tmp_path / "secret.png").write_bytes(png(pixels()))
    path = write_parquet(tmp_path / "data" / "x.parquet", [{"bytes": None, "path": name}], [0])
    with pytest.raises(FormatError, match=r"row 0 of x.parquet names the file .*; expected a path inside"):
        load_dataset(path)


def test_a_path_that_does_not_exist(tmp_path: Path, write_parquet: Callable) -> None:
    path = write_parquet(tmp_path / "x.parquet", [{"bytes": None, "path": "gone.png"}], [0])
    with pytest.raises(NotFoundError, match=r"gone\.png"):
        load_dataset(path)


def test_neither_bytes_nor_path(tmp_path: Path, write_parquet: Callable) -> None:
    path = write_parquet(tmp_path / "x.parquet", [{"bytes": None, "path": None}], [0])
    with pytest.raises(FormatError, match="row 0 of x.parquet has no image"):
        load_dataset(path)


def test_undecodable_names_its_row(tmp_path: Path, pixels: Callable, png: Callable, write_parquet: Callable) -> None:
    path = write_parquet(tmp_path / "x.parquet", [png(pixels())] * 5 + [b"junk"], [0] * 6)
    with pytest.raises(FormatError, match="row 5 of x.parquet cannot be decoded as an image"):
        load_dataset(path)
    assert len(load_dataset(path, limit=5)) == 5


def test_mixed_sizes(tmp_path: Path, pixels: Callable, png: Callable, write_parquet: Callable) -> None:
    path = write_parquet(tmp_path / "x.parquet", [png(pixels()), png(pixels(0, 9, 9))], [0, 1])
    with pytest.raises(InputError, match=r"row 1 of x.parquet is 9 x 9 pixels but row 0 of x.parquet is 6 x 5"):
        load_dataset(path)
    assert load_dataset(path, resize=(8, 4)).images.shape == (2, 3, 8, 4)


def test_truncated(ten: Path) -> None:
    ten.write_bytes(ten.read_bytes()[:-100])
    with pytest.raises(FormatError, match=r"ten\.parquet is not a whole Parquet file"):
        load_dataset(ten)


def test_corrupt_pages(ten: Path) -> None:
    data = bytearray(ten.read_bytes())
    data[10:400] = b"\xff" * 390
    ten.write_bytes(bytes(data))
    with pytest.raises(FormatError, match=r"ten\.parquet is not a whole Parquet file|cannot be decoded"):
        load_dataset(ten)


def test_empty(tmp_path: Path, write_parquet: Callable) -> None:
    table = pa.table({"image": pa.array([], pa.binary()), "label": pa.array([], pa.int64())})
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(InputError, match=r"x\.parquet holds no images"):
        load_dataset(tmp_path / "x.parquet")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"picture": [b"x"], "label": [0]},
            r"an image column \(img or image or images\) .* its columns are picture, label",
        ),
        ({"image": [b"x"], "kind": [0]}, "its columns are image, kind"),
        ({"image": ["x"], "label": [0]}, "column 'image' must be a struct of bytes and path, or binary; it is string"),
        ({"image": [{"data": b"x"}], "label": [0]}, "column 'image' must be a struct of bytes and path"),
        ({"image": [b"x"], "label": ["cat"]}, "column 'label' must hold integers; it holds string"),
        ({"image": [b"x"], "label": [0.5]}, "column 'label' must hold integers; it holds double"),
    ],
)
def test_wrong_columns(table: dict[str, list[object]], message: str, tmp_path: Path) -> None:
    pq.write_table(pa.table(table), tmp_path / "x.parquet")
    with pytest.raises(FormatError, match=message):
        load_dataset(tmp_path / "x.parquet")


@pytest.mark.parametrize(("labels", "row", "label"), [([0, 7], 1, 7), ([-1, 0], 0, -1)])
def test_label_out_of_range(
    labels: list[int], row: int, label: int, tmp_path: Path, pixels: Callable, png: Callable, write_parquet: Callable
) -> None:
    path = write_parquet(tmp_path / "x.parquet", [png(pixels())] * 2, labels, names=["a", "b"])
    with pytest.raises(InputError, match=rf"labels must lie in 0 \.\. 1; image {row} has label {label}"):
        load_dataset(path)


def test_missing_label(tmp_path: Path, pixels: Callable, png: Callable, write_parquet: Callable) -> None:
    path = write_parquet(tmp_path / "x.parquet", [png(pixels())] * 2, [0, None], names=["a", "b"])
    with pytest.raises(FormatError, match=r"row 1 of x\.parquet has no label"):
        load_dataset(path)


def test_zero_classes(tmp_path: Path, pixels: Callable, png: Callable, write_parquet: Callable) -> None:
    path = write_parquet(tmp_path / "x.parquet", [png(pixels())], [0], names=[])
    with pytest.raises(InputError, match="'label' names no classes; expected at least one"):
        load_dataset(path)


def test_metadata(tmp_path: Path, pixels: Callable, png: Callable, write_parquet: Callable) -> None:
    path = write_parquet(tmp_path / "x.parquet", [png(pixels())], [0], metadata=b"{broken")
    with pytest.raises(FormatError, match="huggingface metadata is not JSON"):
        load_dataset(path)
    for other in (b"{}", b"[]", b'{"info": {"features": null}}', b'{"info": {"features": {"label": {"names": [1]}}}}'):
        path = write_parquet(tmp_path / "x.parquet", [png(pixels())], [0], metadata=other)
        assert load_dataset(path).class_names == ("class 0",)


def test_split_that_is_not_there(tmp_path: Path, pixels: Callable, png: Callable, write_parquet: Callable) -> None:
    write_parquet(tmp_path / "train-00000-of-00001.parquet", [png(pixels())], [0])
    with pytest.raises(NotFoundError, match=r"has no test-\*\.parquet; it has train-00000-of-00001\.parquet"):
        load_dataset(tmp_path)


def test_without_pyarrow(ten: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ConfigurationError, match=r'needs pyarrow, .* pip install "variegate\[data\]"'):
        load_dataset(ten)


@pytest.mark.parametrize(
    ("name", "count", "classes", "sizes"), [("cifar10", 10_000, 10, 50_000), ("gtsrb", 12_630, 43, 39_209)]
)
def test_real_data(shared: Path, name: str, count: int, classes: int, sizes: int) -> None:
    data = load_dataset(shared / "data" / name)
    assert data.images.shape == (count, 3, 32, 32)
    assert data.num_classes == classes
    assert set(data.labels.tolist()) == set(range(classes))
    assert 0.2 < float(data.images.mean()) < 0.6
    tail = load_dataset(shared / "data" / name, offset=count - 30)
    np.testing.assert_array_equal(tail.images, data.images[-30:])
    np.testing.assert_array_equal(tail.labels, data.labels[-30:])
    assert len(load_dataset(shared / "data" / name, split="train", offset=sizes - 7)) == 7
