"""Which attacks of variegate's have a counterpart in ART or Foolbox, and with which settings both are comparable.

ART's are compared with `semantics="art"` and uniform starts, Foolbox's with the authors' constants, where an attack has
these hyper-parameters. Libraries run with their own defaults; the budget is what ends them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, final

import numpy as np

from variegate.adapters.art import run_art_attack
from variegate.adapters.foolbox import run_foolbox_attack
from variegate.adapters.library import LIBRARIES, require_library
from variegate.attacks.base import Attack, AttackResult
from variegate.attacks.catalog import find_attack, full_name, known_attacks
from variegate.errors import ConfigurationError
from variegate.types import Norm

COUNTERPARTS = {"hopskipjump": ("art", "foolbox"), "boundary": ("art", "foolbox"), "geoda": ("art",)}
"""The catalog's attacks -> the libraries that have them."""

_ENDLESS = 10**6  # iterations: the budget ends the attack before
_LEAST_GEODA = 500  # ART cannot plan for fewer queries


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One attack in two engines.

    Attributes:
        attack: its name in the catalog.
        library: "art" or "foolbox".
        ours: variegate's, with the library's settings.
        run: runs the library's; arguments as for `run_art_attack` without its first.
    """

    attack: str
    library: str
    ours: Attack
    run: Callable[..., AttackResult]

    @property
    def ours_name(self) -> str:
        """What to call variegate's in tables."""
        semantics = getattr(self.ours, "semantics", None)
        return "variegate" if semantics is None else f"variegate, {semantics}"


def pairs_of(attacks: Sequence[str], libraries: Sequence[str], *, norm: Norm, queries: int) -> list[Pair]:
    """Return what can be compared.

    Args:
        attacks: names in the catalog; empty for all that have a counterpart here and make `norm` small.
        libraries: "art", "foolbox".
        norm: the norm that is made small.
        queries: the budget.

    Raises:
        ConfigurationError: a library is unknown or not installed, or an attack that was asked for is unknown, has no
            counterpart in any of the libraries, or does not make `norm` small.
    """
    if not libraries or (unknown := [name for name in libraries if name not in LIBRARIES]):
        got = ", ".join(unknown) if libraries else "none"
        raise ConfigurationError(f"engines to compare with must be among {', '.join(LIBRARIES)}; got {got}")
    for library in libraries:
        require_library(library, library, "a cross-check")
    common = [name for name in COUNTERPARTS if name in known_attacks()]
    if strangers := [name for name in attacks if full_name(name) not in common]:
        raise ConfigurationError(f"no library has the attack {strangers[0]!r}; choose from {', '.join(common)}")
    chosen = [full_name(name) for name in attacks] or common
    made = []
    for attack in dict.fromkeys(chosen):
        having = [library for library in dict.fromkeys(libraries) if library in COUNTERPARTS[attack]]
        if attacks and not having:
            raise ConfigurationError(f"{libraries[0]} has no {attack}; {COUNTERPARTS[attack][0]} has it")
        for library in having:
            ours = _native(attack, library, norm, queries)
            if ours.norm is norm:
                made.append(
                    Pair(attack=attack, library=library, ours=ours, run=_runner(attack, library, norm, queries))
                )
            elif attacks:
                raise ConfigurationError(f"{attack} makes the norm {ours.norm.value} small, not {norm.value}")
    return made


def _native(attack: str, library: str, norm: Norm, queries: int) -> Attack:
    """Return variegate's attack with what the library does, as far as it has hyper-parameters for that."""
    kind: Any = find_attack(attack)
    wanted = {"norm": norm, "semantics": "art" if library == "art" else "paper", "max_queries": queries}
    if library == "art":
        wanted["starts"] = "uniform"
    has = {field.name for field in fields(kind)}
    made: Attack = kind(**{name: value for name, value in wanted.items() if name in has})
    return made


def _runner(attack: str, library: str, norm: Norm, queries: int) -> Callable[..., AttackResult]:
    if library == "foolbox":

        def run_foolbox(*arguments: Any, **options: Any) -> AttackResult:  # noqa: ANN401 - passed on
            return run_foolbox_attack(_foolbox_attack(attack, norm), *arguments, norm=norm, **options)

        return run_foolbox

    def run_art(*arguments: Any, **options: Any) -> AttackResult:  # noqa: ANN401 - passed on
        return run_art_attack(lambda one: _art_attack(attack, one, norm, queries), *arguments, norm=norm, **options)

    return run_art


def _art_attack(attack: str, estimator: Any, norm: Norm, queries: int) -> Any:  # noqa: ANN401 - ART has no types
    evasion = _evasion()
    order = 2 if norm is Norm.L2 else np.inf
    if attack == "hopskipjump":
        return evasion.HopSkipJump(estimator, norm=order, max_iter=_ENDLESS, verbose=False)
    if attack == "boundary":
        return evasion.BoundaryAttack(estimator, targeted=False, max_iter=_ENDLESS, verbose=False)
    return evasion.GeoDA(estimator, norm=order, max_iter=max(_LEAST_GEODA, queries), verbose=False)


@cache
def _evasion() -> Any:  # noqa: ANN401 - ART has no types
    return require_library("art", "art.attacks.evasion", "an attack of ART's")


def _foolbox_attack(attack: str, norm: Norm) -> Any:  # noqa: ANN401 - Foolbox is untyped here
    attacks = require_library("foolbox", "foolbox.attacks", "an attack of Foolbox's")
    if attack == "boundary":
        return attacks.BoundaryAttack(steps=_ENDLESS)
    return attacks.HopSkipJumpAttack(steps=_ENDLESS, constraint="l2" if norm is Norm.L2 else "linf")
