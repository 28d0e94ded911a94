"""The catalog of architectures: variegate's own, and those of packages with the entry point group."""

import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points

import torch
from torch import nn

from variegate.errors import ModelError, NotFoundError, VariegateError
from variegate.models.architectures.plain import digits_cnn, vgg11, vgg13, vgg16, vgg19, whitened_cnn
from variegate.models.architectures.resnet import resnet11, resnet18, resnet20

Argument = int | float | str | bool
"""What a factory may be given: values that a manifest can hold."""

ENTRY_POINTS = "variegate.architectures"
"""Entry point group in which another package names functions that return a `torch.nn.Module`."""

ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "digits_cnn": digits_cnn,
    "resnet11": resnet11,
    "resnet18": resnet18,
    "resnet20": resnet20,
    "vgg11": vgg11,
    "vgg13": vgg13,
    "vgg16": vgg16,
    "vgg19": vgg19,
    "whitened_cnn": whitened_cnn,
}
"""Name -> factory of the networks that variegate has itself; a plugin of the same name does not replace them."""


def architecture_names() -> tuple[str, ...]:
    """Return every name that `build_architecture` knows, plugins included, sorted."""
    return tuple(sorted({*ARCHITECTURES, *(entry.name for entry in entry_points(group=ENTRY_POINTS))}))


def build_architecture(name: str, arguments: Mapping[str, Argument], *, seed: int = 0) -> nn.Module:
    """Build a network with fresh weights.

    Args:
        name: a name of the catalog or of a plugin.
        arguments: the factory's arguments, such as {"num_classes": 10}.
        seed: decides the weights; torch's global generator is left as it was.

    Raises:
        ConfigurationError: if an argument is out of range.
        ModelError: if an argument is missing or unknown, or a plugin fails.
        NotFoundError: if there is no such architecture.
    """
    factory = find_architecture(name)
    return call_factory(factory, f"architecture {name!r}", arguments, seed=seed)


def find_architecture(name: str) -> Callable[..., nn.Module]:
    """Return the factory of that name.

    Raises:
        ModelError: if a plugin cannot be imported.
        NotFoundError: if there is no such architecture.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    for entry in entry_points(group=ENTRY_POINTS, name=name):
        try:
            factory: Callable[..., nn.Module] = entry.load()
        except Exception as error:  # anything can go wrong in another package
            raise ModelError(f"architecture {name!r} of {entry.value} cannot be imported: {_reason(error)}") from error
        return factory
    raise NotFoundError(
        f"there is no architecture {name!r}; choose one of {', '.join(architecture_names())}, or give your own file "
        "and its function as module:function"
    )


def call_factory(
    factory: Callable[..., object], what: str, arguments: Mapping[str, Argument], *, seed: int = 0
) -> nn.Module:
    """Call a factory with torch's global generator seeded for the call and restored after it.

    Args:
        factory: returns a module.
        what: how an error names it.
        arguments: given to it by name.
        seed: decides the weights that it draws.

    Raises:
        ModelError: if the arguments do not fit, the factory raises, or it returns something else than a module.
    """
    if not callable(factory):
        raise ModelError(f"{what} must be a function that returns a torch.nn.Module; it is {type(factory).__name__}")
    try:
        inspect.signature(factory).bind(**arguments)
    except TypeError as error:
        given = ", ".join(f"{key}={value!r}" for key, value in arguments.items()) or "no arguments"
        raise ModelError(f"{what} takes {inspect.signature(factory)} but was given {given}: {error}") from error
    except ValueError:
        pass  # a callable without a signature, such as a builtin: the call itself will tell
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            module = factory(**arguments)
        except VariegateError:
            raise
        except (Exception, SystemExit) as error:  # a seller's own code may raise anything
            raise ModelError(f"{what} raised {_reason(error)}") from error
    if not isinstance(module, nn.Module):
        raise ModelError(f"{what} must return a torch.nn.Module; it returned {type(module).__name__}")
    return module


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
