"""The record of a cross-check: the same images and budget for several engines, and whether they agree."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self, final

from variegate.report.fields import Field
from variegate.report.parts import Rate, Spread, read_bounds
from variegate.types import Norm

VERDICTS = ("success", "distance", "replication", "overshoot")
"""What two engines are compared by, in the order in which reports show it."""

_WORDS = ("agrees", "differs", "open")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Median:
    """A median over `n` images with its 95 % interval; None where there was nothing, or too little, to go by."""

    value: float | None
    low: float | None
    high: float | None
    n: int

    @classmethod
    def read(cls, field: Field) -> Self:
        """Read a median.

        Raises:
            FormatError: if a part is missing.
        """
        value, low, high = (field[name].measured() for name in ("value", "low", "high"))
        return cls(value=value, low=low, high=high, n=field["n"].integer())


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What one implementation of an attack found.

    Attributes:
        name: of the engine: "art", "variegate, paper", ...
        success: of the attacked images.
        replication: of what was found, over victims and images.
        queries: an image, all within the budget.
        distance, overshoot: of what was found; the overshoot as a fraction of the perturbation.
    """

    name: str
    success: Rate
    replication: Rate
    queries: Spread
    distance: Median
    overshoot: Median

    @classmethod
    def read(cls, field: Field) -> Self:
        """Read an engine.

        Raises:
            FormatError: if a part is missing or wrong.
        """
        return cls(
            name=field["name"].text(),
            success=Rate.read(field["rates"], "attack_success_rate"),
            replication=Rate.read(field["rates"], "replication_rate"),
            queries=Spread.read(field["attack"]["queries"]),
            distance=Median.read(field["median_distance"]),
            overshoot=Median.read(field["median_overshoot"]),
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two engines on the same images: the ratio of norms, ours over theirs, and a verdict for each of `VERDICTS`."""

    ours: str
    theirs: str
    ratio: Median
    verdicts: Mapping[str, str]

    @classmethod
    def read(cls, field: Field) -> Self:
        """Read a comparison.

        Raises:
            FormatError: if a part is missing, or a verdict is none of "agrees", "differs" and "open".
        """
        return cls(
            ours=field["ours"].text(),
            theirs=field["theirs"].text(),
            ratio=Median.read(field["distance_ratio"]),
            verdicts={name: field["verdicts"][name].choice(*_WORDS) for name in VERDICTS},
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedAttack:
    """One attack by all engines that have it."""

    name: str
    engines: tuple[Engine, ...]
    comparisons: tuple[Comparison, ...]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CrossCheckRecord:
    """One cross-check.

    Attributes:
        created, variegate, torch, source, command: when, with what code (`source` is its digest) and how it was run.
        seconds: wall-clock seconds of the whole run.
        target_name, target_digest, bounds: what was attacked, and the interval of its input values.
        victims: the names of the copies to which the results were shown.
        data_name, split, images: what was attacked.
        budget: queries an image.
        norm: "l2" or "linf".
        libraries: versions by name, None where unknown.
        attacks: in the order of the record.
    """

    created: str
    variegate: str
    torch: str
    source: str
    command: str
    seconds: float
    target_name: str
    target_digest: str
    bounds: tuple[float, float]
    victims: tuple[str, ...]
    data_name: str
    split: str
    images: int
    budget: int
    norm: str
    seed: int
    libraries: Mapping[str, str | None]
    attacks: tuple[CheckedAttack, ...]

    @property
    def title(self) -> str:
        """A heading."""
        return f"Cross-check on {self.target_name}"

    @classmethod
    def read(cls, field: Field) -> Self:
        """Read a cross-check's record.

        Raises:
            FormatError: if a part is missing or wrong.
        """
        target, data = field["target"], field["data"]
        libraries = {name: None if each.value is None else each.text() for name, each in field["libraries"].items()}
        return cls(
            created=field["created"].text(),
            variegate=field["variegate"].text(),
            torch=field["torch"].text(),
            source=field["source"].text(),
            command=field["command"].text(),
            seconds=field["seconds"].number(),
            target_name=target["name"].text(),
            target_digest=target["digest"].text(),
            bounds=read_bounds(target["bounds"]),
            victims=tuple(name.text() for name in field["victims"].elements()),
            data_name=data["name"].text(),
            split=data["split"].text(),
            images=data["images"].integer(),
            budget=field["budget"].integer(),
            norm=field["norm"].choice(*Norm),
            seed=field["seed"].integer(),
            libraries=libraries,
            attacks=tuple(
                CheckedAttack(
                    name=attack["name"].text(),
                    engines=tuple(map(Engine.read, attack["engines"].elements())),
                    comparisons=tuple(map(Comparison.read, attack["comparisons"].elements())),
                )
                for attack in field["attacks"].elements()
            ),
        )
