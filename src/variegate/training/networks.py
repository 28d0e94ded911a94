"""The network that is trained: from the catalog or the seller's own file, built anew for each seed."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

from torch import nn

from variegate.errors import ConfigurationError
from variegate.models.architectures.catalog import Argument, call_factory, find_architecture
from variegate.models.loading import fill_arguments
from variegate.models.seller_code import import_factory, is_reference, read_sources


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A factory with its arguments.

    Attributes:
        architecture: its name, or "module:function".
        arguments: complete.
        code: file name -> SHA-256 of the seller's own code; empty for the catalog's.
        factory: returns the module.
    """

    architecture: str
    arguments: Mapping[str, Argument]
    code: Mapping[str, str]
    factory: Callable[..., object]

    def build(self, seed: int) -> nn.Module:
        """Return the module with the initial weights of this seed.

        Raises:
            ConfigurationError: if an argument is out of range.
            ModelError: if the arguments do not fit or the factory fails.
        """
        return call_factory(self.factory, f"architecture {self.architecture!r}", self.arguments, seed=seed)


def find_network(
    architecture: str,
    arguments: Mapping[str, Argument],
    *,
    code_path: Path | None,
    num_classes: int,
    in_channels: int,
) -> Network:
    """Find the factory and complete its arguments: `num_classes`, and `in_channels` of the catalog's own.

    Raises:
        ConfigurationError: if the seller's own code comes without its file, or a file with a name of the catalog.
        ModelError: if the code cannot be imported.
        NotFoundError: if there is no such architecture or file.
    """
    code: dict[str, str] = {}
    factory: Callable[..., object]
    if is_reference(architecture):
        if code_path is None:
            raise ConfigurationError(f"architecture {architecture!r} is a seller's own; give its file with --code-path")
        sources = read_sources(architecture, code_path)
        code = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(sources.items())}
        factory = import_factory(architecture, sources, origin=code_path)
    else:
        if code_path is not None:
            raise ConfigurationError(
                f"architecture {architecture!r} is a name of the catalog and needs no code; to use {code_path}, write "
                "the architecture as module:function"
            )
        factory = find_architecture(architecture)
    known = None if code else in_channels
    complete = fill_arguments(factory, arguments, num_classes=num_classes, in_channels=known)
    return Network(architecture=architecture, arguments=complete, code=code, factory=factory)
