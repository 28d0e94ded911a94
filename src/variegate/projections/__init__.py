"""Keyed linear maps from a flattened input to one number per message, each message of norm 1.

Three of them, cheapest to reason about first: `DenseSigns`, `RandomizedHadamard`, `SparseSigns`; `build_projection`
takes one by name. What each costs is said in its docstring.
"""

from variegate.projections.base import Projection
from variegate.projections.catalog import AUTO_DENSE_ELEMENTS, PROJECTIONS, build_projection
from variegate.projections.hadamard import RandomizedHadamard
from variegate.projections.matrices import DenseSigns, SparseSigns

__all__ = [
    "AUTO_DENSE_ELEMENTS",
    "PROJECTIONS",
    "DenseSigns",
    "Projection",
    "RandomizedHadamard",
    "SparseSigns",
    "build_projection",
]
