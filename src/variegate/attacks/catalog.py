"""Attacks by name. A new one is listed here, or offered by a package through the entry point `variegate.attacks`."""

import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cache
from importlib.metadata import entry_points
from typing import Any, TypeVar

from variegate.attacks.base import Attack
from variegate.attacks.boundary import Boundary
from variegate.attacks.cgba import CGBA
from variegate.attacks.geoda import GeoDA
from variegate.attacks.hopskipjump import HopSkipJump
from variegate.attacks.parameters import REQUIRED, attack_parameters, parse_parameters
from variegate.attacks.presets import preset_of
from variegate.attacks.rays import RayS
from variegate.attacks.surfree import SurFree
from variegate.attacks.white_box.base import WhiteBoxAttack
from variegate.attacks.white_box.carlini_wagner import CarliniWagner
from variegate.attacks.white_box.deepfool import DeepFool
from variegate.attacks.white_box.fgsm import FastGradient
from variegate.attacks.white_box.pgd import ProjectedGradient
from variegate.errors import ConfigurationError

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
