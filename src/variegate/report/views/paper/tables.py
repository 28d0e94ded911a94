"""Tables 1 to 3 as tables: the paper and ours, with intervals and counts."""

from collections.abc import Iterator

from variegate.experiments.paper.paper import TABLE1, TABLE3
from variegate.records.base import Rate
from variegate.records.reproduction import (
    AccuracyResults,
    AccuracyRow,
    AttackResults,
    CostResults,
    CostRow,
    PairsRate,
    ReplicationResults,
)
from variegate.report.blocks import Table
from variegate.report.formatting import (
    NOTHING,
    count,
    counted,
    group_title,
    norm,
    percent,
    points,
    share,
    short_interval,
    span,
)
from variegate.report.labels import replication_cells
from variegate.report.views.paper.deviations import threads
from variegate.rewriters.base import AbstractSpec
from variegate.rewriters.catalog import spec_class

EXPERIMENT_TITLES = {
    "table1": "Table 1",
    "table2": "Table 2",
    "table3": "Table 3",
    "fig3": "Figure 3",
    "fig4": "Figure 4",
    "fig5": "Figure 5",
}
"""As in the paper."""


def accuracy_title(name: str) -> str:
    """A row of Table 1 for people."""
    return name if name == "original" else group_title(name)


def mean_sd(mean: float | None, sd: float | None) -> str:
    """Mean and standard deviation in per cent as the paper writes them, such as "96.3 (1.3)"."""
    if mean is None:
        return NOTHING
    return percent(mean) if sd is None else f"{percent(mean)} ({points(sd)})"


def paper_cell(cell: tuple[float, float] | None) -> str:
    """A cell of the paper: per cent, with the standard deviation in brackets."""
    return NOTHING if cell is None else f"{cell[0]:.1f} ({cell[1]:.1f})"


def difference(ours: float | None, paper: tuple[float, float] | None) -> str:
    """Ours, a fraction, minus the paper's mean, in points."""
    return NOTHING if ours is None or paper is None else points(ours - paper[0] / 100.0, signed=True)


def ends(low: float | None, high: float | None) -> str:
    """An interval of a rate in per cent, such as "18-25"; empty where there is none."""
    return "" if low is None or high is None else short_interval(low, high)


def ratio(ours: float, paper: float | None) -> str:
    """Ours divided by the paper's; nothing where ours is lost in the noise of a timing."""
    return NOTHING if not paper or ours < 0.0 else norm(ours / paper)


SHOWN_STEPS = (1.1, 1.5, 2.0)

_KINDS = {"identical": "same copy", "rewriting": "rewriting", "training": "+ training"}


def accuracy_rows(results: AccuracyResults) -> list[AccuracyRow]:
    """The rows in the paper's order, further ones after them."""

    def order(row: AccuracyRow) -> int:
        kind = spec_class(row.name)
        return -1 if row.name == "original" else AbstractSpec.order if kind is None else kind.order

    return sorted(results.ordered, key=order)


def accuracy_table(study: str, results: AccuracyResults) -> Table:
    """Table 1: two rows a rewriter, intervals and counts below."""
    rows: list[tuple[str, ...]] = []
    paper = TABLE1.get(study, {})
    for row in accuracy_rows(results):
        theirs = paper.get(row.name)
        fall = "" if theirs is None or row.drop is None else f"{paper['original'][0] - theirs[0]:.1f}"
        drop = row.drop
        rows += [
            (
                accuracy_title(row.name),
                paper_cell(theirs),
                mean_sd(row.of_first.mean, row.of_first.sd),
                difference(row.of_first.mean, theirs),
                mean_sd(row.of_all.mean, row.of_all.sd),
                fall or NOTHING,
                NOTHING if drop is None else points(drop.mean),
                NOTHING if drop is None else points(row.largest_drop),
                NOTHING if row.labels_changed is None else percent(row.labels_changed.mean),
            ),
            (
                "",
                "",
                count(row.of_first.of),
                "",
                count(row.of_all.of),
                "",
                "" if drop is None else span(points(drop.low), points(drop.high)),
                "",
                "",
            ),
        ]
    return Table(
        title=f"Accuracy on {count(results.images)} test images of {study}: mean (sd) in %, drops in points",
        columns=("", "paper", "ours", "difference", "all", "paper's drop", "our drop", "largest", "labels changed"),
        rows=tuple(rows),
        paired=True,
        note=(
            "Ours: the originals, or copies of the first one; all: copies of every original; below: how many. Below "
            "the drop: its 95 % interval over images, originals and copies."
        ),
    )


def replication_table(study: str, attack: AttackResults) -> Table:
    """Table 2, one attack: two rows a cell, the interval and k/n below."""
    rows: list[tuple[str, ...]] = []
    for row, rate, means, theirs in replication_cells(study, attack):
        known = rate is not None and rate.rate is not None
        rows += [
            (
                f"({row.letter})",
                row.label,
                paper_cell(theirs),
                NOTHING if rate is None else percent(rate.rate),
                NOTHING if means is None or not known else mean_sd(means.mean, means.sd),
                difference(None if rate is None else rate.rate, theirs),
            ),
            ("", "", "", "" if rate is None else counted(rate), "" if means is None else count(means.of), ""),
        ]
    return Table(
        title=f"{attack.name} on {study}, at most {count(attack.queries)} queries an image (%)",
        columns=("", "row", "paper", "ours", "mean (sd)", "difference"),
        rows=tuple(rows),
        labels=2,
        paired=True,
        label_width=44,
        note="Ours: pooled, below k/n and the 95 % interval. Mean (sd): over attackers or pairs, below how many.",
    )


def companion_table(study: str, attack: AttackResults) -> Table:
    """What stands behind the replication of one attack: conditioned, at the boundary, noise, further steps."""
    rows: list[tuple[str, ...]] = []
    for group in attack.groups.values():
        for kind, found in group.kinds.items():
            rates = _companions(found)
            rows.append(
                (group_title(group.name), _KINDS[kind], *(NOTHING if r is None else percent(r.rate) for r in rates))
            )
            rows.append(("", "", *("" if r is None else ends(r.low, r.high) for r in rates)))
    steps = (f"s={step:g}" for step in SHOWN_STEPS)
    return Table(
        title=f"{attack.name} on {study}: replication (%), below its 95 % interval",
        columns=("copies", "victims", "rate", "conditioned", "boundary", "noise", *steps),
        rows=tuple(rows),
        labels=2,
        paired=True,
        note=(
            "Conditioned: victims that are right on the clean image. Boundary: perturbations cut back to the "
            "attacker's boundary."
        ),
    )


def effort_table(study: str, results: ReplicationResults) -> Table:
    """What the attacks found and spent: norms, overshoot, queries, a row for each attack and group."""
    rows = [
        (
            attack.name,
            group_title(group.name),
            count(group.attackers),
            count(group.images),
            norm(group.distance.median),
            span(norm(group.distance.p25), norm(group.distance.p75)) or NOTHING,
            share(group.overshoot.median),
            count(group.queries.median),
            count(group.queries.total),
            share(group.speed),
        )
        for attack in results.attacks.ordered
        for group in attack.groups.values()
    ]
    return Table(
        title=f"What the attacks on {study} found and spent",
        columns=(
            "attack",
            "copies",
            "attackers",
            "images",
            "norm",
            "p25 to p75",
            "overshoot (%)",
            "queries",
            "in all",
            "speed (%)",
        ),
        rows=tuple(rows),
        labels=2,
        grouped=True,
        note="Norm, overshoot and queries an image are medians; the overshoot is the part past the boundary. Speed: "
        "queries a second over what the original alone labels, measured beside each shard.",
    )


def cost_table(study: str, results: CostResults) -> Table:
    """Table 3: a row for each method and quantity."""
    rows = [(group_title(name), *cells) for name, cells in cost_cells(results)]
    alone = ", ".join(f"{norm(ms)} ms for a batch of {batch}" for batch, ms in results.original_ms.items())
    return Table(
        title=f"What a further copy costs, {study}",
        columns=("method", "cost", "paper", "ours", "ours / paper"),
        rows=tuple(rows),
        labels=2,
        grouped=True,
        note=f"The original alone: {alone}; medians of {count(results.repeats)} timings on {results.device}, "
        f"{threads(results)}. Training: {results.training}.",
    )


def cost_cells(results: CostResults) -> list[tuple[str, tuple[str, str, str, str]]]:
    """(method, (quantity, the paper's, ours, ours / the paper's))."""
    return [(row.name, cells) for row in results.ordered for cells in _costs(row)]


def _costs(row: CostRow) -> Iterator[tuple[str, str, str, str]]:
    paper = TABLE3.get(row.name)

    def cell(name: str, unit: float) -> str:
        if paper is None:
            return NOTHING
        value = paper[name]
        return "not required" if value is None else norm(value / unit)

    def against(ours: float | None, name: str) -> str:
        return NOTHING if paper is None or ours is None else ratio(ours, paper[name])

    yield (
        "training (s)",
        cell("training_seconds", 1.0),
        norm(row.training_seconds),
        against(row.training_seconds, "training_seconds"),
    )
    stored = row.storage_bytes or 0.0
    yield "storage (KB)", cell("storage_bytes", 1e3), norm(stored / 1e3), against(stored, "storage_bytes")
    if row.message_bytes is not None:
        yield "messages in memory (KB)", NOTHING, norm(row.message_bytes / 1e3), NOTHING
    for batch, added in row.added_ms.items():
        theirs = cell("inference_ms", 1.0) if batch == 1 else NOTHING
        yield (
            f"inference, batch {batch} (ms)",
            theirs,
            norm(added),
            against(added, "inference_ms") if batch == 1 else NOTHING,
        )


def _companions(found: PairsRate) -> list[Rate | None]:
    return [found, found.conditioned, found.boundary, found.noise, *map(found.at_scale, SHOWN_STEPS)]
