"""The record of an audit of collusion, and the settings that Figure 5 of a reproduction shares with it."""

from collections.abc import Mapping
from typing import Literal

from variegate.records.base import Count, Data, Model, NormName, Part, Plain, Provenance, Rate, ScaleCurve

KINDS = {"B": "all_outputs", "C": "kept_outputs", "V": "validated_outputs"}
"""Outputs by the letter of their curves; "V" is not in the paper."""


class Outputs(Part):
    """What some outputs of colluders do to victims: rates as in Table 2, how many outputs, their median norm.

    `noise` is None and `replication_at` empty where that was not measured.
    """

    outputs: Count
    median_norm: float | None
    replication_rate: Rate
    replication_rate_conditioned: Rate
    replication_at: ScaleCurve = ()
    noise: Rate | None = None
    noise_conditioned: Rate | None = None


class Coalition(Part):
    """R colluders with one variant of the attack.

    Attributes:
        attack_success_rate: of the ensemble's attack.
        kept: of all attacked images, those with an output that fools every colluder, too; `kept_of_successes` of those
            where the attack succeeded.
        all_outputs, kept_outputs: what they do to victims.
        validated_outputs: the same of outputs that were lengthened until every colluder's copy was fooled.
        forward_rows, backward_rows: inputs that were classified and differentiated.
        asked_again, rounded: of the control, the rate of the kept outputs when queried again, and rounded to 8 bits.
    """

    variant: str
    r: Count
    attempted: Count
    attack_success_rate: Rate
    kept: Rate
    kept_of_successes: Rate | None = None
    all_outputs: Outputs
    kept_outputs: Outputs
    validated_outputs: Outputs | None = None
    forward_rows: Count | None = None
    backward_rows: Count | None = None
    attack_seconds: float | None = None
    asked_again: Rate | None = None
    rounded: Rate | None = None

    @property
    def outputs(self) -> Mapping[str, Outputs]:
        """By letter of `KINDS`, those that were measured."""
        found = {letter: getattr(self, kind) for letter, kind in KINDS.items()}
        return {letter: outputs for letter, outputs in found.items() if outputs is not None}


class Setting(Part):
    """Who colludes: setting 1, 2 or 3, the rewriter of its copies or None, and what was measured there."""

    setting: Count
    rewriter: str | None
    spec: Plain | None = None
    copies: tuple[str, ...] = ()
    largest: Count
    points: tuple[Coalition, ...]
    identical: tuple[Coalition, ...]

    @property
    def name(self) -> str:
        """As in the names of curves: "1", "2", "3-qim"."""
        return f"3-{self.rewriter}" if self.setting == 3 else str(self.setting)

    @property
    def variants(self) -> tuple[str, ...]:
        """Those measured, in their order."""
        return tuple(dict.fromkeys(point.variant for point in self.points))

    def of(self, variant: str) -> tuple[Coalition, ...]:
        """One variant by r."""
        return tuple(sorted((p for p in self.points if p.variant == variant), key=lambda point: point.r))

    @property
    def letters(self) -> tuple[str, ...]:
        """Of the outputs that were measured."""
        return tuple(letter for letter in KINDS if any(letter in point.outputs for point in self.points))


class CollusionAttack(Part):
    """The attack; `ensemble` is what colluders made of their copies (mean, log, vote), `budget` labels an image."""

    name: str
    parameters: Plain
    ensemble: str
    budget: Count | None
    norm: NormName
    seed: Count


class CollusionRecord(Provenance):
    """One audit of collusion: one model, one attack, several numbers of colluders.

    Attributes:
        trainings: how many independently trained originals there were.
        colluders: the numbers of colluders.
        victims: how many copies were shown what was found, at most.
        settings: who colluded, and what was measured.
    """

    kind: Literal["collusion"] = "collusion"
    model: Model
    data: Data
    attack: CollusionAttack
    trainings: Count
    colluders: tuple[Count, ...]
    victims: Count
    settings: tuple[Setting, ...]

    @property
    def title(self) -> str:
        """A heading."""
        return f"Collusion on {self.model.name}"
