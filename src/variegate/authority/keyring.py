"""The seller's secrets of one home: which there are, how to get them, how to make a new one, and the keys of copies.

The registry lists them: identifier, provider and public key; the last one is the current one, from which new copies
come. Copies issued under a secret are derived from it for ever, so no secret is taken away. A new one is stored before
it is recorded: if the program dies in between, a file is left whose secret is not recorded (`KeyRing.stray`), and
nothing is lost. A registry that was restored from a backup older than a rotation lacks a secret, too:
`KeyRing.take_in` records it from its file.

What key providers keep in the home is in files, never a plain secret:

    home/secrets/<identifier>.<provider>    what a provider keeps of one secret (mode 0600, folder 0700)

A backup (`variegate key export --sealed`) that somebody puts there as <identifier>.sealed_file takes the place of what
another provider keeps: so a home outlives its token.
"""

import hmac
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, TypeAlias, final

from sqlalchemy import Connection

from variegate.errors import ConflictError, InputError, NotFoundError, SecretError, VerificationError
from variegate.files import file_error, read_bounded, write_atomic
from variegate.keys import CopyKey, KeyContext, SellerSecret
from variegate.keystore.base import MAX_BLOB_BYTES, Access, KeyProvider, keep_secret
from variegate.keystore.catalog import find_provider
from variegate.keystore.secret_sources import secret_in_environment
from variegate.registry.copies import get_salt
from variegate.registry.records import add_secret, list_secrets, put_meta
from variegate.registry.registry import Registry
from variegate.registry.rows import CopyRow, SecretRow
from variegate.signing import public_pem, signing_key

SEALED_FILE: Final = "sealed_file"
ENVIRONMENT: Final = "environment"
IDENTIFIER_KEY: Final = "secret_identifier"
"""Under this key the registry remembers the home's first secret."""

_IDENTIFIER: Final = re.compile(r"[0-9a-f]{16}")
_PROVIDER: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")

SecretSource: TypeAlias = Callable[[], SellerSecret | None]
"""Gives a secret that the program has already, or None; asked at most once."""


@final
@dataclass(frozen=True, slots=True)
class SecretFiles:
    """Reads and writes the files of the secrets.

    Attributes:
        root: the home's folder.
    """

    root: Path

    @property
    def folder(self) -> Path:
        """The folder of them all."""
        return self.root / "secrets"

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
        """Write a secret's file atomically.

        Raises:
            SecretError: if it is larger than a provider may keep.
            VariegateError: if it cannot be written.
        """
        path = self.path(row)
        if len(blob) > MAX_BLOB_BYTES:
            raise SecretError(
                f"the key provider {row.provider} gave {len(blob)} bytes to keep in the home: expected at most "
                f"{MAX_BLOB_BYTES}; use another provider"
            )
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise file_error(error, self.folder, "make") from error
        write_atomic(path, blob, private=True)

    def read(self, row: SecretRow) -> bytes:
        """Return what is kept in the home of a secret; nothing, if its provider keeps nothing there.

        Raises:
            SecretError: if a sealed file is not there, or the file cannot be read.
        """
        path = self.path(row)
        try:
            return read_bounded(path, MAX_BLOB_BYTES)
        except NotFoundError as error:
            if row.provider != SEALED_FILE:
                return b""
            raise SecretError(
                f"there is no seller's secret: expected the sealed file {path}; restore it from a backup, or set "
                "VARIEGATE_SELLER_SECRET_FILE"
            ) from error
        except InputError as error:
            raise SecretError(f"cannot read the seller's secret: {error}") from error

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


@final
class KeyRing:
    """Fetches the secrets of a home when they are needed, and keeps them until `forget_all`.

    Args:
        root: the home's folder.
        registry: the registry.
        access: where providers find passphrases, PINs and options.
        source: asked for a secret before any provider is; by default it looks into the environment
            (VARIEGATE_SELLER_SECRET), which spares the passphrase.
    """

    def __init__(self, root: Path, registry: Registry, *, access: Access, source: SecretSource | None = None) -> None:
        self._root = root
        self._files = SecretFiles(root)
        self._registry = registry
        self._access = access
        self._source = source or (lambda: secret_in_environment(access.env))
        self._offered: SellerSecret | None = None
        self._asked = False
        self._held: dict[str, SellerSecret] = {}
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"KeyRing({str(self._root)!r})"

    def rows(self) -> list[SecretRow]:
        """Return the home's secrets, oldest first; the last is the current one.

        Raises:
            SecretError: if the registry knows no secret at all.
        """
        rows = self._registry.read(list_secrets)
        if not rows:
            raise SecretError(
                f"the registry of {self._root} knows no seller's secret: expected one from the home's first day on; "
                "restore the registry from a backup"
            )
        return rows

    def get(self, identifier: str) -> SellerSecret:
        """Return the secret of this identifier.

        It stays the ring's: `forget_all` wipes it. Take a `duplicate` of what has to live longer.

        Raises:
            NotFoundError: if the home has no such secret.
            SecretError: if it is missing, cannot be opened, or another secret came in its place.
            VerificationError: if the registry's public key does not belong to it.
            ConfigurationError: if its provider is not there or lacks an option.
        """
        with self._lock:
            return self._held[identifier] if identifier in self._held else self._hold(self._row(identifier))

    def current(self) -> SellerSecret:
        """Return the secret that new copies come from. Raises what `get` raises."""
        with self._lock:
            return self._hold(self.rows()[-1])

    def begin(self, secret: SellerSecret, *, provider: str) -> SecretRow:
        """Registry and record the first secret of a new home.

        Raises:
            ConflictError: if the home has one.
        """
        with self._lock:
            if self._registry.read(list_secrets):
                raise ConflictError(f"the home {self._root} has a seller's secret already; rotate it instead")
            keeper = find_provider(provider)
            self._keep(keeper, secret)
            return self._record(secret, keeper.name, is_first=True)

    def rotate(self, provider: str) -> SecretRow:
        """See `Authority.rotate_secret`."""
        keeper = find_provider(provider)
        with self._lock:
            secret = keeper.create(self._access)
            if any(_same(row.identifier, secret.identifier) for row in self.rows()):
                raise ConflictError(
                    f"the key provider {provider} gave the secret {secret.identifier}, which the home has already; "
                    "put a new one in its place first"
                )
            self._keep(keeper, secret)
            return self._record(secret, keeper.name)

    def take_in(self, identifier: str) -> SecretRow:
        """See `Authority.adopt_secret`.

        The file is opened: a secret that the environment offers does not do in its place.
        """
        with self._lock:
            if any(_same(row.identifier, identifier) for row in self.rows()):
                raise ConflictError(f"the registry has the secret {identifier} already; see: variegate key ls")
            row = self._files.find_row(identifier)
            kept = self._files.in_use(row)
            blob = self._files.read(kept)
            secret = find_provider(kept.provider).fetch(blob, identifier=row.identifier, access=self._access)
            if not _same(secret.identifier, row.identifier):
                raise self._other(row, secret)
            return self._record(secret, row.provider)

    def copy_key(self, row: CopyRow, rewriter: str) -> CopyKey:
        """Return the key of a recorded copy.

        Raises:
            SecretError: if the seller's secret is missing or another, or the copy's key was forgotten.
            VerificationError: if the key is not the one that was recorded.
        """
        context = KeyContext(
            model_digest=row.model_digest,
            rewriter=rewriter,
            spec_digest=row.spec_digest,
            buyer=row.buyer,
            epoch=row.epoch,
        )
        if row.secret is None:
            raise VerificationError(f"copy {row.copy_id} is recorded without a seller's secret; its row changed")
        key = self.get(row.secret).derive(context, salt=self.require_key(row), draw=row.draw)
        if key.identifier != row.key_identifier:
            raise VerificationError(
                f"the key of copy {row.copy_id} is not the one that it was issued with; its row changed"
            )
        return key

    def require_key(self, row: CopyRow) -> bytes | None:
        """Return the salt of a copy's key, None if it has none.

        Raises:
            SecretError: if the key was forgotten.
        """
        if not row.salted:
            return None
        salt = self._registry.read(get_salt, row.copy_id)
        if salt is None:
            raise SecretError(f"the key of copy {row.copy_id} was forgotten: the copy cannot be made again")
        return salt

    def public_key(self, identifier: str) -> str:
        """See `Authority.public_key`."""
        return self._row(identifier).public_key

    def stray(self) -> list[Path]:
        """Return the files in the secrets' folder that belong to no recorded secret; see `Authority.stray_secrets`."""
        return self._files.stray(self.rows())

    def identifier_in(self, path: Path) -> str | None:
        """Return the identifier of the secret whose file this is by its name, or None."""
        return self._files.identifier_in(path)

    def forget_all(self) -> None:
        """Wipe the secrets from memory; they are fetched again when they are needed."""
        with self._lock:
            held = [*self._held.values(), *([] if self._offered is None else [self._offered])]
            self._held.clear()
            self._offered, self._asked = None, False
            for secret in held:
                secret.wipe()

    def _row(self, identifier: str) -> SecretRow:
        for row in self.rows():
            if _same(row.identifier, identifier):
                return row
        raise NotFoundError(
            f"the home {self._root} has no seller's secret {identifier!a}; see those there are with: variegate key ls"
        )

    def _hold(self, row: SecretRow) -> SellerSecret:
        """The row's secret, fetched if it is not held."""
        if row.identifier not in self._held:
            secret = self._fetch(row)
            if row.public_key != public_pem(signing_key(secret)):
                raise VerificationError(
                    f"the registry's public key of the secret {row.identifier} is not the one that belongs to it: the "
                    "registry was changed, restore it from a backup"
                )
            self._held[row.identifier] = secret
        return self._held[row.identifier]

    def _fetch(self, row: SecretRow) -> SellerSecret:
        offered = self._ask_source()
        if offered is not None and _same(offered.identifier, row.identifier):
            return offered.duplicate()
        row = self._files.in_use(row)
        provider = find_provider(row.provider)
        try:
            secret = provider.fetch(self._files.read(row), identifier=row.identifier, access=self._access)
        except SecretError as error:
            if offered is None or row.provider != ENVIRONMENT:
                raise
            raise self._other(row, offered) from error
        if not _same(secret.identifier, row.identifier):
            raise self._other(row, secret)
        return secret

    def _ask_source(self) -> SellerSecret | None:
        if not self._asked:
            offered = self._source()
            self._offered = None if offered is None else offered.duplicate()  # the giver's own is not ours to wipe
            self._asked = True
        return self._offered

    def _other(self, row: SecretRow, got: SellerSecret) -> SecretError:
        return SecretError(
            f"this is not the secret of {self._root}: expected the one with identifier {row.identifier}, "
            f"got {got.identifier}"
        )

    def _record(self, secret: SellerSecret, provider: str, *, is_first: bool = False) -> SecretRow:
        def record(connection: Connection) -> None:
            if is_first:
                put_meta(connection, IDENTIFIER_KEY, secret.identifier)
            add_secret(connection, secret.identifier, provider=provider, public_key=public_pem(signing_key(secret)))

        self._registry.write(record)
        self._held.setdefault(secret.identifier, secret.duplicate())
        return self._row(secret.identifier)

    def _keep(self, keeper: KeyProvider, secret: SellerSecret) -> None:
        # The environment's secret comes with each run, and need not be there yet when a home begins.
        blob = keep_secret(keeper, secret, self._access, read_back=keeper.name != ENVIRONMENT)
        if blob:
            row = SecretRow(identifier=secret.identifier, provider=keeper.name, public_key="", added_at=0)
            self._files.write(row, blob)


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "surrogateescape"), other.encode("utf-8", "surrogateescape"))
