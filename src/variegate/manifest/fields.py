"""Checks of a manifest's fields: each returns the field in its one form or raises `FormatError`."""

import contextlib
import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from variegate.errors import FormatError, InputError
from variegate.manifest.canonical import canonical_json, load_json, shown

_FILE_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|\+00:00)", re.ASCII)


def refuse(name: str, expected: str, got: object) -> NoReturn:
    """Raise `FormatError`: what the field must be and what came."""
    raise FormatError(f"a manifest's {name} must be {expected}; got {shown(got)}")


def plain_object(value: object, name: str) -> dict[str, Any]:
    """A deep copy of a JSON object, made of plain types."""
    if not isinstance(value, Mapping):
        refuse(name, "a JSON object", value)
    try:
        return load_json(canonical_json(value), f"a manifest's {name}")
    except FormatError:
        raise
    except InputError as error:
        raise FormatError(f"a manifest's {name} cannot be written: {error}") from error


def text(value: object, name: str) -> str:
    """Text of 1 to 1024 characters."""
    if not isinstance(value, str) or not 1 <= len(value) <= 1024:
        refuse(name, "text of 1 to 1024 characters", value)
    return str(value)


def integer(value: object, name: str, low: int) -> int:
    """An integer from `low` up to 2**63-1; not a boolean."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value < 1 << 63:
        refuse(name, f"an integer from {low} up to 2**63-1", value)
    return int(value)


def number(value: object, name: str) -> float:
    """A finite number, as a float; not a boolean."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            if math.isfinite(value):
                return float(value)
    refuse(name, "finite numbers", value)


def sequence(value: object, name: str) -> Sequence[object]:
    """A list or a tuple."""
    if not isinstance(value, list | tuple):
        refuse(name, "a list", value)
    return value


def channels(value: object, name: str, count: int, *, positive: bool) -> tuple[float, ...] | None:
    """None, or one finite (positive, if asked) float per channel."""
    if value is None:
        return None
    numbers = tuple(number(item, name) for item in sequence(value, name))
    if len(numbers) != count or (positive and min(numbers) <= 0):
        refuse(name, f"null or {count} {'positive ' if positive else ''}numbers, one per channel", value)
    return numbers


def scalars(value: object, name: str) -> dict[str, int | float | str | bool]:
    """A fresh mapping from text to numbers, text or booleans."""
    plain = plain_object(value, name)
    for item in plain.values():
        if not isinstance(item, int | float | str):
            refuse(name, "a mapping to numbers, text or booleans", item)
    return plain


def file_digests(value: object, name: str) -> dict[str, str]:
    """A fresh mapping from safe relative file names to SHA-256; one file or more."""
    if not isinstance(value, Mapping) or not value:
        refuse(name, "a mapping from file names to SHA-256", value)
    found = dict(value)
    for file, sha256 in found.items():
        if not isinstance(file, str) or not all(_FILE_PART.fullmatch(part) for part in file.split("/")):
            refuse(name, "named by relative paths with / and without ..", file)
        if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            refuse(name, f"SHA-256 in 64 hexadecimal digits for {file}", sha256)
    return found


def utc_time(value: object, name: str) -> str:
    """An ISO 8601 time in UTC, returned as it came."""
    if isinstance(value, str) and _TIME.fullmatch(value):
        with contextlib.suppress(ValueError):
            datetime.fromisoformat(value)
            return value
    refuse(name, "a time in UTC such as 2026-01-31T12:00:00Z", value)
