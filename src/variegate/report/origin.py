"""When, how and with what code a record was made: the first rows of every table that says how to repeat it."""

from typing import Protocol

from variegate.report.words import duration


class Origin(Protocol):
    """What every record of a run has."""

    @property
    def command(self) -> str:
        """What was typed."""
        ...

    @property
    def created(self) -> str:
        """When it was written."""
        ...

    @property
    def seconds(self) -> float:
        """How long it took."""
        ...

    @property
    def variegate(self) -> str:
        """The version."""
        ...

    @property
    def torch(self) -> str:
        """PyTorch's version."""
        ...


def origin_rows(record: Origin) -> tuple[tuple[str, str], ...]:
    """Return them as (name, value)."""
    return (
        ("command", record.command),
        ("created", record.created),
        ("duration", duration(record.seconds)),
        ("variegate", record.variegate),
        ("torch", record.torch),
    )
