"""The seller's secrets of one home: which there are, how to get them, how to make a new one.

The registry lists them: identifier, provider and public key; the last one is the current one, from which new copies
come. Copies issued under a secret are derived from it for ever, so no secret is taken away. A new one is stored before
it is recorded: if the program dies in between, a file is left whose secret is not recorded (`KeyRing.stray`), and
nothing is lost. A registry that was restored from a backup older than a rotation lacks a secret, too: `KeyRing.take_in`
records it from its file.
"""

import hmac
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias, final

from variegate.authority.secret_files import ENVIRONMENT, SecretFiles
from variegate.errors import ConflictError, NotFoundError, SecretError, VerificationError
from variegate.keys import SellerSecret
from variegate.keystore.base import Access, KeyProvider
from variegate.keystore.catalog import find_provider
from variegate.keystore.keeping import keep_secret
from variegate.keystore.secret_sources import secret_in_environment
from variegate.registry.records import add_secret, get_meta, list_secrets, put_meta
from variegate.registry.registry import Registry
from variegate.registry.rows import SecretRow
from variegate.signing import public_pem, signing_key

IDENTIFIER_KEY: Final = "secret_identifier"
"""Under this key the registry remembers the home's first secret."""

SecretSource: TypeAlias = Callable[[], SellerSecret | None]
"""Gives a secret that the program has already, or None; asked at most once."""


@final
class KeyRing:
    """Fetches the secrets of a home when they are needed, and keeps them until `forget_all`.

    Args:
        root: the home's folder.
        store: the registry.
        access: where providers find passphrases, PINs and options.
        source: asked for a secret before any provider is; by default it looks into the environment
            (VARIEGATE_SELLER_SECRET), which spares the passphrase.
    """

    def __init__(self, root: Path, store: Registry, *, access: Access, source: SecretSource | None = None) -> None:
        self._root = root
        self._files = SecretFiles(root)
        self._store = store
        self._access = access
        self._source = source or (lambda: secret_in_environment(access.env))
        self._offered: SellerSecret | None = None
        self._asked = False
        self._first: str | None = None
        self._held: dict[str, SellerSecret] = {}
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"KeyRing({str(self._root)!r})"

    def rows(self) -> list[SecretRow]:
        """Return the home's secrets, oldest first; the last is the current one.

        A home of format 1 whose secret was not used since has one row that the registry lacks: its public key is empty
        and it was added at 0.

        Raises:
            SecretError: if the registry knows no secret at all.
        """
        rows = self._store.read(list_secrets)
        if rows:
            self._first = rows[0].identifier
            return rows
        identifier = self._store.read(get_meta, IDENTIFIER_KEY)
        if identifier is None:
            raise SecretError(
                f"the registry of {self._root} knows no seller's secret: expected one from the home's first day on; "
                "restore the registry from a backup"
            )
        provider = self._files.find_provider_of_first(identifier)
        return [SecretRow(identifier=identifier, provider=provider, public_key="", added_at=0)]

    def get(self, identifier: str | None = None) -> SellerSecret:
        """Return the secret of this identifier; None is the home's first, which copies before format 2 come from.

        It stays the ring's: `forget_all` wipes it. Take a `duplicate` of what has to live longer.

        Raises:
            NotFoundError: if the home has no such secret.
            SecretError: if it is missing, cannot be opened, or another secret came in its place.
            VerificationError: if the registry's public key does not belong to it.
            ConfigurationError: if its provider is not there or lacks an option.
        """
        with self._lock:
            known = self._first if identifier is None else identifier
            return self._held[known] if known in self._held else self._hold(self._row(identifier))

    def current(self) -> SellerSecret:
        """Return the secret that new copies come from. Raises what `get` raises."""
        with self._lock:
            return self._hold(self.rows()[-1])

    def adopt(self) -> SecretRow:
        """Record the first secret of a home of format 1, if that was not done; return the row of the current secret.

        Raises:
            SecretError: if it has to be recorded and cannot be fetched.
        """
        with self._lock:
            if not self._store.read(list_secrets):
                (row,) = self.rows()
                secret = self._hold(row)
                try:
                    self._record(secret, row.provider)
                except ConflictError:  # another process was quicker
                    if not self._store.read(list_secrets):
                        raise
            return self.rows()[-1]

    def begin(self, secret: SellerSecret, *, provider: str) -> SecretRow:
        """Registry and record the first secret of a new home.

        Raises:
            ConflictError: if the home has one.
        """
        with self._lock:
            if self._store.read(list_secrets) or self._store.read(get_meta, IDENTIFIER_KEY) is not None:
                raise ConflictError(f"the home {self._root} has a seller's secret already; rotate it instead")
            keeper = find_provider(provider)
            self._keep(keeper, secret)
            self._store.write(put_meta, IDENTIFIER_KEY, secret.identifier)
            return self._record(secret, keeper.name)

    def rotate(self, provider: str) -> SecretRow:
        """Make a new secret, from which copies are issued from now on; the others stay for the copies before it.

        Raises:
            ConfigurationError: if there is no such provider, or it lacks an option.
            ConflictError: if the provider gives a secret that the home has already.
            SecretError: if the provider cannot keep it, or the home's first secret must be recorded and is not there.
        """
        keeper = find_provider(provider)
        with self._lock:
            self.adopt()
            secret = keeper.create(self._access)
            if any(_same(row.identifier, secret.identifier) for row in self.rows()):
                raise ConflictError(
                    f"the key provider {provider} gave the secret {secret.identifier}, which the home has already; "
                    "put a new one in its place first"
                )
            self._keep(keeper, secret)
            return self._record(secret, keeper.name)

    def take_in(self, identifier: str) -> SecretRow:
        """Record a secret whose file lies in the home but that the registry lacks; it is the current one from now on.

        The file is opened: a secret that the environment offers does not do in its place.

        Raises:
            ConflictError: if the registry has it.
            NotFoundError: if there is no file of it.
            SecretError: if the file cannot be opened or holds another secret, or the home's first secret must be
                recorded and is not there.
            ConfigurationError: if its provider is not there or lacks an option.
        """
        with self._lock:
            self.adopt()
            if any(_same(row.identifier, identifier) for row in self.rows()):
                raise ConflictError(f"the registry has the secret {identifier} already; see: variegate key ls")
            row = self._files.find_row(identifier)
            kept = self._files.in_use(row)
            blob = self._files.read(kept, is_first=False)
            secret = find_provider(kept.provider).fetch(blob, identifier=row.identifier, access=self._access)
            if not _same(secret.identifier, row.identifier):
                raise self._other(row, secret)
            return self._record(secret, row.provider)

    def public_key(self, identifier: str | None = None) -> str:
        """Return the PEM text of the key that verifies what a secret signed. Raises what `get` raises."""
        row = self._row(identifier)
        return row.public_key or public_pem(signing_key(self.get(row.identifier)))

    def stray(self) -> list[Path]:
        """Return the files in the secrets' folder that belong to no recorded secret, by name.

        They are what a killed rotation left, or secrets that the registry does not know because it was restored from an
        older backup: copies may have been issued under these.
        """
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

    def _row(self, identifier: str | None) -> SecretRow:
        rows = self.rows()
        if identifier is None:
            return rows[0]
        for row in rows:
            if _same(row.identifier, identifier):
                return row
        raise NotFoundError(
            f"the home {self._root} has no seller's secret {identifier!a}; see those there are with: variegate key ls"
        )

    def _hold(self, row: SecretRow) -> SellerSecret:
        """The row's secret, fetched if it is not held."""
        if row.identifier not in self._held:
            secret = self._fetch(row)
            if row.public_key and row.public_key != public_pem(signing_key(secret)):
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
        first = _same(self.rows()[0].identifier, row.identifier)
        try:
            secret = provider.fetch(
                self._files.read(row, is_first=first), identifier=row.identifier, access=self._access
            )
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

    def _record(self, secret: SellerSecret, provider: str) -> SecretRow:
        self._store.write(add_secret, secret.identifier, provider=provider, public_key=public_pem(signing_key(secret)))
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
