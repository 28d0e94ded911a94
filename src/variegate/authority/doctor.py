"""The checks of `variegate doctor`: each is a function that returns what it found and what to do."""

import importlib
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from variegate.errors import VariegateError

State = Literal["fine", "absent", "warning", "broken"]


@dataclass(frozen=True, slots=True)
class Check:
    """What one check found.

    Attributes:
        name: what was looked at.
        state: "fine", "absent" (optional and not there), "warning" (works, with a trap) or "broken".
        found: what is there.
        advice: what to do, empty if nothing.
    """

    name: str
    state: State
    found: str
    advice: str = ""

    def to_dict(self) -> dict[str, str]:
        """Return the check as a JSON object."""
        return asdict(self)


def run_checks(home: Path) -> list[Check]:
    """Run all checks; a check never raises."""
    checks = [_python(), _torch(), _numpy(), _art(), _torchvision(), _threads()]
    checks += [_optional(name, extra) for name, extra in _OPTIONAL.items()]
    return [*checks, *_home(home)]


_OPTIONAL = {
    "onnxruntime": "onnx",
    "pyarrow": "data",
    "PIL": "data",
    "sklearn": "quickstart",
    "matplotlib": "report",
}


def _python() -> Check:
    return Check("python", "fine", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _torch() -> Check:
    try:
        import torch
    except Exception as error:  # noqa: BLE001 (a broken installation raises anything)
        return Check("torch", "broken", _reason(error), "install PyTorch 2.10 or newer")
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU only"
    found = f"{torch.__version__}, {device}"
    major, minor = (int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if (major, minor) < (2, 10):
        return Check("torch", "broken", found, "versions before 2.10 read files unsafely; install 2.10 or newer")
    return Check("torch", "fine", found)


def _numpy() -> Check:
    return Check("numpy", "fine", version("numpy"))


def _art() -> Check:
    """ART 1.20 imports on NumPy 2 and fails in HopSkipJump, Boundary and GeoDA (dtype; np.mat)."""
    installed = _version("adversarial-robustness-toolbox")
    if installed is None:
        return Check("art", "absent", "not installed (optional)")
    if int(version("numpy").split(".")[0]) >= 2:
        return Check(
            "art",
            "warning",
            f"{installed} with NumPy {version('numpy')}",
            "its HopSkipJump, Boundary and GeoDA fail on NumPy 2 at run time: use variegate's own attacks, cast inputs "
            "to float32 in front of the model, or install numpy<2",
        )
    return Check("art", "fine", installed)


def _torchvision() -> Check:
    """The wheel for CUDA installs next to a CPU build of torch and fails when it is imported."""
    installed = _version("torchvision")
    if installed is None:
        return Check("torchvision", "absent", "not installed (not needed)")
    reason = _import_failure("torchvision")
    if reason is not None:
        return Check(
            "torchvision",
            "warning",
            f"{installed} cannot be imported: {reason}",
            "it was built for another torch; variegate does not need it, but timm and others do",
        )
    return Check("torchvision", "fine", installed)


def _threads() -> Check:
    try:
        import torch
    except Exception:  # noqa: BLE001 (said by the check of torch)
        return Check("threads", "absent", "unknown without torch")
    threads = torch.get_num_threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    found = f"{threads} threads for {cores} cores"
    if threads > cores:
        return Check(
            "threads", "warning", found, f"more threads than cores slow torch down: set OMP_NUM_THREADS={cores}"
        )
    return Check("threads", "fine", found)


def _optional(module: str, extra: str) -> Check:
    name = {"PIL": "pillow", "sklearn": "scikit-learn"}.get(module, module)
    installed = _version(name)
    if installed is None:
        return Check(name, "absent", "not installed (optional)", f'pip install "variegate[{extra}]"')
    reason = _import_failure(module)
    if reason is not None:
        return Check(name, "warning", f"{installed} cannot be imported: {reason}", f"install {name} again")
    return Check(name, "fine", installed)


def _home(root: Path) -> list[Check]:
    from variegate.authority.authority import Authority
    from variegate.authority.home import DATABASE_URL, Home
    from variegate.authority.keyring import ENVIRONMENT
    from variegate.keystore.base import Access
    from variegate.keystore.secret_sources import PASSPHRASE, PIN, SELLER_SECRET

    home = Home(root)
    if not (home.registry.exists() or home.registry_elsewhere.exists()):
        return [Check("home", "absent", f"{root} is not a home", "make one with: variegate init")]

    def open_home() -> Authority:
        url = os.environ.get(DATABASE_URL)
        return Authority.open(root, access=Access(env=os.environ), database_url=url, read_only=True)

    def fine() -> str:
        with open_home() as authority:
            models, copies = len(authority.models()), authority.count_copies()
        return f"{root}: {models:,} models, {copies:,} copies"

    def secret() -> str:
        with open_home() as authority:
            return f"opens, identifier {authority.secret().identifier}"

    checks = [_attempt("home", fine, "restore it from a backup, or name another with --home")]
    if checks[0].state != "fine":
        return checks
    if not os.access(root, os.W_OK) or (home.registry.exists() and not os.access(home.registry, os.W_OK)):
        checks.append(Check("home rights", "warning", f"{root} is read-only", "nothing can be issued from it"))
    if any(name in os.environ for known in (SELLER_SECRET, PASSPHRASE, PIN) for name in (known, f"{known}_FILE")):
        return [*checks, _attempt("secret", secret, "check the variable and the file that it names")]
    with open_home() as authority:
        keeper = authority.secrets()[-1].provider
    if keeper != ENVIRONMENT:
        return [*checks, Check("secret", "fine", f"kept by {keeper}; the passphrase or PIN will be asked for")]
    advice = f"set {SELLER_SECRET}_FILE: the home keeps no sealed secret"
    return [*checks, Check("secret", "broken", "there is none", advice)]


def _attempt(name: str, look: Callable[[], str], advice: str) -> Check:
    try:
        return Check(name, "fine", look())
    except VariegateError as error:
        return Check(name, "broken", str(error), advice)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _import_failure(module: str) -> str | None:
    try:
        importlib.import_module(module)
    except Exception as error:  # noqa: BLE001 (a broken installation raises anything)
        return _reason(error)
    return None


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
