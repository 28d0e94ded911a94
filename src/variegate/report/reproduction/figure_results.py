"""What Figures 3 and 4 of a reproduction measured on one study: cosines, changes of output values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self, final

from variegate.errors import FormatError
from variegate.report.fields import Field

_SHARES = ("share_small", "share_large", "share_negative")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """The mean of paired differences over n values with its 95 % interval; None where there is too little."""

    n: int
    mean: float | None
    low: float | None
    high: float | None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A density with the numbers that it alone hides; None where there was nothing.

    Attributes:
        n: values.
        mean, low, high: with its 95 % interval.
        sd, median, peak: of the values; the peak is the density's.
        x, density: the curve; empty where there are no values.
        shares: those of "share_small", "share_large" and "share_negative" that were counted.
        zero_gradients: left out, None where that does not apply.
    """

    n: int
    mean: float | None
    low: float | None
    high: float | None
    sd: float | None
    median: float | None
    peak: float | None
    x: tuple[float, ...]
    density: tuple[float, ...]
    shares: Mapping[str, float | None]
    zero_gradients: int | None

    @classmethod
    def read(cls, field: Field) -> Self:
        """Read a curve.

        Raises:
            FormatError: a part is missing, or the density does not fit its grid.
        """
        kept, grid, zero = field.nullable("density"), field["grid"], field.optional("zero_gradients")
        density = () if kept is None else tuple(value.number() for value in kept.elements())
        start, end, points = grid["low"].number(), grid["high"].number(), grid["points"].integer()
        if density and (len(density) != points or points < 2 or start >= end):
            raise FormatError(
                f"the record's field {field.name}.density must have the {points} values of an ascending grid of at "
                f"least 2; got {len(density)}"
            )
        return cls(
            n=field["n"].integer(),
            mean=field["mean"].measured(),
            low=field["mean_low"].measured(),
            high=field["mean_high"].measured(),
            sd=field["sd"].measured(),
            median=field["median"].measured(),
            peak=field["peak"].measured(),
            x=tuple(start + (end - start) * place / (points - 1) for place in range(len(density))),
            density=density,
            shares={name: share.fraction() for name in _SHARES if (share := field.optional(name)) is not None},
            zero_gradients=None if zero is None else zero.integer(),
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where gradients were taken: H1, and by rewriter (H2, H3).

    Attributes:
        name: "clean", "boundary" or "smoothed".
        sigma, samples: of the noise of smoothed gradients.
        images: asked for.
        without_boundary: left out because no boundary was found.
    """

    name: str
    sigma: float
    samples: int
    images: int
    without_boundary: int
    first: Curve
    rewriters: Mapping[str, tuple[Curve, Curve]]

    @property
    def title(self) -> str:
        """For people."""
        named = {"clean": "clean images", "boundary": "at the boundary"}
        return named.get(self.name, f"smoothed, noise {self.sigma:g}")

    @classmethod
    def read(cls, field: Field) -> Self:
        """Read a place."""
        return cls(
            name=field["place"].text(),
            sigma=field["sigma"].number(),
            samples=field["samples"].integer(),
            images=field["images"].integer(),
            without_boundary=field["without_boundary"].integer(),
            first=Curve.read(field["H1"]),
            rewriters={
                name: (Curve.read(pair["H2"]), Curve.read(pair["H3"])) for name, pair in field["rewriters"].items()
            },
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CosineResults:
    """Figure 3: the loss, and the places, clean images first."""

    loss: str
    places: tuple[Place, ...]

    @classmethod
    def read(cls, field: Field) -> Self:
        """Read the results of Figure 3."""
        return cls(loss=field["loss"].text(), places=tuple(map(Place.read, field["places"].elements())))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """G2, G3 and the paired difference G2 - G1 under one reading of "binding partner"."""

    second: Curve
    third: Curve
    gap: Gap


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """One kind of output values: F1, F2 of the original; G1 and by reading G2, G3 of the permutation copy, if any."""

    name: str
    f1: Curve
    f2: Curve
    g1: Curve | None
    readings: Mapping[str, Reading]

    @classmethod
    def read(cls, name: str, field: Field, reading: str) -> Self:
        """Read the curves of one kind of values; `reading` must be among the readings and comes first."""
        original, copy = field["original"], field.optional("permutation")
        names = [] if copy is None else [reading, *(key for key, _ in copy.items() if key not in ("G1", reading))]
        return cls(
            name=name,
            f1=Curve.read(original["F1"]),
            f2=Curve.read(original["F2"]),
            g1=None if copy is None else Curve.read(copy["G1"]),
            readings={} if copy is None else {name: _reading(copy[name]) for name in names},
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BindingResults:
    """Figure 4.

    Attributes:
        settings, queries: of the attack.
        measure, reading: which values and which reading are nearest to the paper.
        found: (attacker, attempted, succeeded, median norm).
        values: the nearest first.
    """

    settings: str
    queries: int
    measure: str
    reading: str
    found: tuple[tuple[str, int, int, float | None], ...]
    values: tuple[Values, ...]

    @property
    def nearest(self) -> Values:
        """What is nearest to the paper."""
        return self.values[0]

    @classmethod
    def read(cls, field: Field) -> Self:
        """Read the results of Figure 4."""
        nearest, measures = field["nearest_to_the_paper"], field["measures"]
        measure, reading = nearest["measure"].text(), nearest["reading"].text()
        names = [measure, *(name for name, _ in measures.items() if name != measure)]
        return cls(
            settings=field["settings"].text(),
            queries=field["queries"].integer(),
            measure=measure,
            reading=reading,
            found=tuple(
                (
                    name,
                    one["attempted"].integer(),
                    one["succeeded"].integer(),
                    one["distance_median"].measured(),
                )
                for name, one in field["attacks"].items()
            ),
            values=tuple(Values.read(name, measures[name], reading) for name in names),
        )


def _reading(field: Field) -> Reading:
    gap = field["G2_minus_G1"]
    mean, low, high = (gap[name].measured() for name in ("mean", "low", "high"))
    return Reading(
        second=Curve.read(field["G2"]),
        third=Curve.read(field["G3"]),
        gap=Gap(n=gap["n"].integer(), mean=mean, low=low, high=high),
    )
