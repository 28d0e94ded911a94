"""Write the table of docs/results/README.md from the records beside it: results_table.py [README]."""

import json
import sys
from pathlib import Path

from variegate.files import write_atomic
from variegate.records.base import Rate
from variegate.records.load import parse_record
from variegate.records.replication import Group, ReplicationRecord
from variegate.report.formatting import NOTHING, group_title, norm, percent, points, short_interval
from variegate.report.measures import accuracy_change, labels_changed, norm_kept, rate_at, stops_protecting

_BEGIN, _END = "<!-- table: tools/results_table.py -->", "<!-- end of table -->"
_STEPS = (1.0, 1.05, 1.5, 2.0)
_HEADINGS = (
    "model",
    "group",
    *(f"s = {s:g}" for s in _STEPS),
    "stops protecting at L2",
    "norm kept",
    "accuracy, points",
    "labels changed",
)


def table(records: list[ReplicationRecord]) -> str:
    """Return a Markdown table: a row for each model and group."""
    lines = [f"| {' | '.join(_HEADINGS)} |", f"| {' | '.join('---' for _ in _HEADINGS)} |"]
    for record in records:
        for number, group in enumerate(record.groups):
            name = f"[{record.model.name}]({record.model.name}/record.json)" if number == 0 else ""
            lines.append(f"| {' | '.join([name, *_cells(record, group)])} |")
    return "\n".join(lines)


def _cells(record: ReplicationRecord, group: Group) -> list[str]:
    changed = labels_changed(group)
    return [
        group_title(group.name),
        *(_rate(rate_at(group, s)) for s in _STEPS),
        NOTHING if group.name == "noise" else stops_protecting(group).words,
        norm(norm_kept(record, group)),
        points(accuracy_change(group), signed=True),
        f"{percent(changed[0] / changed[1])} %" if changed and changed[1] else NOTHING,
    ]


def _rate(rate: Rate | None) -> str:
    if rate is None or rate.low is None or rate.high is None:
        return NOTHING
    return f"{percent(rate.rate)} ({short_interval(rate.low, rate.high)})"


def main(readme: Path) -> None:
    """Replace what is between the two marks.

    Raises:
        SystemExit: there are no records, or the file has no marks.
    """
    files = sorted(readme.parent.glob("*/record.json"))
    parsed = [parse_record(json.loads(file.read_text(encoding="utf-8"))) for file in files]
    records = [record for record in parsed if isinstance(record, ReplicationRecord)]
    before, begin, rest = readme.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not records or not begin or not end:
        raise SystemExit(f"expected records beside {readme} and the marks {_BEGIN} and {_END} in it")
    write_atomic(readme, f"{before}{_BEGIN}\n\n{table(records)}\n\n{_END}{after}".encode())


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/results/README.md"))
