"""Records of a reproduction as one page: claims, tables and figures beside the paper's numbers, parameters, runs."""

from collections.abc import Sequence

from variegate.errors import ConfigurationError
from variegate.experiments.paper.claims import Claim
from variegate.records.load import parse_record
from variegate.records.reproduction import EXPERIMENTS, CollusionResults, ReproductionRecord, Study
from variegate.report.glossary import GLOSSARY
from variegate.report.pages import render_template
from variegate.report.reproduction.cells import EXPERIMENT_TITLES
from variegate.report.reproduction.claims import claims_table, counts, judge_all, overview_table
from variegate.report.reproduction.explained import study_tables_explained
from variegate.report.reproduction.figures import draw_study
from variegate.report.reproduction.paper_words import COLLUSION
from variegate.report.reproduction.reasons import differences, setting, spec_notes
from variegate.report.table import Table
from variegate.report.words import count, duration, flat, group_title

_MANY_CLAIMS = 30
_SMOKE = (
    "Preset smoke: the sizes try out the machinery. No rate and no verdict on this page says anything about the paper."
)
_WORDS: tuple[tuple[str, str], ...] = (
    (
        "boundary",
        (
            "An adversarial cut back to just past the attacker's own boundary (1.001 of its length up to there). "
            "Attacks stop at different depths past it, and a deeper one replicates more: this compares them alike."
        ),
    ),
    (
        "r, B, C, V",
        (
            "r copies collude. B: all outputs; C: those that fool every colluder's own copy, too; V: lengthened until "
            "they fool all of these."
        ),
    ),
    (
        "H1, H2, H3",
        "Two trainings; two copies of one training; copies of two trainings. Cosine of their loss's input gradients.",
    ),
)


def render_reproduction(records: Sequence[object]) -> str:
    """The page of some records of `variegate reproduce`, of any experiments.

    Args:
        records: as JSON gives them, or parsed.

    Raises:
        FormatError: a field of a record is missing or wrong; the sentence names it.
        ConfigurationError: there are no records, some are of something else, or two are of one experiment and study.
    """
    parsed = _parse(records)
    claims = judge_all(parsed)
    anchors = _anchors(parsed)
    parts, position = [], 0
    for record, anchor in zip(parsed, anchors, strict=True):
        shown = []
        for study in record.studies:
            shown.append(_study(record, study, position))
            position += 1
        parts.append({"anchor": anchor, "title": _title(record), "studies": shown})
    names = dict.fromkeys(study.name for record in parsed for study in record.studies)
    presets = dict.fromkeys(record.preset for record in parsed)
    links = [(anchor, EXPERIMENT_TITLES[record.experiment]) for record, anchor in zip(parsed, anchors, strict=True)]
    return render_template(
        "reproduction.html.j2",
        title=f"Reproduction on {', '.join(names)}",
        intro=(
            "Every table and figure of the paper for which there is a record: its number, ours with the 95 % interval, "
            f"the difference, and why. Preset: {', '.join(presets)}."
        ),
        smoke=_SMOKE if "smoke" in presets else "",
        contents=[
            ("claims", "Claims"),
            *links,
            ("parameters", "Parameters"),
            ("runs", "Runs"),
            ("glossary", "Glossary"),
        ],
        counts=counts(claims),
        overview=overview_table(claims),
        claims=[
            (claims_table(of, EXPERIMENT_TITLES[experiment]), len(of) <= _MANY_CLAIMS)
            for experiment in EXPERIMENTS
            if (of := _of(claims, experiment))
        ],
        parts=parts,
        parameters=_parameters(parsed),
        runs=[*_studies(parsed), *map(_run, parsed)],
        words=[*_WORDS, *GLOSSARY],
    )


def _parse(records: Sequence[object]) -> list[ReproductionRecord]:
    given = [parse_record(one) for one in records]
    parsed = [one for one in given if isinstance(one, ReproductionRecord)]
    if len(parsed) < len(given):
        raise ConfigurationError("a page of a reproduction takes its records alone; give others to another page")
    if not parsed:
        raise ConfigurationError("a page of a reproduction needs at least one record; got none")
    seen: set[tuple[str, str]] = set()
    for record in parsed:
        for study in record.studies:
            if (record.experiment, study.name) in seen:
                raise ConfigurationError(
                    f"a page shows each experiment once for a study; got {record.experiment} on {study.name[:60]!r} "
                    "twice: give one of the records to another page"
                )
            seen.add((record.experiment, study.name))
    return sorted(parsed, key=lambda record: [*EXPERIMENTS].index(record.experiment))


def _anchors(records: Sequence[ReproductionRecord]) -> list[str]:
    """The experiments' names, numbered from the second record of one."""
    names = [record.experiment for record in records]
    before = [names[:place].count(name) for place, name in enumerate(names)]
    return [name if not earlier else f"{name}-{earlier + 1}" for name, earlier in zip(names, before, strict=True)]


def _title(record: ReproductionRecord) -> str:
    return f"{EXPERIMENT_TITLES[record.experiment]}: {record.title}"


def _of(claims: Sequence[Claim], experiment: str) -> list[Claim]:
    return [claim for claim in claims if claim.experiment == experiment]


def _study(record: ReproductionRecord, study: Study, position: int) -> dict[str, object]:
    return {
        "name": study.name,
        "setting": setting(study),
        "said": [COLLUSION] if isinstance(study.results, CollusionResults) else [],
        "drawings": draw_study(study, position),
        "tables": study_tables_explained(study),
        "differences": differences(record, study),
    }


def _distinct(records: Sequence[ReproductionRecord]) -> list[Study]:
    """Each study once, and again where a record has it with other originals, specs or data."""
    found: dict[tuple[object, ...], Study] = {}
    for study in (study for record in records for study in record.studies):
        found.setdefault((study.name, study.originals, str(study.specs), study.data_digest, study.seed), study)
    return [*found.values()]


def _parameters(records: Sequence[ReproductionRecord]) -> list[Table]:
    return [
        _pairs(f"{study.name}: {group_title(rewriter)}", spec_notes(study, rewriter))
        for study in _distinct(records)
        for rewriter in study.specs
    ]


def _studies(records: Sequence[ReproductionRecord]) -> list[Table]:
    tables = []
    for study in _distinct(records):
        originals = tuple(
            (f"original {number + 1}", f"{name} ({kind}), {digest}")
            for number, (name, kind, digest) in enumerate(study.networks)
        )
        rows = (
            ("test images", count(study.test_images)),
            ("classes", count(study.num_classes)),
            ("data digest", study.data_digest),
            *originals,
            ("seed", str(study.seed)),
            ("device", study.device),
            *((name, value) for name, value in flat(study.notes) if not name.startswith("specs.")),
        )
        tables.append(_pairs(f"Study: {study.name}", rows))
    return tables


def _run(record: ReproductionRecord) -> Table:
    rows = (
        ("command", record.command),
        ("created", record.created),
        (
            "duration",
            f"{duration(record.seconds)}, {count(record.shards_computed_in_this_run)} shards computed in this run",
        ),
        ("variegate", f"{record.variegate}, source {record.source}"),
        *((f"{count(one.shards)} shards made by", f"source {one.where}") for one in record.made_by),
        ("torch", record.torch),
        ("python", record.python),
        ("preset", record.preset),
        *((name, value) for name, value in flat(record.effort) if name != "name"),
    )
    return _pairs(f"Run: {EXPERIMENT_TITLES[record.experiment]}", rows)


def _pairs(title: str, rows: tuple[tuple[str, str], ...]) -> Table:
    return Table(title=title, columns=("name", "value"), rows=rows, labels=2)
