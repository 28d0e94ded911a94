"""Checks of hyper-parameters: each raises one sentence that says what was expected and what came."""

import math
from collections.abc import Sequence

from variegate.errors import ConfigurationError
from variegate.types import Norm


def require_norm(value: object, *allowed: Norm) -> None:
    """Demand one of the allowed norms; of all, if none is named.

    Raises:
        ConfigurationError: it is another, or no `Norm`.
    """
    choices = allowed or tuple(Norm)
    if not isinstance(value, Norm) or value not in choices:
        names = " or ".join(f"Norm.{norm.name}" for norm in choices)
        raise ConfigurationError(f"norm must be {names}; got {value!r}")


def require_one_of(name: str, value: object, choices: Sequence[str]) -> None:
    """Demand one of a few words.

    Raises:
        ConfigurationError: it is none of them.
    """
    if value not in choices:
        raise ConfigurationError(f"{name} must be {' or '.join(map(repr, choices))}; got {value!r}")


def require_at_least(name: str, value: int | None, least: int) -> None:
    """Demand a whole number from `least` up; None passes, for an option that may be left open.

    Raises:
        ConfigurationError: it is smaller.
    """
    if value is not None and value < least:
        raise ConfigurationError(f"{name} must be at least {least}; got {value}")


def require_positive(name: str, value: float, *, at_most: float = math.inf) -> None:
    """Demand a finite number above 0, up to `at_most`.

    Raises:
        ConfigurationError: it is not.
    """
    if not 0.0 < value <= at_most or math.isinf(value):
        wanted = "a positive number" if math.isinf(at_most) else f"above 0 and at most {at_most:g}"
        raise ConfigurationError(f"{name} must be {wanted}; got {value}")
