"""Which attack is ahead, and from how many queries on: medians of the norm, and the papers' claims, image by image.

All attacks run natively and batched on the same first correctly classified test images of trained models, untargeted,
with their default hyper-parameters or those given after a colon, one `HardLabelOracle` each. At q queries an image
counts with the smallest norm after a whole step within q queries (`AttackResult.trajectory`), so an attack with large
steps is seen a little late. GeoDA plans its iterations for its budget, so it is run once for each q, with that budget.
Attacks are compared with those of their norm; where an L-infinity attack is named, HopSkipJump also runs in L-infinity.

A claim "a is ahead of b" holds at q where the 95 % bootstrap interval over images of the median ratio a / b lies below
1, does not hold where it lies above 1, and is undecided else, or with fewer than 6 images in common.

Results are kept in a file of JSON lines, one for each attack: a run that was interrupted goes on where it stopped.
"""

import argparse
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, cast, final

import numpy as np
import torch

from benchmarks.models import Subject, shared_subject
from benchmarks.paired import (
    FEWEST,
    Floats,
    append_line,
    attack_code,
    failures,
    jsonable,
    kept_lines,
    median_interval,
    medians,
    ratios,
    stale_note,
)
from benchmarks.tables import print_table
from variegate.attacks.base import Attack, AttackResult
from variegate.attacks.catalog import find_attack, full_name, parse_parameters, plain_parameters
from variegate.attacks.driver import run_attack
from variegate.cli.options import split_pairs
from variegate.errors import ConfigurationError, OracleError
from variegate.oracles.hard_label import HardLabelOracle
from variegate.types import Norm

CHECKPOINTS = (250, 500, 1000, 2500, 5000, 10_000, 20_000)
Verdict = Literal["holds", "does not hold", "undecided"]

_ATTACKS = ("hopskipjump", "geoda", "cgba", "surfree", "boundary", "rays")
_KEYS = ("attack", "norm")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """That one attack is ahead of another at certain numbers of queries.

    Attributes:
        source: the paper that says so.
        ahead, behind: names of attacks.
        norm: in which they are compared.
        queries: where; those beyond the budget are left out.
    """

    source: str
    ahead: str
    behind: str
    norm: Norm
    queries: tuple[int, ...]


CLAIMS = (
    *(
        Claim(source="SurFree", ahead="surfree", behind=other, norm=Norm.L2, queries=(250, 500, 1000))
        for other in ("hopskipjump", "geoda")
    ),
    *(
        Claim(source="CGBA", ahead="cgba", behind=other, norm=Norm.L2, queries=(5000, 20_000))
        for other in ("hopskipjump", "geoda", "surfree", "boundary")
    ),
    Claim(source="RayS", ahead="rays", behind="hopskipjump", norm=Norm.LINF, queries=CHECKPOINTS),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--models", nargs="+", default=["cifar10-s0", "gtsrb-s0"])
    parser.add_argument("--images", type=int, default=2, help="correctly classified images a model (default: 2)")
    parser.add_argument("--queries", type=int, default=1000, help="budget for an image (default: 1000)")
    parser.add_argument(
        "--attacks",
        nargs="+",
        default=list(_ATTACKS),
        help="names in the catalog of attacks, or NAME:PARAMETER=VALUE,...",
    )
    parser.add_argument("--resamples", type=int, default=10_000, help="of the bootstrap over images")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("build/benchmarks"),
        help="folder for the results so far, ordering-MODEL.jsonl each (default: build/benchmarks)",
    )


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Attack what is not done yet, print, and return medians, intervals and verdicts."""
    for name in ("images", "queries", "resamples"):
        if getattr(options, name) < 1:
            raise ConfigurationError(f"--{name} must be at least 1; got {getattr(options, name)}")
    attacks = _variants(options.attacks)
    checkpoints = (*(q for q in CHECKPOINTS if q < options.queries), options.queries)
    results = {}
    for name in options.models:
        subject = shared_subject(options.shared, name, images=20 + 2 * options.images)
        chosen = subject.correct(options.images)
        path = options.work / f"ordering-{name}.jsonl"
        done = {key: entry for key, entry in kept_lines(path, _KEYS) if _is_of(entry, chosen, checkpoints, attacks)}
        for key, attack in attacks.items():
            if key not in done:
                done[key] = {**_attack(subject, chosen, attack, checkpoints), "attack": key[0]}
                append_line(path, done[key])
        results[name] = _summarise(name, chosen, checkpoints, {key: done[key] for key in attacks}, options.resamples)
    return {"rule": "the smallest norm after a whole step within q queries", "models": results}


def _variants(names: list[str]) -> dict[tuple[str, str], Attack]:
    """Return the attacks by name, with settings where there are some, and norm; all are made before anything runs."""
    found = {}
    for text in names:
        name, _, settings = text.partition(":")
        kind = find_attack(name)
        given = parse_parameters(kind, split_pairs(settings.split(",") if settings else [], "a setting"))
        found[full_name(name) + (f":{settings}" if settings else "")] = kind(**given)
    variants = {(name, attack.norm.value): attack for name, attack in found.items()}
    if "hopskipjump" in found and any(attack.norm is Norm.LINF for attack in found.values()):
        variants["hopskipjump", Norm.LINF.value] = find_attack("hopskipjump")(norm=Norm.LINF)
    return variants


def _is_of(
    entry: dict[str, Any],
    chosen: torch.Tensor,
    checkpoints: tuple[int, ...],
    attacks: dict[tuple[str, str], Attack],
) -> bool:
    """Whether a kept result is what would be measured now; the code's version is only told."""
    attack = attacks.get((entry["attack"], entry["norm"]))
    return (
        attack is not None
        and entry.get("images") == chosen.tolist()
        and tuple(entry["checkpoints"]) == checkpoints
        and entry.get("parameters") == plain_parameters(attack)
    )


def _attack(subject: Subject, chosen: torch.Tensor, attack: Attack, checkpoints: tuple[int, ...]) -> dict[str, Any]:
    started = time.perf_counter()
    if _plans(attack):
        kind = cast("Any", type(attack))
        runs = [_run(subject, chosen, kind(norm=attack.norm, max_queries=None), budget) for budget in checkpoints]
        best = torch.stack([_within(result, budget) for result, budget in zip(runs, checkpoints, strict=True)])
        spent = sum(result.queries for result in runs)
    else:
        result = _run(subject, chosen, attack, checkpoints[-1])
        runs, spent = [result], result.queries
        best = torch.stack([_within(result, queries) for queries in checkpoints])
    closest = [[None if value == float("inf") else value for value in row] for row in best.T.tolist()]
    return {
        "model": subject.name,
        "attack": attack.name,
        "norm": attack.norm.value,
        "parameters": plain_parameters(attack),
        "images": chosen.tolist(),
        "code": attack_code(),
        "checkpoints": list(checkpoints),
        "closest": closest,
        "status": [status.value for status in runs[-1].status],
        "queries": torch.as_tensor(spent).tolist(),
        "seconds": round(time.perf_counter() - started, 3),
    }


def _plans(attack: Attack) -> bool:
    """Whether an attack shares out a budget of its own, so that a shorter run is not the beginning of a longer one."""
    return {"norm", "max_queries"} <= {field.name for field in fields(cast("Any", type(attack)))}


def _run(subject: Subject, chosen: torch.Tensor, attack: Attack, budget: int) -> AttackResult:
    classifier = subject.classifier
    oracle = HardLabelOracle(
        classifier.predict,
        input_spec=classifier.input_spec,
        num_classes=classifier.num_classes,
        samples=len(chosen),
        budget=budget,
    )
    images, labels = subject.images[chosen], subject.labels[chosen]
    result = run_attack(attack, oracle, images, labels, seed=0, identities=chosen.tolist())
    if result.error is not None:  # an unfinished attack is not kept as if it were whole
        raise OracleError(f"{attack.name} on {subject.name} stopped early: {result.error}")
    return result


def _within(result: AttackResult, queries: int) -> torch.Tensor:
    """Return float32 (N,): each input's smallest norm within that many queries; infinite where there is none."""
    track = result.trajectory
    far = torch.full_like(track.distances, float("inf"))
    return torch.where(track.queries <= queries, track.distances, far).amin(0)


def _summarise(
    name: str,
    chosen: torch.Tensor,
    checkpoints: tuple[int, ...],
    done: dict[tuple[str, str], dict[str, Any]],
    resamples: int,
) -> dict[str, Any]:
    stale_note(name, (entry["code"] for entry in done.values()))
    closest = {key: np.array(entry["closest"], dtype=np.float64) for key, entry in done.items()}
    summary: dict[str, Any] = {"images": chosen.tolist(), "checkpoints": list(checkpoints), "attacks": []}
    for norm in Norm:
        table = []
        for key, values in closest.items():
            if key[1] != norm.value:
                continue
            middle = medians(values)
            ends = [
                median_interval(values[:, i], resamples=resamples, seed=queries)
                for i, queries in enumerate(checkpoints)
            ]
            table.append((key[0], *map(_cell, middle, ends), failures(values)))
            entry = done[key]
            summary["attacks"].append(
                {
                    **{field: entry[field] for field in (*_KEYS, "parameters", "code", "queries", "seconds")},
                    "median": middle,
                    "interval": [list(pair) for pair in ends],
                    "no_start": failures(values),
                    "closest": jsonable(values),
                }
            )
        if table:
            title = f"{name}: median {norm.value} norm within q queries (95 % bootstrap), {len(chosen)} images"
            print_table(title, ("attack", *(f"q={q}" for q in checkpoints), "no start"), table)
    summary["claims"] = _judge(name, checkpoints, closest, resamples)
    return summary


def _cell(value: float | None, ends: tuple[float | None, float | None]) -> str:
    shown = ["-" if number is None else f"{number:.3g}" for number in (value, *ends)]
    return f"{shown[0]} ({shown[1]} to {shown[2]})"


def _judge(
    name: str, checkpoints: tuple[int, ...], closest: dict[tuple[str, str], Floats], resamples: int
) -> list[dict[str, Any]]:
    judged = []
    every = [
        (claim, key[0])
        for claim in CLAIMS
        for key in closest
        if key[0].partition(":")[0] == claim.ahead and key[1] == claim.norm.value
    ]
    for claim, ahead in every:
        a, b = (closest.get((attack, claim.norm.value)) for attack in (ahead, claim.behind))
        for queries in claim.queries:
            if a is None or b is None or queries not in checkpoints:
                continue
            place = checkpoints.index(queries)
            found = ratios(a[:, place], b[:, place], resamples=resamples, seed=queries)
            judged.append(
                {
                    "source": claim.source,
                    "ahead": ahead,
                    "behind": claim.behind,
                    "norm": claim.norm.value,
                    "queries": queries,
                    **(found if found is not None else {"images": 0}),
                    "verdict": _verdict(found),
                }
            )
    if judged:
        print_table(
            f"{name}: is the first ahead? Medians of the ratios image by image, with 95 % bootstrap intervals",
            ("claim", "q", "images", "ratio", "interval", "verdict"),
            [(_claim_text(j), j["queries"], j["images"], *_ratio_cells(j), j["verdict"]) for j in judged],
        )
    return judged


def _verdict(found: dict[str, Any] | None) -> Verdict:
    if found is None or found["images"] < FEWEST:
        return "undecided"
    ratio = found["median_of_ratios"]
    return "holds" if ratio["high"] < 1.0 else "does not hold" if ratio["low"] > 1.0 else "undecided"


def _claim_text(judged: dict[str, Any]) -> str:
    return f"{judged['source']}: {judged['ahead']} before {judged['behind']}, {judged['norm']}"


def _ratio_cells(judged: dict[str, Any]) -> tuple[float | None, str]:
    ratio = judged.get("median_of_ratios")
    return (None, "-") if ratio is None else (ratio["value"], f"{ratio['low']:.3f} to {ratio['high']:.3f}")
