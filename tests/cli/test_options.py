"""How option values are read, and how tables, pairs and progress are written."""

import pytest

from tests.raising import raises
from variegate.cli import running as progress_module
from variegate.cli.experiment import choose_device
from variegate.cli.options import (
    DeviceChoice,
    output_folder,
    parse_floats,
    parse_integers,
    parse_pairs,
    parse_rate,
    split_pairs,
)
from variegate.cli.output import print_pairs, print_table
from variegate.cli.running import show_progress
from variegate.errors import ConfigurationError, ConflictError, InputError, NotFoundError


@pytest.mark.parametrize(("text", "rate"), [("1%", 0.01), ("0.01", 0.01), ("0", 0.0), ("100%", 1.0), (" 5% ", 0.05)])
def test_rates(text, rate):
    assert parse_rate(text.strip(), "--x") == pytest.approx(rate)


@pytest.mark.parametrize("text", ["", "%", "x", "101%", "-1%", "1.5", "nan", "inf"])
def test_bad_rates(text):
    with raises(ConfigurationError, "--x"):
        parse_rate(text, "--x")


def test_numbers():
    assert parse_integers("3,32, 32", "--x") == (3, 32, 32)
    assert parse_floats("0.5,-1,2e-1", "--x") == (0.5, -1.0, 0.2)
    for text in ("", "3,", "3.5", "-1", "0"):
        with raises(ConfigurationError, "--x"):
            parse_integers(text, "--x")
    with raises(ConfigurationError, "--x"):
        parse_floats("1,,2", "--x")


def test_pairs():
    read = parse_pairs(["n=10", "p=0.5", "on=true", "off=false", "name=a=b", "empty="], "--arg")
    assert read == {"n": 10, "p": 0.5, "on": True, "off": False, "name": "a=b", "empty": ""}
    for pair in ("n", "=3", "a b=1", "1a=2"):
        with raises(ConfigurationError, "--arg", "NAME=VALUE"):
            parse_pairs([pair], "--arg")
    with raises(ConfigurationError, "once"):
        parse_pairs(["n=1", "n=2"], "--arg")


def test_pairs_as_text():
    assert split_pairs(["a=1", "b=x=y"], "--set") == {"a": "1", "b": "x=y"}
    for pairs in (["a"], ["=1"], ["a=1", "a=2"], ["1a=2"]):
        with raises(ConfigurationError, "--set", "NAME=VALUE"):
            split_pairs(pairs, "--set")


def test_output_folder(tmp_path):
    assert output_folder(None, None) is None
    assert output_folder(tmp_path / "new", None) == tmp_path / "new"
    assert output_folder(tmp_path, None) == tmp_path
    assert output_folder(None, tmp_path) == tmp_path
    (tmp_path / "record.json").write_text("")
    with raises(ConflictError, "--resume"):
        output_folder(tmp_path, None)
    with raises(ConflictError, "record.json"):
        output_folder(tmp_path / "record.json", None)
    with raises(ConfigurationError, "--out", "--resume"):
        output_folder(tmp_path, tmp_path)
    with raises(InputError, "too long"):
        output_folder(tmp_path / ("x" * 300), None)
    with raises(NotFoundError, "nope"):
        output_folder(None, tmp_path / "nope")


def test_tables(capsys):
    print_table(("NAME", "N"), [("a", 10), ("longer", 5)])
    print_pairs({"a": "text", "bcd": [1, 2]})
    assert capsys.readouterr().out == "NAME     N\na       10\nlonger   5\na    text\nbcd  [1, 2]\n"


def test_plain_progress_is_sparse(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    say = progress_module._lines(lambda: now[0])
    for step in range(101):
        now[0] = step / 4
        say("attacking", step, 100)
    say("counting", 0, 0)
    assert capsys.readouterr().err.splitlines() == [
        "attacking: 0 of 100 (0 %)",
        "attacking: 40 of 100 (40 %), about 15 s left",
        "attacking: 80 of 100 (80 %), about 5 s left",
    ]


def test_progress_without_a_total(capsys):
    with show_progress() as say:
        say("scoring", 0, 0)
    assert capsys.readouterr().err == "scoring\n"


def test_bars_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with show_progress() as say:
        say("attacking [qim], copy 1", 5, 10)
        say("counting", 0, 0)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (89, "89 s"), (120, "2 min"), (3600, "60 min"), (9000, "2.5 h")]
)
def test_durations(seconds, text):
    assert progress_module._duration(seconds) == text


@pytest.mark.parametrize("there", [True, False])
def test_devices(monkeypatch, there):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert choose_device(DeviceChoice.CPU) == "cpu"
    assert choose_device(DeviceChoice.AUTO) == ("cuda" if there else "cpu")
    if there:
        assert choose_device(DeviceChoice.CUDA) == "cuda"
    else:
        with raises(ConfigurationError, "--device cuda"):
            choose_device(DeviceChoice.CUDA)
