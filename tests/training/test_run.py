"""Training into a folder: the same weights for the same seed, killed and resumed at any step or not."""

import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from variegate.data.images import LabelledImages
from variegate.errors import (
    ConfigurationError,
    ConflictError,
    FormatError,
    InputError,
    ModelError,
    NotFoundError,
    VariegateError,
    VerificationError,
)
from variegate.files import sha256_file
from variegate.models.classifier import Classifier, weights_digest
from variegate.models.loading import load_factory
from variegate.training import checkpoint, job, loop
from variegate.training.networks import data_digest
from variegate.training.recipe import TrainingRecipe
from variegate.training.run import train_models, training_name

NET = """
from torch import nn


def build(num_classes, width=4):
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * width, num_classes),
    )
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "tiny.py").write_text(NET)
    return tmp_path / "tiny.py"


def toy(count: int = 50, *, seed: int = 0, classes: int = 2, side: int = 6) -> LabelledImages:
    """Images that are brighter above or below."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, count)
    images = generator.random((count, 1, side, side), dtype=np.float32) * 0.5
    images[labels == 1, :, : side // 2] += 0.4
    names = tuple(f"kind {index}" for index in range(classes))
    return LabelledImages(images=images, labels=labels.astype(np.int64), class_names=names, name="toy")


RECIPE = TrainingRecipe(
    architecture="tiny:build", epochs=2, batch_size=16, learning_rate=0.05, augmentations=("crop:1", "flip", "cutout:2")
)
STEPS = 2 * 4  # of one network: 50 images make batches of 16, 16, 16 and 2


class StopError(Exception):
    pass


def stop_at(step: int) -> Callable[[str, int, int], None]:
    def progress(what: str, done: int, total: int) -> None:
        if done == step:
            raise StopError

    return progress


def go(recipe: TrainingRecipe, out: Path, code: Path, **options: Any) -> list[dict[str, Any]]:
    return train_models(
        recipe, **{"train": toy(), "test": toy(30, seed=1), "seeds": [0], "out": out, "code_path": code, **options}
    )


def weights(out: Path, seed: int = 0) -> bytes:
    return (out / f"tiny-build-toy-s{seed}.safetensors").read_bytes()


VARIANTS = {
    "sgd": RECIPE,
    "adamw": replace(RECIPE, optimizer="adamw", learning_rate=0.01, schedule="cosine"),
    "muon": replace(RECIPE, optimizer="muon", sizes=("4x1",)),
    "bfloat16": replace(RECIPE, precision="bfloat16", channels_last=False, momentum=0.0, mean=None, std=None),
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("step", [1, 4, 6])
def test_killed_and_resumed_gives_the_same_bits(variant: str, step: int, tmp_path: Path, code: Path) -> None:
    recipe = VARIANTS[variant]
    (whole,) = go(recipe, tmp_path / "whole", code)
    torch.manual_seed(step)  # what the global generator held does not matter
    with pytest.raises(StopError):
        go(recipe, tmp_path / "cut", code, checkpoint_seconds=0, progress=stop_at(step))
    torch.rand(7)
    (record,) = go(recipe, tmp_path / "cut", code, resume=True)
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assert record["losses"] == whole["losses"]
    assert (whole["resumed"], record["resumed"]) == (0, 1)
    assert not (tmp_path / "cut" / "tiny-build-toy-s0.checkpoint").exists()


@pytest.mark.gpu
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_gpu_gives_the_same_bits_again_killed_or_not(variant: str, tmp_path: Path, code: Path) -> None:
    for out in ("whole", "again"):
        (record,) = go(VARIANTS[variant], tmp_path / out, code, device="cuda")
        assert record["device"] == "cuda"
    with pytest.raises(StopError):
        go(VARIANTS[variant], tmp_path / "cut", code, device="cuda", checkpoint_seconds=0, progress=stop_at(5))
    go(VARIANTS[variant], tmp_path / "cut", code, device="cuda", resume=True)
    assert weights(tmp_path / "whole") == weights(tmp_path / "again") == weights(tmp_path / "cut")


def test_small_images_change_what_is_learned_and_must_fit_the_network(tmp_path: Path, code: Path) -> None:
    seen = []
    original = loop.shrink

    def watched(images: torch.Tensor, side: int) -> torch.Tensor:
        seen.append(side)
        return original(images, side)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "shrink", watched)
        go(replace(RECIPE, sizes=("4x1",)), tmp_path / "small", code)
    assert seen == [4] * 4  # the steps of the first epoch
    go(RECIPE, tmp_path / "whole", code)
    assert weights(tmp_path / "small") != weights(tmp_path / "whole")
    (code.parent / "strict.py").write_text(NET.replace("nn.AdaptiveAvgPool2d(2)", "nn.AvgPool2d(3)"))
    strict = replace(RECIPE, architecture="strict:build", sizes=("2x1",))
    with pytest.raises(ModelError, match=r"the module fails on images of shape \(1, 2, 2\): "):
        go(strict, tmp_path / "strict", code.parent / "strict.py")
    with pytest.raises(ConfigurationError, match="sizes are smaller than the images, which have 6 rows; got 6x1"):
        go(replace(RECIPE, sizes=("6x1",)), tmp_path / "large", code)
    assert not (tmp_path / "large").exists()


def test_killed_twice_in_the_second_network(tmp_path: Path, code: Path) -> None:
    go(RECIPE, tmp_path / "whole", code, seeds=[4, 9])
    for resume, step in ((False, STEPS + 2), (True, STEPS + 5)):
        with pytest.raises(StopError):
            go(
                RECIPE,
                tmp_path / "cut",
                code,
                seeds=[4, 9],
                resume=resume,
                checkpoint_seconds=0,
                progress=stop_at(step),
            )
    records = go(RECIPE, tmp_path / "cut", code, seeds=[4, 9], resume=True)
    assert [record["resumed"] for record in records] == [0, 2]
    for seed in (4, 9):
        assert weights(tmp_path / "cut", seed) == weights(tmp_path / "whole", seed)


@pytest.mark.parametrize("part", ["generator", "torch", "order", "optimizer", "module"])
def test_each_part_of_the_state_matters(part: str, tmp_path: Path, code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutation: with one part of the state lost, the resumed weights are others."""
    go(RECIPE, tmp_path / "whole", code)
    with pytest.raises(StopError):
        go(RECIPE, tmp_path / "cut", code, checkpoint_seconds=0, progress=stop_at(5))

    restore = checkpoint._restore

    def forgetful(run: loop.Loop, tensors: dict[str, torch.Tensor]) -> None:
        fresh = {
            "generator": torch.Generator().manual_seed(1).get_state(),
            "torch": torch.Generator().manual_seed(1).get_state(),
            "order": torch.arange(50),
        }
        if part in fresh:
            tensors = {**tensors, part: fresh[part]}
        elif part == "module":
            tensors = {**tensors, **{f"module.{name}": value for name, value in run.module.state_dict().items()}}
        else:
            tensors = {name: value for name, value in tensors.items() if not name.startswith(part)}
        restore(run, tensors)

    monkeypatch.setattr(checkpoint, "_restore", forgetful)
    go(RECIPE, tmp_path / "cut", code, resume=True)
    assert weights(tmp_path / "cut") != weights(tmp_path / "whole")


def test_the_seed_decides_everything(tmp_path: Path, code: Path) -> None:
    before = torch.get_rng_state()
    go(RECIPE, tmp_path / "a", code, seeds=[3, 4])
    torch.manual_seed(11)
    state = torch.get_rng_state()
    go(RECIPE, tmp_path / "b", code, seeds=[4, 3])
    assert torch.equal(torch.get_rng_state(), state)
    torch.set_rng_state(before)
    assert weights(tmp_path / "a", 3) == weights(tmp_path / "b", 3)
    assert weights(tmp_path / "a", 4) == weights(tmp_path / "b", 4)
    assert weights(tmp_path / "a", 3) != weights(tmp_path / "a", 4)


def test_it_learns_and_the_record_says_what_was_done(tmp_path: Path, code: Path) -> None:
    recipe = replace(RECIPE, epochs=12, augmentations=("crop:1",), arguments={"width": 6})
    train, test = toy(200), toy(100, seed=1)
    said: list[tuple[str, int, int]] = []
    records = go(
        recipe,
        tmp_path / "new" / "out",
        code,
        train=train,
        test=test,
        seeds=[7],
        data_name="half & half",
        command="variegate train ...",
        progress=lambda *told: said.append(told),
    )
    out, name = tmp_path / "new" / "out", "tiny-build-half-half-s7"
    assert sorted(path.name for path in out.iterdir()) == [
        "tiny-build-half-half-labels.json", f"{name}.json", f"{name}.md", f"{name}.safetensors"
    ]  # fmt: skip
    (record,) = records
    assert json.loads((out / f"{name}.json").read_text()) == record
    assert record["recipe"]["arguments"] == {"width": 6, "num_classes": 2}
    assert record["recipe"]["code"] == {"tiny.py": sha256_file(code)}
    assert (record["seed"], record["command"], record["data"]["name"]) == (7, "variegate train ...", "half & half")
    assert (record["data"]["digest"], record["data"]["n"]) == (data_digest(train), 200)
    assert len(record["losses"]) == 12
    assert record["losses"][-1] < 0.5 * record["losses"][0]
    assert record["images_per_second"] == pytest.approx(12 * 200 / record["seconds"])
    assert record["threads"] == torch.get_num_threads()
    assert set(record["versions"]) == {"variegate", "torch", "numpy", "python"}
    module = load_factory("tiny:build", code)(**record["recipe"]["arguments"])
    module.load_state_dict(load_file(out / f"{name}.safetensors"))
    assert record["weights"]["digest"] == weights_digest(module)
    assert record["weights"]["sha256"] == sha256_file(out / f"{name}.safetensors")
    assert record["weights"]["parameters"] == sum(p.numel() for p in module.parameters())
    classifier = Classifier(module, input_shape=(1, 6, 6), labels=2, mean=(0.5,), std=(0.25,))
    correct = int((classifier.predict(torch.from_numpy(test.images)).numpy() == test.labels).sum())
    assert record["test"]["accuracy"] == {"rate": correct / 100, "k": correct, "n": 100}
    assert correct > 90
    assert json.loads((out / "tiny-build-half-half-labels.json").read_text()) == ["kind 0", "kind 1"]
    assert said[0] == (f"training {name}, epoch 1 of 12", 0, 156)
    assert said[-1] == (f"training {name}, epoch 12 of 12", 155, 156)
    card = (out / f"{name}.md").read_text()
    assert f"{correct / 100:.2%}".replace("%", " %") in card
    assert record["import_command"] in card
    assert record["recipe_digest"] in card


def test_without_test_images_there_is_no_accuracy(tmp_path: Path, code: Path) -> None:
    (record,) = go(RECIPE, tmp_path / "out", code, test=None)
    assert record["test"] is None
    assert "Not measured." in (tmp_path / "out" / "tiny-build-toy-s0.md").read_text()


def test_finished_networks_stay_and_a_changed_one_is_noticed(tmp_path: Path, code: Path) -> None:
    out = tmp_path / "out"
    first = go(RECIPE, out, code)
    again = go(RECIPE, out, code, seeds=[0, 1], resume=True, progress=stop_at(0))  # step 0 would be the first network's
    assert again[0] == first[0]
    assert again[1]["seed"] == 1
    (out / "tiny-build-toy-s0.safetensors").write_bytes(b"x")
    with pytest.raises(VerificationError, match=r"s0.safetensors is missing or was changed; delete .*s0.json to train"):
        go(RECIPE, out, code, resume=True)


@pytest.mark.parametrize("stage", ["finished", "begun"])
def test_another_training_is_not_gone_on_with(stage: str, tmp_path: Path, code: Path) -> None:
    out = tmp_path / "out"
    if stage == "finished":
        go(RECIPE, out, code)
    else:
        with pytest.raises(StopError):
            go(RECIPE, out, code, checkpoint_seconds=0, progress=stop_at(3))
    other: list[tuple[TrainingRecipe, dict[str, Any]]] = [
        (replace(RECIPE, epochs=3), {}),
        (RECIPE, {"train": toy(seed=5)}),
    ]
    for recipe, options in other:
        with pytest.raises(VerificationError, match="another training .other images, settings, network or device"):
            go(recipe, out, code, resume=True, **options)
    code.write_text(NET.replace("0.2", "0.3"))
    with pytest.raises(VerificationError, match="another training"):
        go(RECIPE, out, code, resume=True)


@pytest.mark.parametrize("stage", ["finished", "begun"])
def test_a_refused_resume_changes_nothing(stage: str, tmp_path: Path, code: Path) -> None:
    out = tmp_path / "out"
    if stage == "finished":
        go(RECIPE, out, code)
    else:
        with pytest.raises(StopError):
            go(RECIPE, out, code, checkpoint_seconds=0, progress=stop_at(3))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    renamed = replace(toy(), class_names=("off", "on"))
    with pytest.raises(VerificationError, match=r"labels.json names other classes than the images given; resume with"):
        go(RECIPE, out, code, train=renamed, test=None, resume=True)
    for seeds in ([0, 1], [1, 0]):  # before the network that could be trained is
        with pytest.raises(VerificationError, match="another training"):
            go(RECIPE, out, code, train=toy(seed=5), seeds=seeds, resume=True)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    labels = out / "tiny-build-toy-labels.json"
    labels.write_text("{")
    with pytest.raises(FormatError, match="holds no list of class names; choose another folder"):
        go(RECIPE, out, code, resume=True)
    labels.write_text('["off", "on"]')  # somebody's edit: the records still say what the classes were
    with pytest.raises(VerificationError, match="another training"):
        go(RECIPE, out, code, train=renamed, test=None, resume=True)


def test_nothing_to_resume_and_something_there_already(tmp_path: Path, code: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFoundError, match="empty holds no training of tiny-build-toy to resume; start it with --out"):
        go(RECIPE, tmp_path / "empty", code, resume=True)
    go(RECIPE, tmp_path / "out", code)
    with pytest.raises(ConflictError, match="out holds a training of tiny-build-toy already; resume it, or choose"):
        go(RECIPE, tmp_path / "out", code)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a checkpoint",
        (200).to_bytes(8, "little") + b"{",
        (2).to_bytes(8, "little") + b"{}",
    ],
)
def test_broken_checkpoints(data: bytes, tmp_path: Path, code: Path) -> None:
    with pytest.raises(StopError):
        go(RECIPE, tmp_path / "out", code, checkpoint_seconds=0, progress=stop_at(3))
    (tmp_path / "out" / "tiny-build-toy-s0.checkpoint").write_bytes(data)
    with pytest.raises(FormatError, match="not a training checkpoint or is truncated; delete it to start this network"):
        go(RECIPE, tmp_path / "out", code, resume=True)


def test_truncated_checkpoint(tmp_path: Path, code: Path) -> None:
    with pytest.raises(StopError):
        go(RECIPE, tmp_path / "out", code, checkpoint_seconds=0, progress=stop_at(3))
    file = tmp_path / "out" / "tiny-build-toy-s0.checkpoint"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(FormatError, match="truncated"):
        go(RECIPE, tmp_path / "out", code, resume=True)


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_divergence_is_said_and_not_saved(seconds: float, tmp_path: Path, code: Path) -> None:
    wild = replace(RECIPE, learning_rate=1e30, batch_size=4)
    with pytest.raises(ModelError, match=r"no longer finite in epoch 1; lower the learning rate from 1e\+30"):
        go(wild, tmp_path / "out", code, checkpoint_seconds=seconds)
    assert not (tmp_path / "out" / "tiny-build-toy-s0.safetensors").exists()


def test_full_disk_at_a_checkpoint(tmp_path: Path, code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) > 3000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(VariegateError, match=r"cannot write .*s0.checkpoint: no space left"):
        go(RECIPE, tmp_path / "out", code, checkpoint_seconds=0)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["tiny-build-toy-labels.json"]


def test_read_only_folder(tmp_path: Path, code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before the training, not after it."""
    open_file = os.open

    def refuse(path: Any, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_WRONLY and "out" in str(path):
            raise PermissionError(errno.EACCES, "Permission denied")
        return open_file(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(InputError, match=r"cannot write .*labels.json: permission denied"):
        go(RECIPE, tmp_path / "out", code, progress=stop_at(0))


def test_a_file_in_place_of_the_folder(tmp_path: Path, code: Path) -> None:
    with pytest.raises(VariegateError, match="cannot make"):
        go(RECIPE, code, code)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"seeds": []}, ConfigurationError, "seeds must be distinct whole numbers from 0"),
        ({"seeds": [1, 1]}, ConfigurationError, r"got \[1, 1\]"),
        ({"seeds": [-1]}, ConfigurationError, r"got \[-1\]"),
        ({"test": toy(side=7)}, InputError, r"the shape of the training images, \(1, 6, 6\); got \(1, 7, 7\)"),
        ({"test": toy(classes=3)}, InputError, "the classes of the training images, 2 in the same order; got 3"),
        (
            {"train": replace(toy(1), labels=np.zeros(1, dtype=np.int64), class_names=("a",)), "test": None},
            InputError,
            "at least 2 classes; got 1",
        ),
        ({"train": toy(1)}, InputError, "training needs at least 2 images; got 1"),
        ({"code_path": None}, ConfigurationError, "is a seller's own; give its file with --code-path"),
        ({"code_path": Path("nowhere.py")}, ModelError, "names the file tiny.py|nowhere.py"),
        (
            {"recipe": replace(RECIPE, architecture="vgg11")},
            ConfigurationError,
            "is a name of the catalog and needs no",
        ),
        ({"recipe": replace(RECIPE, architecture="nope"), "code_path": None}, NotFoundError, "no architecture 'nope'"),
        ({"recipe": replace(RECIPE, arguments={"depth": 3})}, ModelError, "got an unexpected keyword"),
        ({"recipe": replace(RECIPE, arguments={"num_classes": 1})}, InputError, r"labels must lie in 0 \.\. 0"),
        (
            {"recipe": replace(RECIPE, mean=(0.5,) * 3, std=(0.5,) * 3)},
            ConfigurationError,
            "mean and std must hold 1 number, or 1, one for each channel; got 3",
        ),
        (
            {"recipe": replace(RECIPE, augmentations=("crop:6",))},
            ConfigurationError,
            "crop:6 needs images of more than",
        ),
        ({"data_name": "x" * 200}, ConfigurationError, "the name of the networks"),
    ],
)
def test_what_cannot_be_trained(
    options: dict[str, Any], kind: type[Exception], message: str, tmp_path: Path, code: Path
) -> None:
    if options.get("code_path") == Path("nowhere.py"):
        kind = VariegateError
    recipe = options.pop("recipe", RECIPE)
    with pytest.raises(kind, match=message):
        go(recipe, tmp_path / "out", code, **options)
    assert not (tmp_path / "out").exists()


def test_names_of_files() -> None:
    assert training_name("net:build", "my data/") == "net-build-my-data"
    assert training_name("vgg19", "???") == "vgg19-data"


def test_digest_of_the_data() -> None:
    one = toy()
    assert data_digest(one) == data_digest(toy())
    swapped = replace(one, labels=1 - one.labels)
    moved = replace(one, images=one.images[:, :, ::-1])
    reshaped = replace(one, images=one.images.reshape(50, 1, 4, 9))
    assert len({data_digest(data) for data in (one, swapped, moved, reshaped)}) == 4


def test_images_are_normalised_for_the_network_as_the_classifier_does(tmp_path: Path, code: Path) -> None:
    """A network without augmentations sees (x - mean) / std, after the augmentations."""
    seen: list[torch.Tensor] = []

    class Spy:
        def loss(self, *, label_smoothing: float) -> loop.Loss:
            def watch(module: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
                seen.append(images)
                return torch.nn.functional.cross_entropy(module(images), labels)

            return watch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "find_method", lambda name: Spy())
        go(replace(RECIPE, epochs=1, augmentations=(), mean=(0.25,), std=(0.5,)), tmp_path / "out", code)
    found = torch.cat(seen).flatten(1)
    expected = (torch.from_numpy(toy().images).flatten(1) - 0.25) / 0.5
    assert torch.equal(found[found[:, 0].argsort()], expected[expected[:, 0].argsort()])
