"""Projections by name."""

from collections.abc import Mapping
from typing import Final, Literal, Protocol, TypeAlias

from variegate.errors import ConfigurationError
from variegate.keys import CopyKey
from variegate.projections.base import Projection
from variegate.projections.hadamard import RandomizedHadamard
from variegate.projections.matrices import DenseSigns, SparseSigns

AUTO_DENSE_ELEMENTS: Final = 1 << 24

ProjectionKind: TypeAlias = Literal["dense", "hadamard", "sparse", "auto"]


class ProjectionFactory(Protocol):
    """Anything that builds a projection from a key and its sizes, such as one of the classes."""

    def __call__(self, key: CopyKey, *, rows: int, dim: int, zero_mean: bool = True) -> Projection:
        """A projection with these sizes."""
        ...


PROJECTIONS: Final[Mapping[str, ProjectionFactory]] = {
    "dense": DenseSigns,
    "hadamard": RandomizedHadamard,
    "sparse": SparseSigns,
}


def build_projection(kind: ProjectionKind, key: CopyKey, *, rows: int, dim: int, zero_mean: bool = True) -> Projection:
    """The keyed projection of this kind; the same arguments give the same matrix on every machine.

    "auto" is "dense" while rows * dim <= 2**24 (64 MiB), else "hadamard"; the choice depends on the sizes only, and so
    is part of the format.

    Args:
        kind: "dense", "hadamard", "sparse" or "auto".
        key: the copy's key.
        rows: number of messages, 1 or more.
        dim: length of a flattened input, 1 or more; 2 or more with `zero_mean`.
        zero_mean: make every row sum to 0.

    Raises:
        ConfigurationError: if the kind is unknown or the sizes do not fit it.
    """
    chosen: str = kind
    if kind == "auto":
        chosen = "dense" if rows * dim <= AUTO_DENSE_ELEMENTS else "hadamard"
    factory = PROJECTIONS.get(chosen)
    if factory is None:
        raise ConfigurationError(f"a projection's kind must be auto, {', '.join(sorted(PROJECTIONS))}; got {kind!r}")
    return factory(key, rows=rows, dim=dim, zero_mean=zero_mean)
