"""Records of `variegate reproduce`: one table or figure of the paper, on one study or several."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, Self

from pydantic import Field, model_validator
from typing_extensions import TypeVar

from variegate.records.base import Count, Fraction, Named, Part, Plain, Provenance, Rate, ScaleCurve, Spread
from variegate.records.collusion import Setting

INDEPENDENT = "independent"
"""The group of the originals themselves."""


class ClassifierMeans(Part):
    """Mean and standard deviation over classifiers; None where there is too little."""

    mean: Fraction | None
    sd: float | None
    classifiers: Count

    @property
    def of(self) -> int:
        """Over how many."""
        return self.classifiers


class Drop(Part):
    """The accuracy lost by rewriting, as a fraction: its mean over copies with the 95 % interval."""

    mean: float
    sd: float | None = None
    classifiers: Count = 0
    low: float
    high: float


class ClassifierRate(Rate):
    """The accuracy of one classifier: of an original, or of a copy with what the rewriting changed."""

    original: Count
    copy_index: Count | None = Field(default=None, alias="copy")
    labels_changed: Rate | None = None
    drop: float | None = None


class AccuracyRow(Named):
    """One row of Table 1.

    Attributes:
        classifiers: each of them.
        of_first: over the originals, or over copies of the first one, as in the paper; of_all: over copies of all.
        drop, largest_drop, labels_changed: None for the originals; the last is the share of labels that differ from the
            original's.
    """

    classifiers: tuple[ClassifierRate, ...] = ()
    of_first: ClassifierMeans
    of_all: ClassifierMeans
    drop: Drop | None = None
    largest_drop: float | None = None
    labels_changed: ClassifierMeans | None = None


class AccuracyResults(Part):
    """Table 1: test images, copies of each rewriter and original, rows by name, "original" among them."""

    images: Count
    copies: Count
    rows: dict[str, AccuracyRow]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if "original" not in self.rows:
            raise ValueError("rows must have the row original")
        for name, row in self.rows.items():
            if name != "original" and (row.drop is None or row.largest_drop is None or row.labels_changed is None):
                raise ValueError(f"rows.{name} must have drop, largest_drop and labels_changed")
        Named.give_names(self.rows.items())
        return self

    @property
    def ordered(self) -> tuple[AccuracyRow, ...]:
        """The rows, the originals' first."""
        return (self.rows["original"], *(row for name, row in self.rows.items() if name != "original"))


class SuccessRate(Rate):
    """Attack success pooled over attackers, with mean and deviation over them."""

    mean: Fraction | None
    sd: float | None
    attackers: Count
    least_n: Count | None = None

    @property
    def of(self) -> int:
        """Over how many."""
        return self.attackers


class PairsRate(Rate):
    """A replication rate pooled over ordered pairs of one kind, at s = 1, and its companions.

    Attributes:
        mean, sd, pairs: over pairs; `least_n` images in the smallest.
        conditioned: only where the victim is right on the clean image; as `boundary_conditioned`, `noise_conditioned`.
        end_to_end: of all attacked images.
        boundary: of the perturbations cut back to the attacker's boundary.
        noise: of random noise of equal norm.
        at: R(s).
    """

    mean: Fraction | None
    sd: float | None
    pairs: Count
    least_n: Count | None = None
    conditioned: Rate
    end_to_end: Rate
    boundary: Rate
    boundary_conditioned: Rate
    noise: Rate
    noise_conditioned: Rate
    at: ScaleCurve

    @property
    def of(self) -> int:
        """Over how many."""
        return self.pairs

    def at_scale(self, s: float) -> Rate | None:
        """R(s), None where it was not measured."""
        return next((point.rate for point in self.at if abs(point.s - s) < 1e-9), None)


class AttackGroup(Named):
    """One attack on the originals, or on all copies of one rewriter.

    Attributes:
        attackers, images: how many of each.
        success: of the attacks on the attacker's copy.
        identical, rewriting, training: pairs of one kind, None where there are none.
        distance, overshoot, queries: of successes (queries: of attempts).
        seconds: of the attacks, added up over processes.
        queries_per_second, raw_queries_per_second: of the attack, and of the original alone in the same run.
    """

    attackers: Count
    images: Count
    success: SuccessRate
    identical: PairsRate
    rewriting: PairsRate | None = None
    training: PairsRate | None = None
    distance: Spread
    overshoot: Spread
    queries: Spread
    seconds: float
    queries_per_second: float | None
    raw_queries_per_second: float | None

    @property
    def kinds(self) -> Mapping[str, PairsRate]:
        """The kinds of pairs that there are."""
        found = {"identical": self.identical, "rewriting": self.rewriting, "training": self.training}
        return {name: rate for name, rate in found.items() if rate is not None}

    @property
    def speed(self) -> float | None:
        """Queries a second over what the original alone labels; None if not measured."""
        if self.queries_per_second is None or not self.raw_queries_per_second:
            return None
        return self.queries_per_second / self.raw_queries_per_second


class AttackResults(Named):
    """One attack: its settings, queries an image, and groups by name, `INDEPENDENT` among them."""

    settings: str
    preset: str | None = None
    queries: Count
    groups: dict[str, AttackGroup]

    @model_validator(mode="after")
    def _control(self) -> Self:
        if INDEPENDENT not in self.groups:
            raise ValueError(f"groups must have the group {INDEPENDENT}")
        Named.give_names(self.groups.items())
        return self


class PaperAttacks(Part):
    """The paper's three attacks."""

    boundary: AttackResults
    hopskipjump: AttackResults
    geoda: AttackResults

    @model_validator(mode="after")
    def _give_names(self) -> Self:
        Named.give_names((name, getattr(self, name)) for name in type(self).model_fields)
        return self

    @property
    def ordered(self) -> tuple[AttackResults, ...]:
        """In the paper's order."""
        return (self.boundary, self.hopskipjump, self.geoda)


class ReplicationResults(Part):
    """Table 2: copies of each rewriter and original, whether images were dealt out, attacks."""

    copies: Count
    deal: bool
    attacks: PaperAttacks


class CostRow(Named):
    """What a further copy costs by one method; of the original, what one classification takes.

    Attributes:
        training_seconds, storage_bytes: of one copy.
        message_bytes: that its messages take in memory; None without messages.
        additional_inference_ms: by batch size, what is added to the original's `inference_ms`.
    """

    inference_ms: dict[str, float] | None = None
    training_seconds: float | None = None
    storage_bytes: float | int | None = None
    message_bytes: Count | None = None
    additional_inference_ms: dict[str, float] | None = None

    @property
    def added_ms(self) -> dict[int, float]:
        """Milliseconds added to the original's, by batch size, ascending."""
        return _by_batch(self.additional_inference_ms)


class CostResults(Part):
    """Table 3: rows by name, "original" and `INDEPENDENT` among them, and how they were timed."""

    rows: dict[str, CostRow]
    device: str
    threads: Count
    repeats: Count
    training: str
    step_seconds: float | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if missing := {"original", INDEPENDENT} - self.rows.keys():
            raise ValueError(f"rows must have the row {min(missing)}")
        for name, row in self.rows.items():
            kept = (row.training_seconds, row.storage_bytes, row.additional_inference_ms)
            if None in ((row.inference_ms,) if name == "original" else kept):
                raise ValueError(f"rows.{name} lacks a cost")
        Named.give_names(self.rows.items())
        return self

    @property
    def ordered(self) -> tuple[CostRow, ...]:
        """The rows of copies, `INDEPENDENT` first."""
        others = (row for name, row in self.rows.items() if name not in ("original", INDEPENDENT))
        return (self.rows[INDEPENDENT], *others)

    @property
    def original_ms(self) -> dict[int, float]:
        """Milliseconds of the original, by batch size, ascending."""
        return _by_batch(self.rows["original"].inference_ms)


def _by_batch(milliseconds: Mapping[str, float] | None) -> dict[int, float]:
    found = [(int(name), value) for name, value in (milliseconds or {}).items() if name.isdecimal()]
    return dict(sorted(found))


class Grid(Part):
    """Where a density was evaluated: `points` values from `low` to `high`."""

    low: float
    high: float
    points: Count


class Curve(Part):
    """A density with the numbers that it alone hides; None where there was nothing.

    Attributes:
        n, images: values, and images that they come from.
        mean, mean_low, mean_high: with its 95 % interval.
        sd, q05, q25, median, q75, q95: of the values.
        bandwidth, bandwidth_raised: of the density, and whether the grid forced a wider one.
        density, peak: on the grid.
        zero_gradients: left out; None where that does not apply.
        share_small, share_large, share_negative: of the values, where they were counted.
    """

    n: Count
    images: Count = 0
    mean: float | None
    mean_low: float | None
    mean_high: float | None
    sd: float | None
    q05: float | None = None
    q25: float | None = None
    median: float | None
    q75: float | None = None
    q95: float | None = None
    bandwidth: float | None = None
    bandwidth_raised: bool | None = None
    density: tuple[float, ...] | None
    peak: float | None
    grid: Grid
    zero_gradients: Count | None = None
    share_small: Fraction | None = None
    share_large: Fraction | None = None
    share_negative: Fraction | None = None

    @model_validator(mode="after")
    def _on_its_grid(self) -> Self:
        points = self.grid.points
        fits = self.density is None or len(self.density) == points >= 2
        if not fits or (self.density and self.grid.low >= self.grid.high):
            raise ValueError(
                f"density must have the {points} values of an ascending grid of at least 2; got "
                f"{len(self.density or ())}"
            )
        return self

    @property
    def ends(self) -> tuple[float | None, float | None]:
        """Of the mean's 95 % interval."""
        return self.mean_low, self.mean_high

    @property
    def x(self) -> tuple[float, ...]:
        """Where the density was evaluated; empty without values."""
        low, high, points = self.grid.low, self.grid.high, self.grid.points
        return tuple(low + (high - low) * place / (points - 1) for place in range(len(self.density or ())))

    @property
    def shares(self) -> Mapping[str, float | None]:
        """The shares that were counted."""
        names = ("share_small", "share_large", "share_negative")
        return {name: getattr(self, name) for name in names if name in self.model_fields_set}


class GradientNorms(Part):
    """Norms of one classifier's gradients, and how many were zero."""

    n: Count
    zero: Count
    mean: float | None
    median: float | None


class Cosines(Part):
    """Cosines between copies of one original (H2) and of two (H3)."""

    H2: Curve
    H3: Curve


class Place(Part):
    """Where gradients were taken: cosines between originals (H1), and by rewriter.

    Attributes:
        place: "clean", "boundary" or "smoothed".
        sigma, samples: of the noise of smoothed gradients.
        images: that were used.
        without_boundary: left out because no boundary was found.
        saturated, norms: by classifier, inputs whose softmax is flat, and norms of gradients.
    """

    place: str
    sigma: float
    samples: Count
    images: Count
    without_boundary: Count
    saturated: dict[str, Count] = Field(default_factory=dict)
    norms: dict[str, GradientNorms] = Field(default_factory=dict)
    H1: Curve
    rewriters: dict[str, Cosines]

    @property
    def title(self) -> str:
        """For people."""
        named = {"clean": "clean images", "boundary": "at the boundary"}
        return named.get(self.place, f"smoothed, noise {self.sigma:g}")


class CosineResults(Part):
    """Figure 3: which originals and copies, the loss, and the places, clean images first."""

    originals: tuple[Count, ...] = ()
    copies: tuple[Count, ...] = ()
    loss: str
    places: tuple[Place, ...]


class Gap(Part):
    """The mean of paired differences over n values with its 95 % interval; None where there is too little."""

    n: Count
    mean: float | None
    low: float | None
    high: float | None

    @property
    def ends(self) -> tuple[float | None, float | None]:
        """Of the 95 % interval."""
        return self.low, self.high


class Reading(Part):
    """G2, G3 and the paired difference G2 - G1 under one reading of "binding partner"."""

    G2: Curve
    G3: Curve
    G2_minus_G1: Gap


class OriginalValues(Part):
    """F1, F2: values of the original."""

    F1: Curve
    F2: Curve


class PermutationValues(Part):
    """G1, and by reading G2 and G3, of the permutation copy."""

    G1: Curve
    added: Reading
    receiving: Reading


class Values(Named):
    """One kind of output values; `permutation` is None where no permutation copy was attacked."""

    original: OriginalValues
    permutation: PermutationValues | None = None

    @property
    def readings(self) -> Mapping[str, Reading]:
        """By reading; empty where no permutation copy was attacked."""
        copy = self.permutation
        return {} if copy is None else {"added": copy.added, "receiving": copy.receiving}


class Nearest(Part):
    """Which values and which reading are nearest to the paper."""

    measure: str
    reading: Literal["added", "receiving"]


class BindingAttack(Named):
    """The attack on the original or on a copy of a rewriter."""

    images: Count = 0
    attempted: Count
    succeeded: Count
    queries_median: float | None = None
    distance_median: float | None


class BindingResults(Part):
    """Figure 4: the attack's settings, what it found by attacked classifier, and values by measure."""

    attack: str = ""
    settings: str
    preset: str | None = None
    queries: Count
    nearest_to_the_paper: Nearest
    attacks: dict[str, BindingAttack]
    measures: dict[str, Values]

    @model_validator(mode="after")
    def _has_the_nearest(self) -> Self:
        if self.nearest_to_the_paper.measure not in self.measures:
            raise ValueError(f"measures must have {self.nearest_to_the_paper.measure}")
        Named.give_names([*self.measures.items(), *self.attacks.items()])
        return self

    @property
    def ordered(self) -> tuple[Values, ...]:
        """By measure, the nearest to the paper first."""
        return (self.nearest, *(values for name, values in self.measures.items() if values is not self.nearest))

    @property
    def nearest(self) -> Values:
        """What is nearest to the paper."""
        return self.measures[self.nearest_to_the_paper.measure]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One point of a curve of Figure 5."""

    rate: float | None
    low: float | None
    high: float | None
    n: int


class CurvePoints(Part):
    """One curve of Figure 5: a rate with its interval and n at each r."""

    r: tuple[Count, ...]
    rate: tuple[Fraction | None, ...]
    low: tuple[Fraction | None, ...]
    high: tuple[Fraction | None, ...]
    n: tuple[Count, ...]

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        if len({len(values) for values in (self.r, self.rate, self.low, self.high, self.n)}) > 1:
            raise ValueError("r, rate, low, high and n must have the same length")
        return self

    def point(self, r: int) -> CurvePoint:
        """What was measured for `r` colluders."""
        at = self.r.index(r)
        return CurvePoint(rate=self.rate[at], low=self.low[at], high=self.high[at], n=self.n[at])


class CollusionResults(Part):
    """Figure 5: originals, attacked images, queries of the vote's attack, settings, and the paper's curves by name."""

    originals: Count
    images: Count
    vote_queries: Count
    settings: tuple[Setting, ...]
    curves: dict[str, CurvePoints]


Results = AccuracyResults | ReplicationResults | CostResults | CosineResults | BindingResults | CollusionResults
R = TypeVar("R", bound=Part, default=Any)


class Study(Part, Generic[R]):
    """One data set, its originals, and what was measured on them.

    Attributes:
        name: what tables call it.
        data_digest, test_images, test_limit, num_classes, input_shape: the test data.
        originals, names, architectures, manifests: of each original its digest, name, kind and manifest's digest.
        specs: rewriter -> parameters.
        seed: of the copies and of everything random.
        device: where the networks ran.
        notes: what else the record says, such as how the specs were chosen.
        results: by the experiment.
    """

    name: str
    data_digest: str
    originals: tuple[str, ...] = Field(min_length=1)
    manifests: tuple[str, ...] = ()
    device: str
    specs: dict[str, Plain]
    test_limit: Count | None = None
    seed: Count
    test_images: Count
    num_classes: Count
    input_shape: tuple[Count, ...]
    names: tuple[str, ...]
    architectures: tuple[str, ...]
    notes: Plain
    results: R

    @property
    def networks(self) -> tuple[tuple[str, str, str], ...]:
        """(name, architecture, digest of the weights) of each original."""
        return tuple(zip(self.names, self.architectures, self.originals, strict=True))

    @model_validator(mode="after")
    def _one_name_each(self) -> Self:
        if not len(self.originals) == len(self.names) == len(self.architectures):
            raise ValueError("originals, names and architectures must have the same length")
        return self


class MadeBy(Part):
    """Which code made some shards, and where, as far as a record says it."""

    instructions: str = ""
    source: str
    threads: Count = 0
    gpu: str | None = None
    shards: Count

    @property
    def where(self) -> str:
        """The digest of the source that made the shards, and on which GPU."""
        return self.source + ("" if self.gpu is None else f", on one {self.gpu}")


class ReproductionRecord(Provenance, Generic[R]):
    """One table or figure, on studies of different names.

    Attributes:
        experiment: one of `EXPERIMENTS`.
        title: what it shows.
        preset, effort: how much was done.
        shards_computed_in_this_run: the others were there already.
        made_by: which code made the shards.
    """

    kind: Literal["reproduction"] = "reproduction"
    experiment: str
    title: str
    preset: str
    effort: Plain
    shards_computed_in_this_run: Count
    made_by: tuple[MadeBy, ...]
    studies: tuple[Study[R], ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _different_names(self) -> Self:
        names = [study.name for study in self.studies]
        if len(set(names)) < len(names):
            raise ValueError(f"studies must have different names; got {', '.join(names)[:200]}")
        return self


class Table1Record(ReproductionRecord[AccuracyResults]):
    """Table 1: accuracy."""

    experiment: Literal["table1"]


class Table2Record(ReproductionRecord[ReplicationResults]):
    """Table 2: replication."""

    experiment: Literal["table2"]


class Table3Record(ReproductionRecord[CostResults]):
    """Table 3: cost."""

    experiment: Literal["table3"]


class Figure3Record(ReproductionRecord[CosineResults]):
    """Figure 3: cosines of gradients."""

    experiment: Literal["fig3"]


class Figure4Record(ReproductionRecord[BindingResults]):
    """Figure 4: values of the permutation rewriter's partners."""

    experiment: Literal["fig4"]


class Figure5Record(ReproductionRecord[CollusionResults]):
    """Figure 5: collusion."""

    experiment: Literal["fig5"]


EXPERIMENTS: Mapping[str, type[Part]] = {
    "table1": Table1Record,
    "table2": Table2Record,
    "table3": Table3Record,
    "fig3": Figure3Record,
    "fig4": Figure4Record,
    "fig5": Figure5Record,
}
"""By the names of their records, in the order in which a report shows them."""
