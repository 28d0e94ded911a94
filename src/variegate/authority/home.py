"""The seller's home folder.

    home/registry.db                    what was issued to whom (SQLite)
    home/registry.json                  instead of registry.db: the registry is in a database that the environment
                                        names; holds the identifier of its first secret
    home/secrets/<identifier>.<provider>  the seller's secrets at rest (mode 0600); absent if they live elsewhere
    home/models/<name>/manifest.json    an original, with weights.safetensors and code/*.py
    home/specs/<name>.json              a calibrated rewriter spec, with the record of its calibration

A home appears whole or not at all: a new folder is built beside its place and then renamed; in an empty folder that
exists already (the current one, a mount point) registry.db (or registry.json) comes last, and without it there is no
home.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from variegate.authority.filling import PREFIX, parts_of
from variegate.authority.keyring import IDENTIFIER_KEY, KeyRing
from variegate.authority.restoring import restore_file, restored_already
from variegate.errors import ConfigurationError, ConflictError, FormatError, NotFoundError
from variegate.files import (
    file_error,
    folder_that_appears_whole,
    make_folder,
    read_bounded,
    write_atomic,
)
from variegate.keys import SellerSecret
from variegate.keystore.base import Access
from variegate.manifest import canonical_json, load_json
from variegate.registry.backup import restore_backup
from variegate.registry.copies import count_copies
from variegate.registry.records import get_meta, list_models, list_policies, list_secrets
from variegate.registry.registry import Registry
from variegate.registry.rows import LogHead

DATABASE_URL = "VARIEGATE_DATABASE_URL"
"""The variable that names the registry's database, such as postgresql+psycopg://seller@db/registry."""

_MOST_MARK_BYTES: Final = 64 * 1024


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

    def registry_location(self, database_url: str | None, *, any_format: bool = False) -> str | Path:
        """Return where the registry is.

        Args:
            database_url: what the environment says (`DATABASE_URL`), or None.
            any_format: do not look whether the database holds this home's registry: an older format cannot be read.

        Raises:
            ConfigurationError: if the environment and the home contradict each other, or the database holds the
                registry of another home.
            FormatError: if registry.json cannot be read.
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
        expected = self._first_secret()
        if expected is not None and not any_format:
            with Registry(database_url, read_only=True) as store:
                if (found := _first_secret_of(store)) != expected:
                    raise ConfigurationError(
                        f"the database {store.location} holds the registry of another home than {self.root}: expected "
                        f"the one whose first secret is {expected}, got {found or 'one without a secret'}; check "
                        f"{DATABASE_URL}"
                    )
        return database_url

    def _first_secret(self) -> str | None:
        """The identifier that stands in registry.json; None if none does."""
        mark = load_json(read_bounded(self.registry_elsewhere, _MOST_MARK_BYTES), str(self.registry_elsewhere))
        secret = mark.get("secret")
        if secret is not None and not isinstance(secret, str):
            raise FormatError(f"{self.registry_elsewhere} was changed: expected the identifier of a secret in it")
        return secret


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
        if home.registry.exists() or home.registry_elsewhere.exists():
            raise ConflictError(f"{root} is a variegate home already; choose an empty folder")
        found = sorted(path.name for path in root.iterdir())
        if all(name.startswith(PREFIX) for name in found):
            raise ConflictError(
                f"{root} holds {found[0]}, which another variegate init is filling or was interrupted in: if none "
                "runs, remove that folder and try again"
            )
        raise ConflictError(f"{root} holds other files; choose an empty folder")


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
        if database_url is not None:  # before the database is written to: what then can still fail is moving it
            _mark_elsewhere(home, secret.identifier)
        with Registry(database_url or home.registry, create=True) as store:
            _require_unused(store)
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
    for folder in (root, home.models, home.specs):
        make_folder(folder)
        try:
            folder.chmod(0o700)
        except OSError as error:
            raise file_error(error, folder, "write") from error
    if database_url is None:
        return restore_file(home.registry, file, progress)
    try:
        restored = restore_backup(file, database_url, progress=progress)
    except ConflictError:
        finished = restored_already(database_url, file)
        if finished is None:
            raise
        restored = finished
    with Registry(database_url, read_only=True) as store:
        _mark_elsewhere(home, _first_secret_of(store))
    return restored


def _first_secret_of(store: Registry) -> str | None:
    rows = store.read(list_secrets)
    return rows[0].identifier if rows else store.read(get_meta, IDENTIFIER_KEY)


def _require_unused(store: Registry) -> None:
    """Check that no home was made on this registry.

    Raises:
        ConflictError: if one was, or an `init` that failed later on left its beginning there.
    """
    first = _first_secret_of(store)
    if first is None:
        return
    start = f"the database {store.location} holds a registry already, whose first secret is {first}"
    if any((store.read(list_models), store.read(list_policies), store.read(count_copies))):
        raise ConflictError(f"{start}; name an empty database or schema")
    raise ConflictError(
        f"{start}, and which holds nothing else; name an empty database or schema, or, if it is left from an init that "
        "failed, empty it (drop its schema and create it anew)"
    )


def _mark_elsewhere(home: Home, first_secret: str | None) -> None:
    mark = {"format": 1, "kind": "registry", "secret": first_secret, "url": DATABASE_URL}
    write_atomic(home.registry_elsewhere, canonical_json(mark))


def _make(root: Path, fill: Callable[[Path], None]) -> None:
    """Make the folder `root`, whole or not at all."""
    require_free(root)
    place = root.resolve()
    with folder_that_appears_whole(place) if not place.exists() else parts_of(place) as folder:
        fill(folder)
