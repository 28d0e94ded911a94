"""What the paper claims of its tables and figures, judged on our records: holds, does not hold, or undecided.

A claim holds where the whole 95 % interval says so, does not hold where the whole interval says the contrary, and is
undecided between. "Less", "below" and "lowest" compare the intervals of two rates, which is stricter than a test of
their difference. That a rate rises gradually holds where the intervals of two neighbouring points leave no room for a
jump, and fails where they prove one.
Every claim carries the numbers that it was judged by. Those that begin with "ours: " put the paper's claim to places
that it does not look at, or does not claim it of: gradients at the boundary, other measures, readings, attacks and
variants, copies of one original.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

from variegate.records.base import Part, Rate
from variegate.records.reproduction import (
    INDEPENDENT,
    AccuracyResults,
    BindingResults,
    CollusionResults,
    CosineResults,
    Curve,
    CurvePoint,
    CurvePoints,
    Reading,
    ReplicationResults,
    ReproductionRecord,
)

Verdict = Literal["holds", "does not hold", "undecided"]

_OURS = "ours: "
_PAPERS_CURVES = frozenset({"B1", "B2", "C1", "C2"})
_MOST_DROP = 0.02
_NEAR_ZERO = 0.1  # of a cosine
_GRADUAL = 0.25  # the largest rise of a rate by one more colluder
_A_LITTLE = 0.5  # of G1's mean change: how far "a little above" may be


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One claim on one study.

    Attributes:
        experiment: the record that it is judged by.
        study: the data set.
        text: the claim.
        where: attack, curve or rewriter, if there are several.
        verdict: what the numbers say.
        numbers: what it was judged by.
    """

    experiment: str
    study: str
    text: str
    where: str
    verdict: Verdict
    numbers: Mapping[str, Any]

    @property
    def is_papers(self) -> bool:
        """Whether the paper says so itself, of this place."""
        return not self.text.startswith(_OURS)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "experiment": self.experiment,
            "study": self.study,
            "text": self.text,
            "where": self.where,
            "verdict": self.verdict,
            "numbers": dict(self.numbers),
        }


def judge(record: ReproductionRecord[Any]) -> list[Claim]:
    """Judge every claim on a record, study by study; of each study the paper's own come first."""
    return [
        claim
        for study in record.studies
        for claim in sorted(judge_results(study.name, study.results), key=lambda claim: not claim.is_papers)
    ]


def judge_results(study: str, results: Part) -> Iterator[Claim]:
    """Judge every claim on what one study measured; there is none on costs."""
    if isinstance(results, AccuracyResults):
        yield from _table1(study, results)
    elif isinstance(results, ReplicationResults):
        yield from _table2(study, results)
    elif isinstance(results, CosineResults):
        yield from _fig3(study, results)
    elif isinstance(results, BindingResults):
        yield from _fig4(study, results)
    elif isinstance(results, CollusionResults):
        yield from _fig5(study, results.curves)


def _table1(study: str, results: AccuracyResults) -> Iterator[Claim]:
    for name, row in results.rows.items():
        drop = row.drop
        if drop is None:
            continue
        text = "accuracy falls by less than two points"
        yield Claim(
            experiment="table1",
            study=study,
            text=text,
            where=name,
            verdict=_verdict(drop.high < _MOST_DROP, drop.low >= _MOST_DROP),
            numbers={"drop": drop.mean, "low": drop.low, "high": drop.high, "largest": row.largest_drop},
        )


def _table2(study: str, results: ReplicationResults) -> Iterator[Claim]:
    for found in results.attacks.ordered:
        attack = found.name
        groups = {name: group.kinds for name, group in found.groups.items()}
        trained = groups[INDEPENDENT].get("training")
        if "qim" in groups and trained is not None:
            text = f"{'' if attack == 'hopskipjump' else _OURS}QIM replicates less than independent training"
            yield _below("table2", study, text, attack, groups["qim"]["rewriting"], trained)
        if "permutation" in groups:
            text = "permutation replicates less than identical copies"
            identical = groups["permutation"]["identical"]
            yield _below("table2", study, text, attack, groups["permutation"]["rewriting"], identical)
        for name, kinds in groups.items():
            if name == INDEPENDENT or "training" not in kinds or trained is None:
                continue
            text = "with training and rewriting, less replicates than with either alone"
            yield _below("table2", study, text, f"{attack}, {name}", kinds["training"], kinds["rewriting"], trained)
        if "training" in groups.get("qim", {}):
            others = [
                kinds[kind]
                for name, kinds in groups.items()
                for kind in ("rewriting", "training")
                if kind in kinds and (name, kind) != ("qim", "training")
            ]
            text = "QIM with training is the lowest of the column"
            yield _below("table2", study, text, attack, groups["qim"]["training"], *others)


def _fig3(study: str, results: CosineResults) -> Iterator[Claim]:
    for place in results.places:
        where = place.place + (f", noise {place.sigma:g}" if place.sigma else "")
        for name, curves in place.rewriters.items():
            clean = place.place == "clean"
            h1, h2, h3 = place.H1, curves.H2, curves.H3
            if name == "qim":
                text = f"{'' if clean else _OURS}H2 lies near 0: peak and mean within 0.1"
                yield _near_zero(study, text, f"{name}, {where}", h2)
            text = f"{'' if clean and name == 'qim' else _OURS}H2 is on average below H1"
            yield _lower(study, text, f"{name}, {where}", h2, h1)
            text = f"{'' if clean and name != 'permutation' else _OURS}H3 is on average below H2"
            yield _lower(study, text, f"{name}, {where}", h3, h2)


def _near_zero(study: str, text: str, where: str, curve: Curve) -> Claim:
    numbers = _numbers(curve, "n", "mean", "mean_low", "mean_high", "peak", "zero_gradients")
    holds = fails = False
    if curve.peak is not None and curve.mean_low is not None and curve.mean_high is not None:
        peaked = abs(curve.peak) < _NEAR_ZERO
        holds = peaked and curve.mean_low > -_NEAR_ZERO and curve.mean_high < _NEAR_ZERO
        fails = curve.mean_low >= _NEAR_ZERO or curve.mean_high <= -_NEAR_ZERO
    return Claim(
        experiment="fig3", study=study, text=text, where=where, verdict=_verdict(holds, fails), numbers=numbers
    )


def _lower(study: str, text: str, where: str, one: Curve, other: Curve) -> Claim:
    """Judge whether the mean of a curve is below that of another."""
    shown = ("n", "mean", "mean_low", "mean_high")
    return Claim(
        experiment="fig3",
        study=study,
        text=text,
        where=where,
        verdict=_verdict(_less(one.mean_high, other.mean_low), _less(other.mean_high, one.mean_low)),
        numbers={"mean": _numbers(one, *shown), "other": _numbers(other, *shown)},
    )


def _fig4(study: str, results: BindingResults) -> Iterator[Claim]:
    nearest = results.nearest_to_the_paper
    for measure, curves in results.measures.items():
        if curves.permutation is None:
            continue
        for reading, partner in curves.readings.items():
            near = (measure, reading) == (nearest.measure, nearest.reading)
            where = measure if reading == nearest.reading else f"{measure}, partner {reading}"
            yield from _partner(study, "" if near else _OURS, where, curves.permutation.G1, partner)


def _partner(study: str, ours: str, where: str, g1: Curve, partner: Reading) -> Iterator[Claim]:
    """Judge one reading of the partner: its change beside that of the attacked class."""
    gap, g2 = partner.G2_minus_G1, partner.G2
    numbers = {"G2_minus_G1": gap.to_dict(), "G1": g1.mean, "G2": g2.mean, "G2_low": g2.mean_low}
    above = below = little = much = False
    if gap.low is not None and gap.high is not None and g2.mean_high is not None and g2.mean_low is not None:
        room = _A_LITTLE * abs(g1.mean or 0.0)
        above, below = gap.low > 0.0, gap.high < 0.0
        little = above and gap.high < room and g2.mean_high < 0.0
        much = gap.low > room or g2.mean_low > 0.0 or below
    yield Claim(
        experiment="fig4",
        study=study,
        text=f"{ours}G2 is on average above G1",
        where=where,
        verdict=_verdict(above, below),
        numbers=numbers,
    )
    yield Claim(
        experiment="fig4",
        study=study,
        text=f"{ours}G2 is only a little above G1, and negative like it",
        where=where,
        verdict=_verdict(little, much),
        numbers=numbers,
    )


def _fig5(study: str, curves: Mapping[str, CurvePoints]) -> Iterator[Claim]:
    for name, curve in curves.items():
        if len(curve.r) < 2 or "stripped" in name:
            continue  # what is stripped does not depend on r
        rate, low, high = (
            [value for value in values if value is not None] for values in (curve.rate, curve.low, curve.high)
        )
        known = len(rate) == len(low) == len(high) == len(curve.r)
        numbers = {key: list(getattr(curve, key)) for key in ("r", "rate", "low", "high", "n")}
        ours = "" if name in _PAPERS_CURVES else _OURS
        text = f"{ours}replication rises from r = {curve.r[0]} to r = {curve.r[-1]}"
        yield Claim(
            experiment="fig5",
            study=study,
            text=text,
            where=name,
            verdict=_verdict(known and low[-1] > high[0], known and high[-1] < low[0]),
            numbers=numbers,
        )
        if known:
            least, most = _rises(curve.r, high, low), _rises(curve.r, low, high)
            yield Claim(
                experiment="fig5",
                study=study,
                text=f"{ours}no further colluder raises replication by 25 points or more",
                where=name,
                verdict=_verdict(max(most) < _GRADUAL, max(least) >= _GRADUAL),
                numbers={**numbers, "largest_rise": max(_rises(curve.r, rate, rate))},
            )
    for letter in ("B", "C"):
        yield from _rewriting_helps(study, letter, curves)


def _rises(colluders: Sequence[int], before: Sequence[float], after: Sequence[float]) -> list[float]:
    """How much each step along a curve rises, for one more colluder, from one of its bounds to another."""
    steps = itertools.pairwise(range(len(colluders)))
    return [(after[j] - before[i]) / (colluders[j] - colluders[i]) for i, j in steps]


def _rewriting_helps(study: str, letter: str, curves: Mapping[str, CurvePoints]) -> Iterator[Claim]:
    """Judge, at the largest r of both, whether copies of independent trainings replicate less than these alone."""
    alone, rewritten = curves.get(f"{letter}1"), curves.get(f"{letter}2")
    if alone is None or rewritten is None or not (common := set(alone.r) & set(rewritten.r)):
        return
    r = max(common)
    text = "rewriting and training together replicate less than training alone, at the most colluders"
    yield _below("fig5", study, text, f"{letter}2 below {letter}1 at r = {r}", rewritten.point(r), alone.point(r))


def _below(
    experiment: str, study: str, text: str, where: str, one: Rate | CurvePoint, *others: Rate | CurvePoint
) -> Claim:
    """Judge whether the rate `one` is below every other rate."""
    numbers: dict[str, Any] = {"rate": _short(one), "others": [_short(other) for other in others]}
    known = all(each.n for each in (one, *others))
    holds = known and all(_less(one.high, other.low) for other in others)
    fails = known and any(_less(other.high, one.low) for other in others)
    return Claim(
        experiment=experiment, study=study, text=text, where=where, verdict=_verdict(holds, fails), numbers=numbers
    )


def _short(rate: Rate | CurvePoint) -> dict[str, Any]:
    """The numbers of a rate; those of a curve's point have no count k."""
    return _numbers(rate, "rate", *(("k",) if isinstance(rate, Rate) else ()), "n", "low", "high")


def _numbers(part: object, *names: str) -> dict[str, Any]:
    """Return some fields of a part of a record."""
    return {name: getattr(part, name) for name in names}


def _less(one: float | None, other: float | None) -> bool:
    """Return whether the first is known to be less than the second."""
    return one is not None and other is not None and one < other


def _verdict(holds: bool, fails: bool) -> Verdict:  # noqa: FBT001 (two facts)
    return "holds" if holds else "does not hold" if fails else "undecided"
