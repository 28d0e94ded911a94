"""Whatever a command raises becomes one line and an exit code."""

import os
import subprocess
import sys

import pytest

from variegate import errors
from variegate.authority import Authority

CODES = {
    errors.VariegateError: 1,
    errors.ConfigurationError: 2,
    errors.GateError: 3,
    errors.NotFoundError: 4,
    errors.VerificationError: 5,
    errors.QuotaError: 6,
}


@pytest.fixture
def raising(monkeypatch, home):
    """Make `variegate model ls` raise."""

    def arrange(error):
        def opened(*_arguments, **_options):
            raise error

        monkeypatch.setattr(Authority, "open", opened)

    return arrange


@pytest.mark.parametrize("kind", CODES)
def test_expected_errors(raising, fails, kind):
    raising(kind("first line\n  second line"))
    assert fails(CODES[kind], "model", "ls") == "error: first line second line"


def test_unexpected_errors(raising, fails):
    raising(RuntimeError("surprise\nat sea"))
    expected = "internal error: RuntimeError: surprise at sea; run with VARIEGATE_DEBUG=1 for the traceback"
    assert fails(1, "model", "ls") == expected


def test_debug_shows_the_traceback(raising, monkeypatch):
    from typer.testing import CliRunner

    from variegate.cli.main import app

    monkeypatch.setenv("VARIEGATE_DEBUG", "1")
    raising(RuntimeError("surprise"))
    result = CliRunner().invoke(app, ["model", "ls"])
    assert result.exit_code == 1
    assert "Traceback" in result.stderr


def test_interruption(raising):
    from typer.testing import CliRunner

    from variegate.cli.main import app

    raising(KeyboardInterrupt())
    result = CliRunner().invoke(app, ["model", "ls"])
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")


def test_a_reader_that_leaves_is_told_nothing_but_the_result_is_not_taken_for_known(home):
    """As a shell reports it of programs that SIGPIPE ends: `variegate verify ... | head -1` must not look verified."""
    command = f"{sys.executable} -m variegate model show net | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=60, check=True, env=os.environ
    )
    assert (done.stdout, done.stderr) == ("141\n", "")


def test_a_full_disk_behind_the_output(home):
    command = f"{sys.executable} -m variegate model ls >/dev/full"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False, env=os.environ
    )
    assert done.returncode == 1
    assert "internal error" not in done.stderr
    assert "No space left" in done.stderr


def test_the_entry_point_exits_with_the_code(home):
    done = subprocess.run(
        [sys.executable, "-c", "from variegate.cli.main import run; run()", "copies", "show", "vg1-nope"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 4
    assert done.stdout == ""
    assert done.stderr == "error: there is no copy named 'vg1-nope'; see: variegate copies ls\n"
