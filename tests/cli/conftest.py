"""The command line in this process, on a home with two originals and two specs."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.authority.linear_seller import imported
from variegate.authority import Authority
from variegate.cli.main import app
from variegate.keys import SellerSecret
from variegate.rewriters.permutation import PermutationSpec
from variegate.rewriters.qim import QimSpec

SECRET = bytes(range(32))

Invoke = Callable[..., Result]
Fails = Callable[..., str]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of the person who runs the tests, a wide terminal without colour, and an empty current folder."""
    for name in [name for name in os.environ if name.startswith("VARIEGATE_") and name != "VARIEGATE_SHARED"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the originals net and other and the specs net-qim and permutation; not to be written to."""
    folder = tmp_path_factory.mktemp("prepared")
    with Authority.create(folder / "home", SellerSecret.from_bytes(SECRET)) as desk:
        desk.import_model(imported(folder / "seller"))
        desk.import_model(imported(folder / "other", "other", ridge=5.0))
        record = {"format": 1, "kind": "calibration", "candidates": []}
        desk.save_spec("net-qim", QimSpec(messages_per_class=3, quantization_step=0.2), model="net", record=record)
        desk.save_spec("permutation", PermutationSpec(alpha=0.3))
    return folder


@pytest.fixture
def home(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of one's own, which the environment names, with its secret."""
    shutil.copytree(prepared / "home", tmp_path / "home")
    monkeypatch.setenv("VARIEGATE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("VARIEGATE_SELLER_SECRET", SECRET.hex())
    return tmp_path / "home"


@pytest.fixture
def invoke() -> Invoke:
    """Run a command that must end well."""

    def run(*arguments: object, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
        assert result.exit_code == 0, result.output
        return result

    return run


@pytest.fixture
def fails() -> Fails:
    """Run a command that must fail with this exit code and one sentence on stderr, which is returned."""

    def run(code: int, *arguments: object, stdin: str | None = None) -> str:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        (line,) = [line for line in result.stderr.splitlines() if line.startswith(("error: ", "internal error: "))]
        assert SECRET.hex() not in result.output
        return line

    return run
