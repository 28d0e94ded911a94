"""The record of an audit of collusion: what copies put together find, and what it does to other buyers' copies."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self, final

from variegate.report.fields import Field
from variegate.report.reproduction.collusion_results import Setting


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CollusionRecord:
    """One audit of collusion: one model, one attack, several numbers of colluders.

    Attributes:
        budget: labels that each image could cost, None for an attack on scores.
        ensemble: what the colluders made of their copies: "mean", "log" or "vote".
        trainings: how many independently trained originals there were.
        colluders: the numbers of colluders; victims: how many copies were shown what was found, at most.
        settings: who colluded, and what was measured.
    """

    created: str
    variegate: str
    torch: str
    source: str
    command: str
    seconds: float
    model_name: str
    model_digest: str
    data_name: str
    split: str
    images: int
    attack: str
    parameters: Mapping[str, object]
    ensemble: str
    budget: int | None
    norm: str
    seed: int
    trainings: int
    colluders: tuple[int, ...]
    victims: int
    settings: tuple[Setting, ...]

    @property
    def title(self) -> str:
        """A heading."""
        return f"Collusion on {self.model_name}"

    @classmethod
    def read(cls, field: Field) -> Self:
        """Read a record of kind "collusion".

        Raises:
            FormatError: if a part is missing or wrong.
        """
        model, data, attack = field["model"], field["data"], field["attack"]
        budget = attack.nullable("budget")
        return cls(
            created=field["created"].text(),
            variegate=field["variegate"].text(),
            torch=field["torch"].text(),
            source=field["source"].text(),
            command=field["command"].text(),
            seconds=field["seconds"].number(),
            model_name=model["name"].text(),
            model_digest=model["digest"].text(),
            data_name=data["name"].text(),
            split=data["split"].text(),
            images=data["images"].integer(),
            attack=attack["name"].text(),
            parameters=attack["parameters"].mapping(),
            ensemble=attack["ensemble"].text(),
            budget=None if budget is None else budget.integer(),
            norm=attack["norm"].text(),
            seed=attack["seed"].integer(),
            trainings=field["trainings"].integer(),
            colluders=tuple(each.integer() for each in field["colluders"].elements()),
            victims=field["victims"].integer(),
            settings=tuple(map(Setting.read, field["settings"].elements())),
        )
