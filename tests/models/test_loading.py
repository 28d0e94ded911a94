import hashlib
import json
import pickle
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from variegate.errors import (
    ConfigurationError,
    FormatError,
    InputError,
    ModelError,
    NondeterminismError,
    NotFoundError,
    UnsafeFormatError,
    VerificationError,
)
from variegate.manifest import ModelManifest
from variegate.models.architectures.catalog import build_architecture
from variegate.models.classifier import Classifier, weights_digest
from variegate.models.loading import ImportedModel, load_classifier, load_factory, load_state, prepare_import
from variegate.models.state import fit_state
from variegate.types import Bounds

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes, scale=1.0):
        super().__init__()
        self.fc = nn.Linear(4, num_classes)
        self.scale = scale

    def forward(self, x):
        return self.fc(x.flatten(1)) * self.scale

def build(num_classes, scale=1.0):
    return Net(num_classes, scale)
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "my_net.py"
    path.write_text(NET, encoding="utf-8")
    return path


def linear_state(num_classes: int = 3) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "fc.weight": torch.randn(num_classes, 4, generator=generator),
        "fc.bias": torch.randn(num_classes, generator=generator),
    }


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    save_file(linear_state(), tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


def bring(weights: Path, code: Path | None, **changes: object) -> ImportedModel:
    options: dict[str, object] = {
        "name": "toy",
        "architecture": "my_net:build",
        "labels": ["a", "b", "c"],
        "input_shape": (1, 2, 2),
        "code_path": code,
    }
    return prepare_import(weights, **{**options, **changes})  # type: ignore[arg-type]


def store(model: ImportedModel, folder: Path) -> Path:
    for name, content in model.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    return folder


# Weights


def test_load_state_casts_floats_and_keeps_the_rest(tmp_path: Path) -> None:
    values = torch.tensor([0.5, -2.0])
    state = {str(dtype): values.to(dtype) for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.float32)}
    state["count"] = torch.tensor([7])
    state["mask"] = torch.tensor([True, False])
    save_file(state, tmp_path / "x.safetensors")
    loaded = load_state(tmp_path / "x.safetensors")
    assert {name: tensor.dtype for name, tensor in loaded.items()} == {
        **{str(dtype): torch.float32 for dtype in (torch.float16, torch.bfloat16, torch.float64, torch.float32)},
        "count": torch.int64,
        "mask": torch.bool,
    }
    assert all(torch.equal(loaded[str(dtype)], values) for dtype in (torch.float16, torch.bfloat16, torch.float64))


@pytest.mark.parametrize("name", ["x.pt", "x.pth", "x.pkl", "x.bin", "x.ckpt", "X.PT", "x.safetensors", "x"])
def test_pickles_are_refused_unread(tmp_path: Path, name: str) -> None:
    torch.save({"w": torch.zeros(2)}, tmp_path / name)
    with pytest.raises(UnsafeFormatError, match=r"can hold pickles, .* convert it to safetensors: .*weights_only=True"):
        load_state(tmp_path / name)


def test_old_pickles_are_refused_by_their_first_bytes(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(pickle.dumps({"w": [1.0] * 99}))
    with pytest.raises(UnsafeFormatError, match="can hold pickles"):
        load_state(tmp_path / "x.safetensors")


def test_a_header_that_begins_like_a_pickle_is_none(tmp_path: Path) -> None:
    """A header of 0x80 bytes makes 0x80 the first byte of the file, as in a pickle."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).ljust(0x80).encode()
    (tmp_path / "x.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    assert load_state(tmp_path / "x.safetensors")["w"].tolist() == [0.0]


@pytest.mark.parametrize("keep", [0, 5, 8, 60, -1])
def test_truncated(weights: Path, keep: int) -> None:
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(FormatError, match=r"net\.safetensors is not a whole safetensors file"):
        load_state(weights)


def test_not_safetensors_at_all(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_text("hello, this is some text", encoding="utf-8")
    with pytest.raises(FormatError, match="not a whole safetensors file"):
        load_state(tmp_path / "x.safetensors")


def test_missing_and_folder(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="gone"):
        load_state(tmp_path / "gone.safetensors")
    with pytest.raises(InputError, match="folder"):
        load_state(tmp_path)


def test_onnx_is_pointed_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"\x08\x0a" * 20)
    with pytest.raises(ModelError, match="ONNX file, which can only be asked for labels"):
        load_state(tmp_path / "x.onnx")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "holds no tensors"),
        ({"w": torch.tensor([1.0, float("nan")])}, "w holds NaN or infinity"),
        ({"w": torch.tensor([1e300], dtype=torch.float64)}, "w holds NaN or infinity as float32"),
        ({"w": torch.zeros(2, dtype=torch.complex64)}, "w holds complex numbers"),
    ],
)
def test_weights_that_cannot_be_used(tmp_path: Path, state: dict[str, Tensor], message: str) -> None:
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(ModelError, match=message):
        load_state(tmp_path / "x.safetensors")


def changed(**changes: Tensor | None) -> dict[str, Tensor]:
    state = {**linear_state(), **{name.replace("__", "."): value for name, value in changes.items()}}
    return {name: value for name, value in state.items() if value is not None}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (changed(fc__bias=None), "do not fit the net: missing fc.bias; check"),
        (changed(extra=torch.zeros(1)), "unexpected extra"),
        (changed(fc__bias=torch.zeros(5)), r"fc.bias is float \(5,\), expected float \(3,\)"),
        (changed(fc__bias=torch.zeros(3, dtype=torch.int64)), r"fc.bias is int64 \(3,\), expected float \(3,\)"),
        (
            {f"module.{name}": value for name, value in linear_state().items()},
            "missing fc.bias, fc.weight; unexpected module",
        ),
        ({f"w{i}": torch.zeros(1) for i in range(9)}, "unexpected w0, w1, w2, w3 and 5 more"),
    ],
)
def test_weights_that_do_not_fit(state: dict[str, Tensor], message: str) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 3)

    with pytest.raises(ModelError, match=message):
        fit_state(Net(), state, "the net")


def test_shared_weights_need_one_name_only() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 4, bias=False)
            self.second = nn.Linear(4, 4, bias=False)
            self.second.weight = self.first.weight

    module = Tied()
    fit_state(module, {"first.weight": torch.eye(4)}, "the net")
    assert torch.equal(module.second.weight, torch.eye(4))


def test_a_module_of_other_precision_becomes_float32() -> None:
    module = nn.Linear(4, 3).to(torch.float64)
    fit_state(module, {"weight": torch.ones(3, 4), "bias": torch.ones(3)}, "the net")
    assert module.weight.dtype == torch.float32


# A seller's code


def test_factory_from_a_file_leaves_python_as_it_was(code: Path) -> None:
    path, modules = list(sys.path), set(sys.modules)
    factory = load_factory("my_net:build", code)
    assert factory(num_classes=3)(torch.zeros(2, 4)).shape == (2, 3)
    assert sys.path == path
    assert "my_net" not in sys.modules
    assert all(name.startswith("_variegate_seller_") for name in set(sys.modules) - modules)
    assert not (code.parent / "__pycache__").exists()


def test_one_name_and_two_contents_live_side_by_side(tmp_path: Path) -> None:
    factories = []
    for version in (1, 2):
        folder = tmp_path / str(version)
        folder.mkdir()
        (folder / "net.py").write_text(f"VERSION = {version}\ndef build():\n    return VERSION\n", encoding="utf-8")
        factories.append(load_factory("net:build", folder / "net.py"))
    assert [factory() for factory in factories] == [1, 2]
    assert load_factory("net:build", tmp_path / "1" / "net.py") is factories[0]


def test_files_of_a_folder_import_each_other(tmp_path: Path) -> None:
    (tmp_path / "layers.py").write_text("WIDTH = 7\n", encoding="utf-8")
    (tmp_path / "net.py").write_text("from .layers import WIDTH\ndef build():\n    return WIDTH\n", encoding="utf-8")
    (tmp_path / "__init__.py").write_text("raise RuntimeError\n", encoding="utf-8")
    assert load_factory("net:build", tmp_path)() == 7  # type: ignore[comparison-overlap]
    with pytest.raises(ModelError, match=r"net.py cannot be imported: ModuleNotFoundError: .* give the folder"):
        load_factory("net:build", tmp_path / "net.py")


def test_dataclasses_and_tracebacks_work(tmp_path: Path) -> None:
    source = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass C:\n    x: int = 3\n"
        "def build():\n    return C().x / 0\n"
    )
    (tmp_path / "net.py").write_text(source, encoding="utf-8")
    with pytest.raises(ZeroDivisionError) as error:
        load_factory("net:build", tmp_path / "net.py")()
    assert str(error.traceback[-1].path) == str(tmp_path / "net.py")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def other(): ...", "must define the function 'build'; it has no such name"),
        ("build = 3", "'build'; it has a int"),
        ("def build(:", "net.py cannot be imported: SyntaxError"),
        ("raise ValueError('broken')", "net.py cannot be imported: ValueError: broken"),
        ("raise SystemExit(1)", "net.py cannot be imported: SystemExit: 1"),
        ("import no_such_library", "ModuleNotFoundError: No module named 'no_such_library'; install it"),
        ("\0", "net.py cannot be imported: (SyntaxError|ValueError)"),
    ],
)
def test_code_that_cannot_be_used(tmp_path: Path, source: str, message: str) -> None:
    (tmp_path / "net.py").write_text(source, encoding="utf-8")
    with pytest.raises(ModelError, match=message):
        load_factory("net:build", tmp_path / "net.py")


@pytest.mark.parametrize("reference", ["net:", ":build", "a.b:build", "net:build:x", "../net:build", "net:build()"])
def test_malformed_references(code: Path, reference: str) -> None:
    with pytest.raises(ModelError, match="written module:function, such as net:build; got"):
        load_factory(reference, code)


def test_code_that_is_not_there(tmp_path: Path, code: Path) -> None:
    with pytest.raises(NotFoundError, match="gone"):
        load_factory("gone:build", tmp_path / "gone.py")
    with pytest.raises(NotFoundError, match=r"has no file gone\.py, which 'gone:build' names"):
        load_factory("gone:build", tmp_path)
    with pytest.raises(ModelError, match=r"'net:build' names the file net\.py; got .*my_net\.py"):
        load_factory("net:build", code)


def test_code_is_bounded(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("#" * (2**20 + 1), encoding="utf-8")
    with pytest.raises(InputError, match="1048576"):
        load_factory("net:build", tmp_path / "net.py")


# Import


def test_import_and_load_again(weights: Path, code: Path, tmp_path: Path) -> None:
    model = bring(weights, code, arguments={"scale": 2.0}, mean=[0.5], std=[0.25], bounds=Bounds(-1, 1))
    assert model.manifest.arguments == {"num_classes": 3, "scale": 2.0}
    assert (model.manifest.labels, model.manifest.mean) == (("a", "b", "c"), (0.5,))
    assert model.manifest.files == {
        "weights.safetensors": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "code/my_net.py": hashlib.sha256(NET.encode()).hexdigest(),
    }
    assert model.files["code/my_net.py"] == NET.encode()
    manifest = ModelManifest.from_dict(json.loads(json.dumps(model.manifest.to_dict())))
    folder = store(model, tmp_path / "home")
    code.unlink()
    weights.unlink()
    classifier = load_classifier(manifest, folder)
    state = linear_state()
    x = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(1)) * 2 - 1
    expected = 2 * ((x.flatten(1) - 0.5) / 0.25 @ state["fc.weight"].T + state["fc.bias"])
    torch.testing.assert_close(classifier.logits(x), expected)
    assert classifier.digest == manifest.weights_digest == weights_digest(classifier.module)
    assert classifier.bounds == Bounds(-1, 1)


def test_the_digest_is_over_float32(tmp_path: Path, code: Path) -> None:
    """A file of bfloat16 and one of the same numbers as float32 are one model."""
    half = {name: tensor.to(torch.bfloat16) for name, tensor in linear_state().items()}
    save_file(half, tmp_path / "half.safetensors")
    save_file({name: tensor.to(torch.float32) for name, tensor in half.items()}, tmp_path / "full.safetensors")
    manifests = [bring(tmp_path / f"{name}.safetensors", code).manifest for name in ("half", "full")]
    assert manifests[0].weights_digest == manifests[1].weights_digest
    assert manifests[0].files != manifests[1].files


def test_catalog_architecture(tmp_path: Path) -> None:
    save_file(build_architecture("digits_cnn", {"num_classes": 10}).state_dict(), tmp_path / "w.safetensors")
    model = prepare_import(
        tmp_path / "w.safetensors", name="digits", architecture="digits_cnn", labels=10, input_shape=(1, 8, 8)
    )
    assert model.manifest.arguments == {"num_classes": 10, "in_channels": 1}
    assert model.manifest.labels[9] == "class 9"
    assert set(model.files) == {"weights.safetensors"}
    assert isinstance(load_classifier(model.manifest, store(model, tmp_path / "home")), Classifier)


def test_nothing_random_is_used_up(weights: Path, code: Path) -> None:
    before = torch.get_rng_state()
    bring(weights, code)
    assert torch.equal(torch.get_rng_state(), before)


def test_probabilities(tmp_path: Path, weights: Path) -> None:
    source = NET.replace("* self.scale", "* self.scale).softmax(1)").replace("return self.fc", "return (self.fc")
    (tmp_path / "my_net.py").write_text(source, encoding="utf-8")
    model = bring(weights, tmp_path / "my_net.py", outputs="probabilities")
    scores = load_classifier(model.manifest, store(model, tmp_path / "home")).scores(torch.full((1, 1, 2, 2), 0.5))
    state = linear_state()
    torch.testing.assert_close(scores[0], (0.5 * state["fc.weight"].sum(1) + state["fc.bias"]).softmax(0))


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"code_path": None}, ConfigurationError, "a seller's own; give the Python file"),
        (
            {"architecture": "vgg19"},
            ConfigurationError,
            "needs no code; to use .* write the architecture as module:function",
        ),
        ({"architecture": "vgg20", "code_path": None}, NotFoundError, "no architecture 'vgg20'"),
        ({"architecture": "my_net:nothing"}, ModelError, "must define the function 'nothing'"),
        ({"name": "../toy"}, ConfigurationError, "a model's name must be"),
        ({"labels": 1}, InputError, "at least 2 labels; got 1"),
        ({"labels": ["a", "b", "a"]}, InputError, "distinct names"),
        ({"labels": "abc"}, InputError, "distinct names, one per class; got 'abc'"),
        ({"labels": 4}, ModelError, r"weights do not fit .*fc.bias is float \(3,\), expected float \(4,\)"),
        ({"labels": 4, "arguments": {"num_classes": 3}}, ModelError, r"\(2, 4\) for 2 inputs; got \(2, 3\)"),
        ({"arguments": {"width": 3}}, ModelError, "given width=3, num_classes=3: got an unexpected keyword argument"),
        ({"input_shape": ()}, ConfigurationError, r"input_shape must hold positive sizes, .*; got \(\)"),
        ({"input_shape": (1, 0, 2)}, ConfigurationError, "positive sizes"),
        ({"input_shape": (1, 3, 3)}, ModelError, r"fails on an input of shape \(1, 3, 3\)"),
        ({"mean": [0.5]}, ModelError, "mean and std must both"),
        ({"mean": [0.5], "std": [0.0]}, ModelError, "std must be positive"),
    ],
)
def test_refused(changes: dict[str, object], kind: type[Exception], message: str, weights: Path, code: Path) -> None:
    with pytest.raises(kind, match=message):
        bring(weights, code, **changes)


BEHAVIOUR = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.fc = nn.Linear(4, num_classes)
        self.calls = 0

    def forward(self, x):
        {body}

def build(num_classes):
    return Net(num_classes)
"""


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (
            "return self.fc(nn.functional.dropout(x.flatten(1), 0.5, training=True))",
            NondeterminismError,
            "alike when the same batch is asked twice; .* switch off dropout and noise",
        ),
        ("self.calls += 1; return self.fc(x.flatten(1)) * self.calls", NondeterminismError, "asked twice"),
        (
            "x = x.flatten(1); return self.fc((x - x.mean(0)) / (x.std(0) + 1e-3))",
            NondeterminismError,
            "alike when the inputs come in other batches",
        ),
        (
            "return self.fc(x.flatten(1)) / (x.flatten(1)[:, :1] == 0.5)",
            ModelError,
            "NaN or infinity for a random input",
        ),
        ("return self.fc(x.flatten(1)) * float('nan')", ModelError, "NaN or infinity for a constant input"),
        ("return self.missing(x)", ModelError, "fails on an input .* AttributeError: .*missing"),
        ("return [self.fc(x.flatten(1))]", ModelError, "fails on an input .* AttributeError"),
        ("assert len(x) == 2; return self.fc(x.flatten(1))", ModelError, "fails on a random input"),
    ],
)
def test_behaviour_is_checked(body: str, kind: type[Exception], message: str, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text(BEHAVIOUR.format(body=body), encoding="utf-8")
    with pytest.raises(kind, match=message):
        bring(weights, tmp_path / "odd.py", architecture="odd:build")


def test_batch_normalisation_and_dropout_are_fine_in_evaluation_mode(tmp_path: Path) -> None:
    source = (
        "from torch import nn\ndef build(num_classes):\n    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4), "
        "nn.Dropout(0.5), nn.Linear(4, num_classes)).train()\n"
    )
    (tmp_path / "bn.py").write_text(source, encoding="utf-8")
    module = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 3))
    save_file(module.state_dict(), tmp_path / "w.safetensors")
    assert bring(tmp_path / "w.safetensors", tmp_path / "bn.py", architecture="bn:build")


# Loading what was imported


@pytest.fixture
def home(weights: Path, code: Path, tmp_path: Path) -> tuple[ModelManifest, Path]:
    model = bring(weights, code)
    return model.manifest, store(model, tmp_path / "home")


@pytest.mark.parametrize("name", ["weights.safetensors", "code/my_net.py"])
def test_changed_files_are_noticed(home: tuple[ModelManifest, Path], name: str) -> None:
    manifest, folder = home
    data = bytearray((folder / name).read_bytes())
    data[-1] ^= 1
    (folder / name).write_bytes(bytes(data))
    with pytest.raises(
        VerificationError, match=f"model toy: .*{name} has SHA-256 .*, expected .* import the model again"
    ):
        load_classifier(manifest, folder)
    (folder / name).unlink()
    with pytest.raises(VerificationError, match="model toy: .*there is no file"):
        load_classifier(manifest, folder)


def test_only_checked_code_runs(home: tuple[ModelManifest, Path]) -> None:
    """A file beside the code, or a compiled file, is no part of the model."""
    manifest, folder = home
    (folder / "code" / "torch.py").write_text("raise RuntimeError('ran')\n", encoding="utf-8")
    (folder / "code" / "__pycache__").mkdir()
    (folder / "code" / "__pycache__" / "my_net.cpython-311.pyc").write_bytes(b"junk")
    assert load_classifier(manifest, folder).num_classes == 3


def test_weights_of_another_model_are_noticed(home: tuple[ModelManifest, Path]) -> None:
    manifest, folder = home
    fields = manifest.to_dict()
    fields["weights_digest"] = "sha256:" + "0" * 64
    with pytest.raises(VerificationError, match="model toy: the weights have digest .* the manifest says sha256:0000"):
        load_classifier(ModelManifest.from_dict(fields), folder)


@pytest.mark.parametrize(("name", "classes"), [("cifar10-s0", 10), ("gtsrb-s1", 43)])
def test_real_models(shared: Path, tmp_path: Path, name: str, classes: int) -> None:
    from variegate.data import load_dataset

    model = prepare_import(
        shared / "models" / f"{name}.safetensors",
        name=name,
        architecture="seller_net:build",
        code_path=shared / "models" / "seller_net.py",
        labels=classes,
        input_shape=(3, 32, 32),
    )
    classifier = load_classifier(model.manifest, store(model, tmp_path / "home"))
    stated = json.loads((shared / "models" / "models.json").read_text(encoding="utf-8"))[name]
    data = load_dataset(shared / "data" / stated["dataset"], limit=500)
    accuracy = float((classifier.predict(torch.from_numpy(data.images)).numpy() == data.labels).mean())
    assert abs(accuracy - stated["test_accuracy"]) < 0.05
