"""The paper's claims, judged on the records, as plain rows."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from variegate.errors import FormatError
from variegate.experiments.paper.claims import Claim, Verdict, judge
from variegate.experiments.paper.paper import Row
from variegate.records.reproduction import AccuracyRow, ReproductionRecord
from variegate.report.blocks import Table
from variegate.report.formatting import NOTHING, count, number, percent, points, short_interval
from variegate.report.labels import estimate
from variegate.report.views.paper.tables import EXPERIMENT_TITLES

VERDICTS: tuple[Verdict, ...] = ("holds", "does not hold", "undecided")


def judge_all(records: Sequence[ReproductionRecord]) -> list[Claim]:
    """Every claim for which there is a record, in the order of the records.

    Raises:
        FormatError: a record lacks a number that a claim needs.
    """
    claims: list[Claim] = []
    for record in records:
        try:
            claims += judge(record)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise FormatError(
                f"the claims on the record of {record.experiment} cannot be judged: a number is missing or wrong "
                f"({error}); write it again with this version of variegate"
            ) from error
    return claims


MARKS: Mapping[Verdict, str] = {"holds": "\u2713", "does not hold": "\u2717", "undecided": "?"}
"""Verdicts as marks in a table's cells."""
LEGEND = (
    "Claims: what the paper says of the row, judged on our intervals. \u2713 holds, \u2717 does not hold, ? undecided; "
    "each with its numbers in the appendix."
)
_OF_ROW = {  # (rewriter or "", kind) -> how the claims on such a row of Table 2 begin
    ("qim", "rewriting"): ("QIM replicates",),
    ("permutation", "rewriting"): ("permutation replicates",),
    ("", "training"): ("with training and rewriting",),
    ("qim", "training"): ("QIM with training",),
}


def accuracy_marks(claims: Sequence[Claim], study: str, rows: Sequence[AccuracyRow]) -> list[str]:
    """The verdicts on each row of Table 1."""
    return [_marks(claims, "table1", study, (row.name,), ("",)) for row in rows]


def replication_marks(claims: Sequence[Claim], study: str, attack: str, rows: Sequence[Row]) -> list[str]:
    """The verdicts on each row of Table 2 under one attack."""
    return [
        _marks(
            claims,
            "table2",
            study,
            (attack, f"{attack}, {row.rewriter}"),
            _OF_ROW.get((row.rewriter or "", row.kind), ())
            + (_OF_ROW["", "training"] if row.rewriter and row.kind == "training" else ()),
        )
        for row in rows
    ]


def marked(table: Table, marks: Sequence[str]) -> Table:
    """A paired table with the marks of each of its rows in a last column."""
    texts = [text for mark in marks for text in (mark, "")]
    rows = tuple((*row, text) for row, text in zip(table.rows, texts, strict=True))
    return replace(table, columns=(*table.columns, "claims"), rows=rows)


def _marks(
    claims: Sequence[Claim], experiment: str, study: str, where: tuple[str, ...], starts: tuple[str, ...]
) -> str:
    found = (
        claim.verdict
        for claim in claims
        if (claim.experiment, claim.study) == (experiment, study)
        and claim.where in where
        and claim.text.removeprefix("ours: ").startswith(starts)
    )
    return " ".join(MARKS[verdict] for verdict in found) if starts else ""


def overview_table(claims: Sequence[Claim]) -> Table:
    """A row for each claim and study: how often it holds, and where."""
    rows = [
        (EXPERIMENT_TITLES[first.experiment], first.study, first.text, *(_where(members, one) for one in VERDICTS))
        for members in grouped(claims)
        for first in members[:1]
    ]
    return Table(
        title="The paper's claims on our records: how often each verdict, and where",
        columns=("", "data", "claim", *VERDICTS),
        rows=tuple(rows),
        labels=2,
    )


def grouped(claims: Sequence[Claim]) -> list[list[Claim]]:
    """Claims of one text on one study together, in the order of the first of them."""
    groups: dict[tuple[str, str, str], list[Claim]] = {}
    for claim in claims:
        groups.setdefault((claim.experiment, claim.study, claim.text), []).append(claim)
    return [*groups.values()]


def sentences(claims: Sequence[Claim]) -> list[str]:
    """A sentence for each claim, study and verdict, with the places where it is so."""
    return [
        f"{verdict}: {members[0].text} ({members[0].study}; {_where(members, verdict)})"
        for members in grouped(claims)
        for verdict in VERDICTS
        if any(claim.verdict == verdict for claim in members)
    ]


def counts(claims: Sequence[Claim]) -> str:
    """How many claims hold, do not hold, are undecided: of the paper's own, and of those that we put beside them."""
    said = []
    for papers, whose in ((True, ""), (False, "ours: ")):
        verdicts = [claim.verdict for claim in claims if claim.is_papers is papers]
        if verdicts or papers:
            said.append(whose + ", ".join(f"{one} {count(verdicts.count(one))}" for one in VERDICTS))
    return "; ".join(said)


def claims_table(claims: Sequence[Claim], title: str) -> Table:
    """A row for each claim with the numbers that it was judged by."""
    rows = tuple(
        (claim.verdict, claim.study, _title(claim.where), claim.text, _numbers(claim.numbers)) for claim in claims
    )
    return Table(title=title, columns=("verdict", "data", "where", "claim", "numbers"), rows=rows, labels=3)


def _where(members: Sequence[Claim], verdict: str) -> str:
    found = [_title(claim.where) for claim in members if claim.verdict == verdict]
    return f"{count(len(found))}: {'; '.join(filter(None, found))}".removesuffix(": ") if found else NOTHING


def _numbers(numbers: Mapping[str, Any]) -> str:
    """The numbers of a claim as words; what is of no known kind stands as it is."""
    if "drop" in numbers:
        drop = f"drop {points(numbers['drop'])} points ({points(numbers['low'])} to {points(numbers['high'])})"
        return f"{drop}, largest {points(numbers['largest'])}"
    if "r" in numbers:
        rates = zip(numbers["r"], numbers["rate"], numbers["low"], numbers["high"], numbers["n"], strict=True)
        shown = [f"r = {r}: {_rate(rate, low, high)}, n {count(n)}" for r, rate, low, high, n in rates]
        if "largest_rise" in numbers:
            shown.append(f"largest rise {points(numbers['largest_rise'])} points")
        return "; ".join(shown)
    if "mean" in numbers and "mean_low" in numbers:
        rest = {key: value for key, value in numbers.items() if not key.startswith("mean")}
        mean = estimate(numbers["mean"], numbers["mean_low"], numbers["mean_high"])
        return "; ".join(filter(None, [f"mean {mean}", *(f"{_title(k)} {_plain(v)}" for k, v in rest.items())]))
    return "; ".join(f"{_title(key)} {_plain(value)}" for key, value in numbers.items())


def _plain(value: object) -> str:
    if isinstance(value, Mapping):
        if "rate" in value and "n" in value:
            counts = f"{count(value['k'])}/{count(value['n'])}" if "k" in value else f"n {count(value['n'])}"
            return f"{_rate(value['rate'], value['low'], value['high'])}, {counts}"
        if "low" in value and "mean" in value:
            return estimate(value["mean"], value["low"], value["high"])
        return _numbers(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(f"({_plain(one)})" if isinstance(one, Mapping) else _plain(one) for one in value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return NOTHING if value is None else str(value)
    return number(float(f"{value:.4g}"))


def _rate(rate: float | None, low: float | None, high: float | None) -> str:
    ends = "" if low is None or high is None else f" ({short_interval(low, high)})"
    return f"{percent(rate)} %{ends}" if rate is not None else NOTHING


def _title(key: str) -> str:
    return key.replace("_", " ")
