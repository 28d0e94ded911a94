"""Runs the paper's experiments: shards first, then one record each, which the report draws and judges."""

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, final

import torch

import variegate
from variegate.errors import ConfigurationError, FormatError
from variegate.evaluation.progress import Progress, silent
from variegate.evaluation.provenance import source_digest
from variegate.evaluation.shards import ShardFolder, ShardTask
from variegate.experiments.paper import fig3, fig4, fig5, table1, table2, table3
from variegate.experiments.paper.effort import Effort
from variegate.experiments.paper.study import StudySource, load_study
from variegate.files import read_bounded, write_atomic

_LIMIT = 2**30
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
        collect: (study, effort, shards) -> the study's part of the record, JSON values.
        alone: whether its tasks are timings, which run one at a time in this process.
    """

    name: str
    title: str
    stages: tuple[Stage, ...]
    collect: Callable[[StudySource, Effort, ShardFolder], dict[str, Any]]
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
        ),
        Experiment(
            name="table2",
            title="Attack success and replication under Boundary, HopSkipJump and GeoDA",
            stages=(_only(table2.tasks), table2.replays),
            collect=table2.collect,
        ),
        Experiment(
            name="table3",
            title="Cost of a further copy",
            stages=(_only(table3.tasks),),
            collect=table3.collect,
            alone=True,
        ),
        Experiment(
            name="fig3",
            title="Cosine between input gradients of two copies",
            stages=(_only(fig3.tasks),),
            collect=fig3.collect,
        ),
        Experiment(
            name="fig4",
            title="Change of output values under GeoDA, with and without permutation",
            stages=(_only(fig4.tasks),),
            collect=fig4.collect,
        ),
        Experiment(
            name="fig5",
            title="Collusion: DeepFool on the mean of r copies",
            stages=(_only(fig5.tasks),),
            collect=fig5.collect,
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
) -> dict[str, Any]:
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
            {
                **source.identity,
                "test_images": len(study.labels),
                "num_classes": study.originals[0].num_classes,
                "input_shape": list(study.originals[0].input_shape),
                "names": [manifest.name for manifest, _ in source.originals],
                "architectures": [manifest.architecture for manifest, _ in source.originals],
                "notes": dict((notes or {}).get(source.name, {})),
                "results": experiment.collect(source, effort, shards),
            }
        )
    record = {
        "format": 1,
        "kind": "reproduction",
        "experiment": experiment.name,
        "title": experiment.title,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "variegate": variegate.__version__,
        "source": source_digest(),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "command": command,
        "preset": effort.name,
        "effort": {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(effort).items()},
        "seconds": round(time.monotonic() - started, 1),
        "shards_computed_in_this_run": fresh,
        "made_by": shards.made_by(every),
        "studies": studies,
    }
    write_atomic(path, (json.dumps(record, indent=1, allow_nan=False) + "\n").encode())
    return record


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
        try:
            kept = json.loads(read_bounded(path, _LIMIT))
            found = (kept["preset"], {study["name"]: study["seed"] for study in kept["studies"]})
            images = [int(kept["effort"][name]) for name in _IMAGES]
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(
                f"{path} is no record of this experiment; move it away, or choose another folder"
            ) from error
        if found != (wanted := (effort.name, dict(studies))):
            raise ConfigurationError(
                f"{path} holds the preset and the studies with their seeds {found}; got {wanted}: choose another --out"
            )
        if any(there > getattr(effort, name) for name, there in zip(_IMAGES, images, strict=True)):
            raise ConfigurationError(
                f"{path} is of a run that attacks more images ({' and '.join(map(str, images))}): choose another --out"
            )
