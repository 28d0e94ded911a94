"""Records of a reproduction: the paper's Table 2 next to ours first, the rest, claims at the end."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from variegate.errors import ConfigurationError
from variegate.experiments.paper.claims import Claim
from variegate.experiments.paper.paper import TABLE2_ROWS
from variegate.records.reproduction import (
    EXPERIMENTS,
    AccuracyResults,
    BindingResults,
    CollusionResults,
    CosineResults,
    CostResults,
    ReplicationResults,
    ReproductionRecord,
    Study,
)
from variegate.report.blocks import Block, Figures, Heading, Pairs, Rows, Table, Text
from variegate.report.formatting import count, duration, flat, group_title
from variegate.report.labels import short_digest
from variegate.report.views.paper.claims import (
    LEGEND,
    accuracy_marks,
    claims_table,
    counts,
    judge_all,
    marked,
    overview_table,
    replication_marks,
    sentences,
)
from variegate.report.views.paper.deviations import differences, setting, spec_notes
from variegate.report.views.paper.summaries import (
    binding_table,
    coalition_table,
    collusion_table,
    cosine_table,
    norms_table,
)
from variegate.report.views.paper.tables import (
    EXPERIMENT_TITLES,
    accuracy_rows,
    accuracy_table,
    companion_table,
    cost_table,
    effort_table,
    replication_table,
)
from variegate.report.views.shown import Shown

if TYPE_CHECKING:
    from variegate.report.drawing import Drawing

_MANY_CLAIMS = 30
_SMOKE = (
    "Preset smoke: the sizes try out the machinery. No rate and no verdict on this page says anything about the paper."
)
_WHY = "Why numbers differ from the paper's is explained in variegate's docs/results/deviations.md."
_JUDGED = (
    'Those that begin with "ours" put a claim to places where the paper does not make it. A claim about a rate holds '
    "where the whole 95 % interval says so, does not hold where the whole interval says the contrary, and is undecided "
    "between."
)
_OPEN = (
    'And those that it gives, where ours is another. "search" says how and on which images a value was chosen; nothing '
    "here checks that no test image informed what went into a search."
)
WORDS: tuple[tuple[str, str], ...] = (
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


def reproduction_view(records: Sequence[ReproductionRecord], _shown: Shown) -> list[Block]:
    """Tables and figures of the paper next to ours, Table 2 first; what the paper leaves open; claims as an appendix.

    Raises:
        ConfigurationError: two of the records are of one experiment and study.
        FormatError: a record lacks a number that a claim needs.
    """
    ordered = _ordered(records)
    judged = [judge_all([record]) for record in ordered]
    claims = [claim for of_record in judged for claim in of_record]
    blocks: list[Block] = []
    if any(record.preset == "smoke" for record in ordered):
        blocks.append(Text([_SMOKE], "care", where="page"))
    blocks.append(Text([_WHY], where="page"))
    position = 0
    for record, anchor, of_record in zip(ordered, _anchors(ordered), judged, strict=True):
        blocks += [Heading(_title(record), 1), Heading(_title(record), 2, anchor, "page")]
        for study in record.studies:
            blocks += _study(record, study, claims, position)
            position += 1
        blocks.append(
            Text(sentences(of_record), "bullets", f"Claims of the paper ({counts(of_record)})", "text"),
        )
        blocks.append(Text(_origin(record), where="text"))
    return [*blocks, *_appendix(ordered, claims)]


def reproduction_title(records: Sequence[ReproductionRecord]) -> str:
    """A heading of a page."""
    names = dict.fromkeys(study.name for record in records for study in record.studies)
    return f"Reproduction on {', '.join(names)}"


def reproduction_intro(records: Sequence[ReproductionRecord]) -> str:
    """What the page holds."""
    presets = dict.fromkeys(record.preset for record in records)
    return (
        "Every table and figure of the paper for which there is a record: its number next to ours with the 95 % "
        f"interval. Preset: {', '.join(presets)}."
    )


def draw_study(study: Study, position: int = 0) -> Sequence["Drawing"]:
    """The figures of one study; its position names them where its name cannot."""
    from variegate.report.figures.paper import draw_study as draw

    return draw(study, position)


def _ordered(records: Sequence[ReproductionRecord]) -> list[ReproductionRecord]:
    seen: set[tuple[str, str]] = set()
    for record in records:
        for study in record.studies:
            if (record.experiment, study.name) in seen:
                raise ConfigurationError(
                    f"a page shows each experiment once for a study; got {record.experiment} on {study.name[:60]!r} "
                    "twice: give one of the records to another page"
                )
            seen.add((record.experiment, study.name))
    first = ["table2", *(name for name in EXPERIMENTS if name != "table2")]
    return sorted(records, key=lambda record: first.index(record.experiment))


def _anchors(records: Sequence[ReproductionRecord]) -> list[str]:
    """The experiments' names, numbered from the second record of one."""
    names = [record.experiment for record in records]
    before = [names[:place].count(name) for place, name in enumerate(names)]
    return [name if not earlier else f"{name}-{earlier + 1}" for name, earlier in zip(names, before, strict=True)]


def _title(record: ReproductionRecord) -> str:
    return f"{EXPERIMENT_TITLES[record.experiment]}: {record.title}"


def _study(record: ReproductionRecord, study: Study, claims: Sequence[Claim], position: int) -> list[Block]:
    return [
        Heading(study.name, 3, where="page"),
        Text([setting(study)]),
        *_tables(study, claims),
        Figures(lambda: draw_study(study, position)),
        Text(differences(record, study), "bullets", "What differs from the paper"),
    ]


def _tables(study: Study, claims: Sequence[Claim]) -> list[Block]:
    """Every table of a study; on a page those that the paper makes claims on carry marks."""
    results, name = study.results, study.name
    if isinstance(results, AccuracyResults):
        plain = accuracy_table(name, results)
        return _marked([(plain, accuracy_marks(claims, name, accuracy_rows(results)))])
    if isinstance(results, ReplicationResults):
        attacks = results.attacks.ordered
        return [
            *_marked(
                [
                    (replication_table(name, one), replication_marks(claims, name, one.name, TABLE2_ROWS))
                    for one in attacks
                ]
            ),
            *(Rows(companion_table(name, attack)) for attack in attacks),
            Rows(effort_table(name, results)),
        ]
    if isinstance(results, CostResults):
        return [Rows(cost_table(name, results))]
    if isinstance(results, CosineResults):
        return [Rows(cosine_table(name, results))]
    if isinstance(results, BindingResults):
        return [Rows(binding_table(name, results))]
    if isinstance(results, CollusionResults):
        by_setting = [Rows(collusion_table(name, one)) for one in results.settings]
        norms = Rows(norms_table(name, results), folded=True, where="page")
        return [*by_setting, Rows(coalition_table(name, results)), norms]
    raise TypeError(f"there is no table of a {type(results).__name__}")


def _marked(tables: Sequence[tuple[Table, Sequence[str]]]) -> list[Block]:
    """Each table as it is for the terminal, and with its marks for a page, with one legend."""
    blocks: list[Block] = [
        block
        for table, marks in tables
        for block in (Rows(table, where="text"), Rows(marked(table, marks), where="page"))
    ]
    return [*blocks, Text([LEGEND], "note", where="page")]


def _appendix(records: Sequence[ReproductionRecord], claims: Sequence[Claim]) -> list[Block]:
    """Pages alone: parameters, runs, and the ledger of claims."""
    parameters = [
        _pairs(f"{study.name}: {group_title(rewriter)}", spec_notes(study, rewriter))
        for study in _distinct(records)
        for rewriter in study.specs
    ]
    ledger: list[Block] = [Text(["These records decide no claim."], where="page")]
    if claims:
        ledger = [
            Text([f"Of the paper's own claims: {counts(claims)}. {_JUDGED}"], where="page"),
            Rows(overview_table(claims), words=4, where="page"),
            *(
                Rows(claims_table(of, _ledger_title(experiment)), 2, folded=len(of) > _MANY_CLAIMS, where="page")
                for experiment in EXPERIMENTS
                if (of := [claim for claim in claims if claim.experiment == experiment])
            ),
        ]
    return [
        Heading("Parameters that the paper leaves open", 2, "parameters", "page"),
        Text([_OPEN], where="page"),
        Pairs(parameters, "page"),
        Heading("Studies and runs", 2, "runs", "page"),
        Pairs([*_studies(records), *map(_run, records)], "page"),
        Heading("Appendix: the paper's claims", 2, "claims", "page"),
        *ledger,
    ]


def _ledger_title(experiment: str) -> str:
    return f"{EXPERIMENT_TITLES[experiment]}: every claim with its numbers"


def _origin(record: ReproductionRecord) -> list[str]:
    run = (
        f"Preset {record.preset}; variegate {record.variegate} (source {short_digest(record.source)}), torch "
        f"{record.torch}, python {record.python}, {record.created}, {duration(record.seconds)}, "
        f"{count(record.shards_computed_in_this_run)} new shards."
    )
    return [run, f"Command: {record.command}"]


def _distinct(records: Sequence[ReproductionRecord]) -> list[Study]:
    """Each study once, and again where a record has it with other originals, specs or data."""
    found: dict[tuple[object, ...], Study] = {}
    for study in (study for record in records for study in record.studies):
        found.setdefault((study.name, study.originals, str(study.specs), study.data_digest, study.seed), study)
    return [*found.values()]


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
