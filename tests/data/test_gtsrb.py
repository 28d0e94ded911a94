from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from variegate.data import load_dataset
from variegate.data.folder import GTSRB_CLASSES
from variegate.errors import FormatError, InputError, NotFoundError

HEADER = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"


@pytest.fixture
def official(tmp_path: Path, png: Callable) -> Path:
    """Two training classes of two frames, three test frames; the pixels tell them apart."""
    root = tmp_path / "GTSRB"
    pixel = 0
    for label in (3, 14):
        folder = root / "Final_Training" / "Images" / f"{label:05d}"
        folder.mkdir(parents=True)
        lines = [HEADER]
        for frame in range(2):
            (folder / f"00000_{frame:05d}.ppm").write_bytes(png(np.full((5, 5, 3), pixel, dtype=np.uint8), "PPM"))
            lines.append(f"00000_{frame:05d}.ppm;5;5;0;0;4;4;{label}")
            pixel += 1
        (folder / f"GT-{label:05d}.csv").write_text("\r\n".join(lines) + "\r\n", encoding="utf-8")
    test = root / "Final_Test" / "Images"
    test.mkdir(parents=True)
    for frame in range(3):
        (test / f"{frame:05d}.ppm").write_bytes(png(np.full((5, 5, 3), 100 + frame, dtype=np.uint8), "PPM"))
    rows = [f"{frame:05d}.ppm;5;5;0;0;4;4;{42 - frame}" for frame in range(3)]
    (test / "GT-final_test.csv").write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    return root


def corner(images: np.ndarray) -> list[int]:
    return np.rint(images[:, 0, 0, 0] * 255).astype(int).tolist()


def test_official_training_takes_classes_in_turn(official: Path) -> None:
    data = load_dataset(official, split="train")
    assert corner(data.images) == [0, 2, 1, 3]
    assert data.labels.tolist() == [3, 14, 3, 14]
    assert data.class_names == GTSRB_CLASSES
    assert len(load_dataset(official.parent, split="train")) == 4


@pytest.mark.parametrize("above", [False, True])
def test_official_test_is_in_the_order_of_its_table(official: Path, above: bool) -> None:
    if above:
        (official / "Final_Test" / "Images" / "GT-final_test.csv").rename(official / "GT-final_test.csv")
    data = load_dataset(official, offset=1)
    assert corner(data.images) == [101, 102]
    assert data.labels.tolist() == [41, 40]


def test_kaggle(tmp_path: Path, png: Callable, pixels: Callable) -> None:
    (tmp_path / "Test").mkdir()
    (tmp_path / "Test" / "0.png").write_bytes(png(pixels(0, 7, 9)))
    (tmp_path / "Test" / "1.png").write_bytes(png(pixels(1, 8, 8)))
    text = "\ufeffWidth,Height,ClassId,Path\n9,7,16,Test/0.png\n8,8,1,Test/1.png\n"
    (tmp_path / "Test.csv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"1\.png is 8 x 8 pixels but 0\.png is 7 x 9; .* resize"):
        load_dataset(tmp_path)
    data = load_dataset(tmp_path, resize=(32, 32))
    assert data.images.shape == (2, 3, 32, 32)
    assert data.labels.tolist() == [16, 1]


def test_names() -> None:
    assert len(set(GTSRB_CLASSES)) == 43
    assert GTSRB_CLASSES[14] == "Stop"


def test_names_agree_with_the_public_copy(shared: Path) -> None:
    assert load_dataset(shared / "data" / "gtsrb", limit=1).class_names == GTSRB_CLASSES


def test_missing_split(official: Path) -> None:
    (official / "Final_Test" / "Images" / "GT-final_test.csv").unlink()
    with pytest.raises(NotFoundError, match="no CSV table for the test split"):
        load_dataset(official)


def replace_table(official: Path, text: bytes) -> None:
    (official / "Final_Test" / "Images" / "GT-final_test.csv").write_bytes(text)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        (b"", FormatError, "must have the columns Filename .* and ClassId; it has none"),
        (b"Filename;Width\n00000.ppm;5\n", FormatError, "it has Filename, Width"),
        (b"Filename;ClassId\n", InputError, "holds no images"),
        (b"Filename;ClassId\n00000.ppm;43\n", InputError, r"line 2 .* ClassId 43; expected 0 \.\. 42"),
        (b"Filename;ClassId\n00000.ppm;stop\n", FormatError, "integer ClassId; got '00000.ppm' and 'stop'"),
        (b"Filename;ClassId\n00000.ppm;-1\n", FormatError, "integer ClassId; got '00000.ppm' and '-1'"),
        (b"Filename;ClassId\n00000.ppm;1\n00001.ppm\n", FormatError, "line 3 .* got '00001.ppm' and None"),
        (b"Filename;ClassId\n../../../x.ppm;1\n", FormatError, "expected a path inside"),
        (b"Filename;ClassId\nmissing.ppm;1\n", NotFoundError, r"missing\.ppm"),
        (b"Filename;ClassId\n\xff\xfe;1\n", FormatError, "not UTF-8"),
    ],
)
def test_wrong_tables(official: Path, text: bytes, kind: type[Exception], message: str) -> None:
    replace_table(official, text)
    with pytest.raises(kind, match=message):
        load_dataset(official)


def test_undecodable(official: Path) -> None:
    (official / "Final_Test" / "Images" / "00001.ppm").write_bytes(b"P6\n5 5\n255\nshort")
    with pytest.raises(FormatError, match=r"00001\.ppm cannot be decoded"):
        load_dataset(official)
