"""The seller's home folder.

    home/registry.db                    what was issued to whom (SQLite)
    home/secret.sealed                  the seller's secret under a passphrase (mode 0600); absent if it lives elsewhere
    home/models/<name>/manifest.json    an original, with weights.safetensors and code/*.py
    home/specs/<name>.json              a calibrated rewriter spec, with the record of its calibration

A home appears whole or not at all: a new folder is built beside its place and then renamed; in an empty folder that
exists already (the current one, a mount point) registry.db comes last, and without it there is no home.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from variegate.errors import ConflictError, NotFoundError
from variegate.files import file_error, write_atomic
from variegate.keys import SellerSecret
from variegate.registry.sqlite import SqliteStore
from variegate.sealing import seal

__all__ = ["IDENTIFIER_KEY", "Home", "create_home", "folder_that_appears_whole", "require_free"]

IDENTIFIER_KEY = "secret_identifier"
"""Under this key the registry remembers which secret its copies come from."""


@dataclass(frozen=True, slots=True)
class Home:
    """Where things lie in a home folder; reads and writes nothing by itself.

    Attributes:
        root: the folder.
    """

    root: Path

    @property
    def registry(self) -> Path:
        """The SQLite file."""
        return self.root / "registry.db"

    @property
    def sealed_secret(self) -> Path:
        """The sealed secret."""
        return self.root / "secret.sealed"

    @property
    def models(self) -> Path:
        """The folder of all originals."""
        return self.root / "models"

    @property
    def specs(self) -> Path:
        """The folder of all calibrated specs."""
        return self.root / "specs"

    def model(self, name: str) -> Path:
        """The folder of one original."""
        return self.models / name

    def spec(self, name: str) -> Path:
        """The file of one calibrated spec."""
        return self.specs / f"{name}.json"

    def require(self) -> None:
        """Check that this is a home.

        Raises:
            NotFoundError: if it is not.
        """
        if not self.registry.is_file():
            raise NotFoundError(
                f"{self.root} is not a variegate home: it has no registry.db; make one with: variegate init"
            )


def require_free(root: Path) -> None:
    """Check that a home can be made at `root`.

    Raises:
        ConflictError: if something is there already, other than an empty folder.
        InputError: if a part of the path is a file.
    """
    if any(parent.exists() and not parent.is_dir() for parent in root.resolve().parents):
        raise file_error(NotADirectoryError(), root, "write")
    if root.exists() and not root.is_dir():
        raise ConflictError(f"{root} is a file; choose an empty folder")
    if root.is_dir() and any(root.iterdir()):
        what = "is a variegate home already" if Home(root).registry.exists() else "holds other files"
        raise ConflictError(f"{root} {what}; choose an empty folder")


def create_home(root: Path, secret: SellerSecret, *, passphrase: bytes | None) -> Home:
    """Make a new home.

    Args:
        root: the folder; it may exist if it is empty.
        secret: the secret from which this home's copies will come.
        passphrase: seals the secret into the home; None if the secret is kept elsewhere.

    Raises:
        ConflictError: if the folder holds something already.
        InputError: if the folder may not be written.
        SecretError: if the passphrase cannot seal.
    """
    require_free(root)
    place = root.resolve()
    if not place.exists():
        with folder_that_appears_whole(place) as folder:
            _fill(folder, secret, passphrase)
        return Home(root)
    with _parts_of(place) as folder:
        _fill(folder, secret, passphrase)
    return Home(root)


def _fill(folder: Path, secret: SellerSecret, passphrase: bytes | None) -> None:
    home = Home(folder)
    home.models.mkdir(mode=0o700)
    home.specs.mkdir(mode=0o700)
    if passphrase is not None:
        write_atomic(home.sealed_secret, seal(secret, passphrase), private=True)
    with SqliteStore(home.registry, create=True) as store:
        store.put_meta(IDENTIFIER_KEY, secret.identifier)
    home.registry.chmod(0o600)


@contextmanager
def _parts_of(place: Path) -> Iterator[Path]:
    """Give a private folder inside the existing `place` to fill; when the block ends well, its parts move to `place`.

    The registry moves last. Whatever fails, `place` is left as it was.

    Raises:
        ConflictError: if `place` holds files by then.
        InputError: if the folder may not be written.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=".variegate-", dir=place))
    except OSError as error:
        raise file_error(error, place, "write") from error
    moved: list[Path] = []
    try:
        yield folder
        _require_only(place, folder)
        for part in sorted(folder.iterdir(), key=lambda path: path.name == Home(folder).registry.name):
            part.rename(place / part.name)
            moved.append(place / part.name)
    except BaseException as error:
        for part in moved:
            shutil.rmtree(part) if part.is_dir() else part.unlink()
        if isinstance(error, OSError):
            raise file_error(error, place, "write") from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _require_only(place: Path, folder: Path) -> None:
    if any(other != folder for other in place.iterdir()):
        raise ConflictError(f"{place} holds other files by now; choose an empty folder")


@contextmanager
def folder_that_appears_whole(place: Path) -> Iterator[Path]:
    """Give an empty private folder to fill; when the block ends well, it is renamed to `place`, else removed.

    Raises:
        ConflictError: if `place` holds files by then.
        InputError: if the folder may not be written.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    except FileExistsError as error:  # a parent is a file
        raise file_error(NotADirectoryError(), place, "write") from error
    except OSError as error:
        raise file_error(error, place, "write") from error
    try:
        yield folder
        try:
            folder.rename(place)
        except OSError as error:
            if place.exists():
                raise ConflictError(f"{place} exists already and is not an empty folder") from error
            raise file_error(error, place, "write") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
