"""Which code measured a record, when and how; a digest of the package's source tells records of other code apart."""

import hashlib
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import torch

import variegate


@cache
def source_digest() -> str:
    """Return "sha256:..." over names and contents of the package's Python files, in the order of their names."""
    root = Path(variegate.__file__).parent
    sha = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        content = path.read_bytes()
        sha.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode())
        sha.update(content)
    return f"sha256:{sha.hexdigest()}"


def made_now(*, command: str, seconds: float) -> dict[str, Any]:
    """Return the fields of `variegate.records.base.Provenance` that every record has.

    Args:
        command: what was typed.
        seconds: wall-clock seconds of the run.
    """
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "variegate": variegate.__version__,
        "source": source_digest(),
        "torch": str(torch.__version__),
        "command": command,
        "seconds": seconds,
    }
