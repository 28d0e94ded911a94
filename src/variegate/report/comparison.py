"""Several records side by side: replication at one s, a row per model, a mark per group."""

from collections.abc import Sequence

from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

from variegate.records.replication import ReplicationRecord
from variegate.report.drawing import GRID, Drawing, canvas, plain, style, titled
from variegate.report.measures import rate_at
from variegate.report.palette import group_styles
from variegate.report.words import group_title, number, percent


def comparison(records: Sequence[ReplicationRecord], *, s: float = 1.0) -> Drawing:
    """Replication at s with 95 % intervals: models from top to bottom, groups as marks beside each other."""
    names = list(dict.fromkeys(group.name for record in records for group in record.groups))
    styles = group_styles(names)
    title = f"Victims fooled at s = {number(s)}, by model"
    parts = []
    with style():
        figure, (axes,) = canvas(1.6 + max(1, len(records)) * (0.2 + 0.11 * max(1, len(names))))
        for name in names:
            look = styles[name]
            offset = (names.index(name) - (len(names) - 1) / 2) * 0.8 / max(1, len(names))
            label: str | None = plain(look.title)
            for row, record in enumerate(records):
                group = record.group(name)
                rate = rate_at(group, s) if group else None
                if rate is None or rate.rate is None:
                    continue
                y = row + offset
                if rate.low is not None and rate.high is not None:
                    axes.plot(
                        [100 * rate.low, 100 * rate.high], [y, y], color=look.colour, linewidth=1.6, clip_on=False
                    )
                axes.plot(
                    [100 * rate.rate],
                    [y],
                    color=look.colour,
                    marker=look.marker,
                    linestyle="none",
                    label=label,
                    clip_on=False,
                )
                label = None
                parts.append(f"{record.model.name}, {group_title(name)} {percent(rate.rate)}")
        axes.set_ylim(max(1, len(records)) - 0.5, -0.5)
        axes.yaxis.set_major_locator(FixedLocator(range(len(records))))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_yticklabels([plain(record.model.name, limit=24) for record in records])
        for edge in range(1, len(records)):
            axes.axhline(edge - 0.5, color=GRID, linewidth=0.6, alpha=0.6)
        axes.set_xlim(0.0, 100.0)
        axes.xaxis.set_major_locator(FixedLocator([0, 25, 50, 75, 100]))
        axes.xaxis.set_major_formatter(PercentFormatter(decimals=0, symbol=" %"))
        axes.set_xlabel("victims fooled (bars: 95 % interval)")
        axes.grid(visible=True, axis="x", color=GRID, alpha=0.3, linewidth=0.7)
        axes.tick_params(axis="y", length=0)
        handles, labels = axes.get_legend_handles_labels()
        if handles:
            figure.legend(handles, labels, loc="outside lower center", ncols=3)
        titled(figure, title)
    alt = f"Dot plot of victims fooled in per cent at s = {number(s)}. {'; '.join(parts) or 'Nothing was measured'}."
    return Drawing(name=f"comparison-{round(100 * s)}", title=title, alt=alt, figure=figure)
