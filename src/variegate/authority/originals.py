"""Originals in the home, and issued copies made again from original, spec and key.

An original's files are placed atomically and checked against their digests. Torch is imported with the first original
or copy that is loaded.
"""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, final

from variegate.authority.home import Home
from variegate.authority.keyring import KeyRing
from variegate.errors import ConfigurationError, ConflictError, NotFoundError, VerificationError
from variegate.files import file_error, folder_that_appears_whole, sha256_file, write_atomic
from variegate.manifest import canonical_json, copy_id
from variegate.registry.copies import get_copy
from variegate.registry.records import add_model, get_model, get_spec
from variegate.registry.registry import Registry
from variegate.registry.rows import CopyRow

if TYPE_CHECKING:
    from variegate.manifest import ModelManifest
    from variegate.models.classifier import Classifier
    from variegate.models.loading import ImportedModel
    from variegate.rewriters.base import AbstractSpec, RewrittenCopy
    from variegate.rewriters.cache import HeadCache

MANIFEST_FILE = "manifest.json"


@final
class CopyMaker:
    """Loads originals and makes copies of them; keeps the original used last and the heads of the copies used last.

    Args:
        home: where the originals are.
        registry: the registry.
        keyring: the seller's secrets.
        head_budget: bytes for heads.

    Raises:
        ConfigurationError: if the budget is below 0.
    """

    def __init__(self, home: Home, registry: Registry, keyring: KeyRing, *, head_budget: int) -> None:
        if head_budget < 0:
            raise ConfigurationError(f"the budget for heads must be 0 or more bytes; got {head_budget}")
        self._home = home
        self._registry = registry
        self._keyring = keyring
        self._head_budget = head_budget
        self._originals: dict[str, Classifier] = {}
        self._heads: HeadCache | None = None  # made with the first copy: it needs torch

    def clear(self) -> None:
        """Let go of originals and heads."""
        self._originals.clear()
        self._heads = None

    def forget_heads(self) -> None:
        """Let go of all heads."""
        self._heads = None

    def original(self, manifest: "ModelManifest") -> "Classifier":
        """See `Authority.original`."""
        from variegate.models.loading import load_classifier

        if manifest.digest not in self._originals:
            self.clear()  # heads share the original's device
            self._originals[manifest.digest] = load_classifier(manifest, self._home.model(manifest.name))
        return self._originals[manifest.digest]

    def load(self, copy: str) -> "RewrittenCopy":
        """See `Authority.load_copy`."""
        from variegate.rewriters.base import RewrittenCopy, rewrite
        from variegate.rewriters.cache import HeadCache

        row, manifest, spec = self._described(copy)
        self._keyring.require_key(row)  # another process may have discarded the key of a head that is kept here
        original = self.original(manifest)
        if self._heads is None:
            self._heads = HeadCache(limit_bytes=self._head_budget)
        head = self._heads.get(
            row.copy_id,
            lambda: rewrite(original, self._keyring.copy_key(row, spec.rewriter), spec).head,
        )
        return RewrittenCopy(original, head)

    def _described(self, copy: str) -> "tuple[CopyRow, ModelManifest, AbstractSpec]":
        """Return a copy's row, its original's manifest and its spec, checked against the copy's name."""
        from variegate.rewriters.catalog import spec_from_dict

        row = self._registry.read(get_copy, copy)
        manifest = self._registry.read(get_model, row.model)
        spec = spec_from_dict(self._registry.read(get_spec, row.spec_digest))
        expected = copy_id(model_digest=manifest.digest, spec_digest=spec.digest, buyer=row.buyer, epoch=row.epoch)
        if expected != row.copy_id:
            raise VerificationError(f"copy {row.copy_id} does not belong to the model, spec and buyer of its row")
        return row, manifest, spec


def place_model(place: Path, imported: "ImportedModel", registry: Registry) -> None:
    """Write the files of an original to the folder `place` and record it in the registry.

    1. The files are written next to `place` and checked against the manifest's digests.
    2. The folder is renamed to `place`: of two imports of one name, one wins and the other is told so.
    3. The model is recorded. If that fails a folder that this call placed is taken back, and no other; if the process
       dies before, importing the same files again completes the import.

    Raises:
        ConflictError: if a model of this name exists, or `place` holds other files.
        VerificationError: if a file changed while it was imported.
    """
    manifest = imported.manifest
    if _is_recorded(registry, manifest.name):
        raise ConflictError(f"a model named {manifest.name!r} exists already; import under another name")
    placed = not _completes(place, manifest)
    if placed:
        with folder_that_appears_whole(place) as folder:
            for name, content in imported.files.items():
                _write(folder / name, content)
                _check(folder / name, manifest.files.get(name))
            write_atomic(folder / MANIFEST_FILE, canonical_json(manifest.to_dict()))
    try:
        registry.write(add_model, manifest)
    except BaseException:
        if placed and not _is_recorded(registry, manifest.name):
            shutil.rmtree(place, ignore_errors=True)
        raise


def _is_recorded(registry: Registry, name: str) -> bool:
    try:
        registry.read(get_model, name)
    except NotFoundError:
        return False
    return True


def _completes(place: Path, manifest: "ModelManifest") -> bool:
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
