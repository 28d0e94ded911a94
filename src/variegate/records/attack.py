"""The record of one attack on one target: what was queried, what was found, what it cost."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import model_validator

from variegate.records.base import Attacked, Bounds, Count, Efficiency, NormName, Part, Plain, Provenance, Rate
from variegate.types import Status

_STATUSES = tuple(status.value for status in Status)


class Target(Part):
    """What was attacked; norms are measured within its bounds."""

    name: str
    digest: str
    num_classes: Count
    input_shape: tuple[Count, ...]
    bounds: Bounds


class Inputs(Part):
    """How many inputs were given, those among them that the target gets wrong."""

    name: str
    images: Count


class OracleSettings(Part):
    """What stood between the attack and the target's labels.

    Attributes:
        jitter: the random change of each query, as the command line writes it; None without.
        votes: labels queried for one answer, which is their majority.
        levels: values that an input may take, such as 256 of 8-bit pictures; None where inputs are not rounded.
    """

    jitter: str | None
    votes: Count
    levels: Count | None


class AttackRun(Part):
    """The attack as it was run.

    Attributes:
        kind: a hard-label attack sees labels alone; a white-box attack sees the target's gradients.
        budget: queries an input, None without a limit.
        oracle: None where the target's labels were queried directly.
    """

    name: str
    kind: Literal["hard_label", "white_box"]
    parameters: Plain
    norm: NormName
    budget: Count | None
    targeted: bool
    seed: Count
    oracle: OracleSettings | None


class Outcome(Attacked):
    """Counts, queries an input, norms and their progress.

    Attributes:
        attack_success_rate: successes of the attempted inputs.
        confirmed: adversarials that the target gets wrong when queried once more, without votes; None where the record
            does not say, 0 of 0 where it was not queried.
    """

    attack_success_rate: Rate
    confirmed: Rate | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if unknown := [name for name in self.status if name not in _STATUSES]:
            raise ValueError(f"status must name {', '.join(_STATUSES)}; got {unknown[0][:40]!r}")
        found = self.succeeded
        contradictions = (
            ("attack_success_rate.k", self.attack_success_rate.k, "succeeded", found),
            ("attack_success_rate.n", self.attack_success_rate.n, "attempted", self.attempted),
            ("confirmed.n", self.confirmed.n if self.confirmed and self.confirmed.n else found, "succeeded", found),
            ("the length of distances", found if self.distances is None else len(self.distances), "succeeded", found),
            ("the length of overshoot", len(self.overshoot.values) if self.overshoot else found, "succeeded", found),
        )
        for name, got, other, expected in contradictions:
            if got != expected:
                raise ValueError(f"{name} contradicts {other}: it is {got}, but {other} is {expected}")
        return self


class AttackRecord(Provenance):
    """One attack on one target; `error` says what ended it early, None if nothing did."""

    kind: Literal["attack"] = "attack"
    target: Target
    data: Inputs
    attack: AttackRun
    outcome: Outcome
    efficiency: Efficiency
    error: str | None

    @model_validator(mode="after")
    def _every_input_has_a_status(self) -> Self:
        if (counted := sum(self.outcome.status.values())) != self.data.images:
            raise ValueError(f"outcome.status must count the {self.data.images} inputs of data.images; got {counted}")
        return self

    @property
    def white_box(self) -> bool:
        """Whether the attack saw gradients."""
        return self.attack.kind == "white_box"

    @property
    def statuses(self) -> Mapping[Status, int]:
        """Inputs by status, in the order of `Status`; those that no input has are left out."""
        return {status: found for status in Status if (found := self.outcome.status.get(status.value, 0))}
