"""An audit of collusion as a table and a sentence: one source for the terminal and for the page."""

from variegate.records.base import Rate
from variegate.records.collusion import Coalition, CollusionRecord, Setting
from variegate.report.blocks import Block, Heading, Pairs, Rows, Table, Text
from variegate.report.formatting import NOTHING, count, counted, flat, norm, norm_title, origin_rows, percent
from variegate.report.views.shown import Shown


def copies_title(number: int, rewriter: str | None) -> str:
    """Whose copies a setting is about: "independent", "net-qim, independent" or "net-qim"."""
    if rewriter is None:
        return "independent"
    return f"{rewriter}, independent" if number == 2 else rewriter


def collusion_setting(record: CollusionRecord) -> str:
    """One sentence: what was attacked, with what."""
    what = {"mean": "the mean of their scores", "log": "the logarithm of the mean of their scores"}.get(
        record.attack.ensemble, "the majority of their labels"
    )
    within = "" if record.attack.budget is None else f" within {count(record.attack.budget)} queries an image"
    numbers, data, attack = ", ".join(map(count, record.colluders)), record.data, record.attack
    return (
        f"{numbers} colluders attack {what} on {count(data.images)} images of {data.name} ({data.split}) with "
        f"{attack.name}{within}, {norm_title(attack.norm)}; what they find is shown to {count(record.victims)} "
        f"other copies at most; seed {attack.seed}.{_too_few(record)}"
    )


def _too_few(record: CollusionRecord) -> str:
    """Say where fewer colluders were measured than were asked for."""
    wanted = max(record.colluders, default=0)
    reached = {
        copies_title(one.setting, one.rewriter): max((point.r for point in one.points), default=0)
        for one in record.settings
    }
    short = [f"{name} (k = {count(most)} at most)" for name, most in reached.items() if most < wanted]
    if not short:
        return ""
    return f" NOT measured for more colluders, who need k + 1 independent trainings: {'; '.join(short)}."


def collusion_table(record: CollusionRecord) -> Table:
    """Two rows for each setting, variant and number of colluders: rates, below them counts and 95 % intervals.

    The rows "identical" show one colluder's outputs to his own copy, asked again; "identical, 8 bits" shows them
    rounded, where the record has that.
    """
    rows: list[tuple[str, ...]] = []
    for setting in record.settings:
        whose = copies_title(setting.setting, setting.rewriter)
        for point in setting.points:
            rows += _rows(whose, point.variant, point)
        rows += _controls(whose, setting)
    return Table(
        title="Collusion: % of images found and kept, % of victims fooled; below them k/n and the 95 % interval",
        columns=(
            "copies",
            "attack",
            "k",
            "images",
            "found",
            "kept",
            "norm",
            "all outputs",
            "conditioned",
            "kept outputs",
            "validated",
            "noise",
        ),
        rows=tuple(rows),
        labels=2,
        note="Kept: fools every colluder's copy, too. Validated: lengthened until it does. Conditioned: all outputs on "
        "victims that get the clean image right. Identical: one colluder's outputs on his own copy, asked again.",
        paired=True,
    )


def collusion_origin(record: CollusionRecord) -> Table:
    """What is needed to repeat the audit, as (name, value)."""
    rows = (
        *origin_rows(record),
        ("source", record.source),
        ("model", record.model.digest),
        ("trainings", count(record.trainings)),
        *((f"attack.{name}", value) for name, value in flat(record.attack.parameters)),
    )
    return Table(title="Run", columns=("name", "value"), rows=rows, labels=2)


def _controls(whose: str, setting: Setting) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for point in setting.identical:
        rows += _rows(whose, "identical", point)
        if point.rounded is not None:
            first = (whose, "identical, 8 bits", count(point.r))
            rows.append((*first, *(NOTHING,) * 6, percent(point.rounded.rate), NOTHING, NOTHING))
            rows.append(("",) * 9 + (counted(point.rounded), "", ""))
    return rows


def _rows(whose: str, variant: str, point: Coalition) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the row of rates and the row of their counts."""
    every, kept, validated = (point.outputs.get(letter) for letter in "BCV")
    rates: tuple[Rate | None, ...] = (
        None if every is None else every.replication_rate,
        None if every is None else every.replication_rate_conditioned,
        None if kept is None else kept.replication_rate,
        None if validated is None else validated.replication_rate,
        None if every is None else every.noise,
    )
    return (
        (
            whose,
            variant,
            count(point.r),
            count(point.attempted),
            percent(point.attack_success_rate.rate),
            percent(point.kept.rate),
            NOTHING if every is None else norm(every.median_norm),
            *(NOTHING if rate is None else percent(rate.rate) for rate in rates),
        ),
        (
            *("",) * 4,
            counted(point.attack_success_rate),
            counted(point.kept),
            "",
            *("" if rate is None else counted(rate) for rate in rates),
        ),
    )


def collusion_view(record: CollusionRecord, shown: Shown) -> list[Block]:
    """What was done, the tables, and how to repeat it."""
    return [
        Heading(record.title, 1, shown.anchor),
        Text([collusion_setting(record)]),
        Rows(collusion_table(record)),
        Pairs([collusion_origin(record)]),
    ]
