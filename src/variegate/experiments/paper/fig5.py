"""Figure 5: collusion. Copies of r buyers form an ensemble, and what is found on it is shown to other copies (5.6).

The curves B count all outputs, the curves C those that fool the ensemble and every colluder's copy; what is attacked,
counted and shown as a control is defined in `variegate.evaluation.collusion_rates`. Settings:

- 1 (the paper's B1, C1): the originals of independent trainings;
- 2 (B2, C2): copy 0 of each of these by the QIM rewriter;
- 3 (B3, C3; not in the paper): copies of the first original alone, for each rewriter: what a seller of one trained
  classifier has.

r colluders and a victim need r + 1 trainings in settings 1 and 2: the paper's r = 1 to 8 needs nine. With n originals r
ends at n - 1; nothing is used twice to go further. Setting 3 goes up to the effort's number of colluders.

Each is a point of a curve for several attacks (variants):

- "mean": DeepFool on the mean of the scores as the paper ran it, through ART, on the L1-normalised scores themselves.
  ART considers the union of the 10 best labels of all images of a call, which over many images is all classes, and
  misreads scores where it is not; blocks here are small, so all classes are named as candidates
  (`variegate.experiments.collusion_settings.with_all_classes`), and the cut into blocks changes nothing;
- "log": DeepFool as its authors publish it, on the logarithm of that mean: scores that saturate hide the boundary from
  the first one, which then ends far past it (look at the median norms);
- "vote": the majority of the labels, attacked with HopSkipJump; on a quarter of the images and for few r, because
  labels cost many queries;
- "stripped", "stripped_log": the colluders know the rewriter's place in the model, leave it out and attack the mean of
  their originals (settings 2 and 3; in setting 3 their original is the same for every r). With nothing of the
  rewriter left in what they find, its copies protect no more than by where their boundaries lie beside the original's:
  an upper bound from s = 1.1 on, while at s = 1 a point on the original's boundary can be on either side of a copy's.

Differences from the paper: it shows the outputs to one victim, copy r + 1, and does not say how many images; here up to
five victims, the same for every r in setting 3. Blocks of images have different coalitions, so that no single copy
decides a curve.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, final

import torch

from variegate.attacks.base import Attack
from variegate.attacks.catalog import find_attack, preset_of
from variegate.attacks.white_box.base import WhiteBoxAttack
from variegate.attacks.white_box.deepfool import DeepFool
from variegate.evaluation.collusion_rates import MOST_VICTIMS, SCALES, Part, attack_block, control, line_up, measure
from variegate.evaluation.shards import Arrays, ShardFolder, ShardTask
from variegate.experiments.paper.paper import Effort
from variegate.experiments.paper.study import REWRITERS, CopyOf, StudySource, load_study
from variegate.records.collusion import KINDS, Coalition
from variegate.records.collusion import Setting as SettingRecord
from variegate.records.reproduction import CollusionResults, CurvePoints

VARIANTS = ("mean", "log", "vote", "stripped", "stripped_log")

_STRIPPED = ("stripped", "stripped_log")
_VOTERS = (1, 3, 5, 8)
_VOTE_SHARE = 4
_BLOCKS = 4
_DEEPFOOL_ITERATIONS = {"qim": 40, None: 5}  # about; each with 2 forward rows and a backward row a candidate
_OTHER_ITERATIONS = 8


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CollusionShard:
    """One block of images, attacked by one coalition.

    Attributes:
        source: the study.
        label: setting, variant, number of colluders and block, for the file name.
        variant: one of `VARIANTS`.
        attacked: what the colluders put together.
        copies: who is shown the outputs.
        colluders: positions of their copies among these; None where it is decided later who colludes.
        images: positions among the study's test images, which also name them in random streams.
        queries: budget of HopSkipJump for each image.
    """

    source: StudySource = field(repr=False)
    label: str
    variant: str
    attacked: tuple[CopyOf, ...]
    copies: tuple[CopyOf, ...]
    colluders: tuple[int, ...] | None
    images: tuple[int, ...]
    queries: int

    @property
    def name(self) -> str:
        """A file name."""
        return f"{self.source.name}-collude-{self.label}"

    @property
    def identity(self) -> Mapping[str, Any]:
        """What decides the result."""
        attack = self.make()
        return {
            "study": self.source.identity,
            "attacked": [str(one) for one in self.attacked],
            "copies": [str(one) for one in self.copies],
            "colluders": self.colluders,
            "vote": self.variant == "vote",
            "attack": repr(attack),
            "attack_revision": attack.revision,
            "images": list(self.images),
            "queries": self.queries if self.variant == "vote" else None,
            "scales": list(SCALES),
            "revision": 2,
        }

    @property
    def cost(self) -> float:
        """Forward rows, about."""
        originals = len({one.original for one in self.attacked})
        shown = len({one.original for one in self.copies}) * (3 * len(SCALES) + 2)
        made = self.make()
        attack = self.queries
        if isinstance(made, DeepFool):
            backward = min(made.candidates, self._classes) + (1 if made.semantics == "art" else -1)
            steps = _DEEPFOOL_ITERATIONS.get(self.attacked[0].rewriter, _OTHER_ITERATIONS)
            attack = steps * 2 * (1 + backward)
        return float(len(self.images) * (attack * originals + shown))

    def make(self) -> Attack | WhiteBoxAttack:
        """Return the attack with its settings."""
        if self.variant == "vote":
            return find_attack("hopskipjump")(**preset_of("reproduction", "hopskipjump"))
        if self.variant in ("log", "stripped_log"):
            return DeepFool(scores="log")
        return DeepFool(semantics="art", scores="probabilities", candidates=self._classes)

    def run(self) -> Arrays:
        """Return what `variegate.evaluation.collusion_rates.attack_block` returns, and images int64 (N,)."""
        study = load_study(self.source)
        rows = torch.tensor(self.images)
        arrays = attack_block(
            [study.classifier(one) for one in self.attacked],
            self.make(),
            study.images[rows],
            study.labels[rows],
            copies=[study.classifier(one) for one in self.copies],
            colluders=self.colluders,
            vote=self.variant == "vote",
            seed=self.source.seed,
            identities=self.images,
            queries=self.queries if self.variant == "vote" else None,
        )
        return {"images": rows.numpy(), **arrays}

    @property
    def _classes(self) -> int:
        return len(self.source.originals[0][0].labels)


@final
@dataclass(frozen=True, slots=True)
class _Setting:
    """One of the settings, with one rewriter or none.

    Attributes:
        number: 1, 2 or 3.
        rewriter: of its copies.
        copies: colluders and victims.
        largest: number of colluders.
    """

    number: int
    rewriter: str | None
    copies: tuple[CopyOf, ...]
    largest: int

    @property
    def name(self) -> str:
        """As in the names of curves: "1", "2", "3-qim"."""
        return f"3-{self.rewriter}" if self.number == 3 else str(self.number)

    @property
    def variants(self) -> tuple[str, ...]:
        """Those that there are: where nothing was rewritten, nothing can be stripped."""
        return VARIANTS if self.rewriter is not None else tuple(v for v in VARIANTS if v not in _STRIPPED)

    def colluders(self, variant: str) -> tuple[int, ...]:
        """Return the numbers of colluders that are measured."""
        every = tuple(range(1, self.largest + 1))
        return tuple(r for r in every if r in _VOTERS or r == self.largest) if variant == "vote" else every


def tasks(source: StudySource, effort: Effort) -> list[ShardTask]:
    """Return the shards of all settings, variants, numbers of colluders and blocks of images."""
    found = {
        shard.name: shard
        for setting in _settings(source, effort)
        for variant in setting.variants
        for r in setting.colluders(variant)
        for shard, _, _ in _blocks(source, effort, setting, variant, r)
    }
    return [*found.values()]


def collect(source: StudySource, effort: Effort, shards: ShardFolder) -> CollusionResults:
    """Return the study's part of the figure.

    `settings` holds a point for each variant and r (`variegate.evaluation.collusion_rates.measure`), and `identical`:
    the colluders' outputs shown to their own copy, asked again and in another order, as if the victim's were the same
    (`variegate.evaluation.collusion_rates.control`; r = 1, variants "mean", "log" and "vote"). `curves` holds the same
    rates by name, as a plot needs them: "B1", "C2", "B3-qim" for the variant "mean", "B1-log" and so on for the others,
    and "V..." for the validated outputs.
    """
    settings: list[SettingRecord] = []
    curves: dict[str, CurvePoints] = {}
    for setting in _settings(source, effort):
        points, identical = [], []
        for variant, r in ((v, r) for v in setting.variants for r in setting.colluders(v)):
            parts = [
                Part(arrays=shards.require(shard), colluders=colluders, victims=victims)
                for shard, colluders, victims in _blocks(source, effort, setting, variant, r)
            ]
            points.append(measure(parts, variant=variant, r=r))
            if r == 1 and variant not in _STRIPPED:
                identical.append(control(parts, variant=variant, r=r))
        settings.append(
            SettingRecord(
                setting=setting.number,
                rewriter=setting.rewriter,
                spec=None if setting.rewriter is None else dict(source.specs[setting.rewriter]),
                copies=tuple(str(copy) for copy in setting.copies),
                largest=setting.largest,
                points=tuple(points),
                identical=tuple(identical),
            )
        )
        curves |= _curves(setting.name, points)
    return CollusionResults(
        originals=len(source.originals),
        images=min(effort.collusion_images, len(load_study(source).labels)),
        vote_queries=effort.queries["hopskipjump"],
        settings=tuple(settings),
        curves=curves,
    )


def _curves(name: str, points: list[Coalition]) -> dict[str, CurvePoints]:
    """Return curves by name."""
    curves: dict[str, CurvePoints] = {}
    for letter in KINDS:
        for variant in dict.fromkeys(point.variant for point in points):
            mine = [point for point in points if point.variant == variant]
            rates = [point.outputs[letter].replication_rate for point in mine]
            curves[f"{letter}{name}" + ("" if variant == "mean" else f"-{variant}")] = CurvePoints(
                r=tuple(point.r for point in mine),
                rate=tuple(rate.rate for rate in rates),
                low=tuple(rate.low for rate in rates),
                high=tuple(rate.high for rate in rates),
                n=tuple(rate.n for rate in rates),
            )
    return curves


def _settings(source: StudySource, effort: Effort) -> list[_Setting]:
    trained = len(source.originals)
    found = []
    if (largest := min(trained - 1, effort.colluders)) > 0:
        found.append(_Setting(1, None, tuple(CopyOf(o) for o in range(trained)), largest))
        if "qim" in source.specs:
            found.append(_Setting(2, "qim", tuple(CopyOf(o, "qim", 0) for o in range(trained)), largest))
    sold = effort.colluders + MOST_VICTIMS
    for rewriter in (name for name in REWRITERS if name in source.specs):
        copies = tuple(CopyOf(0, rewriter, copy) for copy in range(sold))
        found.append(_Setting(3, rewriter, copies, effort.colluders))
    return found


def _blocks(
    source: StudySource, effort: Effort, setting: _Setting, variant: str, r: int
) -> Iterator[tuple[CollusionShard, tuple[int, ...], tuple[int, ...]]]:
    """Yield shards with the positions of colluders and victims."""
    wanted = max(1, effort.collusion_images // _VOTE_SHARE) if variant == "vote" else effort.collusion_images
    chosen = load_study(source).order()[:wanted]
    size = max(1, min(effort.shard_images * 8, -(-len(chosen) // _BLOCKS)))
    blocks = [tuple(chosen[start : start + size]) for start in range(0, len(chosen), size)]
    for number, images in enumerate(blocks):
        colluders, victims = line_up(len(setting.copies), r, block=number % _BLOCKS, blocks=_BLOCKS)
        attacked = tuple(setting.copies[place] for place in colluders)
        label = f"{setting.name}-{variant}-r{r}-{number}"
        told: tuple[int, ...] | None = colluders
        if variant in _STRIPPED:
            attacked = tuple(CopyOf(o) for o in dict.fromkeys(copy.original for copy in attacked))
        if variant in _STRIPPED and setting.number == 3:  # the same attack for every r
            told, label = None, f"{setting.name}-{variant}-{number}"
        shard = CollusionShard(
            source=source,
            label=label,
            variant=variant,
            attacked=attacked,
            copies=setting.copies,
            colluders=told,
            images=images,
            queries=effort.queries["hopskipjump"],
        )
        yield shard, colluders, victims
