"""What every record shares: the model class, one provenance block, and the parts that several kinds hold.

Names and nesting are those of the JSON on disk. Rates are fractions in [0, 1]; None means that there was nothing to
count or measure. NaN and infinity are refused.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    JsonValue,
    PrivateAttr,
    model_validator,
)

from variegate.manifest import document

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Count = Annotated[int, Field(ge=0)]
Plain = dict[str, JsonValue]
"""Parameters or a rewriter's spec, as plain data."""


def _in_order(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] >= bounds[1]:
        raise ValueError(f"bounds must be two numbers, lower before upper; got {list(bounds)}")
    return bounds


Bounds = Annotated[tuple[float, float], AfterValidator(_in_order)]
NormName = Literal["l2", "linf"]


class Part(document.Part):
    """A part of a record: strict, frozen, without unknown fields."""

    def to_dict(self) -> dict[str, Any]:
        """Return the part as JSON values: what was given, without the optional fields that were not."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class Named(Part):
    """A part that its parent holds by name, and that knows the name."""

    _name: str = PrivateAttr(default="")

    @property
    def name(self) -> str:
        """What its parent calls it."""
        return self._name

    @staticmethod
    def give_names(parts: "Iterable[tuple[str, Named]]") -> None:
        """Tell each part its name."""
        for name, part in parts:
            part._name = name  # noqa: SLF001 (its own class)


class Provenance(Part):
    """When, with what code and how a record was made.

    Attributes:
        format: the version of the record's schema.
        kind: of record, by which its schema is found.
        created: ISO 8601 in UTC.
        variegate, torch, numpy, python: versions.
        source: digest of the package's source.
        device: where the networks ran.
        command: what was typed.
        seconds: wall-clock seconds of the run.
    """

    format: Literal[1] = 1
    kind: str
    created: str
    variegate: str
    source: str
    torch: str
    numpy: str = ""
    python: str = ""
    device: str = ""
    command: str
    seconds: float

    def model_post_init(self, _context: object, /) -> None:
        """Count the kind and the format as given, so that they are always written."""
        self.__pydantic_fields_set__.update({"format", "kind"})


class Rate(Part):
    """K of n with its 95 % interval.

    Attributes:
        rate: the estimate; None where n is 0. It need not be k / n exactly: a bootstrap may weigh pairs.
        k, n: the counts.
        low, high: the ends of the interval, None where there is none.
        interval: "bootstrap" (two-way, over images and copies) or "wilson" (one pair).
    """

    rate: Fraction | None
    k: Count
    n: Count
    low: Fraction | None
    high: Fraction | None
    interval: str | None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.k > self.n:
            raise ValueError(f"k must be at most n; got k = {self.k} and n = {self.n}")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low must be at most high; got low = {self.low} and high = {self.high}")
        return self


def _counted(value: object) -> object:
    nothing = {"rate": None, "k": 0, "n": 0, "low": None, "high": None, "interval": None}
    return nothing if value is None else value


CountedRate = Annotated[Rate, BeforeValidator(_counted)]
"""A rate that may be null in JSON, which is one of nothing."""


class Accuracy(Part):
    """Images classified correctly, and how many labels differ from the original's (None where not counted)."""

    n: Count
    correct: Count
    labels_changed: Count | None = None

    @property
    def fraction(self) -> float | None:
        """Correct divided by n."""
        return self.correct / self.n if self.n else None

    @model_validator(mode="after")
    def _at_most_all(self) -> Self:
        if max(self.correct, self.labels_changed or 0) > self.n:
            raise ValueError(f"correct and labels_changed must be at most n = {self.n}")
        return self


class Spread(Part):
    """A median and percentiles, each None where nothing was measured; `total` where a sum makes sense."""

    p10: float | None = None
    p25: float | None = None
    median: float | None
    p75: float | None = None
    p90: float | None = None
    total: Count | None = None


class QuerySpread(Spread):
    """Queries an input, and over all inputs."""

    total: Count


class Trajectory(Part):
    """The median norm of the best adversarials so far, after each number of queries."""

    queries: tuple[Count, ...]
    median_distance: tuple[float | None, ...]

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        if len(self.queries) != len(self.median_distance):
            raise ValueError(
                f"median_distance must hold one value for each of the {len(self.queries)} queries; "
                f"got {len(self.median_distance)}"
            )
        return self


class Overshoot(Spread):
    """The share of each perturbation that lies past the boundary; `values` has one a success, None where unknown."""

    values: tuple[Fraction | None, ...]


class Attacked(Part):
    """What an attack did on one copy.

    Attributes:
        attempted, succeeded: inputs.
        status: inputs by outcome.
        queries: per input, and over all inputs.
        distance: norm of the adversarials.
        distances: one norm a success.
        trajectory: None where it was not kept.
        backward_rows: inputs that a white-box attack differentiated.
        overshoot: None where it was not measured.
        seconds: of the attack, where it was timed by itself.
    """

    attempted: Count
    succeeded: Count
    status: dict[str, Count]
    queries: QuerySpread
    distance: Spread
    distances: tuple[float | None, ...] | None
    trajectory: Trajectory | None
    backward_rows: QuerySpread | None = None
    overshoot: Overshoot | None = None
    seconds: float | None = None

    @property
    def norms(self) -> tuple[float, ...]:
        """The norms of the successes, without those that could not be measured."""
        return tuple(value for value in self.distances or () if value is not None)


class ScalePoint(Part):
    """Victims fooled at x + s (x' - x); `conditioned` counts only inputs that the victim gets right when clean."""

    s: float
    rate: CountedRate
    conditioned: Rate | None = None

    @property
    def at(self) -> float:
        """The scale s."""
        return self.s


class NormPoint(Part):
    """Victims fooled by perturbations of at most a norm; `conditioned` as in `ScalePoint`."""

    epsilon: float
    rate: CountedRate
    conditioned: Rate | None = None

    @property
    def at(self) -> float:
        """The norm."""
        return self.epsilon


def _ascending(points: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(sorted(points, key=lambda point: point.at))


ScaleCurve = Annotated[tuple[ScalePoint, ...], AfterValidator(_ascending)]
NormCurve = Annotated[tuple[NormPoint, ...], AfterValidator(_ascending)]

Point = ScalePoint | NormPoint
"""One point of a curve; `at` is where on the curve it lies."""


class Efficiency(Part):
    """What a run cost: queries, seconds, and queries a second with and without the attack's own work."""

    queries: Count
    seconds: float
    queries_per_second: float | None
    raw_queries_per_second: float | None
    share_of_raw: float | None = None

    @property
    def share(self) -> float | None:
        """Queries a second over what the model answers when it does nothing else; may be above 1 by chance."""
        if self.queries_per_second is None or not self.raw_queries_per_second:
            return None
        return self.queries_per_second / self.raw_queries_per_second


class Model(Part):
    """What was attacked: name, digest of the weights, and what its inputs and outputs are."""

    name: str
    digest: str
    manifest_digest: str | None = None
    num_classes: Count
    input_shape: tuple[Count, ...]
    bounds: Bounds


class Data(Part):
    """The images of an experiment."""

    name: str
    split: str
    images: Count
    indices: tuple[Count, ...] | None
