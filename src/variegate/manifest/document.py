"""The base of every JSON document: frozen, strict pydantic models whose errors name the document and the field.

Importing this module loads pydantic, so commands that read no document (`variegate --help`, `copies ls`) do without it.
"""

import contextlib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, Self, TypeAlias, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
)

from variegate.errors import FormatError, InputError
from variegate.manifest.canonical import canonical_json, is_digest, load_json, shown
from variegate.types import check_identifier

_T = TypeVar("_T")

_MAX_NAMED: Final = 3
_SUBJECT: Final = re.compile(r"^(Input|String|Tuple|List|Dictionary|Frozenset|Keys|Object) should ")
_FILE_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|\+00:00)", re.ASCII)


class Part(BaseModel):
    """A part of a document: no unknown fields, no NaN, no conversions but from integers to floats."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def changed(self, **changes: object) -> Self:
        """The same with other values in some fields, checked like any other."""
        return type(self)(**{**dict(self), **changes})


class Document(Part):
    """A document, which raises `FormatError` where a part raises pydantic's `ValidationError`.

    Raises:
        FormatError: names the document and each field that is missing, unknown or not as described.
    """

    DOCUMENT: ClassVar[str] = "a document"
    """What a message calls it, such as "a model manifest"."""

    def __init__(self, **values: object) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise FormatError(f"{self.DOCUMENT} is not valid: {explain(error)}") from error


def explain(error: ValidationError) -> str:
    """What is wrong in one line: the path of each field, what was expected and what came."""
    problems = []
    # A document of another format breaks other rules, too: that comes first.
    for one in sorted(error.errors(include_url=False), key=lambda one: one["loc"] != ("format",)):
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in one["loc"]).removeprefix(".")
        if one["type"] == "missing":
            problems.append(f"{path} is missing")
        elif one["type"] == "extra_forbidden":
            problems.append(f"{path} is not a known field")
        elif one["type"] == "value_error":
            problems.append(f"{path} {one['ctx']['error']}".strip())
        else:
            problems.append(f"{path} {_SUBJECT.sub('must ', one['msg'])}; got {shown(one['input'])}")
    more = f", and {len(problems) - _MAX_NAMED} more" if len(problems) > _MAX_NAMED else ""
    return "; ".join(problems[:_MAX_NAMED]) + more


def json_object(value: object) -> dict[str, Any]:
    """A deep copy of a JSON object, made of plain types.

    Raises:
        ValueError: if it is not an object, or has no canonical JSON.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a JSON object; got {shown(value)}")  # noqa: TRY004 (what pydantic turns into a path)
    try:
        return load_json(canonical_json(value), "it")
    except InputError as error:
        raise ValueError(f"cannot be written: {error}") from error


def known_format(number: int) -> AfterValidator:
    """The annotation of a document's `format`: this version reads no other number."""

    def check(value: int) -> int:
        if value != number:
            raise ValueError(f"must be {number}; got {value}: it needs another version of variegate")
        return value

    return AfterValidator(check)


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _identifier(value: str, info: ValidationInfo) -> str:
    return check_identifier(value, str(info.field_name))


def _digest(value: str) -> str:
    if not is_digest(value):
        raise ValueError(f"must be 'sha256:' and 64 hexadecimal digits; got {shown(value)}")
    return value


def utc_time(value: str) -> str:
    """A time as manifests hold it, returned as it came.

    Raises:
        ValueError: if it is not ISO 8601 in UTC.
    """
    if _TIME.fullmatch(value):
        with contextlib.suppress(ValueError):
            datetime.fromisoformat(value)
            return value
    raise ValueError(f"must be a time in UTC such as 2026-01-31T12:00:00Z; got {shown(value)}")


def _file_name(value: str) -> str:
    if not all(_FILE_PART.fullmatch(part) for part in value.split("/")):
        raise ValueError(f"must be a relative path with / and without ..; got {shown(value)}")
    return value


Many: TypeAlias = Annotated[tuple[_T, ...], BeforeValidator(_as_tuple)]
"""A JSON list; Python code may pass a list or a tuple."""
JsonObject: TypeAlias = Annotated[dict[str, Any], BeforeValidator(json_object)]
Text: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
Identifier: TypeAlias = Annotated[Text, AfterValidator(_identifier)]
"""The name of a model, buyer, copy or rewriter; `ConfigurationError` if it is not valid."""
Digest: TypeAlias = Annotated[str, AfterValidator(_digest)]
Count: TypeAlias = Annotated[int, Field(ge=0, lt=1 << 63)]
UtcTime: TypeAlias = Annotated[str, AfterValidator(utc_time)]
"""ISO 8601 in UTC, kept as it came."""
Sha256: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileDigests: TypeAlias = Annotated[dict[Annotated[str, AfterValidator(_file_name)], Sha256], Field(min_length=1)]
"""Relative file names -> SHA-256 in 64 hexadecimal digits; one file or more."""
