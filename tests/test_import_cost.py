"""Commands that need no torch must not pay for it: `variegate --help` and the records answer at once."""

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "onnxruntime", "pyarrow", "matplotlib", "sklearn")

IMPORT = "import importlib, sys; importlib.import_module(sys.argv[1])"
COMMAND = """
import sys
from variegate.cli.main import run

sys.argv[0] = "variegate"
try:
    run()
except SystemExit as stop:
    assert stop.code in (0, None), stop.code
"""
REPORT = "\nimport json, sys\nprint('\\n' + json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"


def imported_by(code: str, *arguments: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after running `code`."""
    done = subprocess.run(
        [sys.executable, "-c", code + REPORT, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "module",
    [
        "variegate",
        "variegate.authority.authority",
        "variegate.authority.issuing",
        "variegate.cli.main",
        "variegate.errors",
        "variegate.files",
        "variegate.keys",
        "variegate.manifest",
        "variegate.registry",
        "variegate.registry.backup",
        "variegate.registry.migrations",
        "variegate.registry.registry",
        "variegate.registry.verify",
        "variegate.keystore.sealing",
        "variegate.keystore.secret_sources",
        "variegate.signing",
        "variegate.types",
    ],
)
def test_module_does_not_import_torch(module):
    assert imported_by(IMPORT, module).isdisjoint(HEAVY)


@pytest.mark.parametrize("arguments", [["--help"], ["copies", "--help"], ["copies", "ls", "--help"]], ids=" ".join)
def test_command_does_not_import_torch(arguments):
    assert imported_by(COMMAND, *arguments).isdisjoint(HEAVY)


def test_the_check_sees_torch():
    """The probe itself works: importing the models does load torch."""
    assert "torch" in imported_by(IMPORT, "variegate.models.classifier")
