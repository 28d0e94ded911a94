"""What a record did differently from the paper, as numbers. Why results differ: docs/results/deviations.md."""

from collections.abc import Mapping, Sequence

from variegate.experiments.paper.paper import TABLE1, effort_of
from variegate.records.reproduction import (
    AccuracyResults,
    BindingResults,
    CollusionResults,
    CosineResults,
    CostResults,
    ReplicationResults,
    ReproductionRecord,
    Study,
)
from variegate.report.formatting import count, flat
from variegate.rewriters.catalog import spec_class

_TRAININGS, _COPIES = 10, 10
_ARCHITECTURE = "VGG-19"
_IMAGES = {"cifar10": 10_000, "gtsrb": 12_630}
_MESSAGES = (
    "keyed, independent random signs scaled to norm 1, less their mean where zero_mean says so; of more than 2^24 "
    "values, rows of a keyed randomized Hadamard transform instead (projection auto)"
)


def setting(study: Study) -> str:
    """One sentence: what was measured."""
    shape = " x ".join(map(str, study.input_shape))
    return (
        f"{study.name}: {count(study.test_images)} test images ({shape}, {study.num_classes} classes), "
        f"{trained(study)}, seed {study.seed}, on {study.device}."
    )


def threads(results: CostResults) -> str:
    """How many threads, in words."""
    return f"{count(results.threads)} thread{'' if results.threads == 1 else 's'}"


def trained(study: Study) -> str:
    """How many originals of which architectures, such as "3 trainings of resnet11"."""
    kinds = ", ".join(dict.fromkeys(study.architectures))
    return f"{count(len(study.originals))} training{'' if len(study.originals) == 1 else 's'} of {kinds}"


def differences(record: ReproductionRecord, study: Study) -> list[str]:
    """What was done otherwise than in the paper, a sentence each."""
    said = []
    if record.preset == "smoke":
        said.append("Preset smoke: sizes that try out the machinery. Nothing follows from the rates.")
    if study.name not in TABLE1:
        said.append(f"The paper has no {study.name}: there are no numbers of its own to stand beside ours.")
    if isinstance(data := study.notes.get("data"), str):
        said.append(f"Data: {data}")
    said.append(f"Networks: {trained(study)} (the paper: {_TRAININGS} of {_ARCHITECTURE}).")
    return [*said, *_of_results(record, study)]


def spec_notes(study: Study, rewriter: str) -> tuple[tuple[str, str], ...]:
    """A rewriter's parameters, with the paper's symbols, and how they were chosen, as (name, value)."""
    specs = study.notes.get("specs")
    notes = specs.get(rewriter) if isinstance(specs, Mapping) else None
    chosen = flat(notes) if isinstance(notes, Mapping) else ()
    titles = {"inputs": "training images", "max_change": "labels changed at most"}
    kind = spec_class(rewriter)
    symbols = {} if kind is None else kind.symbols
    spec = {name: value for name, value in study.specs[rewriter].items() if name != "weights" or value}
    said = [(f"{name} ({symbols[name]})" if name in symbols else name, value) for name, value in flat(spec)]
    if rewriter == "qim" and "weights" not in spec:
        said.append(("weights (alpha_h)", "all equal"))
    if rewriter in ("qim", "spread_spectrum"):
        said.append(("distribution of messages", _MESSAGES))
    if rewriter == "permutation":
        said.append(("alpha in the paper", "0.8 on CIFAR-10; not given for GTSRB"))
    return (*said, *((titles.get(name, name), value) for name, value in chosen))


def _of_results(record: ReproductionRecord, study: Study) -> Sequence[str]:
    results = study.results
    if isinstance(results, AccuracyResults):
        whole = _IMAGES.get(study.name)
        beside = f" (the paper: {count(whole)})" if whole is not None else ""
        return [f"Images: {count(results.images)}{beside}; {_copies(results.copies)}."]
    if isinstance(results, ReplicationResults):
        return _replication(results)
    if isinstance(results, CostResults):
        return [f"Machine: {results.device}, {threads(results)} (the paper: a Tesla V100)."]
    if isinstance(results, CosineResults):
        images = results.places[0].images if results.places else 0
        return [
            f"Images: {count(images)} (the paper: 10,000). Two originals, and two copies of each rewriter, as there.",
            "Not in the paper: gradients at the boundary (that of the first original) and smoothed ones.",
        ]
    if isinstance(results, BindingResults):
        attempted = max((one.attempted for one in results.attacks.values()), default=0)
        return [
            f"Images: {count(attempted)}, each classified correctly (the paper: all 10,000).",
            f"{_budget('geoda', results.queries)}.",
            "A copy has no values before softmax: it adds scores. Shown are the logits of the original inside it.",
        ]
    return _collusion(results, record)


def _replication(results: ReplicationResults) -> list[str]:
    dealt = (
        "each image is attacked from one attacker, in turn" if results.deal else "every attacker has the same number"
    )
    images = max((group.images for attack in results.attacks.ordered for group in attack.groups.values()), default=0)
    return [
        (
            f"Attacks: {count(images)} images a group, {dealt} (the paper: all test images from every copy); "
            f"{_copies(results.copies)}."
        ),
        "; ".join(_budget(attack.name, attack.queries) for attack in results.attacks.ordered) + ".",
        (
            "Intervals: of the rate pooled over all pairs, by a bootstrap over images and copies; the paper gives "
            "standard deviations over pairs."
        ),
    ]


def _collusion(results: CollusionResults, record: ReproductionRecord) -> list[str]:
    reached = max((one.largest for one in results.settings if one.setting < 3), default=0)
    wanted = record.effort.get("colluders")
    said = [
        (
            f"Images: {count(results.images)}, for the majority vote fewer (the paper does not say how many). Up to "
            "five victims a coalition (the paper: one)."
        )
    ]
    if isinstance(wanted, int) and reached < wanted:
        said.append(
            f"Settings 1 and 2 end at r = {count(reached)}: r colluders and a victim need r + 1 trainings, and there "
            f"are {count(results.originals)}."
        )
    said.append(
        "Not in the paper: setting 3 (copies of one original), the logarithm, the vote and the stripped rewriter."
    )
    return said


def _copies(made: int) -> str:
    return f"{count(made)} copies of each rewriter and original (the paper: {_COPIES})"


def _budget(attack: str, queries: int) -> str:
    full = effort_of("paper").queries.get(attack)
    beside = "" if full is None else f" (the paper's settings come to {count(full)})"
    return f"{attack}: at most {count(queries)} queries an image{beside}"
