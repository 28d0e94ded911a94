"""Several rewriters in one copy: the sum of their decoders, each under its own sub-key."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, final

import torch
from torch import Tensor, nn

from variegate.errors import ConfigurationError
from variegate.keys import CopyKey
from variegate.rewriters.base import AbstractHead, AbstractSpec, OriginalShape


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ComposedSpec(AbstractSpec):
    """Two or more rewriters whose outputs are added; part i draws from the sub-key "part-i"."""

    rewriter: ClassVar[str] = "composed"

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
        from variegate.rewriters.catalog import spec_from_dict  # the catalog lists this class too

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
