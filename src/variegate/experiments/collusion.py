"""A collusion audit: r buyers' copies attacked as one, for several r, and other copies shown what was found.

The settings are those of the paper's Figure 5 (`variegate.experiments.paper.fig5`): 1 independent trainings, 2
one copy of each of these, 3 copies of one original by rewriting alone, which is what a seller of one classifier has.
Settings 1 and 2 need r + 1 trainings and stop where these end.

Controls: the attackers strip the rewriter and attack their originals (an upper bound from s = 1.1 on: what they find
owes nothing to their own copies' rewriting); identical copies (the outputs of one colluder shown to his own copy, which
is asked again, and once more with the outputs rounded to 8 bits); random noise of equal norm. Each block of images is
one file in `shards/`, so a killed audit goes on with the blocks that are missing. DeepFool with ART's semantics has all
classes for candidates (`variegate.experiments.collusion_settings.with_all_classes`): how images are cut into blocks
changes nothing.
"""

import hashlib
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from variegate.attacks.catalog import plain_parameters
from variegate.attacks.white_box.base import WhiteBoxAttack
from variegate.errors import ConfigurationError, ConflictError
from variegate.evaluation.collusion import Member, Panel
from variegate.evaluation.collusion_rates import SCALES, Arrays, Part, attack_block, control, line_up, measure
from variegate.evaluation.progress import Progress, silent
from variegate.evaluation.provenance import made_now
from variegate.evaluation.records import model_record
from variegate.evaluation.shards import ShardFolder
from variegate.evaluation.subjects import choose_images
from variegate.experiments.collusion_settings import CollusionSpec, Setting, settings_of, with_all_classes
from variegate.models.classifier import Classifier, check_inputs
from variegate.records import collusion as records
from variegate.records.base import Data
from variegate.records.load import kind_of, load_record, write_record

_LEAST_BLOCKS = 4
_MOST_IN_A_BLOCK = 25
_WHITE_BOX_ROWS = 400


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Block:
    """A `ShardTask` on what is in memory."""

    audit: "_Audit"
    setting: Setting
    stripped: bool
    colluders: tuple[int, ...]
    victims: tuple[int, ...]
    rows: tuple[int, ...]
    number: int

    @property
    def name(self) -> str:
        kind = "stripped" if self.stripped else self.audit.spec.ensemble
        r = "all" if self.shared else str(len(self.colluders))
        return f"{self.setting.number}-{self.setting.name or 'independent'}-{kind}-{r}-{self.number}"

    @property
    def shared(self) -> bool:
        """Whether the attack is the same for any number of colluders: they have one original."""
        return self.stripped and self.setting.number == 3

    @property
    def identity(self) -> Mapping[str, Any]:
        spec = self.audit.spec
        return {
            "originals": [original.digest for original in self.setting.originals],
            "subjects": list(spec.subjects),
            "rewriter": None if self.setting.spec is None else self.setting.spec.digest,
            "copies": list(self.setting.labels),
            "colluders": None if self.shared else list(self.colluders),
            "attack": repr(self.audit.attack),
            "attack_revision": self.audit.attack.revision,
            "queries": self.audit.queries,
            "seed": spec.seed,
            "images": [self.audit.chosen[row] for row in self.rows],
            "data": self.audit.data_digest,
            "scales": list(SCALES),
            "revision": 2,
        }

    @property
    def cost(self) -> float:
        different = len({id(self.setting.originals[place]) for place in self.colluders})
        return float(len(self.rows) * (self.audit.queries or _WHITE_BOX_ROWS) * different)

    def run(self) -> Arrays:
        audit, setting = self.audit, self.setting
        attacked: list[Member] = [setting.copies[place] for place in self.colluders]
        if self.stripped:
            attacked = list(dict.fromkeys(setting.originals[place] for place in self.colluders))
        return attack_block(
            attacked,
            audit.attack,
            audit.inputs[list(self.rows)],
            audit.labels[list(self.rows)],
            copies=setting.copies,
            colluders=None if self.shared else self.colluders,
            vote=audit.spec.ensemble == "vote",
            seed=audit.spec.seed,
            identities=[audit.chosen[row] for row in self.rows],
            queries=audit.queries,
        )


@final
class _Audit:
    """What all blocks share: the images and the way they are attacked."""

    def __init__(self, spec: CollusionSpec, trained: Sequence[Classifier], pool: Tensor, truth: Tensor) -> None:
        self.spec = spec
        self.attack = with_all_classes(spec.attack, trained[0].num_classes)
        self.chosen = choose_images(trained, pool, truth, count=spec.images, seed=spec.seed).tolist()
        self.inputs, self.labels = pool[self.chosen], truth[self.chosen]
        self.queries = None if isinstance(spec.attack, WhiteBoxAttack) else spec.queries
        sha = hashlib.sha256(self.inputs.numpy().tobytes())
        sha.update(self.labels.numpy().tobytes())
        self.data_digest = f"sha256:{sha.hexdigest()}"
        self.settings = settings_of(spec, trained)

    def blocks(self, setting: Setting, r: int, *, stripped: bool) -> Iterator[_Block]:
        count = max(_LEAST_BLOCKS, -(-len(self.chosen) // _MOST_IN_A_BLOCK))
        parts = [part for part in np.array_split(np.arange(len(self.chosen)), count) if part.size]
        for number, part in enumerate(parts):
            colluders, victims = line_up(
                len(setting.copies), r, block=number % _LEAST_BLOCKS, blocks=_LEAST_BLOCKS, victims=self.spec.victims
            )
            yield _Block(
                audit=self,
                setting=setting,
                stripped=stripped,
                colluders=colluders,
                victims=victims,
                rows=tuple(part.tolist()),
                number=number,
            )

    def all_blocks(self) -> dict[str, _Block]:
        return {
            block.name: block
            for setting in self.settings
            for stripped in (False, True)[: 1 if setting.spec is None else 2]
            for r in sorted({1, *setting.colluders})
            for block in self.blocks(setting, r, stripped=stripped)
        }

    def measured(self, setting: Setting, shards: ShardFolder) -> records.Setting:
        def parts(r: int, *, stripped: bool = False) -> list[Part]:
            return [
                Part(arrays=shards.require(block), colluders=block.colluders, victims=block.victims)
                for block in self.blocks(setting, r, stripped=stripped)
            ]

        kind = self.spec.ensemble
        points = [measure(parts(r), variant=kind, r=r) for r in setting.colluders]
        if setting.spec is not None:
            points += [measure(parts(r, stripped=True), variant="stripped", r=r) for r in setting.colluders]
        return records.Setting(
            setting=setting.number,
            rewriter=setting.name,
            spec=None if setting.spec is None else setting.spec.to_dict(),
            copies=tuple(setting.labels),
            largest=max(setting.colluders),
            points=tuple(points),
            identical=(control(parts(1), variant=kind, r=1),),
        )


def audit_collude(
    spec: CollusionSpec,
    *,
    original: Classifier,
    independent: Sequence[Classifier],
    images: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    out: Path,
    progress: Progress | None = None,
) -> records.CollusionRecord:
    """Run the audit and return its record; also writes `out`/record.json.

    Args:
        spec: what is audited.
        original: the seller's classifier.
        independent: classifiers trained independently on the same task, for settings 1 and 2; may be empty.
        images: float32 (P, *input_shape); the pool from which the attacked images are drawn: the first of a seeded
            order that all originals label correctly.
        labels: int64 (P,).
        out: folder of this audit; blocks of the same audit that it holds are taken over.

    Raises:
        ConfigurationError: there is nothing to measure, or the classifiers do not fit together.
        ConflictError: `out` holds another record, or that of an audit with other settings. Blocks that an interrupted
            audit with other settings left are not used.
        InputError: the pool holds fewer correctly classified images than are asked for, or does not fit.
    """
    say, started = progress or silent, time.monotonic()
    trained = [original, *independent]
    if len({classifier.digest for classifier in trained}) < len(trained):
        raise ConfigurationError("independent classifiers must be other trainings; two have the same weights")
    Panel(trained)  # they take the same inputs and classes
    pool = check_inputs(torch.from_numpy(np.asarray(images)), original.input_spec)
    audit = _Audit(spec, trained, pool, torch.from_numpy(np.asarray(labels)))
    shards = ShardFolder(out / "shards")
    subject = _subject(spec, original, len(trained), audit)
    _require_same(out, subject, audit)
    shards.run(
        list(audit.all_blocks().values()),
        progress=lambda what, done, total: say(what.replace("reproducing", "colluding"), done, total),
    )
    settings = [audit.measured(setting, shards) for setting in audit.settings]
    record = records.CollusionRecord(
        **made_now(command=spec.command, seconds=round(time.monotonic() - started, 3)),
        python=platform.python_version(),
        device=str(original.device),
        **subject,
        settings=tuple(settings),
    )
    write_record(out / "record.json", record)
    return record


def _subject(spec: CollusionSpec, original: Classifier, trained: int, audit: _Audit) -> dict[str, Any]:
    """Return the fields of the record that say what is audited, and how hard."""
    return {
        "model": model_record(
            original, name=spec.model_name, manifest_digest=spec.subjects[0] if spec.subjects else None
        ),
        "data": Data(name=spec.data_name, split=spec.split, images=len(audit.chosen), indices=tuple(audit.chosen)),
        "attack": records.CollusionAttack(
            name=spec.attack.name,
            parameters=plain_parameters(audit.attack),
            ensemble=spec.ensemble,
            budget=audit.queries,
            norm=spec.attack.norm.value,
            seed=spec.seed,
        ),
        "trainings": trained,
        "colluders": tuple(spec.colluders),
        "victims": spec.victims,
    }


def _require_same(out: Path, subject: Mapping[str, Any], audit: _Audit) -> None:
    """Raise if `out` holds a record that this audit would overwrite with something else.

    Raises:
        ConflictError: it is of another kind, or of an audit with other settings.
        FormatError: it cannot be read.
    """
    file = out / "record.json"
    if not file.is_file():
        return
    if kind_of(file) != "collusion":
        raise ConflictError(f"{out} holds the record of something else than an audit of collusion; give another folder")
    known: Any = load_record(file)
    different = [name for name, wanted in subject.items() if getattr(known, name) != wanted]
    if [each.spec for each in known.settings] != [
        None if each.spec is None else each.spec.to_dict() for each in audit.settings
    ]:
        different.append("specs")
    if different:
        raise ConflictError(
            f"{out} holds a finished audit with other settings ({', '.join(different)}); give another folder with --out"
        )
