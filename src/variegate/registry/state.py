"""The life of a copy, as a state machine; nothing else decides what may follow what.

- a copy is issued `active`;
- active -> superseded: the buyer has a later one, this one is still his;
- active -> revoked and superseded -> revoked: it is no longer valid;
- revoked is the end: no step leads back, a new copy of a later epoch does;
- a step to the same state changes nothing.
"""

from variegate.errors import ConflictError
from variegate.types import CopyStatus

NEXT: dict[CopyStatus, frozenset[CopyStatus]] = {
    CopyStatus.ACTIVE: frozenset({CopyStatus.SUPERSEDED, CopyStatus.REVOKED}),
    CopyStatus.SUPERSEDED: frozenset({CopyStatus.REVOKED}),
    CopyStatus.REVOKED: frozenset(),
}
"""The states that may follow each state."""


def check_step(copy_id: str, before: CopyStatus, after: CopyStatus) -> bool:
    """Return whether the step changes anything.

    Raises:
        ConflictError: if the step is forbidden.
    """
    if before == after:
        return False
    if after not in NEXT[before]:
        allowed = " or ".join(sorted(NEXT[before])) or "nothing else"
        raise ConflictError(
            f"copy {copy_id} is {before} and cannot become {after}, only {allowed}; nothing was changed: "
            "issue a later epoch for a new active copy"
        )
    return True
