"""`variegate train`: networks that differ in the seed alone, ready to be imported as originals."""

from pathlib import Path
from typing import Annotated, Any

import typer

from variegate.cli.entrypoint import SellerCodeCommand, typed_command
from variegate.cli.experiment import choose_device, load_images
from variegate.cli.options import (
    MAX_COUNT,
    MAX_RANGE,
    MAX_SEED,
    ArchitectureArguments,
    AsJson,
    Data,
    DeviceChoice,
    DeviceOption,
    Out,
    Resume,
    examples,
    parse_pairs,
    parse_ranges,
    required_folder,
    split_pairs,
)
from variegate.cli.output import print_json, print_table, talk
from variegate.cli.running import resumable
from variegate.errors import ConfigurationError

_MAX_SEEDS = 1000
_NO_TEST = "none"


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        "train",
        cls=SellerCodeCommand,
        epilog=examples(
            "variegate train --data cifar10/ --preset laptop --seeds 0-2 --out trained/",
            "variegate train vgg19 --data gtsrb/ --preset paper --seeds 0-9 --device cuda --out trained/",
            "variegate train --data cifar10/ --preset laptop --seeds 0-2 --resume trained/",
            "variegate train resnet20 --data cifar10/ --set epochs=40 --set augmentations=crop,flip,cutout --out r20/",
            "variegate train my_net:build --code-path my_net.py --data signs.npz --preset smoke --out my/",
        ),
    )(train)


def train(
    context: typer.Context,
    arch: Annotated[
        str | None,
        typer.Argument(
            metavar="[ARCH]",
            help="A registered architecture, or module:function of your own code; the preset's own if left out.",
        ),
    ] = None,
    *,
    data: Data,
    data_name: Annotated[
        str | None, typer.Option("--data-name", help="What to call the data in records and file names.")
    ] = None,
    seeds: Annotated[str, typer.Option("--seeds", help="One network for each: 0-9, or 0,3,5.")] = "0",
    preset: Annotated[str, typer.Option("--preset", help='Named settings: "paper", "laptop" or "smoke".')] = "laptop",
    arg: ArchitectureArguments = None,
    code_path: Annotated[
        Path | None, typer.Option("--code-path", help="The Python file (or its folder) that has module:function.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A setting of the recipe, such as epochs=40; repeat."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, max=100 * MAX_COUNT, help="The most images to take of each split.")
    ] = None,
    split_train: Annotated[str, typer.Option("--split-train", help="The split to learn from.")] = "train",
    split_test: Annotated[
        str, typer.Option("--split-test", help='The split to measure the accuracy on, or "none".')
    ] = "test",
    device: DeviceOption = DeviceChoice.CPU,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, max=1024, help="Threads on the CPU; torch's choice if left out.")
    ] = None,
    out: Out = None,
    resume: Resume = None,
    as_json: AsJson = False,
) -> None:
    """Train networks independently: one for each seed, by one recipe.

    The seed decides the initial weights, the order of the images and the augmentations. Writes for each network its
    weights, a record and a model card, and prints the accuracies and the commands that import the networks. The state
    is saved every minute; --resume goes on with it, to the same weights.
    """
    from variegate.training.recipe import find_preset, is_mirrored, parse_settings

    numbers = _parse_seeds(seeds)
    chosen = find_preset(preset)
    folder = required_folder(out, resume)
    given, arguments = parse_settings(split_pairs(settings or [], "--set")), parse_pairs(arg or [], "--arg")
    chosen.recipe(data_name="", architecture=arch, arguments=arguments, settings=given)  # before any data are read
    where = choose_device(device)
    most = chosen.limit if limit is None else limit
    pool = load_images(data, split_train, limit=most)
    test = None if split_test == _NO_TEST else load_images(data, split_test, limit=most)
    name = data_name or pool.name
    recipe = chosen.recipe(data_name=name, architecture=arch, arguments=arguments, settings=given)
    if "augmentations" not in given and not is_mirrored(name):
        talk(f"no flip: the name {name} says that a mirrored image has another class; --set augmentations=... decides")
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    from variegate.evaluation.stats import wilson_rate
    from variegate.training.run import train_models

    with resumable(folder) as progress:
        records = train_models(
            recipe,
            pool,
            test,
            seeds=numbers,
            out=folder,
            data_name=name,
            code_path=code_path,
            device=where,
            resume=resume is not None,
            command=typed_command(context),
            rate=lambda k, n: wilson_rate(k, n).to_dict(),
            progress=progress,
        )
    _print(records, as_json=as_json)


def _print(records: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(records)
    else:
        print_table(
            ("NETWORK", "SEED", "LOSS", "TEST ACCURACY", "95 % INTERVAL", "SECONDS", "IMAGES/S"),
            [_row(record) for record in records],
        )
    for record in records:
        talk(record["import_command"])


def _row(record: dict[str, Any]) -> tuple[object, ...]:
    accuracy, interval = "not measured", ""
    if record["test"] is not None:
        found = record["test"]["accuracy"]
        accuracy = f"{100 * found['rate']:.2f} %"
        interval = f"{100 * found['low']:.2f} to {100 * found['high']:.2f} %"
    loss, speed = f"{record['losses'][-1]:.4f}", round(record["images_per_second"])
    return record["name"], record["seed"], loss, accuracy, interval, round(record["seconds"]), speed


def _parse_seeds(text: str) -> tuple[int, ...]:
    """Read "0-9", "0,3,5" or both together.

    Raises:
        ConfigurationError: if it is something else, a seed comes twice or is too large, or there are too many.
    """
    seeds = parse_ranges(text, "--seeds", low=0, high=MAX_SEED)
    if len(set(seeds)) < len(seeds):
        raise ConfigurationError(
            f"--seeds must be up to {MAX_RANGE:,} different numbers; got one twice in {text[:60]!r}"
        )
    return seeds
