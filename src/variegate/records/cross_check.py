"""The record of a cross-check: the same images and budget for several engines, and whether they agree."""

from typing import Literal

from variegate.records.attack import Target
from variegate.records.base import Attacked, Count, Data, NormName, Part, Plain, Provenance, ScaleCurve
from variegate.records.replication import Rates

Verdict = Literal["agrees", "differs", "open"]
COMPARED = ("success", "distance", "replication", "overshoot")
"""What two engines are compared by, in the order in which reports show it."""


class Median(Part):
    """A median over `n` images with its 95 % interval; None where there was nothing, or too little, to go by."""

    value: float | None
    low: float | None
    high: float | None
    n: Count


class Engine(Part):
    """What one implementation of an attack found; `name` is "art", "variegate, paper", ..."""

    name: str
    parameters: Plain | None
    attack: Attacked
    rates: Rates
    replication_at: ScaleCurve
    reverified: Count | None = None
    median_distance: Median
    median_overshoot: Median
    distances: tuple[float | None, ...]


class Verdicts(Part):
    """Whether two engines agree."""

    success: Verdict
    distance: Verdict
    replication: Verdict
    overshoot: Verdict

    def __getitem__(self, name: str) -> Verdict:
        verdict: Verdict = getattr(self, name)
        return verdict


class Comparison(Part):
    """Two engines on the same images: the ratio of norms, ours over theirs, and the verdicts."""

    ours: str
    theirs: str
    distance_ratio: Median
    verdicts: Verdicts


class CheckedAttack(Part):
    """One attack by all engines that have it."""

    name: str
    engines: tuple[Engine, ...]
    comparisons: tuple[Comparison, ...]


class CrossCheckRecord(Provenance):
    """One cross-check.

    Attributes:
        libraries: versions by name, None where unknown.
        victims: the names of the copies to which the results were shown.
        rewriter: of the copies; None where originals were attacked.
        budget: queries an image.
        rule: which of the points that an engine saw counts as its result.
    """

    kind: Literal["cross_check"] = "cross_check"
    libraries: dict[str, str | None]
    target: Target
    victims: tuple[str, ...]
    rewriter: Plain | None = None
    data: Data
    budget: Count
    norm: NormName
    seed: Count
    rule: str = ""
    attacks: tuple[CheckedAttack, ...]

    @property
    def title(self) -> str:
        """A heading."""
        return f"Cross-check on {self.target.name}"
