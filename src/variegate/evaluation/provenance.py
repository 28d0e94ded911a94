"""Which code measured a record: a digest of the package's own source, so that records of other code are told apart."""

import hashlib
from functools import cache
from pathlib import Path

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
