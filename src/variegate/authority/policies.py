"""A policy: on what terms copies of an original are issued. Pure: no torch, no files.

A policy never changes once it is recorded: the copies that were issued under it refer to it by name.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Self, final

from variegate.errors import ConfigurationError, FormatError

POLICY_FORMAT: Final = 1

_MOST_SECONDS: Final = 100 * 366 * 86_400
_MOST_QUOTA: Final = 2**62


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """On what terms copies are issued.

    Attributes:
        spec: the name of the saved spec that copies are made with.
        spec_digest: its digest.
        max_label_change: the largest share of labels that a copy may change, 0 to 1; None for no limit.
        quota: how many queries a copy answers in its life; None for no limit.
        rate: queries a second that a copy answers; None for no limit.
        valid_seconds: how long a copy is valid from its issue on; None for ever.
        most_equal_partners: for the permutation rewriter, how many classes may have the same partner in a copy under
            this policy and any copy issued before it, at most; None for no limit. Copies under other terms keep no
            distance, neither from each other nor from these.
        forgettable: whether each copy's key also depends on a salt of its own, which can be erased.

    Raises:
        ConfigurationError: if a value is out of range.
    """

    spec: str
    spec_digest: str
    max_label_change: float | None = None
    quota: int | None = None
    rate: float | None = None
    valid_seconds: int | None = None
    most_equal_partners: int | None = None
    forgettable: bool = False

    def __post_init__(self) -> None:
        if self.max_label_change is not None and not 0.0 <= self.max_label_change <= 1.0:
            raise ConfigurationError(
                f"a policy's largest label change must be from 0 to 1; got {self.max_label_change}"
            )
        _check_whole("quota", self.quota, 1, _MOST_QUOTA)
        _check_whole("time of validity in seconds", self.valid_seconds, 1, _MOST_SECONDS)
        _check_whole("most equal partners", self.most_equal_partners, 0, 2**31 - 1)
        if self.rate is not None and not (math.isfinite(self.rate) and self.rate > 0.0):
            raise ConfigurationError(f"a policy's rate must be above 0 queries a second; got {self.rate}")

    def to_dict(self) -> dict[str, Any]:
        """Return the policy as a JSON object; `from_dict` is its inverse."""
        return {"format": POLICY_FORMAT, **{field.name: getattr(self, field.name) for field in fields(self)}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            FormatError: if it is not a policy, or of another format.
            ConfigurationError: if a value is out of range.
        """
        values = dict(data)
        if values.pop("format", None) != POLICY_FORMAT:
            raise FormatError(f"a policy's format must be {POLICY_FORMAT}; got {data.get('format')!r:.40}")
        names = {field.name for field in fields(cls)}
        if set(values) != names:
            odd = ", ".join(sorted(set(values) ^ names))
            raise FormatError(f"a policy must have the fields {', '.join(sorted(names))}; these differ: {odd}")
        return cls(**values)


def change_bound(record: Mapping[str, Any] | None) -> float | None:
    """Return the upper confidence bound of the label change that a calibration measured, or None if it says none."""
    chosen = [one for one in (record or {}).get("candidates", ()) if one.get("chosen")]
    bound = chosen[0].get("change_bound") if len(chosen) == 1 else None
    return float(bound) if isinstance(bound, int | float) else None


def check_policy(policy: Policy, *, rewriter: str, record: Mapping[str, Any] | None) -> None:
    """Check that a spec can be issued under a policy.

    Args:
        policy: the policy.
        rewriter: the spec's rewriter.
        record: of the spec's calibration, or None.

    Raises:
        ConfigurationError: if it cannot; the sentence says why.
    """
    if policy.most_equal_partners is not None and rewriter != "permutation":
        raise ConfigurationError(
            f"a distance between copies is kept for the permutation rewriter; the spec {policy.spec!r} is of "
            f"{rewriter!r}: leave it out"
        )
    if policy.max_label_change is None:
        return
    bound = change_bound(record)
    if bound is None:
        raise ConfigurationError(
            f"the spec {policy.spec!r} was not calibrated, so that nobody knows how many labels it changes; "
            "calibrate one (variegate calibrate), or leave the limit out"
        )
    if bound > policy.max_label_change:
        raise ConfigurationError(
            f"the spec {policy.spec!r} may change up to {bound:.2%} of the labels (95 % bound), more than the "
            f"{policy.max_label_change:.2%} that the policy allows; calibrate with a smaller --max-change"
        )


def _check_whole(what: str, value: object, low: int, high: int) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high):
        raise ConfigurationError(f"a policy's {what} must be a whole number from {low} to {high}; got {value!r:.40}")
