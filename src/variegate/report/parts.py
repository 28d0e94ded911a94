"""The small parts of records: rates, accuracies, attacked copies, points of curves, costs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from variegate.errors import FormatError
from variegate.report.fields import Field


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """k of n with its 95 % interval.

    Attributes:
        rate: the estimate in [0, 1]; None where there was nothing to count. It need not be k / n exactly (a bootstrap
            may weigh pairs), so it is read, not computed.
        k, n: the counts.
        low, high: the ends of the interval in [0, 1], None where there is none.
        interval: "bootstrap" (two-way, over images and copies) or "wilson" (one pair).
    """

    rate: float | None
    k: int
    n: int
    low: float | None
    high: float | None
    interval: str

    @classmethod
    def read(cls, parent: Field, key: str) -> Self:
        """Read the rate called `key`; null is a rate with nothing to count.

        Raises:
            FormatError: if a part is missing, k is above n, or the interval's ends are out of order.
        """
        field = parent.nullable(key)
        if field is None:
            return cls(rate=None, k=0, n=0, low=None, high=None, interval="")
        interval = field.nullable("interval")
        rate = cls(
            rate=field["rate"].fraction(),
            k=field["k"].integer(),
            n=field["n"].integer(),
            low=field["low"].fraction(),
            high=field["high"].fraction(),
            interval="" if interval is None else interval.text(),
        )
        if rate.k > rate.n:
            raise FormatError(f"the record's field {field.name} has k = {rate.k} above n = {rate.n}")
        if rate.low is not None and rate.high is not None and rate.low > rate.high:
            raise FormatError(f"the record's field {field.name} has low = {rate.low} above high = {rate.high}")
        return rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Images classified correctly, and how many labels differ from the original's (None where not counted)."""

    n: int
    correct: int
    labels_changed: int | None

    @property
    def fraction(self) -> float | None:
        """Correct divided by n."""
        return self.correct / self.n if self.n else None

    @classmethod
    def read(cls, field: Field) -> Self:
        """Read one accuracy.

        Raises:
            FormatError: if a count is missing or exceeds n.
        """
        changed = field.optional("labels_changed")
        value = cls(
            n=field["n"].integer(),
            correct=field["correct"].integer(),
            labels_changed=None if changed is None else changed.integer(),
        )
        if max(value.correct, value.labels_changed or 0) > value.n:
            raise FormatError(f"the record's field {field.name} counts more images than its n = {value.n}")
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A median and percentiles; each is None where nothing was measured."""

    median: float | None
    p10: float | None
    p25: float | None
    p75: float | None
    p90: float | None

    @classmethod
    def read(cls, field: Field) -> Self:
        """Read the median, which must be there, and the percentiles that are."""

        def percentile(key: str) -> float | None:
            member = field.optional(key)
            return None if member is None else member.measured()

        return cls(
            median=field["median"].measured(),
            p10=percentile("p10"),
            p25=percentile("p25"),
            p75=percentile("p75"),
            p90=percentile("p90"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trajectory:
    """The median norm of the best adversarials so far, after each number of queries."""

    queries: tuple[float, ...]
    median_distance: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attacker:
    """What the attack did on one copy.

    Attributes:
        attempted, succeeded: inputs.
        status: inputs by outcome.
        queries: per input.
        total_queries: over all inputs.
        distance: norm of the adversarials.
        distances: one norm per success; those that could not be measured are left out.
        trajectory: None where it was not kept.
    """

    attempted: int
    succeeded: int
    status: Mapping[str, int]
    queries: Spread
    total_queries: int
    distance: Spread
    distances: tuple[float, ...]
    trajectory: Trajectory | None

    @classmethod
    def read(cls, field: Field) -> Self:
        """Read one attacker.

        Raises:
            FormatError: if a part is missing or the trajectory's lists differ in length.
        """
        distances = field.nullable("distances")
        trajectory = field.nullable("trajectory")
        measured = () if distances is None else (distance.measured() for distance in distances.elements())
        return cls(
            attempted=field["attempted"].integer(),
            succeeded=field["succeeded"].integer(),
            status={name: count.integer() for name, count in field["status"].items()},
            queries=Spread.read(field["queries"]),
            total_queries=field["queries"]["total"].integer(),
            distance=Spread.read(field["distance"]),
            distances=tuple(distance for distance in measured if distance is not None),
            trajectory=None if trajectory is None else _trajectory(trajectory),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One point of a curve: `at` is s or a norm; `conditioned` counts only inputs clean-correct on the victim."""

    at: float
    rate: Rate
    conditioned: Rate | None

    @classmethod
    def read_all(cls, field: Field, key: str) -> tuple[Self, ...]:
        """Read a curve whose abscissa is the member `key`, sorted by it."""
        points = []
        for element in field.elements():
            conditioned = Rate.read(element, "conditioned") if element.optional("conditioned") is not None else None
            points.append(cls(at=element[key].number(), rate=Rate.read(element, "rate"), conditioned=conditioned))
        return tuple(sorted(points, key=lambda point: point.at))


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiency:
    """What the run cost: queries, seconds, and queries a second with and without the attack's own work."""

    queries: int
    seconds: float
    queries_per_second: float | None
    raw_queries_per_second: float | None

    @property
    def share_of_raw(self) -> float | None:
        """Queries a second of those that the model answers when it does nothing else; may be above 1 by chance."""
        if self.queries_per_second is None or not self.raw_queries_per_second:
            return None
        return self.queries_per_second / self.raw_queries_per_second

    @classmethod
    def read(cls, field: Field) -> Self:
        """Read the cost.

        Raises:
            FormatError: if a part is missing.
        """
        return cls(
            queries=field["queries"].integer(),
            seconds=field["seconds"].number(),
            queries_per_second=field["queries_per_second"].measured(),
            raw_queries_per_second=field["raw_queries_per_second"].measured(),
        )


def read_bounds(field: Field) -> tuple[float, float]:
    """Read the interval of the input values.

    Raises:
        FormatError: if it is not two numbers, lower before upper.
    """
    bounds = tuple(bound.number() for bound in field.elements())
    if len(bounds) != 2 or bounds[0] >= bounds[1]:
        raise FormatError(
            f"the record's field {field.name} must be two numbers, lower before upper; got {list(bounds)}"
        )
    return bounds[0], bounds[1]


def _trajectory(field: Field) -> Trajectory:
    queries, distances = field["queries"].elements(), field["median_distance"].elements()
    if len(queries) != len(distances):
        raise FormatError(
            f"the record's field {field.name} has {len(queries)} queries but {len(distances)} median distances"
        )
    return Trajectory(
        queries=tuple(query.number() for query in queries),
        median_distance=tuple(distance.measured() for distance in distances),
    )
