"""Histograms of the adversarials' norms, one row per group on one scale."""

import numpy as np
from matplotlib.ticker import MaxNLocator

from variegate.records.replication import ReplicationRecord
from variegate.report.curves import norm_unit
from variegate.report.drawing import GRID, Drawing, canvas, plain, style, titled
from variegate.report.palette import BLACK, group_styles
from variegate.report.words import count, group_title, norm, norm_title

BINS = 36


def norm_histogram(record: ReplicationRecord) -> Drawing:
    """How large the adversarials on each group's own copies are; a line marks the median.

    The last bin holds everything above the 99th percentile of all groups, and the figure says so.
    """
    groups = [group for group in record.groups if group.attacked and group.distances]
    title = f"How large the adversarials are: {norm_title(record.attack.norm)} on the own copy"
    styles = group_styles(group.name for group in record.groups)
    parts = []
    with style():
        figure, panels = canvas(1.0 + 0.82 * max(1, len(groups)), rows=max(1, len(groups)), sharex=True)
        everything = np.concatenate([np.asarray(group.distances) for group in groups]) if groups else np.ones(1)
        largest, end = float(everything.max()), float(np.quantile(everything, 0.99)) * 1.05
        cut = largest > 1.5 * end
        edges = np.linspace(0.0, (end if cut else largest * 1.02) or 1.0, BINS + 1)
        for axes, group in zip(panels, groups, strict=False):
            look = styles[group.name]
            values = np.minimum(np.asarray(group.distances), edges[-1])
            axes.hist(values, bins=edges.tolist(), color="#555555" if look.colour == BLACK else look.colour, alpha=0.85)
            median = group.median_distance or 0.0
            if median <= edges[-1]:
                axes.axvline(median, color=BLACK, linewidth=1.4)
            text = f"{group_title(group.name)}: median {norm(median)}, n = {count(values.size)}"
            axes.set_ylim(top=1.15 * axes.get_ylim()[1])
            axes.set_title(plain(text, limit=80), loc="left", fontsize=9.5, pad=3.0, color=BLACK)
            axes.spines["left"].set_visible(False)
            axes.yaxis.set_major_locator(MaxNLocator(nbins=2, integer=True))
            axes.tick_params(axis="y", length=0)
            axes.grid(visible=True, axis="y", color=GRID, alpha=0.3, linewidth=0.7)
            parts.append(f"{group_title(group.name)} median {norm(median)} over {count(values.size)} adversarials")
        if not groups:
            panels[0].text(0.5, 0.5, "not measured", transform=panels[0].transAxes, ha="center", color=GRID)
        more = "; the last bar holds all larger ones" if cut else ""
        panels[-1].set_xlabel(f"{norm_unit(record)}{more}")
        figure.supylabel("adversarials", fontsize=10.0)
        titled(figure, title)
    alt = f"Histograms of the norms, one row per group. {'; '.join(parts) or 'Nothing was measured'}."
    return Drawing(name="norms", title=title, alt=alt, figure=figure)
