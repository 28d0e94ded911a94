"""What does not compute does not import torch, and answers."""

import json
import subprocess
import sys
import time

import pytest

from tests.cli.conftest import SECRET
from variegate.authority import Authority
from variegate.authority.verify import signing_pem
from variegate.keys import SellerSecret

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


DESK = """
import sys
from typer.testing import CliRunner
from variegate.cli.main import app

for command in sys.argv[1].splitlines():
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code == 0, (command, result.output)
    heavy = {"torch", "onnxruntime", "onnx", "pyarrow", "matplotlib", "sklearn"} & set(sys.modules)
    assert not heavy, (command, heavy)
"""

READING = """
copies ls
policy ls
policy show p
key ls
log ls
log head
log verify
db status
verify art --home home
verify art --public-key seller.pem
issue --model net --policy p --count 3 --dry-run
certificate COPY --seller S --out c.html
backup b.vgb
"""
CHANGING = """
issue --model net --policy p --count 3
rotate --model net --policy p --all --epoch 2
supersede COPY
revoke COPY
revocations --out r.json
key export --public k.pem
restore b.vgb --home again
"""


def test_the_desk(home, tmp_path):
    """In one process, one command after the other; those that only read leave every file of the home as it was."""
    with Authority.open(home, lambda: SellerSecret.from_bytes(SECRET)) as desk:
        desk.create_policy("p", spec="net-qim", valid_seconds=86_400)
        (copy,) = desk.issue("net", None, ["acme"], policy="p")
        desk.export(copy.copy_id, tmp_path / "art", artifact="safetensors", now=time.time())
        (tmp_path / "seller.pem").write_bytes(signing_pem(desk.registry, tmp_path / "art"))
    before = contents(home)
    for commands in (READING, CHANGING):
        done = subprocess.run(
            [sys.executable, "-c", DESK, commands.strip().replace("COPY", copy.copy_id)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert (contents(home) == before) == (commands is READING)


def contents(home):
    """The files of a home; SQLite's own index of its write-ahead log aside, which readers may make."""
    files = {path.relative_to(home): path.read_bytes() for path in home.rglob("*") if path.is_file()}
    return {name: content for name, content in files.items() if content and name.name != "registry.db-shm"}
