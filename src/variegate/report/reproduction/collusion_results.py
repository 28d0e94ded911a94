"""What Figure 5 of a reproduction measured on one study: rates by setting, variant and number of colluders."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self, final

from variegate.report.fields import Field
from variegate.report.parts import Point, Rate

KINDS = {"B": "all_outputs", "C": "kept_outputs", "V": "validated_outputs"}
"""Outputs by the letter of their curves; "V" is not in the paper."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """What some outputs of colluders do to victims: rates as in Table 2, how many outputs, their median norm.

    `noise` is None and `at` empty where that was not measured.
    """

    outputs: int
    norm: float | None
    rate: Rate
    conditioned: Rate
    noise: Rate | None
    at: tuple[Point, ...]

    @classmethod
    def read(cls, field: Field) -> Self:
        """Read them."""
        noise, at = field.optional("noise"), field.optional("replication_at")
        return cls(
            outputs=field["outputs"].integer(),
            norm=field["median_norm"].measured(),
            rate=Rate.read(field, "replication_rate"),
            conditioned=Rate.read(field, "replication_rate_conditioned"),
            noise=None if noise is None else Rate.read(field, "noise"),
            at=() if at is None else Point.read_all(at, "s"),
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Coalition:
    """r colluders with one variant of the attack.

    Attributes:
        success: of the ensemble's attack.
        kept: of all attacked images, those with an output that fools every colluder, too.
        outputs: by letter of `KINDS`, those that were measured: "B" all outputs, "C" the kept ones, "V" those that
            were lengthened until every colluder's copy was fooled.
        rounded: of the control, the rate of the kept outputs rounded to 8 bits; None where it was not measured.
    """

    variant: str
    r: int
    attempted: int
    success: Rate
    kept: Rate
    outputs: Mapping[str, Outputs]
    rounded: Rate | None = None

    @classmethod
    def read(cls, field: Field) -> Self:
        """Read a coalition's results."""
        return cls(
            variant=field["variant"].text(),
            r=field["r"].integer(),
            attempted=field["attempted"].integer(),
            success=Rate.read(field, "attack_success_rate"),
            kept=Rate.read(field, "kept"),
            outputs={
                letter: Outputs.read(field[kind])
                for letter, kind in KINDS.items()
                if letter != "V" or field.optional(kind) is not None
            },
            rounded=None if field.optional("rounded") is None else Rate.read(field, "rounded"),
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Who colludes: setting 1, 2 or 3, the rewriter of its copies or None, and what was measured there."""

    number: int
    rewriter: str | None
    largest: int
    points: tuple[Coalition, ...]
    identical: tuple[Coalition, ...]

    @property
    def name(self) -> str:
        """As in the names of curves: "1", "2", "3-qim"."""
        return f"3-{self.rewriter}" if self.number == 3 else str(self.number)

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

    @classmethod
    def read(cls, field: Field) -> Self:
        """Read a setting."""
        rewriter = field.nullable("rewriter")
        return cls(
            number=field["setting"].integer(),
            rewriter=None if rewriter is None else rewriter.text(),
            largest=field["largest"].integer(),
            points=tuple(map(Coalition.read, field["points"].elements())),
            identical=tuple(map(Coalition.read, field["identical"].elements())),
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CollusionResults:
    """Figure 5: originals, attacked images, queries of the vote's attack, and the settings."""

    originals: int
    images: int
    vote_queries: int
    settings: tuple[Setting, ...]

    @classmethod
    def read(cls, field: Field) -> Self:
        """Read the results of Figure 5."""
        field["curves"].mapping()
        return cls(
            originals=field["originals"].integer(),
            images=field["images"].integer(),
            vote_queries=field["vote_queries"].integer(),
            settings=tuple(map(Setting.read, field["settings"].elements())),
        )
