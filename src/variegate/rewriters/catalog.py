"""Rewriters by name. A new one is listed here, or a package offers it through the entry point `variegate.rewriters`."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from variegate.errors import ConfigurationError
from variegate.rewriters.base import AbstractSpec
from variegate.rewriters.compose import ComposedSpec
from variegate.rewriters.permutation import PermutationSpec
from variegate.rewriters.qim import QimSpec
from variegate.rewriters.spread_spectrum import SpreadSpectrumSpec

REWRITERS: Mapping[str, type[AbstractSpec]] = {
    spec.rewriter: spec for spec in (SpreadSpectrumSpec, QimSpec, PermutationSpec, ComposedSpec)
}


@cache
def _plugins() -> Mapping[str, type[AbstractSpec]]:
    return {entry.name: entry.load() for entry in entry_points(group="variegate.rewriters")}


def find_spec_class(name: str) -> type[AbstractSpec]:
    """Return the spec class of the rewriter `name`.

    Raises:
        ConfigurationError: there is no such rewriter; the message lists those there are.
    """
    known = {**_plugins(), **REWRITERS}
    if name not in known:
        raise ConfigurationError(f"there is no rewriter {name!r}; choose from {', '.join(sorted(known))}")
    return known[name]


def spec_from_dict(values: Mapping[str, Any]) -> AbstractSpec:
    """Read a spec that `to_dict` wrote.

    Raises:
        ConfigurationError: no or unknown rewriter, unknown parameters, or values out of range.
    """
    name = values.get("rewriter") if isinstance(values, Mapping) else None
    if not isinstance(name, str):
        raise ConfigurationError("a rewriter's spec needs the field 'rewriter' with its name")
    return find_spec_class(name).from_dict(values)
