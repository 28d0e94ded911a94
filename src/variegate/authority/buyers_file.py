"""Lists of buyers as files: a CSV with a column "buyer", or plain text with one name a line.

The file is read twice, a piece at a time, so that millions of buyers take no memory: once to check every name before
anything is issued, once to issue. What it holds must not change in between.
"""

import csv
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, final

from variegate.errors import ConfigurationError, FormatError, InputError
from variegate.files import file_error
from variegate.types import check_identifier

_COLUMN: Final = "buyer"
_MAX_LINE: Final = 64 * 1024


@final
class BuyersFile:
    """A checked list of buyers.

    Iterating yields the names in the order of the file; a name that comes twice is yielded twice.

    Args:
        path: a file ending in .csv (a header line with the column "buyer"; other columns are passed over), or any other
            text file (one name a line; empty lines and lines that start with # are passed over). UTF-8.

    Raises:
        NotFoundError: if there is no such file.
        InputError: if it cannot be read, is no regular file (a pipe cannot be read twice), or names no buyer.
        FormatError: if it is not text in UTF-8, or lacks the column; the message names the line.
        ConfigurationError: if a name cannot name a buyer; the message names the line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_csv = path.suffix.lower() == ".csv"
        self.other_columns: tuple[str, ...] = ()
        self.count = 0
        sha = hashlib.sha256()
        for line, name in self._names():
            try:
                check_identifier(name, "a buyer's name")
            except ConfigurationError as error:
                raise ConfigurationError(f"{path}, line {line}: {error}") from error
            sha.update(name.encode() + b"\n")
            self.count += 1
        if self.count == 0:
            raise InputError(f"{path} names no buyer; expected one a line")
        self._digest = sha.digest()

    def __iter__(self) -> Iterator[str]:
        """Yield the names.

        Raises:
            InputError: if they are not those that were checked.
        """
        sha = hashlib.sha256()
        for _, name in self._names():
            sha.update(name.encode() + b"\n")
            yield name
        if sha.digest() != self._digest:
            raise InputError(f"{self.path} changed while copies were issued to its buyers; issue again")

    def __len__(self) -> int:
        return self.count

    def _names(self) -> Iterator[tuple[int, str]]:
        """Yield (line, name)."""
        try:
            with open(self.path, encoding="utf-8-sig", newline="", opener=_open_at_once) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise InputError(
                        f"cannot read {self.path}: a list of buyers is read twice, so it must be a regular file; got a "
                        "pipe, socket or device: write it to a file first"
                    )
                yield from self._rows(file) if self.is_csv else _lines(file, self.path)
        except UnicodeDecodeError as error:
            raise FormatError(
                f"{self.path} must be text in UTF-8 with one buyer a line; it holds other bytes"
            ) from error
        except OSError as error:
            raise file_error(error, self.path, "read") from error

    def _rows(self, file: IO[str]) -> Iterator[tuple[int, str]]:
        reader = csv.reader(_bounded(file, self.path), strict=True)
        try:
            header = [name.strip() for name in next(reader, [])]
            if header.count(_COLUMN) != 1:
                found = ", ".join(header)[:80] or "an empty file"
                raise FormatError(
                    f'{self.path} must start with a line of column names, one of them "buyer"; got {found}'
                )
            place = header.index(_COLUMN)
            self.other_columns = tuple(name for name in header if name != _COLUMN)
            for row in reader:
                if not row:
                    continue
                if len(row) != len(header):
                    raise FormatError(
                        f"{self.path}, line {reader.line_num}: expected {len(header)} values as in the first line; "
                        f"got {len(row)}"
                    )
                yield reader.line_num, row[place].strip()
        except csv.Error as error:
            raise FormatError(f"{self.path}, line {reader.line_num} is not CSV: {error}") from error


def _open_at_once(path: str, flags: int) -> int:
    """Open a file without waiting for the writer of a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _lines(file: IO[str], path: Path) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(_bounded(file, path), start=1):
        if (name := line.strip()) and not name.startswith("#"):
            yield number, name


def _bounded(file: IO[str], path: Path) -> Iterator[str]:
    """Yield the lines; refuse one that never ends."""
    number = 0
    while line := file.readline(_MAX_LINE):
        number += 1
        if len(line) == _MAX_LINE:
            raise FormatError(f"{path}, line {number} is longer than {_MAX_LINE:,} characters; is it the right file?")
        if "\0" in line:
            raise FormatError(f"{path}, line {number} holds a zero byte; is it the right file?")
        yield line
