"""`variegate model`: originals in, and what is there."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from variegate.cli.desk import open_desk
from variegate.cli.entrypoint import SellerCodeCommand
from variegate.cli.options import (
    HOME,
    MAX_COUNT,
    ArchitectureArguments,
    AsJson,
    HomeFolder,
    examples,
    parse_floats,
    parse_integers,
    parse_pairs,
)
from variegate.cli.output import print_described, print_listed, print_result

if TYPE_CHECKING:
    from variegate.manifest import ModelManifest

_LABELS_LIMIT_BYTES = 16 * 2**20


def add_to(app: typer.Typer) -> None:
    """Add the command group to the application."""
    group = typer.Typer(no_args_is_help=True, help="Import originals and see which there are.")
    group.command(
        "import",
        cls=SellerCodeCommand,
        epilog=examples(
            "variegate model import net.safetensors --name net --arch resnet20 --arg num_classes=10 "
            "--input-shape 3,32,32 --labels 10",
            "variegate model import signs.safetensors --name signs --arch my_net:build --code-path my_net.py "
            "--arg num_classes=43 --input-shape 3,32,32 --labels labels.json --mean 0.5,0.5,0.5 --std 0.2,0.2,0.2",
        ),
    )(import_)
    group.command("ls", epilog=examples("variegate model ls", "variegate model ls --json"))(list_)
    group.command("show", epilog=examples("variegate model show net", "variegate model show net --json"))(show)
    app.add_typer(group, name="model")


def import_(
    weights: Annotated[Path, typer.Argument(help="The weights, a safetensors file.")],
    *,
    name: Annotated[str, typer.Option("--name", help="What to call the original.")],
    arch: Annotated[str, typer.Option("--arch", help="A registered architecture, or module:factory of your own code.")],
    arg: ArchitectureArguments = None,
    code_path: Annotated[
        Path | None, typer.Option("--code-path", help="The Python file (or its folder) that has module:factory.")
    ] = None,
    input_shape: Annotated[str, typer.Option("--input-shape", help="Shape of one input, such as 3,32,32.")],
    labels: Annotated[str, typer.Option("--labels", help="A JSON file with the list of class names, or their number.")],
    bounds: Annotated[str, typer.Option("--bounds", help="The interval of input values.")] = "0,1",
    mean: Annotated[
        str | None, typer.Option("--mean", help="Subtracted per channel, if the network does not do it itself.")
    ] = None,
    std: Annotated[str | None, typer.Option("--std", help="Divided by per channel, after --mean.")] = None,
    outputs: Annotated[
        str, typer.Option("--outputs", help='What the network returns: "logits" or "probabilities".')
    ] = "logits",
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """Import an original: weights, architecture, and what inputs and outputs mean.

    The weights and the seller's own code are copied into the home. The original is built and run before it is accepted:
    it must give finite numbers, and the same labels each time and in every batch.
    """
    from variegate.errors import ConfigurationError
    from variegate.types import Bounds

    arguments = parse_pairs(arg or [], "--arg")
    shape, interval = parse_integers(input_shape, "--input-shape"), Bounds.parse(bounds)
    means = None if mean is None else parse_floats(mean, "--mean")
    deviations = None if std is None else parse_floats(std, "--std")
    names = _read_labels(labels)
    if outputs not in ("logits", "probabilities"):
        raise ConfigurationError(f'--outputs must be "logits" or "probabilities"; got {outputs!r}')
    with open_desk(home) as desk:
        from variegate.models.loading import prepare_import

        imported = prepare_import(
            weights,
            name=name,
            architecture=arch,
            arguments=arguments,
            code_path=code_path,
            input_shape=shape,
            bounds=interval,
            labels=names,
            mean=means,
            std=deviations,
            outputs="probabilities" if outputs == "probabilities" else "logits",
        )
        manifest = desk.import_model(imported)
    print_result(
        _described(manifest),
        f"imported {manifest.name} ({manifest.architecture}, {len(manifest.labels)} classes) {manifest.digest}",
        as_json=as_json,
    )


def list_(*, home: HomeFolder = HOME, as_json: AsJson = False) -> None:
    """List the originals."""
    with open_desk(home, read_only=True) as desk:
        manifests = desk.models()
    print_listed(
        [_described(manifest) for manifest in manifests],
        ("NAME", "ARCHITECTURE", "CLASSES", "INPUT", "DIGEST"),
        [
            (m.name, m.architecture, len(m.labels), "x".join(map(str, m.input_shape)), f"{m.digest[:19]}…")
            for m in manifests
        ],
        empty="There is no original yet; import one with: variegate model import",
        as_json=as_json,
    )


def show(
    name: Annotated[str, typer.Argument(help="An original, by its name.")],
    *,
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """Show all that is recorded of one original."""
    with open_desk(home, read_only=True) as desk:
        described = _described(desk.model(name))
    print_described(described, as_json=as_json)


def _described(manifest: "ModelManifest") -> dict[str, Any]:
    return {**manifest.to_dict(), "digest": manifest.digest}


def _read_labels(text: str) -> int | tuple[str, ...]:
    """Read the number of classes, or a JSON file with the list of their names."""
    import json

    from variegate.errors import ConfigurationError, FormatError
    from variegate.files import read_bounded

    if text.isdecimal():
        if len(text) > len(str(MAX_COUNT)) or int(text) > MAX_COUNT:
            raise ConfigurationError(f"--labels must be a number up to {MAX_COUNT:,} or a JSON file; got {text[:40]}")
        return int(text)
    try:
        names = json.loads(read_bounded(Path(text), _LABELS_LIMIT_BYTES))
    except (ValueError, RecursionError) as error:
        raise FormatError(
            f"--labels must be a number or a JSON file with a list of names; {text} is not JSON"
        ) from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise FormatError(f"--labels must be a number or a JSON file with a list of names; {text} holds something else")
    return tuple(names)
