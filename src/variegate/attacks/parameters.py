"""An attack's hyper-parameters as text: read from NAME=VALUE, and listed with what they take."""

import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from enum import StrEnum
from typing import Any, final

from variegate.attacks.subspaces import Subspace, parse_subspace
from variegate.errors import ConfigurationError

REQUIRED = "required"
"""What is shown as the default of a hyper-parameter that has none."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One hyper-parameter, for people.

    Attributes:
        name: as in NAME=VALUE.
        takes: what values it takes: "int", "l2 or linf", ...
        default: as text.
    """

    name: str
    takes: str
    default: str


def attack_parameters(kind: Callable[..., object]) -> tuple[Parameter, ...]:
    """Return the hyper-parameters of an attack class, in the order in which it has them.

    Raises:
        ConfigurationError: `kind` is not a dataclass.
    """
    hints = _hints(kind)
    return tuple(
        Parameter(name=field.name, takes=_takes(hints[field.name]), default=_shown(_default(field)))
        for field in _fields(kind)
    )


def parse_parameters(kind: Callable[..., object], texts: Mapping[str, str]) -> dict[str, Any]:
    """Return keyword arguments for an attack class from the texts given for some of its hyper-parameters.

    Raises:
        ConfigurationError: the attack has no such hyper-parameter, or the text is not what it takes.
    """
    hints, known = _hints(kind), [field.name for field in _fields(kind)]
    values = {}
    for name, text in texts.items():
        if name not in known:
            raise ConfigurationError(f"{_name(kind)} has no parameter {name!r}; it has {', '.join(known)}")
        values[name] = _parse(hints[name], text, name)
    return values


def plain_parameters(attack: object) -> dict[str, Any]:
    """Return an attack's hyper-parameters as JSON values: what is neither number nor truth value becomes text."""
    return {field.name: _plain(getattr(attack, field.name)) for field in _fields(type(attack))}


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def _name(kind: object) -> str:
    return str(getattr(kind, "__name__", kind))


def _fields(kind: object) -> tuple[Field[Any], ...]:
    if not (isinstance(kind, type) and hasattr(kind, "__dataclass_fields__")):
        raise ConfigurationError(f"an attack must be a dataclass of its hyper-parameters; {_name(kind)} is not")
    return fields(kind)


def _hints(kind: Callable[..., object]) -> dict[str, Any]:
    _fields(kind)
    return typing.get_type_hints(kind)


def _default(field: Field[Any]) -> object:
    if field.default is not MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not MISSING else MISSING


def _shown(value: object) -> str:
    if value is MISSING:
        return REQUIRED
    return "none" if value is None else str(_plain(value))


def _choices(hint: object) -> list[str] | None:
    if typing.get_origin(hint) is typing.Literal:
        return [str(choice) for choice in typing.get_args(hint)]
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return [str(member) for member in hint]
    return None


def _options(hint: object) -> tuple[object, ...]:
    """Return the members of a union, or the hint itself."""
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _takes(hint: object) -> str:
    words = []
    for option in _options(hint):
        if option is Subspace:
            words.append("full, dct:SIDE or resize:FACTOR")
        elif option is type(None):
            words.append("none")
        elif (choices := _choices(option)) is not None:
            words.append(" or ".join(choices))
        else:
            words.append({bool: "true or false", int: "a whole number", float: "a number"}.get(option, _name(option)))  # type: ignore[call-overload]
    return " or ".join(words)


def _parse(hint: object, text: str, name: str) -> object:
    if type(None) in _options(hint) and text.lower() == "none":
        return None
    for option in _options(hint):
        if option is Subspace:
            return parse_subspace(text)
        if option is bool and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if option in (int, float):
            try:
                return option(text)
            except ValueError:
                continue
        if text in (_choices(option) or ()):
            return option(text) if isinstance(option, type) else text
    raise ConfigurationError(f"{name} takes {_takes(hint)}; got {text!r}")
