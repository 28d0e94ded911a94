"""The registry in a SQL database: one SQLite file, or a PostgreSQL database by its URL.

Each method is one transaction around a function of the module for its subject; the clock and the connections live here.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

from sqlalchemy import Connection

from variegate.errors import InputError, NotFoundError, VariegateError
from variegate.manifest import ModelManifest
from variegate.registry import api_keys, copies, events, quotas, records, salts, statuses
from variegate.registry.bulk import CopyWriter
from variegate.registry.engine import counting, emptied_log, locate, open_engine, reading, writing
from variegate.registry.failures import clear_failures
from variegate.registry.formats import check_format, is_empty
from variegate.registry.protocol import ApiKeyRow, CopyRow, EventRow, LogHead, PolicyRow, SecretRow
from variegate.types import CopyStatus

_EVENTS_PAGE = 20


@final
class SqlStore:
    """A `Store` in a SQL database.

    Safe to use from several threads and processes at once. Example:

        with SqlStore(Path("registry.db"), create=True) as store:
            store.add_model(manifest)

    Args:
        url: the path of a SQLite file, or a URL: "sqlite:///PATH" or "postgresql+psycopg://USER@HOST/DATABASE".
        create: make the file and the tables if they are missing.
        read_only: open without the right to write.
        clock: returns the Unix time in seconds, for what is recorded.

    Attributes:
        location: text for people that says where the registry is, without a password.

    Raises:
        NotFoundError: if the file is missing and `create` is False.
        FormatError: if it is no registry, is corrupt, or was written by an older or newer variegate.
        InputError: if it cannot be opened.
        ConfigurationError: if the URL is of another kind, or its driver is not installed.
    """

    def __init__(
        self,
        url: str | Path,
        *,
        create: bool = False,
        read_only: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        database = locate(url)
        if database.path is not None and database.path.is_dir():
            raise InputError(f"the registry must be a file; {database.path} is a folder")
        if database.path is not None and not create and not database.path.exists():
            raise NotFoundError(f"there is no registry at {database.path}; create one with: variegate init")
        self.location = database.location
        self._clock = clock
        self._engine = open_engine(database, create=create, read_only=read_only)
        try:
            if create:
                self._create()
            with self.reading() as connection:
                check_format(connection, self.location)
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"SqlStore({self.location!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """See `Store.close`."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view of the registry, for the modules of this package."""
        with clear_failures(self.location), reading(self._engine) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction that holds the write lock, for the modules of this package."""
        with clear_failures(self.location), writing(self._engine) as connection:
            yield connection

    def get_meta(self, key: str) -> str | None:
        """See `Store.get_meta`."""
        with self.reading() as connection:
            return records.get_meta(connection, key)

    def put_meta(self, key: str, value: str) -> None:
        """See `Store.put_meta`."""
        with self.writing() as connection:
            records.put_meta(connection, key, value)

    def add_model(self, manifest: ModelManifest) -> None:
        """See `Store.add_model`."""
        with self.writing() as connection:
            records.add_model(connection, manifest, at=self._now())

    def get_model(self, name: str) -> ModelManifest:
        """See `Store.get_model`."""
        with self.reading() as connection:
            return records.get_model(connection, name)

    def list_models(self) -> list[ModelManifest]:
        """See `Store.list_models`."""
        with self.reading() as connection:
            return records.list_models(connection)

    def add_spec(self, name: str, spec: Mapping[str, Any]) -> str:
        """See `Store.add_spec`."""
        with self.writing() as connection:
            return records.add_spec(connection, name, spec, at=self._now())

    def get_spec(self, digest: str) -> dict[str, Any]:
        """See `Store.get_spec`."""
        with self.reading() as connection:
            return records.get_spec(connection, digest)

    def add_policy(self, name: str, body: Mapping[str, Any]) -> None:
        """See `Store.add_policy`."""
        with self.writing() as connection:
            records.add_policy(connection, name, body, at=self._now())

    def get_policy(self, name: str) -> PolicyRow:
        """See `Store.get_policy`."""
        with self.reading() as connection:
            return records.get_policy(connection, name)

    def list_policies(self) -> list[PolicyRow]:
        """See `Store.list_policies`."""
        with self.reading() as connection:
            return records.list_policies(connection)

    def add_secret(self, identifier: str, *, provider: str, public_key: str) -> None:
        """See `Store.add_secret`."""
        with self.writing() as connection:
            records.add_secret(connection, identifier, provider=provider, public_key=public_key, at=self._now())

    def list_secrets(self) -> list[SecretRow]:
        """See `Store.list_secrets`."""
        with self.reading() as connection:
            return records.list_secrets(connection)

    def add_copies(
        self,
        rows: Iterable[CopyRow],
        *,
        keep_existing: bool = False,
        supersede: bool = False,
        salts: Mapping[str, bytes] | None = None,
    ) -> int:
        """See `Store.add_copies`; rows are read and written in pieces of `CHUNK_ROWS`."""
        iterator, added = iter(rows), 0
        with self.writing() as connection:
            writer = CopyWriter(
                connection, at=self._now(), keep_existing=keep_existing, supersede=supersede, salts=salts
            )
            while chunk := list(islice(iterator, statuses.CHUNK_ROWS)):
                added += writer.add(chunk)
        return added

    def get_copy(self, copy_id: str) -> CopyRow:
        """See `Store.get_copy`."""
        row = self.get_copies([copy_id]).get(copy_id)
        if row is None:
            raise NotFoundError(f"there is no copy named {copy_id!r}; see: variegate copies ls")
        return row

    def get_copies(self, copy_ids: Sequence[str]) -> dict[str, CopyRow]:
        """See `Store.get_copies`."""
        with self.reading() as connection:
            return copies.get_copies(connection, copy_ids)

    def get_salt(self, copy_id: str) -> bytes | None:
        """See `Store.get_salt`."""
        with self.reading() as connection:
            return salts.get_salt(connection, copy_id)

    def forget_salt(self, copy_id: str) -> bool:
        """See `Store.forget_salt`."""
        with self.writing() as connection:
            salts.forget_salt(connection, copy_id, at=self._now())
        try:
            with clear_failures(self.location):
                return emptied_log(self._engine)
        except VariegateError:  # such as a full disk: the salt is forgotten all the same
            return False

    def change_status(self, copy_ids: Sequence[str], status: CopyStatus, *, reason: str = "") -> int:
        """See `Store.change_status`."""
        with self.writing() as connection:
            return statuses.change(connection, copy_ids, status, at=self._now(), reason=reason)

    def iterate_copies(
        self, *, model: str | None = None, buyer: str | None = None, status: CopyStatus | None = None
    ) -> Iterator[CopyRow]:
        """See `Store.iterate_copies`; each page of rows is one transaction."""
        page, last = self._copy_page(0, model, buyer, status)
        while page:
            yield from page
            page, last = self._copy_page(last, model, buyer, status)

    def list_copies(
        self,
        *,
        model: str | None = None,
        buyer: str | None = None,
        status: CopyStatus | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[CopyRow]:
        """See `Store.list_copies`."""
        with self.reading() as connection:
            return copies.list_copies(connection, model=model, buyer=buyer, status=status, limit=limit, offset=offset)

    def count_copies(
        self, *, model: str | None = None, buyer: str | None = None, status: CopyStatus | None = None
    ) -> int:
        """See `Store.count_copies`."""
        with self.reading() as connection:
            return copies.count_copies(connection, model=model, buyer=buyer, status=status)

    def last_epochs(self, model: str, buyers: Sequence[str]) -> dict[str, int]:
        """See `Store.last_epochs`."""
        with self.reading() as connection:
            return copies.last_epochs(connection, model, buyers)

    def add_api_key(self, buyer: str, *, identifier: str, digest: bytes, expires_at: int | None = None) -> ApiKeyRow:
        """See `Store.add_api_key`."""
        with self.writing() as connection:
            return api_keys.add_api_key(
                connection, buyer, identifier=identifier, digest=digest, expires_at=expires_at, at=self._now()
            )

    def find_api_key(self, digest: bytes) -> ApiKeyRow | None:
        """See `Store.find_api_key`."""
        with self.reading() as connection:
            return api_keys.find_api_key(connection, digest)

    def list_api_keys(self, *, buyer: str | None = None) -> list[ApiKeyRow]:
        """See `Store.list_api_keys`."""
        with self.reading() as connection:
            return api_keys.list_api_keys(connection, buyer=buyer)

    def revoke_api_key(self, identifier: str) -> None:
        """See `Store.revoke_api_key`."""
        with self.writing() as connection:
            api_keys.revoke_api_key(connection, identifier, at=self._now())

    def spend_quota(self, copy_id: str, queries: int, *, quota: int) -> int:
        """See `Store.spend_quota`."""
        with clear_failures(self.location), counting(self._engine) as connection:
            return quotas.spend_quota(connection, copy_id, queries, quota=quota)

    def used_quota(self, copy_id: str) -> int:
        """See `Store.used_quota`."""
        with self.reading() as connection:
            return quotas.used_quota(connection, copy_id)

    def log_head(self) -> LogHead:
        """See `Store.log_head`."""
        with self.reading() as connection:
            return events.read_head(connection)

    def iterate_events(self, *, after: int = 0) -> Iterator[EventRow]:
        """See `Store.iterate_events`; each page of entries is one transaction."""
        while page := self._event_page(after):
            yield from page
            after = page[-1].seq

    def _copy_page(
        self, after: int, model: str | None, buyer: str | None, status: CopyStatus | None
    ) -> tuple[list[CopyRow], int]:
        with self.reading() as connection:
            return copies.copy_page(connection, after=after, model=model, buyer=buyer, status=status)

    def _event_page(self, after: int) -> list[EventRow]:
        with self.reading() as connection:
            return events.event_page(connection, after=after, limit=_EVENTS_PAGE)

    def _now(self) -> int:
        return int(self._clock())

    def _create(self) -> None:
        with self.writing() as connection:
            if is_empty(connection):
                from variegate.registry.migrations import run  # Alembic takes a while to import

                run(connection, at=self._now())
