"""What is needed to repeat a run: command, versions, digests, seed, the attack's and the rewriters' parameters."""

from variegate.records.attack import AttackRecord
from variegate.records.replication import Group, ReplicationRecord
from variegate.report.attack_overview import origin
from variegate.report.table import Table
from variegate.report.words import NOTHING, copy_name, count, duration, flat, group_title, number


def parameter_tables(record: ReplicationRecord) -> tuple[Table, ...]:
    """What is needed to repeat the run: one table for it, one for the attack, one for each group."""
    shape = " x ".join(map(str, record.model.input_shape))
    indices = record.data.indices or ()
    run = [
        ("command", record.command),
        ("created", record.created),
        ("duration", duration(record.seconds)),
        ("variegate", record.variegate),
        ("torch", record.torch),
        *((name, value) for name, value in (("python", record.python), ("device", record.device)) if value),
        ("model", record.model.name),
        ("model digest", record.model.digest),
        ("classes", str(record.model.num_classes)),
        ("input", f"{shape}, values in [{number(record.model.bounds[0])}, {number(record.model.bounds[1])}]"),
        ("data", f"{record.data.name}, {record.data.split}, {count(record.data.images)} images"),
        ("indices", ", ".join(map(str, indices[:20])) + (", …" if len(indices) > 20 else "") or NOTHING),
        ("seed", str(record.attack.seed)),
    ]
    if record.efficiency is not None:
        cost = record.efficiency
        run += [
            ("queries in all", f"{count(cost.queries)} in {duration(cost.seconds)}"),
            ("queries a second", count(cost.queries_per_second)),
            ("model alone, a second", count(cost.raw_queries_per_second)),
        ]
    attack = [
        ("attack", record.attack.name),
        ("budget", f"{count(record.attack.budget)} queries an input"),
        ("norm", record.attack.norm),
    ]
    tables = [_pairs("Run", tuple(run)), _pairs("Attack", (*attack, *flat(record.attack.parameters)))]
    for group in record.groups:
        rows = (
            ("rewriter", "none" if group.rewriter is None else "see below"),
            ("copies", _copies(group)),
            *(flat(group.rewriter) if group.rewriter else ()),
        )
        tables.append(_pairs(f"Group: {group_title(group.name)}", rows if group.rewriter is None else rows[1:]))
    return tuple(tables)


def attack_parameter_table(record: AttackRecord, label: str) -> Table:
    """What is needed to repeat one attack."""
    return _pairs(label, (*origin(record), *flat(record.attack.parameters)))


def _pairs(title: str, rows: tuple[tuple[str, str], ...]) -> Table:
    return Table(title=title, columns=("name", "value"), rows=rows, labels=2)


def _copies(group: Group) -> str:
    shown = ", ".join(copy_name(label, 28) for label in group.copies[:4])
    return f"{len(group.copies)} ({shown}{', …' if len(group.copies) > 4 else ''})" if group.copies else "0"
