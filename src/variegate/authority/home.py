"""The seller's home folder.

    home/registry.db                    what was issued to whom (SQLite)
    home/registry.json                  instead of registry.db: the registry is in a database that the environment
                                        names; holds the identifier of its first secret
    home/secrets/<identifier>.<provider>  the seller's secrets at rest (mode 0600); absent if they live elsewhere
    home/models/<name>/manifest.json    an original, with weights.safetensors and code/*.py
    home/specs/<name>.json              a calibrated rewriter spec, with the record of its calibration

A home appears atomically: a new folder is built next to its place and then renamed; in an empty folder that
exists already (the current one, a mount point) registry.db (or registry.json) comes last, and without it there is no
home.
"""

import gzip
import hashlib
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from variegate.authority.keyring import KeyRing
from variegate.errors import ConfigurationError, ConflictError, FormatError, NotFoundError
from variegate.files import (
    file_error,
    flush_folder,
    folder_that_appears_whole,
    make_folder,
    read_bounded,
    write_atomic,
)
from variegate.keys import SellerSecret
from variegate.keystore.base import Access
from variegate.manifest import canonical_json, load_json
from variegate.registry.copies import count_copies
from variegate.registry.log import iterate_events, log_head
from variegate.registry.records import list_models, list_policies, list_secrets
from variegate.registry.registry import Registry
from variegate.registry.rows import LogHead

DATABASE_URL = "VARIEGATE_DATABASE_URL"
"""The variable that names the registry's database, such as postgresql+psycopg://seller@db/registry."""

_MAX_MARK_BYTES: Final = 64 * 1024
_PREFIX: Final = ".variegate-"  # of the private folders in which things are made ready; a kill leaves one behind


@dataclass(frozen=True, slots=True)
class Home:
    """Where things are in a home folder; reads and writes nothing by itself.

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
        if not (self.registry.is_file() or self.registry_elsewhere.is_file()):
            raise NotFoundError(
                f"{self.root} is not a variegate home: it has no registry.db; make one with: variegate init"
            )
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
            with Registry(database_url, read_only=True) as registry:
                if (found := _first_secret_of(registry)) != expected:
                    raise ConfigurationError(
                        f"the database {registry.location} holds the registry of another home than {self.root}: "
                        f"expected the one whose first secret is {expected}, got {found or 'one without a secret'}; "
                        f"check {DATABASE_URL}"
                    )
        return database_url

    def _first_secret(self) -> str | None:
        """The identifier that stands in registry.json; None if none does."""
        mark = load_json(read_bounded(self.registry_elsewhere, _MAX_MARK_BYTES), str(self.registry_elsewhere))
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
        if all(name.startswith(_PREFIX) for name in found):
            raise ConflictError(
                f"{root} holds {found[0]}, which another variegate init is filling or was interrupted in: if none "
                "runs, remove that folder and try again"
            )
        raise ConflictError(f"{root} holds other files; choose an empty folder")


def create_home(
    root: Path, secret: SellerSecret, *, provider: str, access: Access, database_url: str | None = None
) -> Home:
    """See `Authority.create`."""

    def fill(folder: Path) -> None:
        home = Home(folder)
        home.models.mkdir(mode=0o700)
        home.specs.mkdir(mode=0o700)
        if database_url is not None:  # before the database is written to: what then can still fail is moving it
            _mark_elsewhere(home, secret.identifier)
        with Registry(database_url or home.registry, create=True) as registry:
            _require_unused(registry)
            KeyRing(folder, registry, access=access, source=lambda: secret).begin(secret, provider=provider)

    _make(root, fill)
    return Home(root)


def restore_home(
    root: Path, file: Path, *, database_url: str | None = None, progress: Callable[[int, int], None] | None = None
) -> LogHead:
    """See `Authority.restore`."""
    from variegate.registry import backup  # loads pydantic

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
        return _restore_file(home.registry, file, progress)
    try:
        restored = backup.restore_backup(file, database_url, progress=progress)
    except ConflictError:
        finished = _restored_already(database_url, file)
        if finished is None:
            raise
        restored = finished
    with Registry(database_url, read_only=True) as registry:
        _mark_elsewhere(home, _first_secret_of(registry))
    return restored


def registry_format(root: Path, *, database_url: str | None = None) -> int:
    """Return the format of a home's registry, of any age.

    Raises:
        NotFoundError: if this is not a home.
        FormatError: if its registry is none.
    """
    from variegate.registry.migrations import current_format  # Alembic takes a while to import

    return current_format(Home(root).registry_location(database_url, any_format=True))


def upgrade_registry(root: Path, *, database_url: str | None = None) -> int:
    """Bring a home's registry to this version's format, all or nothing, and return the format that it had.

    Raises:
        NotFoundError: if this is not a home.
        FormatError: if its registry is none, is newer than this version, or cannot be upgraded.
    """
    from variegate.registry.migrations import upgrade  # Alembic takes a while to import

    return upgrade(Home(root).registry_location(database_url, any_format=True))


def _first_secret_of(registry: Registry) -> str | None:
    rows = registry.read(list_secrets)
    return rows[0].identifier if rows else None


def _require_unused(registry: Registry) -> None:
    """Check that no home was made on this registry.

    Raises:
        ConflictError: if one was, or an `init` that failed later on left its beginning there.
    """
    first = _first_secret_of(registry)
    if first is None:
        return
    start = f"the database {registry.location} holds a registry already, whose first secret is {first}"
    if any((registry.read(list_models), registry.read(list_policies), registry.read(count_copies))):
        raise ConflictError(f"{start}; name an empty database or schema")
    raise ConflictError(
        f"{start}, and which holds nothing else; name an empty database or schema, or, if it is left from an init that "
        "failed, empty it (drop its schema and create it again)"
    )


def _mark_elsewhere(home: Home, first_secret: str | None) -> None:
    mark = {"format": 1, "kind": "registry", "secret": first_secret, "url": DATABASE_URL}
    write_atomic(home.registry_elsewhere, canonical_json(mark))


def _make(root: Path, fill: Callable[[Path], None]) -> None:
    """Make the folder `root` atomically."""
    require_free(root)
    place = root.resolve()
    with folder_that_appears_whole(place) if not place.exists() else _parts_of(place) as folder:
        fill(folder)


@contextmanager
def _parts_of(place: Path) -> Iterator[Path]:
    """Give a private folder inside the existing `place` to fill; when the block succeeds, its parts move to `place`.

    The registry moves last. Whatever fails, `place` is left as it was.

    Raises:
        ConflictError: if `place` holds files by then.
        InputError: if the folder may not be written.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
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


def _restore_file(registry: Path, file: Path, progress: Callable[[int, int], None] | None) -> LogHead:
    """Make the file `registry` from a backup, readable by its owner only, and return the end of its log.

    It is built in a private folder next to its place, for it holds salts, and gets its name if no other file has it by
    then.

    Raises:
        VariegateError: as `restore_backup`; also if there is a registry by then, or the folder may not be written.
    """
    from variegate.registry import backup

    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=registry.parent))
    except OSError as error:
        raise file_error(error, registry.parent, "write") from error
    try:
        part = folder / registry.name
        restored = backup.restore_backup(file, part, progress=progress)
        part.chmod(0o600)
        os.link(part, registry)
        flush_folder(registry.parent)
    except FileExistsError as error:
        raise ConflictError(f"{registry.parent} has a registry by now; restore into a new home") from error
    except OSError as error:
        raise file_error(error, registry, "write") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return restored


def _restored_already(database_url: str, file: Path) -> LogHead | None:
    """Return the log's end if the database holds this backup and nothing since; None otherwise.

    So a restore that was killed after the database was written can be resumed.
    """
    from variegate.registry.backup_format import MAX_LINE

    try:
        with gzip.open(file) as lines:
            digest = "sha256:" + hashlib.sha256(lines.readline(MAX_LINE)).hexdigest()
    except (OSError, EOFError, zlib.error):
        return None
    with Registry(database_url, read_only=True) as elsewhere:
        head = elsewhere.read(log_head)
        last = next(iterate_events(elsewhere, after=head.seq - 1), None) if head.seq else None
    done = last is not None and last.kind == "restored" and last.body.get("backup") == digest
    return head if done else None
