"""Runs the paper's experiments: shards first, then one record each, which the report draws and judges."""

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from variegate.errors import ConfigurationError, FormatError
from variegate.evaluation.progress import Progress, silent
from variegate.evaluation.provenance import made_now
from variegate.evaluation.shards import ShardFolder, ShardTask
from variegate.experiments.paper import fig3, fig4, fig5, table1, table2, table3
from variegate.experiments.paper.paper import Effort
from variegate.experiments.paper.study import StudySource, load_study
from variegate.records.base import Part
from variegate.records.load import load_record, write_record
from variegate.records.reproduction import (
    AccuracyResults,
    BindingResults,
    CollusionResults,
    CosineResults,
    CostResults,
    Figure3Record,
    Figure4Record,
    Figure5Record,
    MadeBy,
    ReplicationResults,
    ReproductionRecord,
    Study,
    Table1Record,
    Table2Record,
    Table3Record,
)

_IMAGES = ("attack_images", "collusion_images")

Stage = Callable[[StudySource, Effort, ShardFolder], list[ShardTask]]
"""(study, effort, shards) -> tasks, which may need the shards of the stages before."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A table or a figure.

    Attributes:
        name: as `variegate reproduce` has it.
        title: what it shows.
        stages: its tasks, one list after the other.
        collect: (study, effort, shards) -> the results of the study.
        record, study: the schemas of the record and of its part on one study.
        alone: whether its tasks are timings, which run one at a time in this process.
    """

    name: str
    title: str
    stages: tuple[Stage, ...]
    collect: Callable[[StudySource, Effort, ShardFolder], Part]
    record: type[ReproductionRecord[Any]]
    study: type[Study[Any]]
    alone: bool = False


def _only(tasks: Callable[[StudySource, Effort], list[ShardTask]]) -> Stage:
    """Return the first stage, which needs no shards."""

    def stage(source: StudySource, effort: Effort, _shards: ShardFolder) -> list[ShardTask]:
        return tasks(source, effort)

    return stage


EXPERIMENTS: Mapping[str, Experiment] = {
    one.name: one
    for one in (
        Experiment(
            name="table1",
            title="Accuracy of the original and of copies of each rewriter",
            stages=(_only(table1.tasks),),
            collect=table1.collect,
            record=Table1Record,
            study=Study[AccuracyResults],
        ),
        Experiment(
            name="table2",
            title="Attack success and replication under Boundary, HopSkipJump and GeoDA",
            stages=(_only(table2.tasks), table2.replays),
            collect=table2.collect,
            record=Table2Record,
            study=Study[ReplicationResults],
        ),
        Experiment(
            name="table3",
            title="Cost of a further copy",
            stages=(_only(table3.tasks),),
            collect=table3.collect,
            record=Table3Record,
            study=Study[CostResults],
            alone=True,
        ),
        Experiment(
            name="fig3",
            title="Cosine between input gradients of two copies",
            stages=(_only(fig3.tasks),),
            collect=fig3.collect,
            record=Figure3Record,
            study=Study[CosineResults],
        ),
        Experiment(
            name="fig4",
            title="Change of output values under GeoDA, with and without permutation",
            stages=(_only(fig4.tasks),),
            collect=fig4.collect,
            record=Figure4Record,
            study=Study[BindingResults],
        ),
        Experiment(
            name="fig5",
            title="Collusion: DeepFool on the mean of r copies",
            stages=(_only(fig5.tasks),),
            collect=fig5.collect,
            record=Figure5Record,
            study=Study[CollusionResults],
        ),
    )
}


def choose_experiments(names: Sequence[str]) -> list[Experiment]:
    """Return experiments by name; "all" is every one.

    Raises:
        ConfigurationError: there is no such experiment, or none is named.
    """
    if "all" in names:
        return list(EXPERIMENTS.values())
    if unknown := [name for name in names if name not in EXPERIMENTS]:
        raise ConfigurationError(f"there is no experiment {unknown[0]!r}; choose from {', '.join(EXPERIMENTS)}, all")
    if not names:
        raise ConfigurationError(f"name at least one experiment: {', '.join(EXPERIMENTS)}, all")
    return [EXPERIMENTS[name] for name in dict.fromkeys(names)]


def reproduce(
    experiment: Experiment,
    sources: Sequence[StudySource],
    effort: Effort,
    *,
    out: Path,
    jobs: int = 1,
    command: str = "",
    notes: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> ReproductionRecord[Any]:
    """Run one experiment on every study and write `out`/NAME.json.

    Args:
        experiment: which.
        sources: the studies, of different names.
        effort: how much.
        out: the record's folder; shards lie in `out`/shards, and those that are there already are taken over.
        jobs: processes.
        command: what was typed, for the record.
        notes: by study, what else the record shall say of it (how its specs were chosen, say).
        progress: is told how far it is, in thousandths.

    Raises:
        ConfigurationError: no study, or two of one name, or `out` holds another record (`refuse_another_record`).
    """
    if not sources or len({source.name for source in sources}) < len(sources):
        raise ConfigurationError(f"expected studies of different names; got {[source.name for source in sources]}")
    path = out / f"{experiment.name}.json"
    refuse_another_record([experiment], {source.name: source.seed for source in sources}, effort, out)
    say = progress or silent
    every: list[ShardTask] = []
    shards, started, fresh = ShardFolder(out / "shards"), time.monotonic(), 0
    for stage in experiment.stages:
        tasks = [task for source in sources for task in stage(source, effort, shards)]
        fresh += sum(not shards.has(task) for task in tasks)
        every += tasks
        shards.run(tasks, jobs=1 if experiment.alone else jobs, progress=say)
    say(f"{experiment.name}: collecting", 0, 0)
    studies = []
    for source in sources:
        study = load_study(source)
        studies.append(
            experiment.study(
                **_tuples(source.identity),
                test_images=len(study.labels),
                num_classes=study.originals[0].num_classes,
                input_shape=tuple(study.originals[0].input_shape),
                names=tuple(manifest.name for manifest, _ in source.originals),
                architectures=tuple(manifest.architecture for manifest, _ in source.originals),
                notes=dict((notes or {}).get(source.name, {})),
                results=experiment.collect(source, effort, shards),
            )
        )
    record = experiment.record(
        **made_now(command=command, seconds=round(time.monotonic() - started, 1)),
        experiment=experiment.name,
        title=experiment.title,
        python=platform.python_version(),
        preset=effort.name,
        effort={key: list(value) if isinstance(value, tuple) else value for key, value in asdict(effort).items()},
        shards_computed_in_this_run=fresh,
        made_by=tuple(MadeBy(**made) for made in shards.made_by(every)),
        studies=tuple(studies),
    )
    write_record(path, record)
    return record


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with tuples for lists."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def refuse_another_record(
    experiments: Sequence[Experiment], studies: Mapping[str, int], effort: Effort, out: Path
) -> None:
    """Find out, before any work, whether one of these experiments would write over a record of something else.

    Args:
        studies: their names, with their seeds.

    Raises:
        ConfigurationError: `out` holds a record of another preset, of other studies or seeds, or of more images.
        FormatError: what lies there is no record.
    """
    for experiment in experiments:
        path = out / f"{experiment.name}.json"
        if not path.exists():
            continue
        kept = load_record(path)
        if not isinstance(kept, experiment.record):
            raise FormatError(f"{path} is no record of this experiment; move it away, or choose another folder")
        found = (kept.preset, {study.name: study.seed for study in kept.studies})
        images = [int(str(kept.effort.get(name, 0))) for name in _IMAGES]
        if found != (wanted := (effort.name, dict(studies))):
            raise ConfigurationError(
                f"{path} holds the preset and the studies with their seeds {found}; got {wanted}: choose another --out"
            )
        if any(there > getattr(effort, name) for name, there in zip(_IMAGES, images, strict=True)):
            raise ConfigurationError(
                f"{path} is of a run that attacks more images ({' and '.join(map(str, images))}): choose another --out"
            )
