import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from variegate.errors import ConfigurationError, FormatError, InputError, ModelError, NotFoundError
from variegate.models.onnx import OnnxLabeler
from variegate.oracles.hard_label import HardLabelOracle
from variegate.types import Bounds

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
pytest.importorskip("onnxruntime", reason="the package onnxruntime is not installed")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

GENERATOR = np.random.default_rng(0)
WEIGHT = GENERATOR.normal(size=(4, 3)).astype(np.float32)
BIAS = GENERATOR.normal(size=3).astype(np.float32)


def linear(
    path: Path,
    *,
    batch: object = "N",
    sizes: tuple[object, ...] = (1, 2, 2),
    kind: int = TensorProto.FLOAT,
    out: tuple[object, ...] = ("N", 3),
    tail: str = "scores",
    bias: np.ndarray = BIAS,
    second_input: bool = False,
) -> Path:
    """Flatten, then x W + b; `tail` "labels" adds an arg max."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("Gemm", ["flat", "W", "b"], ["scores"]),
    ]
    outputs = [helper.make_tensor_value_info("scores", kind, list(out))]
    if tail == "labels":
        nodes.append(helper.make_node("ArgMax", ["scores"], ["labels"], axis=1, keepdims=0))
        outputs = [helper.make_tensor_value_info("labels", TensorProto.INT64, [batch])]
    inputs = [helper.make_tensor_value_info("x", kind, [batch, *sizes])]
    if second_input:
        inputs.append(helper.make_tensor_value_info("z", kind, [1]))
    graph = helper.make_graph(
        nodes,
        "linear",
        inputs,
        outputs,
        [numpy_helper.from_array(WEIGHT.astype(dtype), "W"), numpy_helper.from_array(bias.astype(dtype), "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def inputs(count: int = 100) -> torch.Tensor:
    return torch.rand(count, 1, 2, 2, generator=torch.Generator().manual_seed(0))


def expected(x: torch.Tensor) -> list[int]:
    return (x.numpy().reshape(len(x), 4) @ WEIGHT + BIAS).argmax(1).tolist()


@pytest.mark.parametrize("options", [{}, {"batch": 7, "out": (7, 3)}, {"kind": TensorProto.DOUBLE}, {"tail": "labels"}])
def test_labels(tmp_path: Path, options: dict[str, object]) -> None:
    path = linear(tmp_path / "m.onnx", **options)  # type: ignore[arg-type]
    model = OnnxLabeler(path, num_classes=3 if options.get("tail") else None, batch_size=16)
    x = inputs()
    labels = model.predict(x)
    assert labels.dtype == torch.int64
    assert labels.tolist() == expected(x)
    assert len(set(labels.tolist())) > 1
    assert (model.input_shape, model.num_classes, model.bounds) == ((1, 2, 2), 3, Bounds())
    assert model.digest == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_nothing_to_label(tmp_path: Path) -> None:
    assert OnnxLabeler(linear(tmp_path / "m.onnx")).predict(inputs(0)).shape == (0,)


def test_behind_an_oracle(tmp_path: Path) -> None:
    model = OnnxLabeler(linear(tmp_path / "m.onnx"))
    oracle = HardLabelOracle(
        model.predict,
        input_shape=model.input_shape,
        bounds=model.bounds,
        num_classes=model.num_classes,
        samples=2,
        budget=3,
    )
    x = inputs(4)
    assert oracle.label(x, torch.tensor([0, 1, 1, 1])).tolist() == expected(x)
    assert oracle.remaining().tolist() == [2, 0]


def test_open_sizes_must_be_said(tmp_path: Path) -> None:
    path = linear(tmp_path / "m.onnx", sizes=("C", "H", "W"), out=("N", "n"))
    with pytest.raises(ConfigurationError, match=r"input_shape is left open by the file .*; say it"):
        OnnxLabeler(path)
    with pytest.raises(ConfigurationError, match="num_classes is left open by the file"):
        OnnxLabeler(linear(tmp_path / "labels.onnx", tail="labels"))
    assert OnnxLabeler(path, input_shape=(1, 2, 2), num_classes=3).predict(inputs(5)).tolist() == expected(inputs(5))


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"input_shape": (1, 3, 3)}, ConfigurationError, r"input_shape is \[1, 2, 2\] in the file; got \(1, 3, 3\)"),
        ({"input_shape": (4,)}, ConfigurationError, r"input_shape must be 3 positive sizes; got \(4,\)"),
        ({"num_classes": 4}, ConfigurationError, r"num_classes is \[3\] in the file; got \(4,\)"),
        ({"num_classes": 0}, ConfigurationError, "num_classes must be 1 positive sizes"),
        ({"batch_size": 0}, ConfigurationError, "must be at least 1; got 0 and 1"),
    ],
)
def test_wrong_options(tmp_path: Path, options: dict[str, object], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        OnnxLabeler(linear(tmp_path / "m.onnx"), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"kind": TensorProto.DOUBLE, "second_input": True},
            "must take one floating-point tensor .* it takes x: .* z: ",
        ),
        ({"bias": np.asarray([0, np.nan, 0])}, r"must return finite scores \(1, 3\); got float32 \(1, 3\)"),
    ],
)
def test_no_classifiers(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        OnnxLabeler(linear(tmp_path / "m.onnx", **options))  # type: ignore[arg-type]


def test_labels_beyond_the_classes(tmp_path: Path) -> None:
    path = linear(tmp_path / "m.onnx", tail="labels", bias=np.asarray([0, 0, 1e3]))
    with pytest.raises(ModelError, match=r"must return labels 0 \.\. 1; got 2 \.\. 2"):
        OnnxLabeler(path, num_classes=2)


def test_wrong_inputs(tmp_path: Path) -> None:
    model = OnnxLabeler(linear(tmp_path / "m.onnx"))
    with pytest.raises(InputError, match=r"must have shape \(N, 1, 2, 2\); got \(3, 4\)"):
        model.predict(torch.zeros(3, 4))
    with pytest.raises(InputError, match=r"must lie in \[0, 1\]"):
        model.predict(torch.full((1, 1, 2, 2), 255.0))
    with pytest.raises(InputError, match="finite"):
        model.predict(torch.full((1, 1, 2, 2), float("nan")))


def test_files_that_are_no_models(tmp_path: Path) -> None:
    path = linear(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(FormatError, match=r"m\.onnx is not an ONNX model that can be run"):
        OnnxLabeler(path)
    with pytest.raises(NotFoundError, match="gone"):
        OnnxLabeler(tmp_path / "gone.onnx")
    with pytest.raises(InputError, match="folder"):
        OnnxLabeler(tmp_path)


def test_without_onnxruntime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigurationError, match=r'pip install "variegate\[onnx\]"'):
        OnnxLabeler(linear(tmp_path / "m.onnx"))
