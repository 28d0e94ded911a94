"""Putting an original's files into the home: checked against their digests, whole or not at all."""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from variegate.errors import ConflictError, NotFoundError, VerificationError
from variegate.files import file_error, folder_that_appears_whole, sha256_file, write_atomic
from variegate.manifest import ModelManifest, canonical_json
from variegate.registry.records import add_model, get_model
from variegate.registry.registry import Registry

if TYPE_CHECKING:
    from variegate.models.loading import ImportedModel

MANIFEST_FILE = "manifest.json"


def place_model(place: Path, imported: "ImportedModel", store: Registry) -> None:
    """Write the files of an original to the folder `place` and record it in `store`.

    1. The files are written beside `place` and checked against the manifest's digests.
    2. The folder is renamed to `place`: of two imports of one name, one wins and the other is told so.
    3. The model is recorded. If that fails a folder that this call placed is taken back, and no other; if the process
       dies before, importing the same files again completes the import.

    Raises:
        ConflictError: if a model of this name exists, or `place` holds other files.
        VerificationError: if a file changed while it was imported.
    """
    manifest = imported.manifest
    if _is_recorded(store, manifest.name):
        raise ConflictError(f"a model named {manifest.name!r} exists already; import under another name")
    placed = not _completes(place, manifest)
    if placed:
        with folder_that_appears_whole(place) as folder:
            for name, content in imported.files.items():
                _write(folder / name, content)
                _check(folder / name, manifest.files.get(name))
            write_atomic(folder / MANIFEST_FILE, canonical_json(manifest.to_dict()))
    try:
        store.write(add_model, manifest)
    except BaseException:
        if placed and not _is_recorded(store, manifest.name):
            shutil.rmtree(place, ignore_errors=True)
        raise


def _is_recorded(store: Registry, name: str) -> bool:
    try:
        store.read(get_model, name)
    except NotFoundError:
        return False
    return True


def _completes(place: Path, manifest: ModelManifest) -> bool:
    """Whether an import that died before its record left exactly these files."""
    try:
        return (place / MANIFEST_FILE).read_bytes() == canonical_json(manifest.to_dict()) and all(
            sha256_file(place / name) == digest for name, digest in manifest.files.items()
        )
    except (OSError, NotFoundError):
        return False


def _write(path: Path, content: bytes | Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            shutil.copyfile(content, path)
        with path.open("rb") as file:
            os.fsync(file.fileno())
    except OSError as error:
        raise file_error(error, path, "write") from error


def _check(path: Path, expected: str | None) -> None:
    if sha256_file(path) != expected:
        raise VerificationError(f"the file {path.name} changed while it was imported; import it again")
