"""Small words that every layer shares: input specs, bounds, norms, statuses, identifiers and checks of options.

Imports no torch.
"""

import math
import re
from collections.abc import Sequence
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


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What one input is: shared by the readers of data, classifiers, oracles and rewriters.

    Attributes:
        shape: sizes of one input, without the batch, such as (3, 32, 32).
        bounds: the interval of every value.
        layout: one letter per axis; by default "CHW" for three axes, and empty (unnamed) for any other number.
        kind: what the numbers are: "image" by default for three axes, otherwise "array"; open to others, such as
            "audio".

    Raises:
        ConfigurationError: the shape holds no size or one below 1, or the layout names another number of axes.
    """

    shape: tuple[int, ...]
    bounds: Bounds = Bounds()
    layout: str = ""
    kind: str = ""

    def __post_init__(self) -> None:
        shape = tuple(int(size) for size in self.shape)
        if not shape or min(shape) < 1:
            raise ConfigurationError(f"input_shape must hold positive sizes, such as (3, 32, 32); got {shape}")
        if self.layout and len(self.layout) != len(shape):
            raise ConfigurationError(
                f"layout must have one letter for each of {len(shape)} axes; got {self.layout!r} for shape {shape}"
            )
        is_image = len(shape) == 3 and self.kind in ("", "image")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "layout", self.layout or ("CHW" if is_image else ""))
        object.__setattr__(self, "kind", self.kind or ("image" if is_image else "array"))

    @property
    def size(self) -> int:
        """Values in one input (the paper's l)."""
        return math.prod(self.shape)

    @property
    def middle(self) -> float:
        """The value halfway between the bounds."""
        return 0.5 * (self.bounds.lower + self.bounds.upper)

    @property
    def batch_shape(self) -> str:
        """The shape of a batch as errors write it, such as (N, 3, 32, 32)."""
        return f"({', '.join(['N', *map(str, self.shape)])})"

    @classmethod
    def resolve(cls, spec: "InputSpec | None", input_shape: Sequence[int] | None, bounds: Bounds | None) -> "InputSpec":
        """Return the spec that a constructor was given: as a whole, or as a shape and, if not [0, 1], bounds.

        Raises:
            ConfigurationError: neither was given, or both, or the shape holds a size below 1.
        """
        if spec is None and input_shape is not None:
            return cls(tuple(input_shape), bounds if bounds is not None else Bounds())
        if spec is None or input_shape is not None or bounds is not None:
            raise ConfigurationError("give either input_spec, or input_shape (and bounds); got both or neither")
        return spec


class TakesInputs:
    """A thing with an `input_spec`, whose parts are at hand as `input_shape` and `bounds`."""

    input_spec: InputSpec

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the batch."""
        return self.input_spec.shape

    @property
    def bounds(self) -> Bounds:
        """The interval of valid input values."""
        return self.input_spec.bounds


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
