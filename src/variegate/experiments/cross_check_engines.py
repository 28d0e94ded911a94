"""Engines of a cross-check, and whether they agree."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Protocol, final

import numpy as np
import numpy.typing as npt

from variegate.adapters.art import run_art_attack
from variegate.adapters.foolbox import run_foolbox_attack
from variegate.adapters.library import LIBRARIES, require_library
from variegate.attacks.base import Attack, AttackResult
from variegate.attacks.catalog import find_attack, full_name, known_attacks
from variegate.errors import ConfigurationError
from variegate.records.cross_check import Comparison, Engine, Median, Verdict, Verdicts
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


_FEWEST = 6  # paired images: the range of fewer covers the median in less than 95 % of cases
_RESAMPLES = 10_000
_NO_OVERSHOOT = 0.01  # both engines end on the boundary, whatever the digits


class Interval(Protocol):
    """A `Rate` or a `Median`: an estimate with the ends of its 95 % interval."""

    @property
    def low(self) -> float | None:
        """The lower end, None where there is none."""
        ...

    @property
    def high(self) -> float | None:
        """The upper end, None where there is none."""
        ...


def compare(ours: Engine, theirs: Engine, *, seed: int) -> Comparison:
    """Return the paired ratio of distances, ours over theirs, and the verdicts."""
    pairs = [
        a / b
        for a, b in zip(ours.distances, theirs.distances, strict=True)
        if a is not None and b is not None and b > 0
    ]
    ratio = median(np.array(pairs, dtype=np.float64), seed)
    return Comparison(
        ours=ours.name,
        theirs=theirs.name,
        distance_ratio=ratio,
        verdicts=Verdicts(
            success=overlap(ours.rates.attack_success_rate, theirs.rates.attack_success_rate),
            distance=overlap(ratio, Median(value=1.0, low=1.0, high=1.0, n=0)),
            replication=overlap(ours.rates.replication_rate, theirs.rates.replication_rate),
            overshoot=_overshoot_verdict(ours.median_overshoot, theirs.median_overshoot),
        ),
    )


def _overshoot_verdict(ours: Median, theirs: Median) -> Verdict:
    ends = [one.high for one in (ours, theirs)]
    if all(end is not None and end <= _NO_OVERSHOOT for end in ends):
        return "agrees"
    return overlap(ours, theirs)


def overlap(one: Interval, other: Interval) -> Verdict:
    """Compare two intervals."""
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return "open"
    return "agrees" if one.low <= other.high and other.low <= one.high else "differs"


def median(values: npt.NDArray[np.float64], seed: int) -> Median:
    """Return the median of what is not NaN, with a 95 % bootstrap interval over images where there are enough."""
    known = values[~np.isnan(values)]
    if known.size == 0:
        return Median(value=None, low=None, high=None, n=0)
    low, high = None, None
    if known.size >= _FEWEST:
        drawn = np.random.default_rng(seed).integers(0, known.size, (_RESAMPLES, known.size))
        low, high = (float(end) for end in np.quantile(np.median(known[drawn], axis=1), (0.025, 0.975)))
    return Median(value=float(np.median(known)), low=low, high=high, n=int(known.size))
