"""JSON with one spelling per value, so that it can be hashed, and a reader that refuses what has none."""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from typing import Any, NoReturn, TypeAlias

from variegate.errors import FormatError, InputError

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_DEPTH = 64

_Json: TypeAlias = "dict[str, _Json] | list[_Json] | str | int | float | bool | None"


def canonical_json(value: object) -> bytes:
    """`value` as JSON in UTF-8: keys sorted by code point, no spaces, no escapes beyond what JSON demands.

    Takes None, booleans, integers, finite floats (shortest form that reads back the same), strings, lists, tuples and
    mappings with string keys. 1 and 1.0 are different values, and so have different digests.

    Raises:
        InputError: for NaN, infinity, other types, keys that are not strings, lone surrogates or nesting beyond 64.
    """
    plain = _plain(value, "the value", _DEPTH)
    try:
        return json.dumps(plain, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        raise InputError("JSON text must be valid Unicode; got a lone surrogate in it") from error
    except ValueError as error:
        raise InputError("JSON integers must have at most 4300 digits; got a longer one") from error


def digest(value: object) -> str:
    """The text sha256: and the 64 hexadecimal digits of SHA-256 over `canonical_json(value)`.

    Raises:
        InputError: as `canonical_json`.
    """
    return "sha256:" + hashlib.sha256(canonical_json(value)).hexdigest()


def is_digest(text: str) -> bool:
    """Whether a text is written like a digest."""
    return _DIGEST.fullmatch(text) is not None


def copy_id(*, model_digest: str, spec_digest: str, buyer: str, epoch: int) -> str:
    """Return the public name of a copy: "vg1-" and 20 hexadecimal digits.

    They are the first 80 bits of SHA-256 over "variegate-copy-v1", both digests, the buyer and the epoch, separated by
    zero bytes (which none of them holds). Anyone who knows these can compute the name; it says nothing of the key.
    """
    fields = "\0".join(("variegate-copy-v1", model_digest, spec_digest, buyer, str(epoch)))
    return f"vg1-{hashlib.sha256(fields.encode()).hexdigest()[:20]}"


def load_json(data: bytes, what: str) -> dict[str, Any]:
    """The JSON object in `data`; refuses what `canonical_json` cannot write, and keys given twice.

    Args:
        data: UTF-8 text.
        what: what it is, for the error ("the manifest models/x/manifest.json").

    Raises:
        FormatError: if it is not such an object.
    """
    try:
        value = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
        plain = _plain(value, "the value", _DEPTH)
    except UnicodeDecodeError as error:
        raise FormatError(f"{what} must be JSON in UTF-8; got other bytes at position {error.start}") from error
    except RecursionError as error:
        raise FormatError(f"{what} must be JSON nested at most {_DEPTH} deep; got more") from error
    except json.JSONDecodeError as error:
        raise FormatError(f"{what} must be JSON; got an error at line {error.lineno}: {error.msg}") from error
    except (InputError, ValueError) as error:
        raise FormatError(f"{what} must be plain JSON; {error}") from error
    if not isinstance(plain, dict):
        raise FormatError(f"{what} must be a JSON object; got {shown(plain)}")
    return plain


def shown(value: object) -> str:
    """A short text for an error: the type and the start of the value."""
    if value is None:
        return "null"
    if isinstance(value, int) and value.bit_length() > 1024:
        return f"{type(value).__name__} of {value.bit_length()} bits"
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"


def _plain(value: object, where: str, depth: int) -> _Json:
    """A deep copy made of the exact types dict, list, str, int, float, bool and None."""
    if depth == 0:
        raise InputError(f"JSON may be nested at most {_DEPTH} deep; got more")
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{i}]", depth - 1) for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise InputError(f"JSON keys must be strings; got {shown(key)} in {where}")
        return {str(key): _plain(item, f"{where}.{key[:60]}", depth - 1) for key, item in value.items()}
    return _plain_scalar(value, where)


def _plain_scalar(value: object, where: str) -> _Json:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InputError(f"JSON numbers must be finite; got {value} at {where}")
        return float(value)
    raise InputError(f"JSON holds strings, numbers, booleans, null, lists and mappings; got {shown(value)} at {where}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:60]!r} is given twice")
        found[key] = value
    return found


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"numbers must be finite, got {text}")
