"""Imports of the libraries that only some readers need."""

import importlib
from types import ModuleType

from variegate.errors import ConfigurationError


def require(module: str, *, purpose: str, install: str = 'pip install "variegate[data]"') -> ModuleType:
    """Import and return `module`.

    Raises:
        ConfigurationError: if it is not installed; the sentence says what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigurationError(
            f"{purpose} needs {module.partition('.')[0]}, which cannot be imported; run: {install}"
        ) from error
