"""Buyers skipped by issue or rotate, counted by reason. Pure."""

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeAlias


class SkipReason(StrEnum):
    """Why a buyer got no new copy."""

    REVOKED = "revoked"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    LATER = "later_epoch"
    NOT_ACTIVE = "not_active"
    NO_COPY = "no_copy"
    REACHED = "reached"
    EARLIER_SECRET = "earlier_secret"  # noqa: S105 (the name of a reason)


Skipped: TypeAlias = Counter[SkipReason]
"""How many buyers each reason applies to; a buyer whom a file names twice may count twice."""

_SENTENCES: Final[Mapping[SkipReason, tuple[str, str]]] = {
    SkipReason.REVOKED: ("holds a revoked copy", "hold a revoked copy"),
    SkipReason.SUPERSEDED: ("holds a superseded copy", "hold a superseded copy"),
    SkipReason.EXPIRED: ("holds an expired copy", "hold an expired copy"),
    SkipReason.LATER: ("has had a copy of a later epoch", "have had a copy of a later epoch"),
    SkipReason.NOT_ACTIVE: ("holds no active copy", "hold no active copy"),
    SkipReason.NO_COPY: ("was never issued a copy", "were never issued a copy"),
    SkipReason.REACHED: ("has reached the epoch", "have reached the epoch"),
    SkipReason.EARLIER_SECRET: (
        "keeps a copy that comes from an earlier seller's secret",
        "keep copies that come from an earlier seller's secret",
    ),
}

_ADVICE: Final[Mapping[SkipReason, str]] = {
    SkipReason.REVOKED: "for another one: variegate rotate --buyer NAME",
    SkipReason.SUPERSEDED: "a later one was issued, or: variegate rotate --buyer NAME",
    SkipReason.EXPIRED: "for a new one: variegate rotate",
    SkipReason.LATER: "epochs only rise: variegate rotate",
    SkipReason.NOT_ACTIVE: "for another one: variegate rotate --buyer NAME",
    SkipReason.NO_COPY: "for a first one: variegate issue",
    SkipReason.EARLIER_SECRET: "for new ones, if that secret leaked: variegate rotate",
}


def sentences(skipped: Mapping[SkipReason, int]) -> list[str]:
    """Return one line of text for each reason that applies, such as "2 buyers hold a revoked copy and got none"."""
    lines = []
    for reason in SkipReason:
        if count := skipped.get(reason, 0):
            one, many = _SENTENCES[reason]
            line = f"{count:,} {'buyer ' + one if count == 1 else 'buyers ' + many}"
            if reason is not SkipReason.EARLIER_SECRET:
                line += " and got none"
            advice = _ADVICE.get(reason)
            lines.append(line if advice is None else f"{line}; {advice}")
    return lines
