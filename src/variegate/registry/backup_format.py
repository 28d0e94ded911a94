"""The file that `write_backup` writes and `restore_backup` reads: gzip over lines of JSON in UTF-8.

    {"at":1790000000,"columns":{"meta":["key","value"],...},"counts":{"meta":2,...},"format":"variegate-registry-backup",
     "log":{"hash":"sha256:...","seq":7},"registry_format":2,"version":1}
    ["meta","format","2"]        one line for each row: its table, then its values in the order of the header
    ...                          tables in the order of `TABLES`, rows by their number
    {"sha256":"..."}             over all bytes before this line

Bytes are written in hexadecimal. Nothing follows the last line. The digest finds damage; anyone who forges a backup
can compute it, too, but cannot make its log agree with a head that is kept elsewhere.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import IO, Annotated, Any, Literal, Self, final

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator
from sqlalchemy import Boolean, Column, Integer, LargeBinary, SmallInteger, Table

from variegate.errors import FormatError, VerificationError
from variegate.manifest.canonical import canonical_json, load_json, shown
from variegate.manifest.document import Count, Document, known_format
from variegate.registry.rows import LogHead
from variegate.registry.schema import FORMAT, metadata

_VERSION = 1
_ORDER = (
    "meta",
    "models",
    "specs",
    "policies",
    "seller_secrets",
    "copies",
    "copy_salts",
    "api_keys",
    "quotas",
    "events",
)

MAX_LINE = 64 * 1024 * 1024
"""The longest line, in bytes, that is read."""
PAGE, PAGES = 1000, {"events": 20, "models": 20}
"""Rows at once; fewer of those that can be long."""
MAX_PIECE = 16 * 1024 * 1024
"""Bytes of lines at which a piece ends, however few its rows: bounds the memory for a file that nobody checked yet."""
TABLES: tuple[Table, ...] = tuple(metadata.tables[name] for name in _ORDER)
"""In the order in which they are written and restored: a row refers to earlier ones only."""

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")).encode


def _columns() -> dict[str, list[str]]:
    return {table.name: table.columns.keys() for table in TABLES}


def _head(value: object) -> object:
    if isinstance(value, Mapping) and value.keys() == {"hash", "seq"}:
        value = LogHead(seq=value["seq"], hash=value["hash"])
    if isinstance(value, LogHead) and type(value.seq) is int and value.seq >= 0 and isinstance(value.hash, str):
        return value
    raise ValueError(f"must be an object with seq and hash; got {shown(value)}")


@final
class Header(Document):
    """The first line of a backup.

    Attributes:
        at: Unix time in whole seconds at which it was written.
        columns: table -> its columns, in the order of a row's values.
        counts: table -> its number of rows.
        head: the end of the log ("log" in the file).
    """

    DOCUMENT = "the header"
    model_config = ConfigDict(validate_by_name=True)

    format: Literal["variegate-registry-backup"] = "variegate-registry-backup"
    version: Annotated[int, known_format(_VERSION)] = _VERSION
    registry_format: Annotated[int, known_format(FORMAT)] = FORMAT
    at: Count
    columns: dict[str, list[str]] = Field(default_factory=_columns)
    counts: dict[str, Count]
    head: Annotated[LogHead, BeforeValidator(_head), PlainSerializer(asdict)] = Field(
        validation_alias="log", serialization_alias="log"
    )

    @model_validator(mode="after")
    def _check_tables(self) -> Self:
        if self.columns != _columns() or self.counts.keys() != self.columns.keys():
            raise ValueError("columns and counts must be those of the registry's tables")
        return self

    def to_line(self) -> bytes:
        """The line, without its line feed; `from_line` reads it back."""
        return canonical_json(self.model_dump(mode="json", by_alias=True))

    @classmethod
    def from_line(cls, line: bytes, what: str) -> Self:
        """Read the line.

        Raises:
            FormatError: if it is none, or of a version or a registry format that this variegate does not read.
        """
        try:
            values = load_json(line, "its first line")
            header = cls(**values)
        except FormatError as error:
            raise FormatError(f"{what} is not a backup that this version of variegate restores: {error}") from error
        if absent := {"format", "version", "registry_format", "columns", "log"} - values.keys():
            raise FormatError(f"{what} is not a backup of a variegate registry: its header lacks {min(absent)}")
        return header


def row_line(table: Table, values: tuple[Any, ...]) -> bytes:
    """The line of one row, without its line feed."""
    return _encode([table.name, *(value.hex() if isinstance(value, bytes) else value for value in values)]).encode()


def read_rows(
    file: IO[bytes], header: Header, first: bytes, what: str
) -> Iterator[tuple[Table, list[tuple[Any, ...]]]]:
    """Yield the rows behind the header in pieces of one table each, then check the digest and that nothing follows.

    Args:
        file: stands behind the header.
        header: of this file.
        first: the header's line with its line feed.
        what: the file, for errors.

    Raises:
        FormatError: if the file is cut off or a line is not a row of the next table.
        VerificationError: if the digest does not match.
    """
    summed = hashlib.sha256(first)
    for table in TABLES:
        piece: list[tuple[Any, ...]] = []
        size = 0
        columns = list(table.columns)
        for _ in range(header.counts[table.name]):
            line = _line(file, what)
            summed.update(line)
            piece.append(_values(line, table, columns, what))
            size += len(line)
            if len(piece) == PAGES.get(table.name, PAGE) or size >= MAX_PIECE:
                yield table, piece
                piece, size = [], 0
        if piece:
            yield table, piece
    last = _line(file, what)
    if last != canonical_json({"sha256": summed.hexdigest()}) + b"\n":
        raise VerificationError(f"{what} was changed or damaged: its digest is not that of its content")
    if file.read(1):
        raise VerificationError(f"{what} was changed or damaged: something follows its last line")


def _line(file: IO[bytes], what: str) -> bytes:
    line = file.readline(MAX_LINE + 1)
    if not line.endswith(b"\n"):
        raise FormatError(f"{what} is cut off or damaged: a line has no end; use another backup")
    return line


def _values(line: bytes, table: Table, columns: list[Column[Any]], what: str) -> tuple[Any, ...]:
    bad = FormatError(f"{what} was changed or damaged: a line is not a row of the table {table.name}")
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise bad from error
    if not isinstance(content, list) or len(content) != len(columns) + 1 or content[0] != table.name:
        raise bad
    try:
        return tuple(_value(value, column) for value, column in zip(content[1:], columns, strict=True))
    except ValueError as error:
        raise bad from error


def _value(value: object, column: Column[Any]) -> object:
    """The value as a database takes it; refuses what the column cannot hold."""
    kind = column.type
    if value is None:
        fits = bool(column.nullable)
    elif isinstance(kind, LargeBinary):
        if isinstance(value, str):
            return bytes.fromhex(value)
        fits = False
    elif isinstance(kind, Boolean):
        fits = isinstance(value, bool)
    elif isinstance(kind, Integer):
        bits = 15 if isinstance(kind, SmallInteger) else 31 if type(kind) is Integer else 63
        fits = isinstance(value, int) and not isinstance(value, bool) and -(1 << bits) <= value < 1 << bits
    else:
        fits = isinstance(value, str) and "\0" not in value
        if isinstance(value, str):
            value.encode()
    if not fits:
        raise ValueError
    return value
