"""The record of one attack on one target: what was asked, what was found, what it cost.

A hard-label attack sees labels alone and pays a query for each; a white-box attack sees the target's gradients.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self, final

from variegate.errors import FormatError
from variegate.report.fields import Field
from variegate.report.parts import Attacker, Efficiency, Rate, Spread, read_bounds
from variegate.types import Norm, Status

_KINDS = ("hard_label", "white_box")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class OracleSettings:
    """What stood between the attack and the target's labels.

    Attributes:
        jitter: the random change of each asked input, as the command line writes it; None without.
        votes: labels asked for one answer, which is their majority.
        levels: values that an input may take, such as 256 of 8-bit pictures; None where inputs are not rounded.
    """

    jitter: str | None
    votes: int
    levels: int | None

    @classmethod
    def read(cls, field: Field) -> Self:
        """Read the settings.

        Raises:
            FormatError: if a part is missing or wrong.
        """
        jitter, levels = field.nullable("jitter"), field.nullable("levels")
        return cls(
            jitter=None if jitter is None else jitter.text(),
            votes=field["votes"].integer(),
            levels=None if levels is None else levels.integer(),
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AttackRecord:
    """One attack on one target.

    Attributes:
        created, variegate, torch, source, command: when, with what code (`source` is its digest) and how it was run.
        seconds: wall-clock seconds of the whole run.
        target_name, target_digest, num_classes, input_shape: what was attacked.
        bounds: the interval of its input values, in which norms are measured.
        data_name, images: how many inputs were given, those that the target gets wrong among them.
        attack: its name.
        white_box: whether it saw gradients.
        parameters: its hyper-parameters as plain data.
        norm: "l2" or "linf".
        budget: queries an input, None without a limit.
        targeted, seed: as the attack was run.
        oracle: None where the target's labels were asked directly.
        outcome: counts, queries an input, norms and their progress.
        success: successes of the attempted inputs.
        confirmed: adversarials that the target gets wrong when asked once more, without votes; None where the record
            does not say, 0 of 0 where it was not asked.
        overshoot: spread of the fraction of each perturbation that lies past the boundary; None if never measured.
        overshoots: that fraction by success, None where it was not measured; empty if it never was.
        efficiency: what it cost.
        error: what ended the run early, None if nothing did.
    """

    created: str
    variegate: str
    torch: str
    source: str
    command: str
    seconds: float
    target_name: str
    target_digest: str
    num_classes: int
    input_shape: tuple[int, ...]
    bounds: tuple[float, float]
    data_name: str
    images: int
    attack: str
    white_box: bool
    parameters: Mapping[str, object]
    norm: str
    budget: int | None
    targeted: bool
    seed: int
    oracle: OracleSettings | None
    outcome: Attacker
    success: Rate
    confirmed: Rate | None
    overshoot: Spread | None
    overshoots: tuple[float | None, ...]
    efficiency: Efficiency
    error: str | None

    @property
    def statuses(self) -> Mapping[Status, int]:
        """Inputs by status, in the order of `Status`; those that no input has are left out."""
        return {status: found for status in Status if (found := self.outcome.status.get(status.value, 0))}

    @classmethod
    def read(cls, field: Field) -> Self:
        """Read an attack's record.

        Raises:
            FormatError: if a part is missing or wrong, or if the counts contradict each other.
        """
        target, data, attack, outcome = field["target"], field["data"], field["attack"], field["outcome"]
        budget, oracle, error = attack.nullable("budget"), attack.nullable("oracle"), field.nullable("error")
        overshoot = outcome.optional("overshoot")
        record = cls(
            created=field["created"].text(),
            variegate=field["variegate"].text(),
            torch=field["torch"].text(),
            source=field["source"].text(),
            command=field["command"].text(),
            seconds=field["seconds"].number(),
            target_name=target["name"].text(),
            target_digest=target["digest"].text(),
            num_classes=target["num_classes"].integer(),
            input_shape=tuple(size.integer() for size in target["input_shape"].elements()),
            bounds=read_bounds(target["bounds"]),
            data_name=data["name"].text(),
            images=data["images"].integer(),
            attack=attack["name"].text(),
            white_box=attack["kind"].choice(*_KINDS) == "white_box",
            parameters=attack["parameters"].mapping(),
            norm=attack["norm"].choice(*Norm),
            budget=None if budget is None else budget.integer(),
            targeted=attack["targeted"].flag(),
            seed=attack["seed"].integer(),
            oracle=None if oracle is None else OracleSettings.read(oracle),
            outcome=Attacker.read(outcome),
            success=Rate.read(outcome, "attack_success_rate"),
            confirmed=None if outcome.optional("confirmed") is None else Rate.read(outcome, "confirmed"),
            overshoot=None if overshoot is None else Spread.read(overshoot),
            overshoots=() if overshoot is None else tuple(value.fraction() for value in overshoot["values"].elements()),
            efficiency=Efficiency.read(field["efficiency"]),
            error=None if error is None else error.text(),
        )
        record._check(outcome)
        return record

    def _check(self, field: Field) -> None:
        """Raise `FormatError` where the counts contradict each other."""
        outcome, known = self.outcome, [status.value for status in Status]
        for name in outcome.status:
            if name not in known:
                raise FormatError(
                    f"the record's field {field.name}.status must name {', '.join(known)}; got {name[:40]!r}"
                )
        distances, found = field.nullable("distances"), outcome.succeeded
        confirmed = self.confirmed.n if self.confirmed is not None and self.confirmed.n else found
        contradictions = (
            ("status counts {} inputs", sum(outcome.status.values()), "data.images", self.images),
            ("attack_success_rate.k is {}", self.success.k, "succeeded", found),
            ("attack_success_rate.n is {}", self.success.n, "attempted", outcome.attempted),
            ("confirmed.n is {}", confirmed, "succeeded", found),
            ("distances has {} values", found if distances is None else len(distances.elements()), "succeeded", found),
            ("overshoot has {} values", found if self.overshoot is None else len(self.overshoots), "succeeded", found),
        )
        for text, got, other, expected in contradictions:
            if got != expected:
                raise FormatError(
                    f"the record contradicts itself: {field.name}.{text.format(got)}, but {other} is {expected}"
                )
