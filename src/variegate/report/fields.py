"""One value inside a record and where it stands, so that an error can name the field.

A record is JSON from disk: any field may be missing, of another type or out of range. `Field` reads it step by step;
every failure is an `FormatError` that names the field's full path, such as `groups[2].rates.replication_rate.k`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from variegate.errors import FormatError


@dataclass(frozen=True, slots=True)
class Field:
    """A JSON value and its path from the top of the record.

    Attributes:
        value: the value as `json.loads` returns it.
        path: names and positions from the top; empty for the record itself.
    """

    value: object
    path: str = ""

    @property
    def name(self) -> str:
        """The path, or "the record" at the top."""
        return self.path or "the record"

    def __getitem__(self, key: str) -> Self:
        """The member called `key`.

        Raises:
            FormatError: if this is no object or has no such member.
        """
        members = self._members()
        path = f"{self.path}.{key}" if self.path else key
        if key not in members:
            raise FormatError(f"the record lacks the field {path}; write it again with this version of variegate")
        return type(self)(members[key], path)

    def nullable(self, key: str) -> Self | None:
        """The member called `key`, or None where it is null; a missing member is an error."""
        member = self[key]
        return None if member.value is None else member

    def optional(self, key: str) -> Self | None:
        """The member called `key`, or None where it is null or missing."""
        return self.nullable(key) if key in self._members() else None

    def items(self) -> tuple[tuple[str, Self], ...]:
        """The members of an object with their names, in their order."""
        return tuple((str(key), self[str(key)]) for key in self._members())

    def mapping(self) -> dict[str, object]:
        """The members of an object as plain data."""
        return {name: member.value for name, member in self.items()}

    def choice(self, *choices: str) -> str:
        """One of some words.

        Raises:
            FormatError: if this is none of them.
        """
        if not isinstance(self.value, str) or self.value not in choices:
            raise self._expected(f"{', '.join(choices[:-1])} or {choices[-1]}")
        return self.value

    def elements(self) -> tuple[Self, ...]:
        """The elements of an array.

        Raises:
            FormatError: if this is no array.
        """
        if isinstance(self.value, str | bytes) or not isinstance(self.value, Sequence):
            raise self._expected("an array")
        return tuple(type(self)(element, f"{self.path}[{index}]") for index, element in enumerate(self.value))

    def text(self) -> str:
        """A string.

        Raises:
            FormatError: if this is no string.
        """
        if not isinstance(self.value, str):
            raise self._expected("a text")
        return self.value

    def integer(self) -> int:
        """A whole number of 0 or more.

        Raises:
            FormatError: if this is no such number.
        """
        if isinstance(self.value, bool) or not isinstance(self.value, int) or self.value < 0:
            raise self._expected("a whole number of 0 or more")
        return self.value

    def number(self) -> float:
        """A finite number.

        Raises:
            FormatError: if this is no finite number.
        """
        if isinstance(self.value, bool) or not isinstance(self.value, int | float) or not math.isfinite(self.value):
            raise self._expected("a finite number")
        return float(self.value)

    def measured(self) -> float | None:
        """A finite number, or None where nothing could be measured (null or NaN)."""
        if self.value is None or (isinstance(self.value, float) and math.isnan(self.value)):
            return None
        return self.number()

    def fraction(self) -> float | None:
        """A number in [0, 1], or None where nothing could be measured (null or NaN).

        Raises:
            FormatError: if the number lies outside.
        """
        value = self.measured()
        if value is not None and not 0.0 <= value <= 1.0:
            raise self._expected("a number from 0 to 1")
        return value

    def flag(self) -> bool:
        """True or false.

        Raises:
            FormatError: if this is neither.
        """
        if not isinstance(self.value, bool):
            raise self._expected("true or false")
        return self.value

    def _members(self) -> Mapping[str, object]:
        if not isinstance(self.value, Mapping):
            raise self._expected("an object")
        return self.value

    def _expected(self, what: str) -> FormatError:
        return FormatError(f"the record's field {self.name} must be {what}; got {_brief(self.value)}")


def _brief(value: object) -> str:
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return "an array"
    text = repr(value)
    return text if len(text) <= 40 else text[:39] + "…"
