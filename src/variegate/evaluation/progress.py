"""How long-running measurements tell how far they are."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, how much is done, how much there is; 0 for unknown)."""


def silent(what: str, done: int, total: int) -> None:
    """Say nothing."""
