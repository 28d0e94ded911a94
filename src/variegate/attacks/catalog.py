"""Attacks by name. A new one is listed here, or offered by a package through the entry point `variegate.attacks`."""

from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points

from variegate.attacks.base import Attack
from variegate.attacks.hopskipjump import HopSkipJump
from variegate.errors import ConfigurationError

__all__ = ["ATTACKS", "find_attack"]

ATTACKS: Mapping[str, Callable[..., Attack]] = {"hopskipjump": HopSkipJump}

_SHORT = {"hsj": "hopskipjump"}


@cache
def _plugins() -> Mapping[str, Callable[..., Attack]]:
    return {entry.name: entry.load() for entry in entry_points(group="variegate.attacks")}


def find_attack(name: str) -> Callable[..., Attack]:
    """Return the attack class `name` (or its short name).

    Raises:
        ConfigurationError: there is no such attack; the message lists those there are.
    """
    known = {**_plugins(), **ATTACKS}
    full = _SHORT.get(name, name)
    if full not in known:
        raise ConfigurationError(f"there is no attack {name!r}; choose from {', '.join(sorted({*known, *_SHORT}))}")
    return known[full]
