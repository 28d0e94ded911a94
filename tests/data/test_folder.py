from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from variegate.data import load_dataset
from variegate.data.folder import interleave
from variegate.errors import FormatError, InputError, NotFoundError


@pytest.fixture
def folder(tmp_path: Path, png: Callable) -> Path:
    """Three classes; the pixels of image i of class c are 10 c + i."""
    root = tmp_path / "animals"
    for index, (name, count) in enumerate([("ant", 3), ("bee", 1), ("cow", 2)]):
        (root / name).mkdir(parents=True)
        for image in range(count):
            array = np.full((4, 4, 3), 10 * index + image, dtype=np.uint8)
            (root / name / f"{image}.png").write_bytes(png(array))
    return root


def corner(images: np.ndarray) -> list[int]:
    return np.rint(images[:, 0, 0, 0] * 255).astype(int).tolist()


def test_classes_take_turns(folder: Path) -> None:
    data = load_dataset(folder)
    assert corner(data.images) == [0, 10, 20, 1, 21, 2]
    assert data.labels.tolist() == [0, 1, 2, 0, 2, 0]
    assert (data.class_names, data.name) == (("ant", "bee", "cow"), "animals")


def test_window_decodes_no_more(folder: Path) -> None:
    (folder / "ant" / "2.png").write_bytes(b"junk")
    assert corner(load_dataset(folder, offset=1, limit=3).images) == [10, 20, 1]
    with pytest.raises(FormatError, match=r"ant/2\.png cannot be decoded as an image"):
        load_dataset(folder)


def test_splits(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    folder.rename(tmp_path / "set" / "train")
    assert len(load_dataset(tmp_path / "set", split="train")) == 6
    with pytest.raises(NotFoundError, match="has no folder 'test' with classes; it has train"):
        load_dataset(tmp_path / "set")


def test_other_files_and_hidden_folders_are_passed_over(folder: Path) -> None:
    (folder / "ant" / "notes.txt").write_text("x", encoding="utf-8")
    (folder / "ant" / "._0.png").write_bytes(b"resource fork")
    (folder / ".cache").mkdir()
    (folder / "__MACOSX").mkdir()
    assert len(load_dataset(folder)) == 6


def test_an_empty_class_keeps_its_label(folder: Path) -> None:
    (folder / "bat").mkdir()
    data = load_dataset(folder)
    assert data.class_names == ("ant", "bat", "bee", "cow")
    assert set(data.labels.tolist()) == {0, 2, 3}


def test_mixed_sizes(folder: Path, png: Callable, pixels: Callable) -> None:
    (folder / "cow" / "9.png").write_bytes(png(pixels(0, 5, 7)))
    with pytest.raises(InputError, match=r"cow/9\.png is 5 x 7 pixels but ant/0\.png is 4 x 4; .* resize"):
        load_dataset(folder)
    assert load_dataset(folder, resize=(8, 8)).images.shape == (7, 3, 8, 8)


def test_empty(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="not a data set in a known format; expected one of: Parquet files; .* subfolder"
    ):
        load_dataset(tmp_path)
    (tmp_path / "ant").mkdir()
    with pytest.raises(InputError, match="not a data set in a known format"):
        load_dataset(tmp_path)


def test_interleave() -> None:
    assert interleave([[1, 4, 6], [], [2], [3, 5]]) == [1, 2, 3, 4, 5, 6]
    assert interleave([]) == []
