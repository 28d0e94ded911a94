"""Numbers, names and rates as text, the same in every report."""

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from typing import Protocol

from variegate.records.base import Rate

NOTHING = "-"
"""What a cell says where there was nothing to count."""

CONTROLS = ("identical", "independent", "noise")
"""Groups that no rewriter made; they belong in every report."""

_STEERING = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)

_TITLES = {
    "identical": "identical copies",
    "independent": "independent training",
    "noise": "random noise",
}

_RATE_TITLES = {
    "attack_success_rate": "attack success",
    "replication_rate": "replication",
    "replication_rate_conditioned": "replication, conditioned",
    "replicated_same_rate": "replication, same label",
    "end_to_end_rate": "end to end",
}

_NORM_TITLES = {"l2": "L2 norm", "linf": "L-infinity norm"}


def group_title(name: str) -> str:
    """A group's name for people ("qim-2": "QIM (2)"); a name that is not known is its own title."""
    if (title := _title(name)) is not None:
        return title
    base, _, number_of = name.rpartition("-")
    if number_of.isdecimal() and (title := _title(base)) is not None:
        return f"{title} ({number_of})"
    return name


def _title(name: str) -> str | None:
    """The title of a control, or what a rewriter's class calls itself; None of another name."""
    if name in _TITLES:
        return _TITLES[name]
    from variegate.rewriters.catalog import spec_class  # loads torch

    kind = spec_class(name)
    return None if kind is None else kind.title or kind.rewriter


def rate_title(name: str) -> str:
    """A rate's name for people."""
    return _RATE_TITLES.get(name, name)


def norm_title(name: str) -> str:
    """A norm's name for people."""
    return _NORM_TITLES.get(name, f"{name} norm")


def percent(fraction: float | None) -> str:
    """A fraction as a percentage with one decimal and no sign; never 0.0 or 100.0 unless it is exactly that."""
    if fraction is None:
        return NOTHING
    if 0.0 < fraction < 0.0005:
        return "<0.1"
    if 0.9995 <= fraction < 1.0:
        return ">99.9"
    return f"{100.0 * fraction:.1f}"


def interval(rate: Rate) -> str:
    """The interval of a rate in per cent, such as "[8.1, 18.0]"."""
    return NOTHING if rate.low is None or rate.high is None else f"[{percent(rate.low)}, {percent(rate.high)}]"


def short_interval(low: float, high: float) -> str:
    """An interval in per cent for a narrow column, such as "18-25" or "1.4-2.8"."""
    return f"{100 * low:.1f}-{100 * high:.1f}" if high < 0.1 else f"{100 * low:.0f}-{100 * high:.0f}"


def counted(rate: Rate) -> str:
    """The counts of a rate and its interval for a narrow column, such as "9/10; 60-98"; empty without counts."""
    if not rate.n:
        return ""
    ends = "" if rate.low is None or rate.high is None else f"; {short_interval(rate.low, rate.high)}"
    return f"{count(rate.k)}/{count(rate.n)}{ends}"


def share(fraction: float | None) -> str:
    """A small fraction in per cent with three significant digits."""
    return NOTHING if fraction is None else norm(100.0 * fraction)


def span(low: str, high: str) -> str:
    """Two ends as "1 to 2"; empty where one is missing."""
    return "" if NOTHING in (low, high) else f"{low} to {high}"


def rate_words(rate: Rate) -> str:
    """A rate in a sentence: "3 of 40 (7.5 %, 95 % interval 2.6 to 19.9 %)"."""
    if rate.rate is None:
        return "nothing to count"
    middle = f"{count(rate.k)} of {count(rate.n)} ({percent(rate.rate)} %"
    if rate.low is None or rate.high is None:
        return middle + ")"
    return f"{middle}, 95 % interval {percent(rate.low)} to {percent(rate.high)} %)"


def points(fraction: float | None, *, signed: bool = False) -> str:
    """A difference of fractions in percentage points."""
    if fraction is None:
        return NOTHING
    value = round(100.0 * fraction, 1) + 0.0
    return f"{value:+.1f}" if signed and value else f"{value:.1f}"


def norm(value: float | None) -> str:
    """A norm or a ratio with three significant digits, never in exponents for usual sizes."""
    if value is None:
        return NOTHING
    if value == 0.0:
        return "0"
    size = abs(value)
    if not 1e-4 <= size < 1e6:
        return f"{value:.2e}"
    return f"{value:.0f}" if size >= 100 else f"{value:#.3g}"


def number(value: float | None) -> str:
    """A number as it was set, such as s or a strength: no more digits than needed."""
    return NOTHING if value is None else f"{value:.6g}"


def clean(text: str) -> str:
    """The text without characters that steer a terminal or turn the writing direction."""
    return _STEERING.sub("\ufffd", text)


def count(value: float | None) -> str:
    """A count with thousands separated."""
    return NOTHING if value is None else f"{round(value):,}"


def duration(seconds: float) -> str:
    """Seconds as "1 h 02 min", "3 min 05 s" or "4.2 s"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def copy_name(label: str, limit: int = 12) -> str:
    """A copy's label, cut in the middle where it is too long for an axis."""
    if len(label) <= limit:
        return label
    tail = (limit - 1) // 2
    return f"{label[: limit - 1 - tail]}…{label[-tail:]}"


def copy_names(labels: Sequence[str], limit: int = 12) -> tuple[str, ...]:
    """Copies' labels for an axis: if one is too long, what all have in common at the start is left out."""
    start = 0
    if len(labels) > 1 and max(map(len, labels)) > limit:
        common = next((i for i, letters in enumerate(zip(*labels, strict=False)) if len(set(letters)) > 1), 0)
        start = min(common, min(map(len, labels)) - 3)
    return tuple(copy_name(label if start < 2 else "…" + label[start:], limit) for label in labels)


def flat(value: Mapping[str, object], prefix: str = "") -> tuple[tuple[str, str], ...]:
    """Nested plain data as (name, value) rows, names joined by dots."""
    rows: list[tuple[str, str]] = []
    for key, member in value.items():
        if isinstance(member, Mapping):
            rows.extend(flat(member, f"{prefix}{key}."))
        else:
            rows.append((f"{prefix}{key}", _plain(member)))
    return tuple(rows)


def mean_and_sd(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean and sample standard deviation, None where there are too few values."""
    if not values:
        return None, None
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def middle(values: Sequence[float | None]) -> float | None:
    """The median of the values that were measured."""
    measured = [value for value in values if value is not None]
    return statistics.median(measured) if measured else None


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return NOTHING if math.isnan(value) else number(value)
    if value is None:
        return NOTHING
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return ", ".join(map(_plain, value))
    return re.sub(r"\s+", " ", str(value))


class Origin(Protocol):
    """What every record of a run has."""

    @property
    def command(self) -> str:
        """What was typed."""
        ...

    @property
    def created(self) -> str:
        """When it was written."""
        ...

    @property
    def seconds(self) -> float:
        """How long it took."""
        ...

    @property
    def variegate(self) -> str:
        """The version."""
        ...

    @property
    def torch(self) -> str:
        """PyTorch's version."""
        ...


def origin_rows(record: Origin) -> tuple[tuple[str, str], ...]:
    """Return them as (name, value)."""
    return (
        ("command", record.command),
        ("created", record.created),
        ("duration", duration(record.seconds)),
        ("variegate", record.variegate),
        ("torch", record.torch),
    )
