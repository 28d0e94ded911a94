"""The embedded registry: one SQLite file, no server."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

from sqlalchemy import Connection, RowMapping, Select, func, insert, select, text
from sqlalchemy.exc import IntegrityError

from variegate.errors import ConfigurationError, ConflictError, FormatError, InputError, NotFoundError
from variegate.manifest import ModelManifest, canonical_json, digest, load_json
from variegate.registry.bulk import CHUNK_ROWS, insert_copies
from variegate.registry.engine import open_engine, reading, writing
from variegate.registry.failures import clear_failures
from variegate.registry.protocol import MOST_ROWS, CopyRow
from variegate.registry.schema import FORMAT, buyers, copies, meta, metadata, models, specs
from variegate.types import CopyStatus

__all__ = ["SqliteStore"]

_COPY = (
    select(
        copies.c.copy_id,
        models.c.name.label("model"),
        models.c.digest.label("model_digest"),
        specs.c.digest.label("spec_digest"),
        buyers.c.name.label("buyer"),
        copies.c.epoch,
        copies.c.status,
        copies.c.issued_at,
    )
    .select_from(copies)
    .join(models)
    .join(specs)
    .join(buyers)
)


@final
class SqliteStore:
    """A `Store` in one SQLite file.

    Safe to use from several threads and processes at once. Example:

        with SqliteStore(Path("registry.db"), create=True) as store:
            store.add_model(manifest)

    Args:
        path: the file.
        create: make the file and its tables if they are missing.
        read_only: open without the right to write.

    Raises:
        NotFoundError: if the file is missing and `create` is False.
        FormatError: if the file is no registry, is corrupt, or was written by a newer variegate.
        InputError: if the file cannot be opened.
    """

    def __init__(self, path: Path, *, create: bool = False, read_only: bool = False) -> None:
        if path.is_dir():
            raise InputError(f"the registry must be a file; {path} is a folder")
        if not create and not path.exists():
            raise NotFoundError(f"there is no registry at {path}; create one with: variegate init")
        self.path = path
        self._engine = open_engine(path, create=create, read_only=read_only)
        try:
            with clear_failures(path):
                if create:
                    self._create()
                self._check_format()
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"SqliteStore({str(self.path)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    def get_meta(self, key: str) -> str | None:
        """See `Store.get_meta`."""
        with self._read() as connection:
            value: str | None = connection.scalar(select(meta.c.value).where(meta.c.key == key))
        return value

    def put_meta(self, key: str, value: str) -> None:
        """See `Store.put_meta`."""
        with self._write() as connection:
            known = connection.scalar(select(meta.c.value).where(meta.c.key == key))
            if known is None:
                connection.execute(insert(meta).values(key=key, value=value))
            elif known != value:
                raise ConflictError(f"the registry remembers {key} as {known!r}; it cannot become {value!r}")

    def add_model(self, manifest: ModelManifest) -> None:
        """See `Store.add_model`."""
        body = canonical_json(manifest.to_dict()).decode()
        values = {"name": manifest.name, "digest": manifest.digest, "manifest": body, "added_at": int(time.time())}
        with self._write() as connection:
            try:
                connection.execute(insert(models).values(values))
            except IntegrityError as error:
                raise ConflictError(
                    f"a model named {manifest.name!r} exists already; import under another name"
                ) from error

    def get_model(self, name: str) -> ModelManifest:
        """See `Store.get_model`."""
        with self._read() as connection:
            body = connection.scalar(select(models.c.manifest).where(models.c.name == name))
        if body is None:
            raise NotFoundError(f"there is no model named {name!r}; see: variegate model ls")
        return self._manifest(body)

    def list_models(self) -> list[ModelManifest]:
        """See `Store.list_models`."""
        with self._read() as connection:
            bodies = connection.scalars(select(models.c.manifest).order_by(models.c.id)).all()
        return [self._manifest(body) for body in bodies]

    def add_spec(self, name: str, spec: Mapping[str, Any]) -> str:
        """See `Store.add_spec`."""
        body = dict(spec)
        values = {
            "digest": digest(body),
            "name": name,
            "rewriter": str(body.get("rewriter", "")),
            "body": canonical_json(body).decode(),
            "added_at": int(time.time()),
        }
        with self._write() as connection:
            if connection.scalar(select(specs.c.id).where(specs.c.digest == values["digest"])) is None:
                connection.execute(insert(specs).values(values))
        return str(values["digest"])

    def get_spec(self, digest: str) -> dict[str, Any]:
        """See `Store.get_spec`."""
        with self._read() as connection:
            body = connection.scalar(select(specs.c.body).where(specs.c.digest == digest))
        if body is None:
            raise NotFoundError(f"there is no rewriter spec with digest {digest} in the registry {self.path}")
        return load_json(body.encode(), f"a spec in the registry {self.path}")

    def add_copies(self, rows: Iterable[CopyRow], *, keep_existing: bool = False) -> int:
        """See `Store.add_copies`; rows are read and written in pieces of `CHUNK_ROWS`."""
        iterator, added = iter(rows), 0
        with self._write() as connection:
            while chunk := list(islice(iterator, CHUNK_ROWS)):
                added += insert_copies(connection, chunk, keep_existing=keep_existing)
        return added

    def get_copy(self, copy_id: str) -> CopyRow:
        """See `Store.get_copy`."""
        row = self.get_copies([copy_id]).get(copy_id)
        if row is None:
            raise NotFoundError(f"there is no copy named {copy_id!r}; see: variegate copies ls")
        return row

    def get_copies(self, copy_ids: Sequence[str]) -> dict[str, CopyRow]:
        """See `Store.get_copies`."""
        found: dict[str, CopyRow] = {}
        with self._read() as connection:
            for start in range(0, len(copy_ids), CHUNK_ROWS):
                query = _COPY.where(copies.c.copy_id.in_(copy_ids[start : start + CHUNK_ROWS]))
                found.update((row["copy_id"], _copy_row(row)) for row in connection.execute(query).mappings())
        return found

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
        if not 0 <= offset <= MOST_ROWS or not (limit is None or 0 <= limit <= MOST_ROWS):
            raise ConfigurationError(f"limit and offset must be from 0 to {MOST_ROWS}; got {limit} and {offset}")
        query = _filtered(_COPY, model=model, buyer=buyer, status=status).order_by(copies.c.id)
        with self._read() as connection:
            return [_copy_row(row) for row in connection.execute(query.limit(limit).offset(offset)).mappings()]

    def count_copies(
        self, *, model: str | None = None, buyer: str | None = None, status: CopyStatus | None = None
    ) -> int:
        """See `Store.count_copies`."""
        query = select(func.count()).select_from(copies)
        with self._read() as connection:
            return connection.scalar(_filtered(query, model=model, buyer=buyer, status=status)) or 0

    def _create(self) -> None:
        with writing(self._engine) as connection:
            fresh = connection.scalar(text("SELECT count(*) FROM sqlite_master")) == 0
            if fresh:
                metadata.create_all(connection)
                connection.execute(insert(meta).values(key="format", value=str(FORMAT)))

    def _check_format(self) -> None:
        with reading(self._engine) as connection:
            stated = connection.scalar(select(meta.c.value).where(meta.c.key == "format"))
        if stated is None or not stated.isdecimal():
            raise FormatError(f"{self.path} is not a variegate registry: it does not state its format")
        if int(stated) > FORMAT:
            raise FormatError(
                f"the registry {self.path} has format {stated}, newer than the {FORMAT} that this variegate reads; "
                "upgrade variegate"
            )

    def _manifest(self, body: str) -> ModelManifest:
        return ModelManifest.from_dict(load_json(body.encode(), f"a model in the registry {self.path}"))

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with clear_failures(self.path), reading(self._engine) as connection:
            yield connection

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with clear_failures(self.path), writing(self._engine) as connection:
            yield connection


def _filtered(query: Select[Any], *, model: str | None, buyer: str | None, status: CopyStatus | None) -> Select[Any]:
    """Add the filters; names become numbers by subqueries, so that counting joins nothing."""
    if model is not None:
        query = query.where(copies.c.model_id == select(models.c.id).where(models.c.name == model).scalar_subquery())
    if buyer is not None:
        query = query.where(copies.c.buyer_id == select(buyers.c.id).where(buyers.c.name == buyer).scalar_subquery())
    if status is not None:
        query = query.where(copies.c.status == status.value)
    return query


def _copy_row(row: RowMapping) -> CopyRow:
    return CopyRow(
        copy_id=row["copy_id"],
        model=row["model"],
        model_digest=row["model_digest"],
        spec_digest=row["spec_digest"],
        buyer=row["buyer"],
        epoch=row["epoch"],
        status=CopyStatus(row["status"]),
        issued_at=row["issued_at"],
    )
