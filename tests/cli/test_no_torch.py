"""What does not compute does not import torch, and answers."""

import json
import subprocess
import sys

import pytest

RUN = """
import sys
from variegate.cli.main import app

try:
    app()
except SystemExit as stop:
    assert not stop.code, stop.code
heavy = {"torch", "onnxruntime", "pyarrow", "matplotlib", "sklearn", "rich"} & set(sys.modules)
assert not heavy, heavy
"""


def run(*arguments):
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["audit", "replicate", "--help"]], ids=" ".join)
def test_help(arguments):
    assert run(*arguments)


def test_reading_and_issuing(home):
    assert len(json.loads(run("issue", "--model", "net", "--spec", "net-qim", "--count", "3", "--json"))) == 3
    listed = json.loads(run("copies", "ls", "--json"))
    assert listed["total"] == 3
    assert run("copies", "show", listed["copies"][0]["copy_id"])
    assert "net" in run("model", "ls")
    assert "linear_net:build" in run("model", "show", "net")


def test_a_new_home(tmp_path, monkeypatch):
    monkeypatch.setenv("VARIEGATE_PASSPHRASE", "pass")
    assert "made the home" in run("init", "--home", str(tmp_path / "fresh"))
