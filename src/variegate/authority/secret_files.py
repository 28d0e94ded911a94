"""The files of the seller's secrets in a home: what key providers keep there, never a plain secret.

    home/secrets/<identifier>.<provider>    what a provider keeps of one secret (mode 0600, folder 0700)
    home/secret.sealed                      the first secret of older homes, provider sealed_file

A backup (`variegate key export --sealed`) that somebody puts there as <identifier>.sealed_file takes the place of what
another provider keeps: so a home outlives its token.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, final

from variegate.errors import InputError, NotFoundError, SecretError
from variegate.files import file_error, read_bounded, write_atomic
from variegate.keystore.base import MOST_BLOB_BYTES
from variegate.registry.rows import SecretRow

SEALED_FILE: Final = "sealed_file"
ENVIRONMENT: Final = "environment"

_IDENTIFIER: Final = re.compile(r"[0-9a-f]{16}")
_PROVIDER: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")


@final
@dataclass(frozen=True, slots=True)
class SecretFiles:
    """Reads and writes them.

    Attributes:
        root: the home's folder.
    """

    root: Path

    @property
    def folder(self) -> Path:
        """The folder of all but the oldest."""
        return self.root / "secrets"

    @property
    def old_file(self) -> Path:
        """The sealed secret of an older home."""
        return self.root / "secret.sealed"

    def path(self, row: SecretRow) -> Path:
        """Return the file of a secret.

        Raises:
            SecretError: if the registry's row cannot be the name of one.
        """
        if not _IDENTIFIER.fullmatch(row.identifier) or not _PROVIDER.fullmatch(row.provider):
            raise SecretError(
                f"the registry names a seller's secret {row.identifier!a} with the key provider {row.provider!a}: "
                "expected 16 hexadecimal digits and a name; the registry was changed, restore it from a backup"
            )
        return self.folder / f"{row.identifier}.{row.provider}"

    def in_use(self, row: SecretRow) -> SecretRow:
        """Return the row, with the provider sealed_file if a backup takes the place of what its own provider keeps."""
        backup = replace(row, provider=SEALED_FILE)
        return backup if self.path(backup).is_file() else row

    def write(self, row: SecretRow, blob: bytes) -> None:
        """Write a secret's file, whole or not at all.

        Raises:
            SecretError: if it is larger than a provider may keep.
            VariegateError: if it cannot be written.
        """
        path = self.path(row)
        if len(blob) > MOST_BLOB_BYTES:
            raise SecretError(
                f"the key provider {row.provider} gave {len(blob)} bytes to keep in the home: expected at most "
                f"{MOST_BLOB_BYTES}; use another provider"
            )
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise file_error(error, self.folder, "make") from error
        write_atomic(path, blob, private=True)

    def read(self, row: SecretRow, *, is_first: bool) -> bytes:
        """Return what lies in the home of a secret; nothing, if its provider keeps nothing there.

        Args:
            row: which secret.
            is_first: whether it is the home's first, whose file may have the old place.

        Raises:
            SecretError: if a sealed file is not there, or the file cannot be read.
        """
        path = self.path(row)
        if is_first and row.provider == SEALED_FILE and not path.exists() and self.old_file.exists():
            path = self.old_file
        try:
            return read_bounded(path, MOST_BLOB_BYTES)
        except NotFoundError as error:
            if row.provider != SEALED_FILE:
                return b""
            raise SecretError(
                f"there is no seller's secret: expected the sealed file {path}; restore it from a backup, or set "
                "VARIEGATE_SELLER_SECRET_FILE"
            ) from error
        except InputError as error:
            raise SecretError(f"cannot read the seller's secret: {error}") from error

    def find_provider_of_first(self, identifier: str) -> str:
        """Return who keeps the secret of a home that does not say: whose file is there, else the environment."""
        if self.old_file.exists():
            return SEALED_FILE
        if _IDENTIFIER.fullmatch(identifier):
            for path in sorted(self.folder.glob(f"{identifier}.*")):
                return path.name.partition(".")[2]
        return ENVIRONMENT

    def find_row(self, identifier: str) -> SecretRow:
        """Return the row of a secret that the registry lacks, as its files tell.

        A backup's provider counts if there is no other. The public key is empty and the secret was added at 0.

        Raises:
            NotFoundError: if there is no file of this secret.
        """
        names = (path.name for path in self.folder.glob("*")) if _IDENTIFIER.fullmatch(identifier) else iter(())
        kept = (name.partition(".") for name in names)
        providers = {provider for name, _, provider in kept if name == identifier and _PROVIDER.fullmatch(provider)}
        if not providers:
            raise NotFoundError(
                f"there is no file of a secret {identifier!a} in {self.folder}: expected the name that variegate key "
                "ls shows, 16 hexadecimal digits; a secret of the environment is recorded by: variegate key rotate "
                "--provider environment"
            )
        provider = min(providers - {SEALED_FILE}, default=SEALED_FILE)
        return SecretRow(identifier=identifier, provider=provider, public_key="", added_at=0)

    @staticmethod
    def identifier_in(path: Path) -> str | None:
        """Return the identifier of the secret whose file this is by its name, or None."""
        identifier, _, provider = path.name.partition(".")
        return identifier if _IDENTIFIER.fullmatch(identifier) and _PROVIDER.fullmatch(provider) else None

    def stray(self, rows: Iterable[SecretRow]) -> list[Path]:
        """Return the files in the folder that belong to none of these secrets.

        Raises:
            VariegateError: if the folder cannot be read.
        """
        known = {self.path(each).name for row in rows for each in (row, self.in_use(row))}
        try:
            return sorted(path for path in self.folder.iterdir() if path.name not in known)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise file_error(error, self.folder, "read") from error
