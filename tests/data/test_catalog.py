import subprocess
import sys
from pathlib import Path

import pytest

from variegate.data import load_dataset
from variegate.data.catalog import READERS
from variegate.errors import ConfigurationError, InputError, NotFoundError


def test_missing_path(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r'gone does not exist; give a file or folder of images, or "digits"'):
        load_dataset(tmp_path / "gone")


def test_unknown_file(tmp_path: Path) -> None:
    path = tmp_path / "data.zip"
    path.write_bytes(b"PK")
    with pytest.raises(InputError, match=r"data\.zip is not a data set in a known format; expected one of: Parquet"):
        load_dataset(path)


def test_a_path_that_is_no_name() -> None:
    with pytest.raises((InputError, NotFoundError)):
        load_dataset("x" * 5000)


def test_options_are_checked_first(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="limit must be at least 1"):
        load_dataset(tmp_path / "gone", limit=0)


def test_a_folder_called_digits_is_reached_by_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="known format"):
        load_dataset("./digits")


def test_every_format_has_a_title() -> None:
    assert set(READERS) == {"parquet", "npz", "cifar", "gtsrb", "folder"}
    assert all(reader.title for reader in READERS.values())


def test_importing_the_readers_imports_no_large_library() -> None:
    code = (
        "import sys, variegate.data; "
        "print([m for m in ('torch', 'pyarrow', 'PIL', 'sklearn', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
