"""The seller's home folder.

    home/registry.db                    what was issued to whom (SQLite)
    home/registry.json                  instead of registry.db: the registry is in a database that the environment names
    home/secrets/<identifier>.<provider>  the seller's secrets at rest (mode 0600); absent if they live elsewhere
    home/models/<name>/manifest.json    an original, with weights.safetensors and code/*.py
    home/specs/<name>.json              a calibrated rewriter spec, with the record of its calibration

A home appears whole or not at all: a new folder is built beside its place and then renamed; in an empty folder that
exists already (the current one, a mount point) registry.db (or registry.json) comes last, and without it there is no
home.
"""

import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from variegate.authority.keyring import KeyRing
from variegate.errors import ConfigurationError, ConflictError, NotFoundError
from variegate.files import file_error, folder_that_appears_whole, make_folder, write_atomic
from variegate.key_providers.base import Access
from variegate.keys import SellerSecret
from variegate.manifest import canonical_json
from variegate.registry.backup import restore_backup
from variegate.registry.protocol import LogHead
from variegate.registry.store import SqlStore

__all__ = ["DATABASE_URL", "Home", "create_home", "require_free", "restore_home"]


DATABASE_URL = "VARIEGATE_DATABASE_URL"
"""The variable that names the registry's database, such as postgresql+psycopg://seller@db/registry."""


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
    def registry_elsewhere(self) -> Path:
        """The file that says that the registry is in another database."""
        return self.root / "registry.json"

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
        if not (self.registry.is_file() or self.registry_elsewhere.is_file()):
            raise NotFoundError(
                f"{self.root} is not a variegate home: it has no registry.db; make one with: variegate init"
            )

    def registry_location(self, database_url: str | None) -> str | Path:
        """Return where the registry is.

        Args:
            database_url: what the environment says (`DATABASE_URL`), or None.

        Raises:
            ConfigurationError: if the environment and the home contradict each other.
            NotFoundError: if this is not a home.
        """
        self.require()
        if self.registry.is_file():
            if database_url is not None:
                raise ConfigurationError(
                    f"the registry of {self.root} is its file registry.db, but {DATABASE_URL} names another: unset it"
                )
            return self.registry
        if database_url is None:
            raise ConfigurationError(f"the registry of {self.root} is in a database: set {DATABASE_URL} to its URL")
        return database_url


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
        home = Home(root)
        made = home.registry.exists() or home.registry_elsewhere.exists()
        what = "is a variegate home already" if made else "holds other files"
        raise ConflictError(f"{root} {what}; choose an empty folder")


def create_home(
    root: Path, secret: SellerSecret, *, provider: str, access: Access, database_url: str | None = None
) -> Home:
    """Make a new home.

    Args:
        root: the folder; it may exist if it is empty.
        secret: the secret from which this home's copies will come.
        provider: the key provider that keeps it.
        access: where the provider finds a passphrase and options.
        database_url: where the registry is to be; None for a SQLite file in the home.

    Raises:
        ConflictError: if the folder holds something already, or the database holds another home's registry.
        InputError: if the folder may not be written.
        SecretError: if the provider cannot keep the secret.
    """

    def fill(folder: Path) -> None:
        home = Home(folder)
        home.models.mkdir(mode=0o700)
        home.specs.mkdir(mode=0o700)
        with _registry_of(home, database_url) as store:
            KeyRing(folder, store, access=access, source=lambda: secret).begin(secret, provider=provider)

    _make(root, fill)
    return Home(root)


def restore_home(
    root: Path, file: Path, *, database_url: str | None = None, progress: Callable[[int, int], None] | None = None
) -> LogHead:
    """Make a home whose registry is that of a backup, and return the end of its log.

    The other folders of the old home are copied beside it.

    Args:
        root: the folder; it may exist, if it has no registry.
        file: what `variegate backup` wrote.
        database_url: where the registry is to be; None for a SQLite file in the home.
        progress: called with (lines done, lines in all).

    Raises:
        ConflictError: if there is a registry already.
        FormatError: if the file is no backup, or is truncated.
        VerificationError: if it was changed.
    """
    home = Home(root)
    if home.registry.exists() or home.registry_elsewhere.exists():
        raise ConflictError(f"{root} has a registry already; restore into a new home")
    new = not root.exists()
    for folder in (home.models, home.specs):
        make_folder(folder)
    if new:
        root.chmod(0o700)
    if database_url is not None:
        restored = restore_backup(file, database_url, progress=progress)
        _mark_elsewhere(home)
        return restored
    part = root / f".{home.registry.name}-{secrets.token_hex(4)}"
    try:
        restored = restore_backup(file, part, progress=progress)
        part.chmod(0o600)
        part.rename(home.registry)
    except OSError as error:
        raise file_error(error, home.registry, "write") from error
    finally:
        for left in root.glob(f"{part.name}*"):
            left.unlink()
    return restored


@contextmanager
def _registry_of(home: Home, database_url: str | None) -> Iterator[SqlStore]:
    """Give the new registry of a home."""
    with SqlStore(database_url or home.registry, create=True) as store:
        yield store
    if database_url is None:
        home.registry.chmod(0o600)
    else:
        _mark_elsewhere(home)


def _mark_elsewhere(home: Home) -> None:
    write_atomic(home.registry_elsewhere, canonical_json({"format": 1, "kind": "registry", "url": DATABASE_URL}))


def _make(root: Path, fill: Callable[[Path], None]) -> None:
    """Make the folder `root`, whole or not at all."""
    require_free(root)
    place = root.resolve()
    with folder_that_appears_whole(place) if not place.exists() else _parts_of(place) as folder:
        fill(folder)


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
        for part in sorted(folder.iterdir(), key=lambda path: path.name.startswith("registry.")):
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
