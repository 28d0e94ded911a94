"""What a record says of the machine that it was made on."""

import ctypes
import gc
import os
import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

_PACKAGES = ("torch", "numpy", "adversarial-robustness-toolbox", "foolbox", "SQLAlchemy")


def describe_machine() -> dict[str, Any]:
    """Return processor, cores, load, versions and threads, as JSON values."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_at_start": None if load is None else round(load, 2),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


def growth_mib(action: Callable[[], object]) -> float | None:
    """Return by how much the process's memory rises at most while `action` runs, in MiB; None if the system is silent.

    Memory that the allocator kept from before is used again and not seen, so it is given back first.
    """
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    try:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        clear.write_text("5", encoding="ascii")  # the peak from now on
    except (OSError, AttributeError):
        return None
    before = _status_mib(status, "VmRSS")
    action()
    return _status_mib(status, "VmHWM") - before


def _status_mib(status: Path, name: str) -> float:
    lines = status.read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        for line in listing.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
