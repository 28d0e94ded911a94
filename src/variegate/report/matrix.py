"""The part of a record that says which copy's adversarials fooled which other copy."""

from dataclasses import dataclass
from typing import Self

from variegate.errors import FormatError
from variegate.report.fields import Field


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Replication counts, one row per attacker and one column per victim.

    Attributes:
        attackers, victims: labels.
        own: True where attacker and victim are the same copy.
        replicated, n: counts; None where nothing was counted, as on the diagonal.
    """

    attackers: tuple[str, ...]
    victims: tuple[str, ...]
    own: tuple[tuple[bool, ...], ...]
    replicated: tuple[tuple[int | None, ...], ...]
    n: tuple[tuple[int | None, ...], ...]

    def fraction(self, row: int, column: int) -> float | None:
        """Replicated divided by n, None where there is nothing to divide."""
        replicated, n = self.replicated[row][column], self.n[row][column]
        return None if replicated is None or not n else replicated / n

    @classmethod
    def read(cls, field: Field, copies: tuple[str, ...]) -> Self:
        """Read a matrix whose rows and columns are named by label or by position in `copies`.

        Raises:
            FormatError: if a count is missing, a row has another length, or a count exceeds its n.
        """
        attackers, victims = field["attackers"].elements(), field["victims"].elements()
        shape = (len(attackers), len(victims))
        replicated, n = _counts(field["replicated"], shape), _counts(field["n"], shape)
        for row, (counts, totals) in enumerate(zip(replicated, n, strict=True)):
            for column, (count, total) in enumerate(zip(counts, totals, strict=True)):
                if count is not None and count > (total or 0):
                    raise FormatError(
                        f"the record's field {field.name}.replicated[{row}][{column}] is {count}, above its n = {total}"
                    )
        return cls(
            attackers=tuple(_copy_label(attacker, copies) for attacker in attackers),
            victims=tuple(_copy_label(victim, copies) for victim in victims),
            own=tuple(tuple(attacker.value == victim.value for victim in victims) for attacker in attackers),
            replicated=replicated,
            n=n,
        )


def _counts(field: Field, shape: tuple[int, int]) -> tuple[tuple[int | None, ...], ...]:
    rows = tuple(
        tuple(None if cell.value is None else cell.integer() for cell in row.elements()) for row in field.elements()
    )
    if len(rows) != shape[0] or any(len(row) != shape[1] for row in rows):
        raise FormatError(
            f"the record's field {field.name} must have one row per attacker ({shape[0]}) and one column per victim "
            f"({shape[1]})"
        )
    return rows


def _copy_label(field: Field, copies: tuple[str, ...]) -> str:
    if isinstance(field.value, str):
        return field.value
    index = field.integer()
    if index >= len(copies):
        raise FormatError(f"the record's field {field.name} is copy {index}, but the group has {len(copies)} copies")
    return copies[index]
