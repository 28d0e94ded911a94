"""Small words that every layer shares: bounds, norms, statuses and identifiers. Imports no torch."""

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType, Self

from variegate.errors import ConfigurationError

BuyerId = NewType("BuyerId", str)
CopyId = NewType("CopyId", str)
ModelName = NewType("ModelName", str)

_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}")


def check_identifier(value: str, what: str) -> str:
    """Return `value` if it can name a buyer, a model or a copy, else raise `ConfigurationError`."""
    if not _IDENTIFIER.fullmatch(value):
        raise ConfigurationError(
            f"{what} must be 1 to 128 letters, digits or . _ @ + - and start with a letter or digit; got {value[:60]!r}"
        )
    return value


class Norm(StrEnum):
    """How the size of a perturbation is measured."""

    L2 = "l2"
    LINF = "linf"


class CopyStatus(StrEnum):
    """Where an issued copy stands in its life."""

    ACTIVE = "active"
    SUPERSEDED = "superseded"
    REVOKED = "revoked"


class Status(StrEnum):
    """What became of one input of an attack; `advice` says what to try.

    Saved states hold positions in this order: new ones come last.
    """

    SUCCESS = "success"
    RUNNING = "running"
    ALREADY_MISCLASSIFIED = "already_misclassified"
    NO_STARTING_POINT = "no_starting_point"
    BUDGET_EXHAUSTED = "budget_exhausted"
    NON_FINITE = "non_finite"
    ORACLE_FAILED = "oracle_failed"
    NOT_FOUND = "not_found"

    @property
    def advice(self) -> str:
        """One sentence for a person: what happened and what to try."""
        return _ADVICE[self]


_ADVICE = {
    Status.SUCCESS: "An adversarial was found.",
    Status.RUNNING: "The attack was interrupted; resume it from its saved state.",
    Status.ALREADY_MISCLASSIFIED: "The model gets the clean input wrong; attack inputs that it classifies correctly.",
    Status.NO_STARTING_POINT: "No random start was adversarial; give starting points or more start trials.",
    Status.BUDGET_EXHAUSTED: "The queries ran out before an adversarial was found; raise the budget.",
    Status.NON_FINITE: "The input holds NaN or infinity; clean the data.",
    Status.NOT_FOUND: (
        "The attack came to its end, or met no gradient, without an adversarial; allow a larger perturbation or more "
        "iterations, or take another loss or scores."
    ),
    Status.ORACLE_FAILED: "The oracle raised an error on this input; see the log and resume from the saved state.",
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """The closed interval in which every input value lies.

    Raises:
        ConfigurationError: if the ends are not finite or not in order.
    """

    lower: float = 0.0
    upper: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lower) and math.isfinite(self.upper) and self.lower < self.upper):
            raise ConfigurationError(
                f"bounds must be two finite numbers, lower before upper; got {self.lower} and {self.upper}"
            )

    @property
    def range(self) -> float:
        """Upper minus lower."""
        return self.upper - self.lower

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "0,1" as the command line takes it."""
        try:
            lower, upper = (float(part) for part in text.split(","))
        except ValueError as error:
            raise ConfigurationError(f"bounds are written LOWER,UPPER, such as 0,1; got {text!r}") from error
        return cls(lower, upper)
