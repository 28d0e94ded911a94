"""Originals come into the home whole, and are checked when they come out."""

import json

import pytest
import torch

from tests.authority.linear_seller import imported
from tests.raising import raises
from variegate.authority import Authority, originals
from variegate.data import load_dataset
from variegate.errors import ConflictError, InputError, NotFoundError, VerificationError
from variegate.files import folder_that_appears_whole
from variegate.models.loading import ImportedModel
from variegate.registry.records import add_model, get_model, list_models


def test_import_and_load(empty, tmp_path):
    ready = imported(tmp_path / "seller")
    manifest = empty.import_model(ready)
    folder = empty.home.model("net")
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")) == [
        "code",
        "code/linear_net.py",
        "manifest.json",
        "weights.safetensors",
    ]
    assert json.loads((folder / "manifest.json").read_text()) == manifest.to_dict()
    assert empty.registry.read(get_model, "net") == manifest
    test = load_dataset("digits")
    original = empty.original("net")
    right = original.predict(torch.from_numpy(test.images)).numpy() == test.labels
    assert right.mean() > 0.85
    assert original.labels == tuple("0123456789")
    assert empty.original("net") is original


def test_the_home_outlives_the_sellers_files(empty, tmp_path):
    ready = imported(tmp_path / "seller")
    empty.import_model(ready)
    (tmp_path / "seller" / "linear_net.py").write_text("raise RuntimeError")
    (tmp_path / "seller" / "weights.safetensors").unlink()
    assert empty.original("net").num_classes == 10


def test_name_is_taken(desk, tmp_path):
    before = (desk.home.model("net") / "weights.safetensors").read_bytes()
    with raises(ConflictError, "net"):
        desk.import_model(imported(tmp_path / "other", ridge=5.0))
    assert (desk.home.model("net") / "weights.safetensors").read_bytes() == before
    assert len(list(desk.home.models.iterdir())) == 1


def test_missing_model(desk):
    with raises(NotFoundError, "nope"):
        desk.original("nope")


@pytest.mark.parametrize("name", ["weights.safetensors", "code/linear_net.py"])
def test_changed_files_are_noticed(desk, name):
    path = desk.home.model("net") / name
    path.write_bytes(path.read_bytes() + b" ")
    with raises(VerificationError, "changed"):
        desk.original("net")


def test_files_that_change_during_the_import_are_noticed(empty, tmp_path):
    ready = imported(tmp_path / "seller")
    weights = tmp_path / "seller" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes() + b" ")
    with raises(VerificationError, "weights.safetensors"):
        empty.import_model(ready)
    assert list(empty.home.models.iterdir()) == []
    assert empty.registry.read(list_models) == []


def test_a_full_disk_leaves_nothing(empty, tmp_path, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    ready = imported(tmp_path / "seller")
    monkeypatch.setattr(originals.shutil, "copyfile", full)
    with raises(Exception, "space", "left"):
        empty.import_model(ready)
    assert list(empty.home.models.iterdir()) == []
    assert empty.registry.read(list_models) == []


def test_a_registry_that_refuses_takes_the_files_back(empty, tmp_path):
    ready = imported(tmp_path / "seller")
    with (
        Authority.open(empty.home.root, empty.secret, read_only=True) as reader,
        raises(InputError, "read-only"),
    ):
        reader.import_model(ready)
    assert list(empty.home.models.iterdir()) == []


def test_an_import_that_died_before_its_record_can_be_repeated(empty, tmp_path):
    ready = imported(tmp_path / "seller")

    class DiedError(Exception):
        pass

    def dying(connection, manifest):
        raise DiedError

    with pytest.MonkeyPatch.context() as patch, pytest.raises(DiedError):
        patch.setattr(originals.shutil, "rmtree", lambda *_, **__: None)  # a process that dies removes nothing
        patch.setattr(originals, "add_model", dying)
        originals.place_model(empty.home.model("net"), ready, empty.registry)
    assert (empty.home.model("net") / "manifest.json").is_file()
    empty.import_model(ready)
    assert empty.original("net").num_classes == 10


def test_files_that_another_process_placed_are_left_to_it(empty, tmp_path):
    """It placed them and is about to record them, while this one's registry refuses."""
    ready = imported(tmp_path / "seller")

    with folder_that_appears_whole(empty.home.model("net")) as folder:
        for name, content in ready.files.items():
            originals._write(folder / name, content)
        originals.write_atomic(folder / "manifest.json", originals.canonical_json(ready.manifest.to_dict()))
    with (
        Authority.open(empty.home.root, empty.secret, read_only=True) as reader,
        raises(InputError, "read-only"),
    ):
        reader.import_model(ready)
    assert (empty.home.model("net") / "manifest.json").is_file()
    empty.registry.write(add_model, ready.manifest)
    assert empty.original("net").num_classes == 10


def test_files_of_an_unknown_model_are_not_overwritten(empty, tmp_path):
    with folder_that_appears_whole(empty.home.model("net")) as folder:
        (folder / "manifest.json").write_text("{}")
    with raises(ConflictError, "folder"):
        empty.import_model(imported(tmp_path / "seller"))
    assert (empty.home.model("net") / "manifest.json").read_text() == "{}"


def test_imported_bytes_are_checked_too(empty, tmp_path):
    ready = imported(tmp_path / "seller")
    forged = ImportedModel(manifest=ready.manifest, files={**ready.files, "code/linear_net.py": b"forged"})
    with raises(VerificationError, "linear_net.py"):
        empty.import_model(forged)
