"""VIEWS: the view of each kind of record. A new kind of record is one line here."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from variegate.report.blocks import Block
from variegate.report.views.attack import attack_view
from variegate.report.views.calibration import calibration_view
from variegate.report.views.collusion import collusion_view
from variegate.report.views.cross_check import cross_check_view
from variegate.report.views.paper.view import reproduction_view
from variegate.report.views.replication import replication_view
from variegate.report.views.shown import Shown

View = Callable[[Sequence[Any], Shown], list[Block]]


def _alone(view: Callable[[Any, Shown], list[Block]]) -> View:
    """The view of a kind whose records are shown one by one."""
    return lambda records, shown: view(records[0], shown)


VIEWS: Mapping[str, View] = {
    "replication": _alone(replication_view),
    "calibration": _alone(calibration_view),
    "cross_check": _alone(cross_check_view),
    "collusion": _alone(collusion_view),
    "attack": attack_view,
    "reproduction": reproduction_view,
}
"""Kind of record -> its blocks."""
