"""A calibration's record: the settings of a rewriter that were tried, and the one that was chosen."""

from typing import Literal, Self

from pydantic import field_validator, model_validator

from variegate.records.base import Count, Fraction, Part, Plain


class CalibrationAttack(Part):
    """How hard candidates were attacked: copies, images, queries an image."""

    name: str
    copies: Count
    images: Count
    queries: Count


class CalibrationData(Part):
    """The data that a calibration looked at."""

    name: str
    split: str
    images: Count
    digest: str


class Candidate(Part):
    """One setting that a calibration tried.

    Attributes:
        spec: the rewriter's spec as plain data.
        strength, messages_per_class, quantization_step: None where the rewriter has no such parameter.
        predicted_change, measured_change, change_bound: fraction of labels that differ from the original's; the bound
            is one-sided, 95 %.
        attack_images, attack_queries: how hard it was attacked, None where it was not.
        replication: rate by s, None where it was not measured; `intervals`: its 95 % ends; `pairs`: how many pairs of
            an adversarial and a victim were counted.
        masks: whether the attack lost its way, so that a low rate says nothing.
        median_distance, original_median_distance: norms on a copy and on the original.
        feasible: whether it met the limits; chosen: whether it was taken.
    """

    spec: Plain
    strength: float | None
    messages_per_class: Count | None
    quantization_step: float | None
    predicted_change: Fraction | None
    measured_change: Fraction | None
    change_bound: Fraction | None = None
    attack_images: Count | None = None
    attack_queries: Count | None = None
    replication: dict[str, Fraction | None] | None
    intervals: dict[str, tuple[Fraction, Fraction]] | None = None
    pairs: Count | None = None
    masks: bool | None = None
    median_distance: float | None
    original_median_distance: float | None
    feasible: bool
    chosen: bool

    @field_validator("replication")
    @classmethod
    def _keys_are_scales(cls, value: dict[str, float | None] | None) -> dict[str, float | None] | None:
        for name in value or ():
            try:
                float(name)
            except ValueError as error:
                raise ValueError(f"rates are named by s, a number; got the name {name[:40]!r}") from error
        return value

    @property
    def replication_at(self) -> dict[float, float | None]:
        """Rate by s, ascending; empty where it was not measured."""
        return dict(sorted((float(name), rate) for name, rate in (self.replication or {}).items()))

    @property
    def norm_ratio(self) -> float | None:
        """Median norm on a copy divided by that on the original: below 1, the copy is easier to fool."""
        if self.median_distance is None or not self.original_median_distance:
            return None
        return self.median_distance / self.original_median_distance


class CalibrationRecord(Part):
    """The settings that a calibration tried, in that order, and the one that it chose.

    Attributes:
        model, model_digest: the original, empty where the record does not say.
        inputs: how many inputs labels were compared on.
        max_change: largest fraction of labels that a copy might change; None where the record does not say.
        boundary_distance: the original's median distance to its boundary, L2 in units of the input range.
        objective: what was minimised.
    """

    format: Literal[1] = 1
    kind: Literal["calibration"] = "calibration"
    variegate: str = ""
    model: str = ""
    model_digest: str = ""
    rewriter: str = ""
    inputs: Count | None = None
    max_change: Fraction | None = None
    seed: Count | None = None
    attack: CalibrationAttack | None = None
    boundary_distance: float | None = None
    objective: str | None = None
    candidates: tuple[Candidate, ...]
    chosen: Plain | None = None
    data: CalibrationData | None = None

    def model_post_init(self, _context: object, /) -> None:
        """Count the kind and the format as given, so that they are always written."""
        self.__pydantic_fields_set__.update({"format", "kind"})

    @model_validator(mode="after")
    def _one_chosen(self) -> Self:
        if sum(candidate.chosen for candidate in self.candidates) > 1:
            raise ValueError("candidates must hold at most one chosen candidate; got several")
        return self

    @property
    def choice(self) -> Candidate | None:
        """The chosen candidate, None where no candidate met the limits."""
        return next((candidate for candidate in self.candidates if candidate.chosen), None)
