"""What a view is given besides its records."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from variegate.report.figures.gallery import Pictures


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a view is given besides its records.

    Attributes:
        pictures: for each record the pictures kept next to it, or None; empty if there are none at all.
        class_names: names of the classes, for the labels below pictures.
        anchor: where a page's contents link to; the start of all anchors of the view.
    """

    pictures: Sequence["Pictures | None"] = ()
    class_names: Sequence[str] = ()
    anchor: str = "r1"
