"""A SoftHSM of one's own: tokens in a temporary folder."""

import importlib.util
import shutil
import subprocess
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "4711-user"


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], None]:
    """Make a token with this label."""
    if not MODULE.exists() or shutil.which("softhsm2-util") is None:
        pytest.skip("softhsm2 is not installed")
    if importlib.util.find_spec("pkcs11") is None:
        pytest.skip("the package python-pkcs11 is not installed")
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    configuration = folder / "softhsm2.conf"
    configuration.write_text(
        f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    import pkcs11

    def make(label: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SOFTHSM2_CONF", str(configuration))
            subprocess.run(
                ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "0815-officer"],
                check=True,
                timeout=60,
                capture_output=True,
            )
            pkcs11.lib(str(MODULE)).reinitialize()  # to see the new token

    return make


_NUMBERS = count(1)


@pytest.fixture
def token(softhsm: Callable[[str], None]) -> dict[str, str]:
    """A new token, as the variables that name it."""
    label = f"desk {next(_NUMBERS)}"
    softhsm(label)
    return {
        "VARIEGATE_PKCS11_MODULE": str(MODULE),
        "VARIEGATE_PKCS11_TOKEN": label,
        "VARIEGATE_PKCS11_PIN": PIN,
    }
