"""Rewriters by name, and compositions of them.

A new one is a line of `REWRITERS`, or a package offers it by the entry point `variegate.rewriters`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar, Self, final

import torch
from torch import Tensor, nn

from variegate.errors import ConfigurationError
from variegate.keys import CopyKey
from variegate.rewriters.base import AbstractHead, AbstractSpec, OriginalShape
from variegate.rewriters.permutation import PermutationSpec
from variegate.rewriters.qim import QimSpec
from variegate.rewriters.spread_spectrum import SpreadSpectrumSpec


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ComposedSpec(AbstractSpec):
    """Two or more rewriters whose outputs are added; part i draws from the sub-key "part-i"."""

    rewriter: ClassVar[str] = "composed"
    title: ClassVar[str] = "composed"
    colour: ClassVar[str] = "#CC79A7"
    marker: ClassVar[str] = "P"
    order: ClassVar[int] = 4

    parts: tuple[AbstractSpec, ...]

    def __post_init__(self) -> None:
        for part in self.parts:
            if not isinstance(part, AbstractSpec):
                raise ConfigurationError(f"a composition's parts must be specs of rewriters; got {type(part).__name__}")
        if len(self.parts) < 2:
            raise ConfigurationError(f"a composition needs at least 2 rewriters; got {len(self.parts)}")

    def build(self, key: CopyKey, shape: OriginalShape) -> "ComposedHead":
        """Return the head that adds the parts' decoders."""
        return ComposedHead([part.build(key.subkey(f"part-{i}"), shape) for i, part in enumerate(self.parts)])

    def to_dict(self) -> dict[str, Any]:
        """Return the parts' parameters as JSON values."""
        return {"rewriter": self.rewriter, "parts": [part.to_dict() for part in self.parts]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote; parts are looked up in the catalog."""
        parts = values.get("parts")
        if not isinstance(parts, (list, tuple)):
            raise ConfigurationError(f"a composition needs a list 'parts' of rewriters; got {type(parts).__name__}")
        if (name := values.get("rewriter", cls.rewriter)) != cls.rewriter:
            raise ConfigurationError(f"these are parameters of the rewriter {name!r}, not of {cls.rewriter!r}")
        if unknown := sorted(set(values) - {"rewriter", "parts"}):
            raise ConfigurationError(f"rewriter {cls.rewriter!r} has no parameter {', '.join(unknown)}; it has parts")
        return cls(parts=tuple(spec_from_dict(part) for part in parts))


@final
class ComposedHead(AbstractHead):
    """R_k = the sum of the parts' R."""

    def __init__(self, parts: list[AbstractHead]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    @property
    def layers(self) -> tuple[str, ...]:
        """All layers that some part reads."""
        return tuple(sorted({layer for part in self._parts() for layer in part.layers}))

    def decode(self, x: Tensor, scores: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        """Return the sum of the parts' decoders, float32 (N, n)."""
        return torch.stack([part.decode(x, scores, features) for part in self._parts()]).sum(0)

    def _parts(self) -> list[AbstractHead]:
        return [part for part in self.parts if isinstance(part, AbstractHead)]


REWRITERS: Mapping[str, type[AbstractSpec]] = {
    spec.rewriter: spec for spec in (SpreadSpectrumSpec, QimSpec, PermutationSpec, ComposedSpec)
}


@cache
def _plugins() -> Mapping[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group="variegate.rewriters")}


@cache
def _load_plugin(name: str) -> type[AbstractSpec]:
    try:
        loaded: type[AbstractSpec] = _plugins()[name].load()
    except Exception as error:  # whatever another package's module raises on import
        reason = str(error) or type(error).__name__
        raise ConfigurationError(f"the rewriter {name!r} of another package cannot be loaded: {reason}") from error
    return loaded


def known_rewriters() -> tuple[str, ...]:
    """Return the names of all rewriters, plug-ins' among them, sorted."""
    return tuple(sorted({*_plugins(), *REWRITERS}))


def spec_class(name: str) -> type[AbstractSpec] | None:
    """Return the spec class of a rewriter, for its title and looks; None where a name is no rewriter's.

    Records may come from elsewhere, so an unknown name is no error, and neither is a plug-in that cannot be loaded.
    """
    try:
        return find_spec_class(name)
    except ConfigurationError:
        return None


def find_spec_class(name: str) -> type[AbstractSpec]:
    """Return the spec class of the rewriter `name`.

    Raises:
        ConfigurationError: there is no such rewriter (the message lists those there are), or its package cannot
            be loaded.
    """
    if name in REWRITERS:
        return REWRITERS[name]
    if name in _plugins():
        return _load_plugin(name)
    raise ConfigurationError(f"there is no rewriter {name!r}; choose from {', '.join(known_rewriters())}")


def spec_from_dict(values: Mapping[str, Any]) -> AbstractSpec:
    """Read a spec that `to_dict` wrote.

    Raises:
        ConfigurationError: no or unknown rewriter, unknown parameters, or values out of range.
    """
    name = values.get("rewriter") if isinstance(values, Mapping) else None
    if not isinstance(name, str):
        raise ConfigurationError("a rewriter's spec needs the field 'rewriter' with its name")
    return find_spec_class(name).from_dict(values)
