"""`variegate train` by the command line: networks, records, resume, and every way to get it wrong."""

import functools
import json
import shlex

import pytest
from typer.testing import CliRunner

from tests.raising import raises
from variegate.cli.main import app
from variegate.cli.train import _parse_seeds
from variegate.errors import ConfigurationError
from variegate.evaluation.stats import wilson_rate

QUICK = ["train", "--data", "digits", "--preset", "smoke", "--limit", "80", "--set", "epochs=2"]
NAME = "resnet11-digits"

NET = """
from torch import nn

print("built by the seller's code")


def build(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
"""


def test_train_and_import(invoke, home, tmp_path):
    result = invoke(*QUICK, "--seeds", "0,2", "--out", "trained", "--json")
    records = json.loads(result.stdout)
    assert [record["seed"] for record in records] == [0, 2]
    assert len({record["weights"]["digest"] for record in records}) == 2
    assert "no flip: the name digits says" in result.stderr
    for record in records:
        assert json.loads((tmp_path / "trained" / f"{record['name']}.json").read_text()) == record
        found = record["test"]["accuracy"]
        assert found == wilson_rate(found["k"], 80).to_dict()
        assert record["command"] == shlex.join(["variegate", *QUICK, "--seeds", "0,2", "--out", "trained", "--json"])
        assert record["recipe"]["augmentations"] == ["crop:1"]
        assert record["import_command"] in result.stderr.splitlines()
        program, *words = shlex.split(record["import_command"])
        assert program == "variegate"
        invoke(*words)
        shown = json.loads(invoke("model", "show", record["name"], "--json").stdout)
        assert shown["weights_digest"] == record["weights"]["digest"]
        assert (shown["mean"], shown["std"], shown["labels"]) == ([0.5], [0.25], list("0123456789"))


def test_table_and_resume(invoke, tmp_path):
    first = invoke(*QUICK, "--seeds", "0", "--out", "trained")
    lines = first.stdout.splitlines()
    assert lines[0].split("  ")[0] == "NETWORK"
    assert lines[1].split()[:2] == [f"{NAME}-s0", "0"]
    assert " % " in lines[1]
    before = (tmp_path / "trained" / f"{NAME}-s0.safetensors").stat().st_mtime_ns
    again = invoke(*QUICK, "--seeds", "0-1", "--resume", "trained")
    assert [line.split()[0] for line in again.stdout.splitlines()[1:]] == [f"{NAME}-s0", f"{NAME}-s1"]
    assert (tmp_path / "trained" / f"{NAME}-s0.safetensors").stat().st_mtime_ns == before


def test_interrupted_and_gone_on_with(invoke, monkeypatch, tmp_path):
    from variegate.training import job, run

    invoke(*QUICK, "--seeds", "3", "--out", "whole")
    save = job.save_training

    def save_and_stop(*arguments, **options):
        save(*arguments, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(job, "save_training", save_and_stop)
        patch.setattr(run, "train_models", functools.partial(run.train_models, checkpoint_seconds=0.0))
        result = CliRunner().invoke(app, [*QUICK, "--seeds", "3", "--out", "cut"])
    assert result.exit_code == 130
    assert "--resume cut in place of --out" in result.stderr
    assert result.stderr.splitlines()[-1] == "interrupted"
    assert (tmp_path / "cut" / f"{NAME}-s3.checkpoint").is_file()
    invoke(*QUICK, "--seeds", "3", "--resume", "cut")
    whole, cut = ((tmp_path / folder / f"{NAME}-s3.safetensors").read_bytes() for folder in ("whole", "cut"))
    assert whole == cut


def test_a_sellers_own_network(invoke, home, tmp_path):
    (tmp_path / "net.py").write_text(NET)
    options = [
        "--code-path",
        "net.py",
        "--split-test",
        "none",
        "--data-name",
        "my digits",
        "--set",
        "augmentations=none",
    ]
    result = invoke(*QUICK, "net:build", *options, "--out", "own", "--json")
    (record,) = json.loads(result.stdout)
    assert (record["name"], record["test"], record["recipe"]["augmentations"]) == ("net-build-my-digits-s0", None, [])
    assert "built by the seller's code" in result.stderr
    invoke(*shlex.split(record["import_command"])[1:])
    assert "not measured" in invoke(*QUICK, "net:build", *options, "--resume", "own").stdout


def test_arguments_settings_and_threads(invoke):
    import torch

    before = torch.get_num_threads()
    try:
        words = ["digits_cnn", "--set", "optimizer=adamw", "--set", "learning_rate=0.01", "--threads", "1"]
        (record,) = json.loads(invoke(*QUICK, *words, "--out", "a", "--json").stdout)
    finally:
        torch.set_num_threads(before)
    recipe = record["recipe"]
    assert (recipe["architecture"], recipe["optimizer"], recipe["learning_rate"]) == ("digits_cnn", "adamw", 0.01)
    assert recipe["arguments"] == {"num_classes": 10, "in_channels": 1}
    assert record["threads"] == 1
    (record,) = json.loads(invoke(*QUICK, "--arg", "width=2", "--out", "b", "--json").stdout)
    assert record["recipe"]["arguments"]["width"] == 2


@pytest.mark.parametrize(
    ("text", "seeds"), [("0", (0,)), ("0-3", (0, 1, 2, 3)), ("0,3, 5", (0, 3, 5)), ("7,1-2", (7, 1, 2)), ("4-4", (4,))]
)
def test_seeds(text, seeds):
    assert _parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "1,1", "0-2,1", "3-1", "-1", "1-", "0-1000", "2147483648", "1.5", "²"])
def test_wrong_seeds(text):
    with raises(ConfigurationError, "--seeds", "1,000"):
        _parse_seeds(text)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--seeds", "9-1", "--out", "o"], 2, "--seeds must be"),
        ([], 2, "expected --out for a new run or --resume for an interrupted one; got neither"),
        (["--out", "o", "--resume", "p"], 2, "got both"),
        (["--resume", "nowhere"], 4, "there is no folder nowhere to resume"),
        (["--resume", "."], 4, "holds no training of resnet11-digits to resume; start it with --out"),
        (["--preset", "cluster", "--out", "o"], 2, "there is no training preset 'cluster'"),
        (["--set", "speed=9", "--out", "o"], 2, "a recipe has no setting 'speed'"),
        (["--set", "batch_size=1", "--out", "o"], 2, "batch_size must be a whole number of at least 2; got 1"),
        (["--set", "augmentations=spin", "--out", "o"], 2, "there is no augmentation 'spin'"),
        (["--set", "epochs", "--out", "o"], 2, "--set must be NAME=VALUE"),
        (["--arg", "width=0", "--out", "o"], 2, "width must be an integer of at least 1; got 0"),
        (["vgg20", "--out", "o"], 4, "there is no architecture 'vgg20'"),
        (["vgg11", "--out", "o"], 1, "the module fails on images of shape (1, 8, 8)"),
        (["net:build", "--out", "o"], 2, "give its file with --code-path"),
        (["--split-test", "validation", "--out", "o"], 2, '--split must be "train" or "test"; got'),
        (["--data", "nowhere", "--out", "o"], 4, "nowhere does not exist"),
        (["--limit", "1", "--out", "o"], 1, "training needs at least 2 images; got 1"),
        (["--set", "learning_rate=1e30", "--out", "o"], 1, "the training loss is no longer finite in epoch 1; lower"),
    ],
)
def test_one_sentence(fails, words, code, message):
    assert message in fails(code, *QUICK, *words)


def test_a_folder_with_something_in_it(fails, tmp_path):
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "x").touch()
    assert "o holds results already" in fails(1, *QUICK, "--out", "o")
