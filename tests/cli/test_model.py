"""Originals by the command line: import, list, show, and every way to get it wrong."""

import json

import pytest
import torch

from tests.authority.linear_seller import DIGITS, write_seller
from variegate.authority import Authority


@pytest.fixture
def seller(tmp_path):
    write_seller(tmp_path / "seller")
    return tmp_path / "seller"


def arguments(seller, **changes):
    options = {
        "--name": "fresh",
        "--arch": "linear_net:build",
        "--code-path": seller / "linear_net.py",
        "--input-shape": "1,8,8",
        "--labels": "10",
    } | {f"--{name.replace('_', '-')}": value for name, value in changes.items()}
    given = [part for pair in options.items() if pair[1] is not None for part in pair]
    return ["model", "import", seller / "weights.safetensors", *given]


def test_import_and_show(invoke, home, seller):
    result = invoke(*arguments(seller, bounds="0,1", mean="0.5", std="0.25", arg="num_classes=10"))
    assert result.stdout.startswith("imported fresh (linear_net:build, 10 classes) sha256:")
    shown = json.loads(invoke("model", "show", "fresh", "--json").stdout)
    assert (shown["mean"], shown["std"], shown["arguments"]) == ([0.5], [0.25], {"num_classes": 10})
    assert "sha256:" in invoke("model", "show", "fresh").stdout


def test_labels_from_a_file(invoke, home, seller):
    (seller / "labels.json").write_text(json.dumps(DIGITS))
    shown = json.loads(invoke(*arguments(seller, labels=seller / "labels.json"), "--json").stdout)
    assert shown["labels"] == DIGITS


def test_a_registered_architecture(invoke, home, tmp_path):
    from safetensors.torch import save_file

    from variegate.models.architectures.catalog import build_architecture

    module = build_architecture("digits_cnn", {"num_classes": 10})
    save_file({name: value.contiguous() for name, value in module.state_dict().items()}, tmp_path / "cnn.safetensors")
    options = ["--name", "cnn", "--arch", "digits_cnn", "--input-shape", "1,8,8", "--labels", 10]
    invoke("model", "import", tmp_path / "cnn.safetensors", *options)
    with Authority.open(home, lambda: None, read_only=True) as desk:
        assert desk.original("cnn").num_classes == 10


def test_list(invoke, home):
    table = invoke("model", "ls").stdout.splitlines()
    assert table[0].split() == ["NAME", "ARCHITECTURE", "CLASSES", "INPUT", "DIGEST"]
    assert [line.split()[0] for line in table[1:]] == ["net", "other"]
    assert [model["name"] for model in json.loads(invoke("model", "ls", "--json").stdout)] == ["net", "other"]


def test_empty_list(invoke, tmp_path, monkeypatch):
    monkeypatch.setenv("VARIEGATE_PASSPHRASE", "x")
    invoke("init", "--home", tmp_path / "h")
    result = invoke("model", "ls", "--home", tmp_path / "h")
    assert (result.stdout, result.stderr) == ("", "There is no original yet; import one with: variegate model import\n")
    assert json.loads(invoke("model", "ls", "--home", tmp_path / "h", "--json").stdout) == []


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"name": "net"}, 1, "a model named 'net' exists already"),
        ({"name": "../evil"}, 2, "a model's name must be"),
        ({"arch": "nope", "code_path": None}, 4, "nope"),
        ({"arch": "linear_net:nope"}, 1, "nope"),
        ({"code_path": None}, 2, "give the Python file"),
        ({"code_path": "nowhere.py"}, 4, "nowhere.py"),
        ({"input_shape": "1,8"}, 1, "input"),
        ({"input_shape": "1,8,x"}, 2, "--input-shape must be positive whole numbers with commas, such as 3,32,32"),
        ({"input_shape": "0"}, 2, "--input-shape must be positive"),
        ({"labels": "1"}, 1, "at least 2 labels; got 1"),
        ({"labels": "11"}, 1, "do not fit"),
        ({"labels": "99999999999"}, 2, "--labels must be a number up to 1,000,000"),
        ({"labels": "9" * 5000}, 2, "--labels must be a number up to 1,000,000"),
        ({"input_shape": "9" * 5000}, 2, "--input-shape must be positive whole numbers"),
        ({"labels": "nowhere.json"}, 4, "there is no file nowhere.json"),
        ({"bounds": "1,0"}, 2, "lower before upper; got 1.0 and 0.0"),
        ({"bounds": "0"}, 2, "bounds are written LOWER,UPPER"),
        ({"mean": "a"}, 2, "--mean must be numbers with commas"),
        ({"mean": "0.5"}, 1, "std"),
        ({"outputs": "scores"}, 2, '--outputs must be "logits" or "probabilities"; got \'scores\''),
        ({"arg": "num_classes"}, 2, "--arg must be NAME=VALUE"),
        ({"arg": "depth=3"}, 1, "depth"),
    ],
    ids=str,
)
def test_bad_imports(fails, home, seller, changes, code, message):
    before = sorted(path.name for path in (home / "models").iterdir())
    assert message in fails(code, *arguments(seller, **changes))
    assert sorted(path.name for path in (home / "models").iterdir()) == before


@pytest.mark.parametrize("content", ["{}", "[1, 2]", "not json", '"a"'])
def test_bad_label_files(fails, home, seller, content):
    (seller / "labels.json").write_text(content)
    message = fails(1, *arguments(seller, labels=seller / "labels.json"))
    assert "--labels must be a number or a JSON file with a list of names" in message


def test_pickles_are_refused(fails, home, seller):
    torch.save({"1.weight": torch.zeros(10, 64)}, seller / "net.pt")
    weights = arguments(seller)
    weights[2] = seller / "net.pt"
    assert "can hold pickles" in fails(1, *weights)


@pytest.mark.parametrize(("content", "message"), [(b"", "safetensors"), (b"\x10" + bytes(7) + b"{", "safetensors")])
def test_truncated_weights(fails, home, seller, content, message):
    (seller / "weights.safetensors").write_bytes(content)
    assert message in fails(1, *arguments(seller))


def test_missing_home_and_model(fails, home, tmp_path):
    assert "is not a variegate home" in fails(4, "model", "ls", "--home", tmp_path / "nowhere")
    assert "no model named 'nope'" in fails(4, "model", "show", "nope")
