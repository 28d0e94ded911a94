"""Claims follow the intervals: each verdict can come out each way."""

from typing import Any

import pytest

from tests.report.reproduction.samples import RESULTS, make_record
from variegate.evaluation.stats import wilson_rate
from variegate.experiments.paper.claims import Claim, judge
from variegate.experiments.paper.paper import ATTACKS
from variegate.records.load import parse_record


def _rate(k: int, n: int = 400) -> dict[str, Any]:
    return wilson_rate(k, n).to_dict()


def _judge(experiment: str, results: dict[str, Any]) -> list[Claim]:
    """The claims on a sample record whose results have these in place of its own."""
    record = make_record(experiment)
    record["studies"][0]["results"].update(results)
    return judge(parse_record(record))


def _one(experiment: str, results: dict[str, Any], text: str, where: str = "") -> Claim:
    claims = _judge(experiment, results)
    found = [claim for claim in claims if text in claim.text and where in claim.where]
    assert found, [(claim.text, claim.where) for claim in claims]
    return found[0]


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.001, 0.015, "holds"), (0.021, 0.03, "does not hold"), (0.01, 0.03, "undecided")],
)
def test_accuracy(low: float, high: float, verdict: str) -> None:
    rows = RESULTS["table1"]()["rows"]
    drop = {**rows["qim"]["drop"], "mean": (low + high) / 2, "low": low, "high": high}
    results = {"rows": {"original": rows["original"], "qim": {**rows["qim"], "drop": drop, "largest_drop": high}}}
    assert _one("table1", results, "less than two points").verdict == verdict


def _table2(**rates: dict[str, Any]) -> dict[str, Any]:
    kinds = {
        "independent": {"training": rates["independent"], "identical": _rate(400)},
        "permutation": {
            "rewriting": rates["permutation"],
            "training": rates["independent"],
            "identical": rates.get("identical", _rate(400)),
        },
        "qim": {"rewriting": rates["qim"], "training": rates["qim_training"], "identical": _rate(400)},
    }
    attacks = RESULTS["table2"]()["attacks"]
    for attack in attacks.values():
        sample = attack["groups"]
        attack["groups"] = {
            name: {**sample[name], **{kind: {**sample[name][kind], **rate} for kind, rate in of.items()}}
            for name, of in kinds.items()
        }
    return {"attacks": attacks}


@pytest.mark.parametrize(
    ("qim", "independent", "verdict"), [(4, 80, "holds"), (80, 4, "does not hold"), (40, 44, "undecided")]
)
def test_qim_against_independent_training(qim: int, independent: int, verdict: str) -> None:
    results = _table2(independent=_rate(independent), permutation=_rate(200), qim=_rate(qim), qim_training=_rate(qim))
    for attack in ATTACKS:
        assert _one("table2", results, "QIM replicates less", attack).verdict == verdict


def test_lowest_of_the_column_must_be_below_every_other() -> None:
    rates = {"independent": _rate(80), "permutation": _rate(200), "qim": _rate(60)}
    assert _one("table2", _table2(**rates, qim_training=_rate(4)), "the lowest").verdict == "holds"
    assert _one("table2", _table2(**rates, qim_training=_rate(55)), "the lowest").verdict == "undecided"
    assert _one("table2", _table2(**rates, qim_training=_rate(120)), "the lowest").verdict == "does not hold"
    nothing = {"rate": None, "k": 0, "n": 0, "low": None, "high": None, "interval": "wilson"}
    assert _one("table2", _table2(**rates, qim_training=nothing), "the lowest").verdict == "undecided"


def test_permutation_against_identical_copies() -> None:
    rates = {"independent": _rate(80), "qim": _rate(60), "qim_training": _rate(4)}
    below = _one("table2", _table2(**rates, permutation=_rate(200)), "less than identical")
    assert below.verdict == "holds"
    assert below.to_dict()["numbers"]["rate"]["k"] == 200
    same = _one("table2", _table2(**rates, permutation=_rate(400)), "less than identical")
    assert same.verdict == "undecided"


def _curve(mean: float, peak: float, half: float = 0.01) -> dict[str, Any]:
    return {
        **RESULTS["fig3"]()["places"][0]["H1"],
        "n": 100,
        "mean": mean,
        "mean_low": mean - half,
        "mean_high": mean + half,
        "peak": peak,
        "zero_gradients": 0,
    }


def _place(name: str, **curves: Any) -> dict[str, Any]:
    return {**RESULTS["fig3"]()["places"][0], "place": name, "H1": _curve(0.5, 0.6), "rewriters": curves}


@pytest.mark.parametrize(
    ("mean", "peak", "verdict"),
    [(0.03, 0.0, "holds"), (0.3, 0.0, "does not hold"), (0.03, 0.5, "undecided"), (0.095, 0.0, "undecided")],
)
def test_cosines_near_zero(mean: float, peak: float, verdict: str) -> None:
    curves = {"H2": _curve(mean, peak), "H3": _curve(0.0, 0.0)}
    place = _place("clean", qim=curves)
    assert _one("fig3", {"places": [place]}, "near 0").verdict == verdict
    assert _one("fig3", {"places": [place]}, "below H1").verdict == "holds"


@pytest.mark.parametrize(
    ("gap", "g2", "above", "little"),
    [
        ((0.1, 0.2), -0.85, "holds", "holds"),
        ((0.9, 1.1), 0.0, "holds", "does not hold"),
        ((-0.3, -0.1), -1.2, "does not hold", "does not hold"),
        ((-0.1, 0.1), -1.0, "undecided", "undecided"),
    ],
)
def test_binding(gap: tuple[float, float], g2: float, above: str, little: str) -> None:
    partner = {
        "G2": _curve(g2, g2),
        "G3": _curve(0.0, 0.0),
        "G2_minus_G1": {"n": 50, "mean": sum(gap) / 2, "low": gap[0], "high": gap[1]},
    }
    curves = {"G1": _curve(-1.0, -1.0), "added": partner, "receiving": partner}
    original = {"F1": _curve(-1.0, -1.0), "F2": _curve(0.0, 0.0)}
    nearest = {"measure": "logits", "reading": "added"}
    results = {
        "nearest_to_the_paper": nearest,
        "measures": {"logits": {"original": original, "permutation": curves}},
    }
    assert _one("fig4", results, "on average above").verdict == above
    assert _one("fig4", results, "only a little").verdict == little
    claims = _judge("fig4", results)
    assert [(claim.text[:6], claim.where) for claim in claims[::2]] == [
        ("G2 is ", "logits"),
        ("ours: ", "logits, partner receiving"),
    ]


def test_what_the_paper_does_not_look_at_is_marked() -> None:
    curves = {"H2": _curve(0.0, 0.0), "H3": _curve(0.0, 0.0)}
    places = [_place(place, qim=curves, permutation=curves) for place in ("clean", "boundary")]
    claims = _judge("fig3", {"places": places})
    assert {claim.where for claim in claims if not claim.text.startswith("ours: ")} == {"qim, clean"}
    spread = [{**places[0], "rewriters": {"spread_spectrum": curves}}]
    claims = _judge("fig3", {"places": spread})
    assert [claim.text for claim in claims] == ["H3 is on average below H2", "ours: H2 is on average below H1"]


def test_collusion() -> None:
    def curve(*hits: int) -> dict[str, Any]:
        rates = [_rate(k) for k in hits]
        keys = ("rate", "low", "high", "n")
        return {"r": list(range(1, len(hits) + 1)), **{key: [rate[key] for rate in rates] for key in keys}}

    gradual, jump, wide = curve(40, 80, 120, 160), curve(20, 40, 380, 390), curve(40, 120, 200)
    vote = {**curve(20, 300, 390), "r": [1, 3, 8]}
    results = {"curves": {"B1": gradual, "B2": jump, "C1": curve(40), "C2": wide, "B3-qim-vote": vote}}
    assert _one("fig5", results, "rises from", "B1").verdict == "holds"
    assert _one("fig5", results, "no further colluder", "B1").verdict == "holds"
    assert _one("fig5", results, "no further colluder", "B2").verdict == "does not hold"
    assert _one("fig5", results, "no further colluder", "C2").verdict == "undecided"
    assert _one("fig5", results, "ours: replication rises", "B3-qim-vote").verdict == "holds"
    assert (
        _one("fig5", results, "ours: no further colluder", "B3-qim-vote").verdict == "does not hold"
    )  # 70 points by two
    assert _one("fig5", results, "together replicate less", "B2 below B1 at r = 4").verdict == "does not hold"
    assert _one("fig5", {"curves": {"C1": jump, "C2": gradual}}, "together replicate less").verdict == "holds"
    assert not [c for c in _judge("fig5", results) if c.where == "C1"]
    assert _one("fig5", {"curves": {"B1": curve(160, 40)}}, "rises from").verdict == "does not hold"
