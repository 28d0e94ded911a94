"""Records of `variegate reproduce` as frozen values; what an experiment measured is in the modules `*_results`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self, final

from variegate.errors import FormatError
from variegate.report.fields import Field
from variegate.report.reproduction.collusion_results import CollusionResults
from variegate.report.reproduction.figure_results import BindingResults, CosineResults
from variegate.report.reproduction.table_results import AccuracyResults, CostResults, ReplicationResults

Results = AccuracyResults | ReplicationResults | CostResults | CosineResults | BindingResults | CollusionResults

_READERS: Mapping[str, Callable[[Field], Results]] = {
    "table1": AccuracyResults.read,
    "table2": ReplicationResults.read,
    "table3": CostResults.read,
    "fig3": CosineResults.read,
    "fig4": BindingResults.read,
    "fig5": CollusionResults.read,
}

EXPERIMENTS: tuple[str, ...] = tuple(_READERS)
"""By the names of their records, in the order in which a report shows them."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One data set, its originals, and what was measured on them.

    Attributes:
        name: what tables call it.
        originals: (name, architecture, digest of the weights) of each.
        specs: rewriter -> parameters.
        seed: of the copies and of everything random.
        test_images, num_classes, input_shape, data_digest: the test data.
        device: where the networks ran.
        notes: what else the record says, such as how the specs were chosen.
        results: by the experiment.
    """

    name: str
    originals: tuple[tuple[str, str, str], ...]
    specs: Mapping[str, Mapping[str, object]]
    seed: int
    test_images: int
    num_classes: int
    input_shape: tuple[int, ...]
    data_digest: str
    device: str
    notes: Mapping[str, object]
    results: Results

    @classmethod
    def read(cls, field: Field, experiment: str) -> Self:
        """Read a study.

        Raises:
            FormatError: a part is missing or wrong.
        """
        digests, names, kinds = (
            tuple(each.text() for each in field[key].elements()) for key in ("originals", "names", "architectures")
        )
        if not digests or not len(digests) == len(names) == len(kinds):
            raise FormatError(
                f"the record's field {field.name} must have as many originals as names and architectures, at least one"
            )
        return cls(
            name=field["name"].text(),
            originals=tuple(zip(names, kinds, digests, strict=True)),
            specs={name: spec.mapping() for name, spec in field["specs"].items()},
            seed=field["seed"].integer(),
            test_images=field["test_images"].integer(),
            num_classes=field["num_classes"].integer(),
            input_shape=tuple(size.integer() for size in field["input_shape"].elements()),
            data_digest=field["data_digest"].text(),
            device=field["device"].text(),
            notes=field["notes"].mapping(),
            results=_READERS[experiment](field["results"]),
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ReproductionRecord:
    """One table or figure, on one study or several.

    Attributes:
        experiment: one of `EXPERIMENTS`.
        title: what it shows.
        created, variegate, source, torch, python, command: when, with what code (`source` is its digest) and how.
        preset, effort: how much was done.
        seconds: wall-clock seconds of the run that wrote the record.
        fresh: shards that this run computed; the others were there already.
        made_by: which code made the shards, each source's digest (and the GPU, if there was one) with how many.
        studies: of different names.
        raw: the record as JSON gives it, for `variegate.experiments.paper.claims`.
    """

    experiment: str
    title: str
    created: str
    variegate: str
    source: str
    torch: str
    python: str
    command: str
    preset: str
    effort: Mapping[str, object]
    seconds: float
    fresh: int
    made_by: tuple[tuple[str, int], ...]
    studies: tuple[Study, ...]
    raw: Mapping[str, Any]

    @classmethod
    def read(cls, top: Field) -> Self:
        """Read a record.

        Raises:
            FormatError: a part is missing or wrong, or two studies have one name.
        """
        experiment = top["experiment"].choice(*EXPERIMENTS)
        studies = tuple(Study.read(study, experiment) for study in top["studies"].elements())
        names = [study.name for study in studies]
        if not names or len(set(names)) < len(names):
            raise FormatError(f"the record's studies must have different names; got {', '.join(names)[:200] or 'none'}")
        return cls(
            experiment=experiment,
            title=top["title"].text(),
            created=top["created"].text(),
            variegate=top["variegate"].text(),
            source=top["source"].text(),
            torch=top["torch"].text(),
            python=top["python"].text(),
            command=top["command"].text(),
            preset=top["preset"].text(),
            effort=top["effort"].mapping(),
            seconds=top["seconds"].number(),
            fresh=top["shards_computed_in_this_run"].integer(),
            made_by=tuple((_maker(one), one["shards"].integer()) for one in top["made_by"].elements()),
            studies=studies,
            raw=top.mapping(),
        )


def _maker(made: Field) -> str:
    """Return the digest of the source that made some shards, and where, as far as a record says it."""
    gpu = made.optional("gpu")
    return made["source"].text() + ("" if gpu is None else f", on one {gpu.text()}")
