"""What issuing and rotating met and left as it was: how many buyers, and why. Pure."""

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeAlias


class Noticed(StrEnum):
    """Why a buyer got no new copy."""

    REVOKED = "revoked"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    LATER = "later_epoch"
    NOT_ACTIVE = "not_active"
    NO_COPY = "no_copy"
    REACHED = "reached"
    EARLIER_SECRET = "earlier_secret"  # noqa: S105 (the name of a reason)


Tally: TypeAlias = Counter[Noticed]
"""How many buyers each reason held for; a buyer whom a file names twice may count twice."""

_SENTENCES: Final[Mapping[Noticed, tuple[str, str]]] = {
    Noticed.REVOKED: ("holds a revoked copy", "hold a revoked copy"),
    Noticed.SUPERSEDED: ("holds a superseded copy", "hold a superseded copy"),
    Noticed.EXPIRED: ("holds an expired copy", "hold an expired copy"),
    Noticed.LATER: ("has had a copy of a later epoch", "have had a copy of a later epoch"),
    Noticed.NOT_ACTIVE: ("holds no active copy", "hold no active copy"),
    Noticed.NO_COPY: ("was never issued a copy", "were never issued a copy"),
    Noticed.REACHED: ("has reached the epoch", "have reached the epoch"),
    Noticed.EARLIER_SECRET: (
        "keeps a copy that comes from an earlier seller's secret",
        "keep copies that come from an earlier seller's secret",
    ),
}

_ADVICE: Final[Mapping[Noticed, str]] = {
    Noticed.REVOKED: "for another one: variegate rotate --buyer NAME",
    Noticed.SUPERSEDED: "a later one was issued, or: variegate rotate --buyer NAME",
    Noticed.EXPIRED: "for a new one: variegate rotate",
    Noticed.LATER: "epochs only rise: variegate rotate",
    Noticed.NOT_ACTIVE: "for another one: variegate rotate --buyer NAME",
    Noticed.NO_COPY: "for a first one: variegate issue",
    Noticed.EARLIER_SECRET: "for new ones, if that secret leaked: variegate rotate",
}


def sentences(tally: Mapping[Noticed, int]) -> list[str]:
    """Return one line of text for each reason that held, such as "2 buyers hold a revoked copy and got none; ..."."""
    lines = []
    for reason in Noticed:
        if count := tally.get(reason, 0):
            one, many = _SENTENCES[reason]
            line = f"{count:,} {'buyer ' + one if count == 1 else 'buyers ' + many}"
            if reason is not Noticed.EARLIER_SECRET:
                line += " and got none"
            advice = _ADVICE.get(reason)
            lines.append(line if advice is None else f"{line}; {advice}")
    return lines
