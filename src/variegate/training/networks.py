"""The network that is trained: from the catalog or the seller's own file, built anew for each seed."""

import hashlib
import platform
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import nn

import variegate
from variegate.data.images import LabelledImages
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


def data_digest(data: LabelledImages) -> str:
    """Return "sha256:..." over the images and labels; names do not count."""
    sha = hashlib.sha256(f"variegate-images-v1\0{','.join(map(str, data.images.shape))}\0".encode())
    for array in (data.images, data.labels):
        sha.update(np.ascontiguousarray(array).data)
    return f"sha256:{sha.hexdigest()}"


def versions() -> dict[str, str]:
    """Return what the numbers depend on: name -> version."""
    return {
        "variegate": variegate.__version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def import_command(record: Mapping[str, Any], out: Path, code_path: Path | None) -> str:
    """Return the command line that imports a trained network as an original."""
    name, recipe = record["name"], record["recipe"]
    base = name.removesuffix(f"-s{record['seed']}")
    words = ["variegate", "model", "import", str(out / record["weights"]["file"]), "--name", name]
    words += ["--arch", recipe["architecture"]]
    if code_path is not None:
        words += ["--code-path", str(code_path)]
    for argument, value in recipe["arguments"].items():
        words += ["--arg", f"{argument}={str(value).lower() if isinstance(value, bool) else value}"]
    words += ["--input-shape", ",".join(map(str, record["data"]["image_shape"]))]
    words += ["--labels", str(out / f"{base}-labels.json")]
    for option in ("mean", "std"):
        if recipe[option] is not None:
            words += [f"--{option}", ",".join(map(repr, recipe[option]))]
    return shlex.join(words)


def model_card(record: Mapping[str, Any]) -> str:
    """Return a page of Markdown about one network: what it is, data, recipe, accuracy, use and limits."""
    recipe, data, weights = record["recipe"], record["data"], record["weights"]
    arguments = ", ".join(f"{name}={value}" for name, value in recipe["arguments"].items())
    shape = " x ".join(map(str, data["image_shape"]))
    settings = "\n".join(
        f"| {name} | {_shown(value)} |" for name, value in recipe.items() if name not in ("arguments", "code")
    )
    used = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return f"""# {record["name"]}

A classifier of {shape} images in [0, 1] with {len(record["class_names"])} classes: {recipe["architecture"]}
({arguments}), {weights["parameters"]:,} parameters, trained with seed {record["seed"]}. It returns logits.

## Accuracy

{_accuracy(record["test"])}

## Data

{data["name"]}: {data["n"]:,} training images, digest `{data["digest"]}`.

## Recipe

Method {recipe["method"]}: the seed decides the initial weights, the order of the images and the augmentations.
Digest `{record["recipe_digest"]}`.

| setting | value |
| --- | --- |
{settings}

Trained in {record["seconds"]:,.0f} s ({record["cpu_seconds"]:,.0f} s of processor time) on
{record["device_name"] or record["device"]} with {record["threads"]} threads: {record["images_per_second"]:,.0f} images
a second; last loss {record["losses"][-1]:.4f}; {used}.

## Use

```sh
{record["import_command"]}
```

Digest of the weights: `{weights["digest"]}`. Mean and std, where the command names them, are applied to the images
before the network and are no part of the weights.

## Limits

The accuracy holds for images like those of the test split and for nothing else. Small perturbations change the labels
of this network, as those of every network that was trained without regard to them. If the recipe was chosen by looking
at the test split, the accuracy is too high.
"""


def _shown(value: object) -> str:
    if value is None or value == []:
        return "none"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _accuracy(test: Mapping[str, Any] | None) -> str:
    if test is None:
        return "Not measured."
    found = test["accuracy"]
    interval = ""
    if found.get("low") is not None:
        interval = f", 95 % interval {100 * found['low']:.2f} to {100 * found['high']:.2f} %"
    return (
        f"{100 * found['rate']:.2f} % of {found['n']:,} test images ({found['k']:,} correct{interval}), digest "
        f"`{test['digest']}`."
    )
