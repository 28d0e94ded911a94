"""What the tables of a reproduction measured on one study: accuracy, replication, cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self, final

from variegate.experiments.paper.effort import ATTACKS
from variegate.report.fields import Field
from variegate.report.parts import Point, Rate, Spread

INDEPENDENT = "independent"
"""The group of the originals themselves."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """Mean and standard deviation over `of` classifiers, attackers or pairs; None where there is too little."""

    mean: float | None
    sd: float | None
    of: int

    @classmethod
    def read(cls, field: Field, of: str) -> Self:
        """Read them; `of` is the name of their number."""
        return cls(mean=field["mean"].fraction(), sd=field["sd"].measured(), of=field[of].integer())


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """The accuracy lost by rewriting, as a fraction: its mean with the 95 % interval, and the largest of a copy."""

    mean: float
    low: float
    high: float
    largest: float


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyRow:
    """One row of Table 1.

    Attributes:
        name: "original" or a rewriter.
        first: over the originals, or over copies of the first one, as in the paper.
        every: over copies of all originals.
        drop, changed: None for the originals; `changed` is the share of labels that differ from the original's.
    """

    name: str
    first: Means
    every: Means
    drop: Drop | None
    changed: Means | None

    @classmethod
    def read(cls, name: str, field: Field) -> Self:
        """Read a row."""
        drop, changed = None, None
        if name != "original":
            mean, low, high = (field["drop"][key].number() for key in ("mean", "low", "high"))
            drop = Drop(mean=mean, low=low, high=high, largest=field["largest_drop"].number())
            changed = Means.read(field["labels_changed"], "classifiers")
        first, every = (Means.read(field[key], "classifiers") for key in ("of_first", "of_all"))
        return cls(name=name, first=first, every=every, drop=drop, changed=changed)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyResults:
    """Table 1: test images, copies of each rewriter and original, rows with "original" first."""

    images: int
    copies: int
    rows: tuple[AccuracyRow, ...]

    @classmethod
    def read(cls, field: Field) -> Self:
        """Read the results of Table 1."""
        rows = field["rows"]
        names = ["original", *(name for name, _ in rows.items() if name != "original")]
        return cls(
            images=field["images"].integer(),
            copies=field["copies"].integer(),
            rows=tuple(AccuracyRow.read(name, rows[name]) for name in names),
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Replication:
    """A rate over ordered pairs of one kind, and its companions.

    Attributes:
        rate: pooled, at s = 1.
        means: over pairs.
        conditioned: only where the victim is right on the clean image; as `boundary_conditioned`, `noise_conditioned`.
        end_to_end: of all attacked images.
        boundary: of the perturbations cut back to the attacker's boundary.
        noise: of random noise of equal norm.
        at: R(s).
    """

    rate: Rate
    means: Means
    conditioned: Rate
    end_to_end: Rate
    boundary: Rate
    boundary_conditioned: Rate
    noise: Rate
    noise_conditioned: Rate
    at: tuple[Point, ...]

    @classmethod
    def read(cls, parent: Field, key: str) -> Self:
        """Read the member `key`."""
        field = parent[key]
        names = ("conditioned", "end_to_end", "boundary", "boundary_conditioned", "noise", "noise_conditioned")
        return cls(
            rate=Rate.read(parent, key),
            means=Means.read(field, "pairs"),
            at=Point.read_all(field["at"], "s"),
            **{name: Rate.read(field, name) for name in names},
        )

    def at_scale(self, s: float) -> Rate | None:
        """R(s), None where it was not measured."""
        return next((point.rate for point in self.at if abs(point.at - s) < 1e-9), None)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AttackGroup:
    """One attack on the originals, or on all copies of one rewriter.

    Attributes:
        name: `INDEPENDENT` or a rewriter.
        attackers, images: how many of each.
        success, means: of the attacks on the attacker's own copy, pooled and over attackers.
        kinds: "identical", and where there are such pairs "rewriting" and "training".
        distance, overshoot, queries: of successes (queries: of attempts).
        total_queries: over all images.
        seconds: of the attacks, added up over processes.
        speed: queries a second over what the original alone labels in that time, beside them; None if not measured.
    """

    name: str
    attackers: int
    images: int
    success: Rate
    means: Means
    kinds: Mapping[str, Replication]
    distance: Spread
    overshoot: Spread
    queries: Spread
    total_queries: int
    seconds: float
    speed: float | None

    @classmethod
    def read(cls, name: str, field: Field) -> Self:
        """Read a group."""
        asked, raw = (field[name].measured() for name in ("queries_per_second", "raw_queries_per_second"))
        kinds = ["identical", *(kind for kind in ("rewriting", "training") if field.optional(kind) is not None)]
        return cls(
            name=name,
            attackers=field["attackers"].integer(),
            images=field["images"].integer(),
            success=Rate.read(field, "success"),
            means=Means.read(field["success"], "attackers"),
            kinds={kind: Replication.read(field, kind) for kind in kinds},
            distance=Spread.read(field["distance"]),
            overshoot=Spread.read(field["overshoot"]),
            queries=Spread.read(field["queries"]),
            total_queries=field["queries"]["total"].integer(),
            seconds=field["seconds"].number(),
            speed=asked / raw if asked is not None and raw else None,
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AttackResults:
    """One attack: its settings, queries an image, and groups by name, `INDEPENDENT` first."""

    name: str
    settings: str
    queries: int
    groups: Mapping[str, AttackGroup]

    @classmethod
    def read(cls, name: str, field: Field) -> Self:
        """Read an attack."""
        groups = field["groups"]
        names = [INDEPENDENT, *(group for group, _ in groups.items() if group != INDEPENDENT)]
        return cls(
            name=name,
            settings=field["settings"].text(),
            queries=field["queries"].integer(),
            groups={group: AttackGroup.read(group, groups[group]) for group in names},
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationResults:
    """Table 2: copies of each rewriter and original, whether images were dealt out, attacks in the paper's order."""

    copies: int
    deal: bool
    attacks: tuple[AttackResults, ...]

    @classmethod
    def read(cls, field: Field) -> Self:
        """Read the results of Table 2."""
        attacks = field["attacks"]
        return cls(
            copies=field["copies"].integer(),
            deal=field["deal"].flag(),
            attacks=tuple(AttackResults.read(name, attacks[name]) for name in ATTACKS),
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CostRow:
    """What a further copy costs by one method.

    Attributes:
        name: `INDEPENDENT` or a rewriter.
        training_seconds, storage_bytes: of one copy.
        message_bytes: that its messages take in memory; None without messages.
        inference_ms: by batch size, what is added to the original's.
    """

    name: str
    training_seconds: float
    storage_bytes: float
    message_bytes: int | None
    inference_ms: Mapping[int, float]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CostResults:
    """Table 3: rows, the original's milliseconds by batch size, and how it was timed."""

    rows: tuple[CostRow, ...]
    original_ms: Mapping[int, float]
    device: str
    threads: int
    repeats: int
    training: str

    @classmethod
    def read(cls, field: Field) -> Self:
        """Read the results of Table 3."""
        rows = field["rows"]
        names = [INDEPENDENT, *(name for name, _ in rows.items() if name not in ("original", INDEPENDENT))]
        return cls(
            rows=tuple(_cost(name, rows[name]) for name in names),
            original_ms=_by_batch(rows["original"]["inference_ms"]),
            device=field["device"].text(),
            threads=field["threads"].integer(),
            repeats=field["repeats"].integer(),
            training=field["training"].text(),
        )


def _cost(name: str, field: Field) -> CostRow:
    messages = field.optional("message_bytes")
    return CostRow(
        name=name,
        training_seconds=field["training_seconds"].number(),
        storage_bytes=field["storage_bytes"].number(),
        message_bytes=None if messages is None else messages.integer(),
        inference_ms=_by_batch(field["additional_inference_ms"]),
    )


def _by_batch(field: Field) -> dict[int, float]:
    found = [(name, value.number()) for name, value in field.items() if name.isdecimal()]
    return {int(name): value for name, value in sorted(found, key=lambda pair: int(pair[0]))}
