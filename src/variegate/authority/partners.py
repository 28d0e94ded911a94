"""The distance between permutation copies: how many classes have the same partner in two of them.

Two copies replicate an adversarial example the more, the more classes have the same partner. A policy may bound the
number of equal partners of any two copies; then a key that comes too close to an earlier copy is drawn again.
Superseded and revoked copies count, too: anyone who holds one can still attack with it.

How many copies there can be: fix any t + 1 classes; two copies that agree on all of them have more than t equal
partners, so no choice of t + 1 partners comes twice, and there are at most n (n - 1) ... (n - t) choices. That bounds
copies that all keep the distance: copies that were issued without one may be closer to each other.
"""

from collections.abc import Mapping
from typing import Any, Final, Protocol, TypeAlias, final

import numpy as np
import numpy.typing as npt

from variegate.errors import ConfigurationError, ConflictError
from variegate.keys import CopyKey, Purpose, derangement, permutation

MAX_DRAWS: Final = 1000
"""How often a key is drawn again before a buyer is refused."""

_BLOCK: Final = 4096

Partners: TypeAlias = npt.NDArray[np.uint16]


class Derive(Protocol):
    """Gives the key of a copy's n-th draw."""

    def __call__(self, *, draw: int) -> CopyKey: ...  # noqa: D102 (the class says it)


def draw_partners(key: CopyKey, spec: Mapping[str, Any], *, classes: int) -> Partners:
    """Return the partner of each class, uint16 (classes,), as the permutation rewriter draws it from this key.

    All dummy classes have the same score, 0, and so are one partner here, number `classes`.

    Args:
        key: of the copy.
        spec: of a permutation rewriter, as a JSON object.
        classes: of the original.
    """
    draw = derangement if spec["derangement"] else permutation
    partners = draw(key, Purpose.PERMUTATION, 0, 0, classes + spec["dummy_classes"])[:classes]
    return np.minimum(partners, classes).astype(np.uint16)


def max_copies(places: int, equal: int, *, classes: int) -> int:
    """Return how many copies can exist at most if no two have more than `equal` equal partners.

    Args:
        places: classes and dummy classes.
        equal: the most equal partners of two copies.
        classes: how many classes have a partner that counts.
    """
    fixed = min(equal + 1, classes)
    count = 1
    for taken in range(fixed):
        count *= places - taken
    return count


@final
class PartnerGuard:
    """Remembers the partners of all copies of one original and says whether a new one is far enough from each.

    Memory: 2 bytes a class and copy. Time: one pass over all earlier copies for each draw.

    Args:
        classes: of the original.
        dummy_classes: of the spec.
        equal: the most equal partners of two copies.

    Raises:
        ConfigurationError: if the original has more than 65,535 classes.
    """

    def __init__(self, *, classes: int, dummy_classes: int, equal: int) -> None:
        if classes + dummy_classes >= 1 << 16:
            raise ConfigurationError(f"a distance is kept for up to 65,535 classes; got {classes + dummy_classes}")
        self._equal = equal
        self._limit = max_copies(classes + dummy_classes, equal, classes=classes)
        self._known: Partners = np.empty((_BLOCK, classes), dtype=np.uint16)
        self._count = 0
        self._names: set[str] = set()

    def __contains__(self, copy_id: object) -> bool:
        return copy_id in self._names

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"PartnerGuard({self._count} copies)"

    def add(self, partners: Partners, copy_id: str = "") -> None:
        """Remember a copy, and its name."""
        self._names.add(copy_id)
        if self._count == len(self._known):
            self._known = np.concatenate([self._known, np.empty_like(self._known)])
        self._known[self._count] = partners
        self._count += 1

    def nearest(self, partners: Partners) -> int:
        """Return the largest number of equal partners with any remembered copy; 0 if there is none."""
        worst = 0
        for start in range(0, self._count, _BLOCK):
            same = self._known[start : min(start + _BLOCK, self._count)] == partners
            worst = max(worst, int(same.sum(1, dtype=np.int32).max()))
        return worst

    def admits(self, partners: Partners) -> bool:
        """Say whether a copy is far enough from all remembered ones."""
        return self.nearest(partners) <= self._equal

    def draw(self, derive: Derive, spec: Mapping[str, Any], *, copy_id: str, buyer: str) -> tuple[int, CopyKey]:
        """Draw keys until the copy is far enough from all remembered ones; remember it, too.

        Args:
            derive: gives the key of the copy's n-th draw.
            spec: of the copy.
            copy_id: its name.
            buyer: who receives it.

        Returns:
            The draw and its key.

        Raises:
            ConflictError: if all draws come too close.
        """
        for draw in range(MAX_DRAWS):
            key = derive(draw=draw)
            partners = draw_partners(key, spec, classes=self._known.shape[1])
            if self.admits(partners):
                self.add(partners, copy_id)
                return draw, key
        raise self.refuse(buyer)

    def refuse(self, buyer: str) -> ConflictError:
        """Return the error for a buyer for whom `MAX_DRAWS` draws all came too close."""
        if self._count >= self._limit and self._keeping_distance() >= self._limit:
            why = f"no more than {self._limit:,} such copies exist, and all are issued"
        else:
            why = f"{MAX_DRAWS:,} draws all came too close to one of the {self._count:,} copies there are"
        return ConflictError(
            f"there is no copy left for buyer {buyer!r} with at most {self._equal} equal partners: {why}; "
            "allow more equal partners"
        )

    def _keeping_distance(self) -> int:
        """Count copies that all keep the distance from each other, as many as one pass finds."""
        kept = PartnerGuard(classes=self._known.shape[1], dummy_classes=0, equal=self._equal)
        for partners in self._known[: self._count]:
            if kept.admits(partners):
                kept.add(partners)
        return len(kept)
