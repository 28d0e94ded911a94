"""Attacks by name, their hyper-parameters as text, and presets.

A new attack is one file and one line here; packages offer theirs through the entry point `variegate.attacks`.

The preset "reproduction" is how "Mitigating Adversarial Attacks by Distributing Different Copies to Different Users"
(ASIACCS 2023, section 5) ran its attacks, through ART with ART's other defaults: Boundary with 5,000 iterations and 25
trials, HopSkipJump with 50 iterations and 10,000 evaluations at most, GeoDA with 4,000 queries. The paper gives no
query budget besides, so a run of these needs none.
"""

import logging
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, asdict, dataclass, fields
from enum import StrEnum
from functools import cache
from importlib.metadata import entry_points
from typing import Any, TypeVar, final

from variegate.attacks.base import Attack
from variegate.attacks.boundary import Boundary
from variegate.attacks.cgba import CGBA
from variegate.attacks.geoda import GeoDA
from variegate.attacks.hopskipjump import HopSkipJump
from variegate.attacks.rays import RayS
from variegate.attacks.subspaces import Subspace, parse_subspace
from variegate.attacks.surfree import SurFree
from variegate.attacks.white_box.base import WhiteBoxAttack
from variegate.attacks.white_box.carlini_wagner import CarliniWagner
from variegate.attacks.white_box.deepfool import DeepFool
from variegate.attacks.white_box.fgsm import FastGradient
from variegate.attacks.white_box.pgd import ProjectedGradient
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


PRESETS: Mapping[str, Mapping[str, Mapping[str, object]]] = {
    "reproduction": {
        "boundary": {"semantics": "art", "iterations": 5000, "trials": 25, "starts": "uniform"},
        "hopskipjump": {"semantics": "art", "iterations": 50, "most_probes": 10_000, "starts": "uniform"},
        "geoda": {"semantics": "art", "max_queries": 4000},
        "deepfool": {"semantics": "art", "scores": "probabilities"},
    },
}


def preset_of(name: str, attack: str) -> Mapping[str, object]:
    """Return the hyper-parameters that the preset gives the attack (its full name).

    Raises:
        ConfigurationError: there is no such preset, or it says nothing of this attack.
    """
    if name not in PRESETS:
        raise ConfigurationError(f"there is no preset {name!r}; choose from {', '.join(sorted(PRESETS))}")
    if attack not in PRESETS[name]:
        known = ", ".join(sorted(PRESETS[name]))
        raise ConfigurationError(f"the preset {name!r} has no settings for {attack}; it has some for {known}")
    return PRESETS[name][attack]


ATTACKS: Mapping[str, Callable[..., Attack]] = {
    "boundary": Boundary,
    "cgba": CGBA,
    "geoda": GeoDA,
    "hopskipjump": HopSkipJump,
    "rays": RayS,
    "surfree": SurFree,
}
"""Attacks that see labels alone."""

WHITE_BOX_ATTACKS: Mapping[str, Callable[..., WhiteBoxAttack]] = {
    "carlini_wagner": CarliniWagner,
    "deepfool": DeepFool,
    "fgsm": FastGradient,
    "pgd": ProjectedGradient,
}
"""Attacks that need scores and gradients."""

_Kind = TypeVar("_Kind")

_LOG = logging.getLogger(__name__)
_SHORT = {"ba": "boundary", "cw": "carlini_wagner", "hsj": "hopskipjump"}


@cache
def _plugins() -> Mapping[str, Callable[..., Attack]]:
    found = {}
    for entry in entry_points(group="variegate.attacks"):
        try:
            kind = entry.load()
            attack_parameters(kind)
        except Exception as error:  # noqa: BLE001 - whatever a package raises: the other attacks go on working
            _LOG.warning("the attack %s of another package is left out: %s", entry.name, error)
        else:
            found[entry.name] = kind
    return found


def full_name(name: str) -> str:
    """Return the name that a short one stands for, else the name itself."""
    return _SHORT.get(name, name)


def known_attacks() -> Mapping[str, Callable[..., Attack]]:
    """Return the hard-label attacks, those of other packages included."""
    return {**_plugins(), **ATTACKS}


def find_attack(name: str) -> Callable[..., Attack]:
    """Return the hard-label attack class `name` (or its short name).

    Raises:
        ConfigurationError: there is no such attack, or it needs more than labels; the message lists those there are.
    """
    if full_name(name) in WHITE_BOX_ATTACKS:
        raise ConfigurationError(
            f"{full_name(name)} needs scores and gradients; choose an attack that sees labels alone: "
            f"{', '.join(sorted(known_attacks()))}"
        )
    return _named(name, known_attacks())


def make_attack(name: str, texts: Mapping[str, str], *, preset: str | None = None) -> Attack | WhiteBoxAttack:
    """Return the attack, hard-label or white-box, with hyper-parameters given as text, else those of the preset.

    Raises:
        ConfigurationError: there is no such attack, preset or hyper-parameter, or a value does not fit.
    """
    everything: Mapping[str, Callable[..., Attack | WhiteBoxAttack]] = {**known_attacks(), **WHITE_BOX_ATTACKS}
    kind = _named(name, everything)
    given = preset_of(preset, full_name(name)) if preset is not None else {}
    values = {**given, **parse_parameters(kind, texts)}
    if missing := [p.name for p in attack_parameters(kind) if p.default == REQUIRED and p.name not in values]:
        raise ConfigurationError(f"{full_name(name)} needs a value for {', '.join(missing)}")
    return kind(**values)


def describe_attacks() -> list[dict[str, Any]]:
    """Return name, what it sees, a summary and the hyper-parameters of every attack, as JSON values."""
    kinds = [(name, "labels", kind) for name, kind in sorted(known_attacks().items())]
    return [
        {
            "name": name,
            "sees": sees,
            "summary": _summary(kind),
            "parameters": [asdict(parameter) for parameter in attack_parameters(kind)],
        }
        for name, sees, kind in [*kinds, *((n, "scores and gradients", k) for n, k in WHITE_BOX_ATTACKS.items())]
    ]


def _named(name: str, known: Mapping[str, Callable[..., _Kind]]) -> Callable[..., _Kind]:
    if full_name(name) not in known:
        raise ConfigurationError(f"there is no attack {name!r}; choose from {', '.join(sorted(known))}")
    return known[full_name(name)]


def _summary(kind: Callable[..., object]) -> str:
    """Return the first sentence of the module's docstring, where there is one."""
    text = sys.modules[kind.__module__].__doc__ or kind.__doc__ or ""
    return " ".join(text.partition("\n\n")[0].split())
