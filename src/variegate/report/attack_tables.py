"""Tables of what an attack cost and how it ended."""

from variegate.records.base import Spread
from variegate.records.replication import Group, ReplicationRecord
from variegate.report.table import Table
from variegate.report.words import NOTHING, count, group_title, middle, norm, norm_title


def queries_table(record: ReplicationRecord, *, most: int = 10) -> Table:
    """Queries an input and norms of the adversarials: a row per attacked copy, or one a group above `most` copies."""
    rows = [row for group in record.groups for row in _query_rows(group, most)]
    return Table(
        title=f"Queries an input and {norm_title(record.attack.norm)} of the adversarials",
        columns=("group", "copy", "success", "queries", "p10 to p90", "in total", "norm", "p25 to p75"),
        rows=tuple(rows),
        note="Queries and norms are medians with percentiles, one row per attacked copy.",
        labels=2,
        grouped=True,
    )


def status_table(record: ReplicationRecord) -> Table:
    """What became of the attacked inputs, by group."""
    names = sorted({name for group in record.groups for attacker in group.attacked for name in attacker.status})
    rows = tuple(
        (group_title(group.name), *(count(sum(a.status.get(name, 0) for a in group.attacked)) for name in names))
        for group in record.groups
        if group.attacked
    )
    return Table(
        title="Outcomes of the attacked inputs",
        columns=("group", *(name.replace("_", " ") for name in names)),
        rows=rows,
    )


def _query_rows(group: Group, most: int) -> list[tuple[str, ...]]:
    attackers = group.attacked
    if len(attackers) > most:
        return [
            (
                group_title(group.name),
                f"all {len(attackers)}",
                f"{count(sum(a.succeeded for a in attackers))}/{count(sum(a.attempted for a in attackers))}",
                count(middle([a.queries.median for a in attackers])),
                NOTHING,
                count(sum(a.queries.total for a in attackers)),
                norm(group.median_distance),
                NOTHING,
            )
        ]
    return [
        (
            group_title(group.name),
            str(index + 1),
            f"{count(attacker.succeeded)}/{count(attacker.attempted)}",
            count(attacker.queries.median),
            _ends(attacker.queries),
            count(attacker.queries.total),
            norm(attacker.distance.median),
            _quartiles(attacker.distance),
        )
        for index, attacker in enumerate(attackers)
    ]


def _ends(spread: Spread) -> str:
    return NOTHING if spread.p10 is None or spread.p90 is None else f"{count(spread.p10)} to {count(spread.p90)}"


def _quartiles(spread: Spread) -> str:
    return NOTHING if spread.p25 is None or spread.p75 is None else f"{norm(spread.p25)} to {norm(spread.p75)}"
