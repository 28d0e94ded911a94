"""The record of a replication audit: one model, one attack, several groups of copies."""

import statistics
from typing import Literal, Self

from pydantic import Field, model_validator

from variegate.records.base import (
    Accuracy,
    Attacked,
    Count,
    CountedRate,
    Data,
    Efficiency,
    Model,
    NormCurve,
    NormName,
    Part,
    Plain,
    Provenance,
    Rate,
    ScaleCurve,
)

RATE_NAMES = (
    "attack_success_rate",
    "replication_rate",
    "replication_rate_conditioned",
    "replicated_same_rate",
    "end_to_end_rate",
)
"""The rates of a group, in the order in which every report shows them (definitions: `variegate.report.glossary`)."""


class AttackSettings(Part):
    """The attack and its budget."""

    name: str
    parameters: Plain
    budget: Count
    norm: NormName
    seed: Count


class Accuracies(Part):
    """Accuracy of the original (None where it was not measured) and of each copy whose accuracy was."""

    original: Accuracy | None
    copies: tuple[Accuracy, ...]


class GroupAttacks(Part):
    """One attack for each attacked copy, and how many adversarials these copies misclassify when queried again."""

    attackers: tuple[Attacked, ...]
    reverified: Count | None = None


class Rates(Part):
    """The rates of ADR 0004."""

    attack_success_rate: CountedRate
    replication_rate: CountedRate
    replication_rate_conditioned: CountedRate
    replicated_same_rate: CountedRate
    end_to_end_rate: CountedRate

    def __getitem__(self, name: str) -> Rate:
        rate: Rate = getattr(self, name)
        return rate


class Matrix(Part):
    """Which copy's adversarials fooled which other copy: counts, a row for each attacker, a column for each victim.

    Attributes:
        attackers, victims: names, or positions in the group's copies.
        replicated, n: counts; None where nothing was counted, as on the diagonal.
    """

    attackers: tuple[Count | str, ...]
    victims: tuple[Count | str, ...]
    replicated: tuple[tuple[Count | None, ...], ...]
    n: tuple[tuple[Count | None, ...], ...]

    @model_validator(mode="after")
    def _rectangular(self) -> Self:
        for name, rows in (("replicated", self.replicated), ("n", self.n)):
            if len(rows) != len(self.attackers) or any(len(row) != len(self.victims) for row in rows):
                raise ValueError(
                    f"{name} must have a row for each of {len(self.attackers)} attackers and a column for each of "
                    f"{len(self.victims)} victims"
                )
        for row, (counts, totals) in enumerate(zip(self.replicated, self.n, strict=True)):
            for column, (count, total) in enumerate(zip(counts, totals, strict=True)):
                if count is not None and count > (total or 0):
                    raise ValueError(f"replicated[{row}][{column}] must be at most n; got {count} and n = {total}")
        return self

    @property
    def own(self) -> tuple[tuple[bool, ...], ...]:
        """True where attacker and victim are the same copy."""
        return tuple(tuple(attacker == victim for victim in self.victims) for attacker in self.attackers)

    def fraction(self, row: int, column: int) -> float | None:
        """Replicated divided by n, None where there is nothing to divide."""
        replicated, n = self.replicated[row][column], self.n[row][column]
        return None if replicated is None or not n else replicated / n


class Group(Part):
    """Everything measured for one kind of copies.

    Attributes:
        name: "identical", "independent", "noise" or the rewriter's name.
        rewriter: the rewriter's spec as plain data, None for a control.
        copies: a label for each copy, the attackers' among them.
        attackers: positions of the attackers' copies.
        accuracy: None where it was not measured.
        attack: None where nothing was attacked.
        rates: by name.
        replication_at: victims fooled at x + s (x' - x), s ascending.
        noise_at: as replication_at, with random noise of the adversarials' norms in their place.
        replication_within: the security curve, norms ascending.
        matrix: attackers by victims, None where it was not measured.
    """

    name: str
    rewriter: Plain | None
    copies: tuple[str, ...]
    attackers: tuple[Count, ...] = ()
    accuracy: Accuracies | None
    attack: GroupAttacks | None
    rates: Rates
    replication_at: ScaleCurve
    noise_at: ScaleCurve = ()
    replication_within: NormCurve
    matrix: Matrix | None

    @model_validator(mode="after")
    def _named_copies(self) -> Self:
        named = () if self.matrix is None else (*self.matrix.attackers, *self.matrix.victims)
        if any(isinstance(each, int) and each >= len(self.copies) for each in named):
            raise ValueError(f"matrix must name copies below {len(self.copies)}, how many the group has")
        return self

    @property
    def attacks(self) -> tuple[Attacked, ...]:
        """The attacks; in the noise control those whose norms the noise has."""
        return () if self.attack is None else self.attack.attackers

    @property
    def original_accuracy(self) -> Accuracy | None:
        """Of the model before rewriting; None where it was not measured."""
        return None if self.accuracy is None else self.accuracy.original

    @property
    def copy_accuracies(self) -> tuple[Accuracy, ...]:
        """One for each copy whose accuracy was measured."""
        return () if self.accuracy is None else self.accuracy.copies

    @property
    def reverified(self) -> int | None:
        """How many adversarials the attackers' copies misclassify when queried again; None where not counted."""
        return None if self.attack is None else self.attack.reverified

    @property
    def attacked(self) -> tuple[Attacked, ...]:
        """The attacks on this group's copies: none for the noise control."""
        return () if self.name == "noise" else self.attacks

    @property
    def distances(self) -> tuple[float, ...]:
        """The norms of all adversarials of all attackers, in the record's norm."""
        return tuple(distance for attacked in self.attacks for distance in attacked.norms)

    @property
    def median_distance(self) -> float | None:
        """The median norm over all adversarials, or over the attackers' medians where no single norms are kept."""
        values = self.distances or tuple(a.distance.median for a in self.attacks if a.distance.median is not None)
        return statistics.median(values) if values else None

    def label(self, copy: int | str) -> str:
        """The label of a copy that the matrix names by position or by label."""
        return self.copies[copy] if isinstance(copy, int) else copy


class ReplicationRecord(Provenance):
    """One replication audit; `groups` have different names."""

    kind: Literal["replication"] = "replication"
    model: Model
    data: Data
    attack: AttackSettings
    groups: tuple[Group, ...] = Field(min_length=0)
    efficiency: Efficiency | None

    @model_validator(mode="after")
    def _different_names(self) -> Self:
        names = [group.name for group in self.groups]
        if len(set(names)) != len(names):
            raise ValueError(f"groups must have different names; got {', '.join(names)[:200]}")
        return self

    @property
    def title(self) -> str:
        """A heading."""
        return f"Replication on {self.model.name}"

    def group(self, name: str) -> Group | None:
        """The group called `name`, if the record has one."""
        return next((group for group in self.groups if group.name == name), None)
