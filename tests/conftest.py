"""What every test gets: one torch thread, the environment put back, no network, and skips that say their reason.

- `shared`: the folder with data/ and models/ that VARIEGATE_SHARED names; skips where there is none.
- `mutant`: a module with one passage of its source replaced, to show that a check would notice.
- `small_disk`: a file system of 4 MB, where root may mount one.
- `golden`: compares with a file in tests/golden; `pytest --update-goldens` writes the files anew.
- Markers gpu, postgres, redis, ray, browser: skipped where the machine lacks the thing. Under CI=true a missing service
  fails instead, so that nothing is skipped there unseen; only gpu, which CI has not, still skips.
- Marker slow: runs with `--run-slow`, or when `-m` asks for it.
"""

import importlib.util
import inspect
import ipaddress
import os
import re
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import settings

from tests.disks import small_disk

__all__ = ["small_disk"]

GOLDEN = Path(__file__).parent / "golden"

# Machines are slow and shared: examples may take their time; hypothesis counts them, it does not race the clock.
settings.register_profile("variegate", deadline=None)
settings.load_profile("variegate")

# For the subprocesses that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def _has(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) is not None for module in modules)


def _has_browser() -> bool:
    return _has("playwright") and any(shutil.which(name) for name in ("chromium", "chromium-browser"))


REQUIREMENTS: dict[str, tuple[Callable[[], bool], str]] = {
    "gpu": (torch.cuda.is_available, "no CUDA device"),
    "postgres": (lambda: "VARIEGATE_TEST_POSTGRES_URL" in os.environ, "VARIEGATE_TEST_POSTGRES_URL is not set"),
    "redis": (lambda: "VARIEGATE_TEST_REDIS_URL" in os.environ, "VARIEGATE_TEST_REDIS_URL is not set"),
    "ray": (lambda: _has("ray"), "the package ray is not installed"),
    "browser": (_has_browser, "the package playwright or the program chromium is not installed"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-slow", action="store_true", help="run the tests marked slow, too")
    parser.addoption("--update-goldens", action="store_true", help="write tests/golden/* anew instead of comparing")


def pytest_configure() -> None:
    torch.set_num_threads(1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    run_slow = config.getoption("--run-slow") or "slow" in config.getoption("-m")
    for item in items:
        if "slow" in item.keywords and not run_slow:
            item.add_marker(pytest.mark.skip(reason="slow; run with --run-slow"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, (available, reason) in REQUIREMENTS.items():
        if item.get_closest_marker(marker) is None or available():
            continue
        if os.environ.get("CI") == "true" and marker != "gpu":
            pytest.fail(f"needs {marker}, which CI must have: {reason}", pytrace=False)
        pytest.skip(f"needs {marker}: {reason}")


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """Put `os.environ` back after each test."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections to anything but this machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
            pytest.fail(f"a test tried to reach {address[0]}; tests run without the network")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with data/ and models/ that VARIEGATE_SHARED names."""
    named = os.environ.get("VARIEGATE_SHARED")
    if not named:
        pytest.skip("VARIEGATE_SHARED is not set: no folder with data/ and models/")
    folder = Path(named)
    if not folder.is_dir():
        pytest.fail(f"VARIEGATE_SHARED names {named}, which is not a folder", pytrace=False)
    return folder


@pytest.fixture
def mutant(monkeypatch):
    """Return (module, pattern, replacement) -> the module made from its source with the one match replaced."""

    def make(module, pattern, replacement):
        source, count = re.subn(pattern, replacement, inspect.getsource(module))
        if count != 1:
            pytest.fail(f"the passage {pattern!r} is in {module.__name__} {count} times, not once; mend this test")
        made = ModuleType(f"variegate_mutant_{module.__name__.rpartition('.')[2]}")
        monkeypatch.setitem(sys.modules, made.__name__, made)
        exec(compile(source, made.__name__, "exec"), made.__dict__)
        return made

    return make


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, bytes], None]:
    """`golden(name, value)`: the bytes must be those of tests/golden/NAME."""

    def check(name: str, value: bytes) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-goldens"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(value)
        elif not path.is_file():
            pytest.fail(f"there is no tests/golden/{name}; look at the value, then run pytest --update-goldens")
        else:
            assert value == path.read_bytes()

    return check
