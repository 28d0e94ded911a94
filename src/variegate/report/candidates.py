"""A calibration's record: the settings of a rewriter that were tried, and the one that was chosen."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from variegate.errors import FormatError
from variegate.report.fields import Field
from variegate.report.words import group_title


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One setting that a calibration tried.

    Attributes:
        spec: the rewriter's spec as plain data.
        strength, messages_per_class, quantization_step: None where the rewriter has no such parameter.
        predicted_change, measured_change: fraction of labels that differ from the original's.
        replication: rate by s, None where it was not measured.
        median_distance, original_median_distance: norms on a copy and on the original.
        feasible: whether it met the limits; chosen: whether it was taken.
    """

    spec: Mapping[str, object]
    strength: float | None
    messages_per_class: int | None
    quantization_step: float | None
    predicted_change: float | None
    measured_change: float | None
    replication: Mapping[float, float | None] | None
    median_distance: float | None
    original_median_distance: float | None
    feasible: bool
    chosen: bool

    @property
    def norm_ratio(self) -> float | None:
        """Median norm on a copy divided by that on the original: below 1, the copy is easier to fool."""
        if self.median_distance is None or not self.original_median_distance:
            return None
        return self.median_distance / self.original_median_distance

    @classmethod
    def read(cls, field: Field) -> Self:
        """Read one candidate.

        Raises:
            FormatError: if a part is missing, or a key of `replication` is no number.
        """
        replication, messages = field.nullable("replication"), field.nullable("messages_per_class")
        return cls(
            spec=field["spec"].mapping(),
            strength=field["strength"].measured(),
            messages_per_class=None if messages is None else messages.integer(),
            quantization_step=field["quantization_step"].measured(),
            predicted_change=field["predicted_change"].fraction(),
            measured_change=field["measured_change"].fraction(),
            replication=None if replication is None else _replication(replication),
            median_distance=field["median_distance"].measured(),
            original_median_distance=field["original_median_distance"].measured(),
            feasible=field["feasible"].flag(),
            chosen=field["chosen"].flag(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationRecord:
    """The settings that a calibration tried, and the one that it chose.

    Attributes:
        candidates: in the order in which they were tried.
        model_name, rewriter: empty where the record does not say.
        max_change: largest fraction of labels that a copy might change; None where the record does not say.
    """

    candidates: tuple[Candidate, ...]
    model_name: str = ""
    rewriter: str = ""
    max_change: float | None = None

    @property
    def title(self) -> str:
        """A heading: "Calibration of QIM on cifar10-s0", as far as the record says it."""
        of = f" of {group_title(self.rewriter)}" if self.rewriter else ""
        return f"Calibration{of}{f' on {self.model_name}' if self.model_name else ''}"

    @property
    def chosen(self) -> Candidate | None:
        """The chosen candidate, None where no candidate met the limits."""
        return next((candidate for candidate in self.candidates if candidate.chosen), None)

    @classmethod
    def read(cls, field: Field) -> Self:
        """Read a calibration record.

        Raises:
            FormatError: if a part is missing or more than one candidate is chosen.
        """
        candidates = tuple(map(Candidate.read, field["candidates"].elements()))
        if sum(candidate.chosen for candidate in candidates) > 1:
            raise FormatError("the record's field candidates must hold at most one chosen candidate; got several")
        model = field.optional("model")
        name = "" if model is None else (model if isinstance(model.value, str) else model["name"]).text()
        rewriter, most = field.optional("rewriter"), field.optional("max_change")
        return cls(
            candidates=candidates,
            model_name=name,
            rewriter="" if rewriter is None else rewriter.text(),
            max_change=None if most is None else most.fraction(),
        )


def _replication(field: Field) -> dict[float, float | None]:
    rates = {}
    for name, rate in field.items():
        try:
            rates[float(name)] = rate.fraction()
        except ValueError as error:
            raise FormatError(f"the record's field {field.name} has rates by s; got the name {name[:40]!r}") from error
    return dict(sorted(rates.items()))
