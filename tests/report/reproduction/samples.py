"""Synthetic records of `variegate reproduce`: numbers from closed formulas, no experiment behind them."""

import math
from typing import Any

from tests.report.conftest import wilson

Record = dict[str, Any]

REWRITERS = ("permutation", "spread_spectrum", "qim")
ATTACKS = {"boundary": 3000, "hopskipjump": 3000, "geoda": 2500}
SCALES = (1.0, 1.05, 1.1, 1.25, 1.5, 2.0)
RATES = {"independent": 0.06, "permutation": 0.35, "spread_spectrum": 0.5, "qim": 0.02}
SPECS: dict[str, Record] = {
    "permutation": {"rewriter": "permutation", "alpha": 0.8},
    "spread_spectrum": {"rewriter": "spread_spectrum", "strength": 0.2},
    "qim": {"rewriter": "qim", "messages_per_class": 16, "quantization_step": 0.1, "strength": 2.0},
}


def make_record(experiment: str, *, studies: tuple[str, ...] = ("cifar10",), preset: str = "laptop") -> Record:
    """One record, the same numbers for each study."""
    return {
        "format": 1,
        "kind": "reproduction",
        "experiment": experiment,
        "title": f"What {experiment} shows",
        "created": "2026-01-02T03:04:05+00:00",
        "variegate": "0.1.0",
        "source": "sha256:" + "89abcdef" * 8,
        "torch": "2.13.0",
        "python": "3.11.9",
        "command": f"variegate reproduce {experiment} --preset {preset}",
        "preset": preset,
        "made_by": [{"source": "sha256:" + "ab" * 32, "instructions": "AVX2", "threads": 1, "shards": 7}],
        "effort": {"name": preset, "copies": 5, "queries": ATTACKS, "smoothing": [0.01], "colluders": 8},
        "seconds": 754.0,
        "shards_computed_in_this_run": 12,
        "studies": [_study(name, experiment) for name in studies],
    }


def make_all(**options: Any) -> dict[str, Record]:
    """One record of each experiment."""
    return {name: make_record(name, **options) for name in RESULTS}


def _study(name: str, experiment: str) -> Record:
    search = {"search": "calibration, on training images", "inputs": 2048, "max_change": 0.02, "candidates": 12}
    return {
        "name": name,
        "originals": [f"sha256:{number}" + "123456789abcdef" * 4 for number in range(3)],
        "specs": SPECS,
        "test_limit": None,
        "seed": 0,
        "data_digest": "sha256:" + "fedcba98" * 8,
        "test_images": 10_000,
        "num_classes": 10,
        "input_shape": [3, 32, 32],
        "names": [f"net-{number}" for number in range(3)],
        "architectures": ["resnet11"] * 3,
        "device": "cpu",
        "notes": {"data": "recompressed as JPEG.", "specs": dict.fromkeys(REWRITERS, search)},
        "results": RESULTS[experiment](),
    }


def _spread(mean: float, sd: float, of: int) -> Record:
    return {"mean": mean, "sd": sd, "classifiers": of}


def _table1() -> Record:
    rows: Record = {"original": {"of_first": _spread(0.934, 0.002, 3), "of_all": _spread(0.934, 0.002, 3)}}
    for name, drop in (("permutation", 0.004), ("spread_spectrum", 0.021), ("qim", 0.031)):
        rows[name] = {
            "of_first": _spread(0.935 - drop, 0.001, 5),
            "of_all": _spread(0.934 - drop, 0.002, 15),
            "drop": {**_spread(drop, 0.001, 15), "low": drop - 0.002, "high": drop + 0.002},
            "largest_drop": drop + 0.003,
            "labels_changed": _spread(drop + 0.005, 0.001, 15),
        }
    return {"images": 10_000, "copies": 5, "rows": rows}


def _success(rate: float, n: int) -> Record:
    return {**wilson(round(rate * n), n), "mean": rate, "sd": 0.031, "attackers": 12, "least_n": 7}


def _replication(rate: float, n: int) -> Record:
    def one(p: float) -> Record:
        return wilson(round(min(1.0, p) * n), n)

    return {
        **one(rate),
        "mean": rate,
        "sd": 0.031,
        "pairs": 12,
        "least_n": 7,
        "conditioned": one(0.8 * rate),
        "end_to_end": one(0.95 * rate),
        "boundary": one(0.5 * rate),
        "boundary_conditioned": one(0.4 * rate),
        "noise": one(0.01),
        "noise_conditioned": one(0.002),
        "at": [{"s": s, "rate": one(rate * s**2), "conditioned": one(0.9 * rate * s**2)} for s in SCALES],
    }


def _table2() -> Record:
    attacks = {}
    for attack, queries in ATTACKS.items():
        groups = {}
        for name, rate in RATES.items():
            group = {
                "attackers": 3 if name == "independent" else 15,
                "images": 105,
                "success": _success(0.96, 105),
                "identical": _replication(1.0, 100),
                "training": _replication(rate / 2, 1000),
                "distance": {"p25": 0.2, "median": 0.31, "p75": 0.42},
                "overshoot": {"p25": 0.001, "median": 0.014, "p75": 0.03},
                "queries": {"p25": 2900.0, "median": 2980.0, "p75": 3000.0, "total": 312_000},
                "seconds": 61.0,
                "queries_per_second": 5115.0,
                "raw_queries_per_second": 5500.0,
            }
            groups[name] = group if name == "independent" else group | {"rewriting": _replication(rate, 400)}
        attacks[attack] = {"settings": "Settings()", "preset": "reproduction", "queries": queries, "groups": groups}
    return {"copies": 5, "deal": True, "attacks": attacks}


def _table3() -> Record:
    extra = {"permutation": 0.1, "spread_spectrum": 0.2, "qim": 0.3}
    rows: Record = {
        "original": {"inference_ms": {"1": 2.1, "256": 130.0}},
        "independent": {
            "training_seconds": 9500.0,
            "storage_bytes": 39_183_000,
            "additional_inference_ms": {"1": 0.0, "256": 0.0},
        },
    }
    for name, added in extra.items():
        rows[name] = {
            "training_seconds": 0.0,
            "storage_bytes": 155.25,
            "message_bytes": 15_624,
            "additional_inference_ms": {"1": added, "256": 10 * added},
        }
    return {
        "rows": rows,
        "device": "cpu",
        "threads": 2,
        "repeats": 20,
        "training": "one step times the steps of 200 epochs",
        "step_seconds": 0.12,
    }


def _curve(mean: float, sd: float, *, width: float = 1.0, shares: tuple[str, ...] = (), n: int = 500) -> Record:
    """A Gaussian on 41 points."""
    x = [width * (place - 20) / 20 for place in range(41)]
    density = [math.exp(-0.5 * ((at - mean) / sd) ** 2) / (sd * math.sqrt(2 * math.pi)) for at in x]
    half = 1.96 * sd / math.sqrt(n)
    return {
        "n": n,
        "images": n,
        "mean": mean,
        "mean_low": mean - half,
        "mean_high": mean + half,
        "sd": sd,
        **{
            key: mean + z * sd
            for key, z in (("q05", -1.64), ("q25", -0.67), ("median", 0), ("q75", 0.67), ("q95", 1.64))
        },
        "bandwidth": 0.05,
        "bandwidth_raised": False,
        "grid": {"low": -width, "high": width, "points": 41},
        "density": density,
        "peak": x[density.index(max(density))],
        **dict.fromkeys(shares, 0.25),
    }


def _fig3() -> Record:
    def cosine(mean: float, sd: float, zero: int = 0) -> Record:
        return _curve(mean, sd, shares=("share_small", "share_large")) | {"zero_gradients": zero}

    places = []
    for place, sigma in (("clean", 0.0), ("boundary", 0.0), ("smoothed", 0.01)):
        places.append(
            {
                "place": place,
                "sigma": sigma,
                "samples": 16 if sigma else 1,
                "images": 500,
                "without_boundary": 3 if place == "boundary" else 0,
                "saturated": {"o0": 0, "o1": 0},
                "norms": {},
                "H1": cosine(0.4, 0.2),
                "rewriters": {
                    "permutation": {"H2": cosine(0.95, 0.02), "H3": cosine(0.4, 0.2)},
                    "spread_spectrum": {"H2": cosine(0.3, 0.2, zero=5), "H3": cosine(0.1, 0.1)},
                    "qim": {"H2": cosine(0.01, 0.08), "H3": cosine(0.0, 0.05)},
                },
            }
        )
    return {"originals": [0, 1], "copies": [0, 1], "loss": "-log of the true class's score", "places": places}


def _fig4() -> Record:
    def curve(mean: float) -> Record:
        return _curve(mean, 2.0, width=8.0, shares=("share_negative",))

    def reading(mean: float) -> Record:
        gap = {"n": 500, "mean": mean + 4.0, "low": mean + 3.8, "high": mean + 4.2}
        return {"G2": curve(mean), "G3": curve(0.0), "G2_minus_G1": gap}

    measures = {
        name: {
            "original": {"F1": curve(-5.0), "F2": curve(0.1)},
            "permutation": {"G1": curve(-4.0), "added": reading(-3.5), "receiving": reading(0.0)},
        }
        for name in ("logits", "scores")
    }
    found = {"images": 70, "attempted": 70, "succeeded": 69, "queries_median": 2480.0, "distance_median": 0.9}
    return {
        "attack": "geoda",
        "settings": "GeoDA()",
        "preset": "reproduction",
        "queries": 2500,
        "nearest_to_the_paper": {"measure": "logits", "reading": "added"},
        "attacks": {"original": found, "permutation": found},
        "measures": measures,
    }


def _outputs(rate: float) -> Record:
    cell = wilson(round(rate * 400), 400)
    return {
        "outputs": 80,
        "median_norm": 0.25,
        "replication_rate": cell,
        "replication_rate_conditioned": wilson(round(0.9 * rate * 380), 380),
        "replication_at": [{"s": s, "rate": cell, "conditioned": cell} for s in (1.0, 1.5)],
        "noise": wilson(4, 400),
        "noise_conditioned": wilson(1, 380),
    }


def _validated(rate: float) -> Record:
    whole = _outputs(min(1.0, rate))
    return {name: whole[name] for name in list(whole)[:4]}


def _fig5() -> Record:
    settings, curves = [], {}
    whole, most = wilson(80, 80), wilson(72, 80)
    for number, rewriter, largest in ((1, None, 2), (2, "qim", 2), *((3, name, 4) for name in REWRITERS)):
        label, points = f"3-{rewriter}" if number == 3 else str(number), []
        for variant in ("mean", "log", "vote", *(() if rewriter is None else ("stripped",))):
            points += [
                {
                    "variant": variant,
                    "r": r,
                    "attempted": 80,
                    "attack_success_rate": whole,
                    "kept": most,
                    "kept_of_successes": most,
                    "all_outputs": _outputs(0.1 * r),
                    "kept_outputs": _outputs(0.12 * r),
                    "validated_outputs": _validated(0.2 * r),
                }
                for r in range(1, largest + 1, 3 if variant == "vote" else 1)
            ]
            mine = [point for point in points if point["variant"] == variant]
            for letter, kind in (("B", "all_outputs"), ("C", "kept_outputs"), ("V", "validated_outputs")):
                rates = [point[kind]["replication_rate"] for point in mine]
                curves[f"{letter}{label}" + ("" if variant == "mean" else f"-{variant}")] = {
                    "r": [point["r"] for point in mine],
                    **{key: [rate[key] for rate in rates] for key in ("rate", "low", "high", "n")},
                }
        settings.append(
            {
                "setting": number,
                "rewriter": rewriter,
                "spec": None,
                "copies": [],
                "largest": largest,
                "points": points,
                "identical": [{**points[0], "kept_outputs": _outputs(1.0)}],
            }
        )
    return {"originals": 3, "images": 80, "vote_queries": 3000, "settings": settings, "curves": curves}


RESULTS = {"table1": _table1, "table2": _table2, "table3": _table3, "fig3": _fig3, "fig4": _fig4, "fig5": _fig5}
