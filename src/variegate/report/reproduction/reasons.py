"""Why numbers may differ from the paper's: only what a record says, beside what the paper says of its own work."""

from collections.abc import Mapping, Sequence

from variegate.experiments.paper.effort import effort_of
from variegate.experiments.paper.paper import TABLE1
from variegate.records.base import Rate
from variegate.records.collusion import Outputs, Setting
from variegate.records.reproduction import (
    INDEPENDENT,
    AccuracyResults,
    AccuracyRow,
    AttackResults,
    BindingResults,
    CollusionResults,
    CosineResults,
    CostResults,
    CostRow,
    Curve,
    Place,
    ReplicationResults,
    ReproductionRecord,
    Study,
)
from variegate.report.reproduction.cells import place
from variegate.report.words import count, flat, norm, percent, points, share

_TRAININGS, _COPIES = 10, 10
_ARCHITECTURE = "VGG-19"
_IMAGES = {"cifar10": 10_000, "gtsrb": 12_630}
_SYMBOLS: Mapping[str, Mapping[str, str]] = {
    "qim": {
        "messages_per_class": "B",
        "quantization_step": "delta, for messages of norm 1 and a range of 1",
        "strength": "of the errors' sum; 1 in the paper",
    },
    "spread_spectrum": {"strength": "A, for messages of norm 1"},
}
_MESSAGES = (
    "keyed, independent random signs scaled to norm 1, less their mean where zero_mean says so; of more than 2^24 "
    "values, rows of a keyed randomized Hadamard transform instead (projection auto)"
)
_PLENTY = 30  # images of an attacker, below which a standard deviation over attackers is mostly chance


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
    symbols = _SYMBOLS.get(rewriter, {})
    spec = {name: value for name, value in study.specs[rewriter].items() if name != "weights" or value}
    said = [(f"{name} ({symbols[name]})" if name in symbols else name, value) for name, value in flat(spec)]
    if rewriter == "qim" and "weights" not in spec:
        said.append(("weights (alpha_h)", "all equal"))
    if rewriter in ("qim", "spread_spectrum"):
        said.append(("distribution of messages", _MESSAGES))
    if rewriter == "permutation":
        said.append(("alpha in the paper", "0.8 on CIFAR-10; not given for GTSRB"))
    return (*said, *((titles.get(name, name), value) for name, value in chosen))


def accuracy_reason(study: Study, results: AccuracyResults, row: AccuracyRow) -> str:
    """Why a row of Table 1 differs from the paper's."""
    original, paper = results.rows["original"], TABLE1.get(study.name, {})
    if row.drop is None:
        said = [f"{trained(study)} (paper: {_TRAININGS} of {_ARCHITECTURE})"]
        return "; ".join([*said, "the data is not the paper's own" if "data" in study.notes else ""]).removesuffix("; ")
    said = [f"{count(results.copies)} copies of each original (paper: {_COPIES} of one)"]
    if row.name in paper and original.of_first.mean is not None:
        gap = original.of_first.mean - paper["original"][0] / 100.0
        said.append(f"our originals are {points(gap, signed=True)} points off")
        said.append(f"our drop off the paper's original gives {paper['original'][0] - 100 * row.drop.mean:.1f}")
    if bound := _bound(study, row.name):
        said.append(f"the spec was chosen to change at most {bound} of the labels")
    return "; ".join(said)


def replication_reason(
    attack: AttackResults, rewriter: str | None, kind: str, rate: Rate | None, paper: tuple[float, float] | None
) -> str:
    """Why a cell of Table 2 differs from the paper's: where it lies, budget, overshoot, controls, sizes."""
    group = attack.groups.get(rewriter or INDEPENDENT)
    if group is None or rate is None or rate.rate is None:
        return "not measured"
    full = effort_of("paper").queries.get(attack.name)
    said = [place(rate, paper)]
    if full is not None and full != attack.queries:
        said.append(f"{count(attack.queries)} of the paper's {count(full)} queries")
    if kind == "success":
        said.append(f"{count(group.images)} images")
    else:
        found = group.kinds[kind]
        if group.overshoot.median is not None:
            said.append(
                f"ends {share(group.overshoot.median)} % past the boundary; cut back, {percent(found.boundary.rate)} %"
            )
        said.append(f"victims right when clean: {percent(found.conditioned.rate)} %")
        said.append(f"noise of equal norm: {percent(found.noise.rate)} %")
    if group.images < _PLENTY * group.attackers:
        said.append(f"about {group.images / max(1, group.attackers):.0f} images an attacker: the sd is mostly chance")
    return "; ".join(filter(None, said))


def cost_reason(results: CostResults, row: CostRow, quantity: str) -> str:
    """Why a row of Table 3 differs from the paper's."""
    if quantity.startswith("training"):
        return results.training if row.name == INDEPENDENT else "a copy is keyed, not trained"
    if quantity.startswith("storage"):
        return (
            "the weights of this architecture"
            if row.name == INDEPENDENT
            else "a row of the registry; the key is derived"
        )
    if quantity.startswith("messages"):
        return "made from the key on demand, not stored; the paper stores its seeds"
    if row.name == INDEPENDENT:
        return "the same network"
    return f"{results.device}, {threads(results)} (paper: a Tesla V100, 3.5 ms for the original)"


def cosine_reason(where: Place, rewriter: str, curve: Curve) -> str:
    """What to know of a curve of Figure 3."""
    said = ["not in the paper"] if where.place != "clean" or rewriter == "permutation" else []
    if curve.zero_gradients:
        pairs = curve.n + curve.zero_gradients
        said.append(f"{percent(curve.zero_gradients / pairs)} % of the pairs have no gradient to compare")
    return "; ".join(said)


def binding_reason(results: BindingResults, measure: str, reading: str) -> str:
    """What to know of a row of Figure 4."""
    said = [] if measure == results.nearest_to_the_paper.measure else ["other values than the paper's"]
    if reading not in ("", results.nearest_to_the_paper.reading):
        said.append("the other reading of partner: the class to which the score is added")
    return "; ".join(said)


def collusion_reason(setting: Setting, variant: str, letter: str) -> str:
    """What to know of a curve of Figure 5."""
    ours = setting.setting == 3 or variant != "mean" or letter == "V"
    said = ["not in the paper" if ours else "as the paper, through DeepFool of ART"]
    found = [point.outputs[letter] for point in setting.of(variant) if letter in point.outputs]
    if known := [one for one in found if one.median_norm is not None]:
        said.append(
            f"median norm {_norm_and_noise(known[0])} at the smallest r, {_norm_and_noise(known[-1])} at the largest"
        )
    return "; ".join(said)


def _norm_and_noise(outputs: Outputs) -> str:
    """The median norm, and what random noise of equal norms does where that was measured."""
    noise = outputs.noise
    misled = "" if noise is None or noise.rate is None else f" (noise of equal norm: {percent(noise.rate)} %)"
    return f"{norm(outputs.median_norm)}{misled}"


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
            (
                "Gradients at the boundary (that of the first original) and smoothed ones are not in the paper: on "
                "clean images a saturated softmax decides much."
            ),
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
    said.append(
        "DeepFool steps by value over gradient. Where a softmax is flat that is far, so on the scores of a confident "
        "network it ends deep behind the boundary: read a rate beside its norm and the noise of that norm. On "
        "log-scores, which are as good as logits, it ends near the boundary."
    )
    return said


def _copies(made: int) -> str:
    return f"{count(made)} copies of each rewriter and original (the paper: {_COPIES})"


def _budget(attack: str, queries: int) -> str:
    full = effort_of("paper").queries.get(attack)
    beside = "" if full is None else f" (the paper's settings come to {count(full)})"
    return f"{attack}: at most {count(queries)} queries an image{beside}"


def _bound(study: Study, rewriter: str) -> str:
    """The budget of labels that a calibration was given, in per cent, or nothing."""
    specs = study.notes.get("specs")
    notes = specs.get(rewriter) if isinstance(specs, Mapping) else None
    bound = notes.get("max_change") if isinstance(notes, Mapping) else None
    return f"{percent(bound)} %" if isinstance(bound, float) else ""
