"""`variegate attack`: an attack on an original or on an issued copy, from hard labels alone."""

from pathlib import Path
from typing import Annotated

import typer

from variegate.cli.guard import SellerCodeCommand, typed_command
from variegate.cli.options import (
    HOME,
    MOST,
    AsJson,
    Data,
    DeviceChoice,
    DeviceOption,
    HomeFolder,
    NormOption,
    Out,
    Resume,
    Seed,
    Semantics,
    Split,
    examples,
    output_folder,
    parse_semantics,
)
from variegate.cli.output import print_json, print_pairs, talk
from variegate.cli.progress import show_progress
from variegate.types import Norm

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command group to the application."""
    group = typer.Typer(no_args_is_help=True, help="Attack an original or a copy through its labels.")
    group.command(
        "hsj",
        cls=SellerCodeCommand,
        epilog=examples(
            "variegate attack hsj --model net --data cifar10/ --images 20 --queries 2000",
            "variegate attack hsj --copy vg1-0123456789abcdef0123 --data cifar10/ --norm linf --out attack/",
            "variegate attack hsj --copy vg1-0123456789abcdef0123 --data cifar10/ --norm linf --resume attack/",
            "variegate attack hsj --onnx net.onnx --input-shape 3,32,32 --labels 10 --data cifar10/",
        ),
    )(hsj)
    app.add_typer(group, name="attack")


def hsj(
    context: typer.Context,
    *,
    model: Annotated[str | None, typer.Option("--model", help="Attack this original.")] = None,
    copy: Annotated[str | None, typer.Option("--copy", help="Attack this issued copy, vg1-...")] = None,
    onnx: Annotated[
        Path | None, typer.Option("--onnx", help="Attack this ONNX file's labels; it needs no home.")
    ] = None,
    input_shape: Annotated[
        str | None, typer.Option("--input-shape", help="Of an ONNX file that leaves it open: 3,32,32.")
    ] = None,
    labels: Annotated[
        int | None, typer.Option("--labels", min=2, max=MOST, help="Classes of an ONNX file that leaves them open.")
    ] = None,
    bounds: Annotated[
        str | None, typer.Option("--bounds", help="The interval of an ONNX file's input values; 0,1 if left out.")
    ] = None,
    data: Data,
    split: Split = "test",
    images: Annotated[int, typer.Option("--images", min=1, max=MOST, help="How many images to attack.")] = 20,
    queries: Annotated[
        int, typer.Option("--queries", min=1, max=MOST, help="Labels that may be asked for each image.")
    ] = 5000,
    norm: NormOption = Norm.L2,
    semantics: Semantics = "paper",
    targeted: Annotated[
        bool, typer.Option("--targeted", help="Aim at a random other class, from an image that has it.")
    ] = False,
    seed: Seed = 0,
    device: DeviceOption = DeviceChoice.CPU,
    out: Out = None,
    resume: Resume = None,
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """HopSkipJump (Chen, Jordan, Wainwright, 2020), on all images at once.

    With --out, writes summary.json and adversarials.npz, and saves its state so that --resume can go on. If the model
    fails while it labels, the command ends with an error after it has written what was found until then.
    """
    from variegate.cli.experiment import load_images, scale_to
    from variegate.cli.target import TargetChoice
    from variegate.errors import OracleError

    choice = TargetChoice(
        model=model, copy=copy, onnx=onnx, input_shape=input_shape, labels=labels, bounds=bounds, device=device
    )
    meaning = parse_semantics(semantics)
    folder = output_folder(out, resume)
    pool = load_images(data, split, limit=None if targeted else images)
    chosen = choice.load(home)
    from variegate.attacks.hopskipjump import HopSkipJump
    from variegate.evaluation.single_attack import CHECKPOINT_FILE, SingleAttack

    run = SingleAttack(
        command=typed_command(context),
        target_name=chosen.name,
        target_digest=chosen.digest,
        attack=HopSkipJump(norm=norm, semantics=meaning),
        images=images,
        queries=queries,
        targeted=targeted,
        seed=seed,
    )
    pool = scale_to(pool, chosen.target.bounds)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    try:
        with show_progress() as progress:
            summary = run.run(chosen.target, pool, out=folder, device=chosen.device, progress=progress)
    except KeyboardInterrupt:
        if folder is not None and (folder / CHECKPOINT_FILE).exists():
            talk(f"the state is saved; go on with the same options and --resume {folder} in place of --out")
        raise
    if as_json:
        print_json(summary)
    else:
        print_pairs(summary)
    if summary["error"] is not None:
        more = "" if folder is None else f"; go on with the same options and --resume {folder} in place of --out"
        raise OracleError(f"{summary['error']}{more}")
