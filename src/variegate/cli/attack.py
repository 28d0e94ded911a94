"""`variegate attack`: an attack on an original or on an issued copy, from hard labels alone."""

from typing import TYPE_CHECKING, Annotated

import typer

from variegate.cli.guard import typed_command
from variegate.cli.options import (
    HOME,
    AsJson,
    Data,
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

if TYPE_CHECKING:
    from variegate.cli.single_attack import Target

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command group to the application."""
    group = typer.Typer(no_args_is_help=True, help="Attack an original or a copy through its labels.")
    group.command(
        "hsj",
        epilog=examples(
            "variegate attack hsj --model net --data cifar10/ --images 20 --queries 2000",
            "variegate attack hsj --copy vg1-0123456789abcdef0123 --data cifar10/ --norm linf --out attack/",
            "variegate attack hsj --copy vg1-0123456789abcdef0123 --data cifar10/ --norm linf --resume attack/",
        ),
    )(hsj)
    app.add_typer(group, name="attack")


def hsj(
    context: typer.Context,
    *,
    model: Annotated[str | None, typer.Option("--model", help="Attack this original.")] = None,
    copy: Annotated[str | None, typer.Option("--copy", help="Attack this issued copy, vg1-...")] = None,
    data: Data,
    split: Split = "test",
    images: Annotated[int, typer.Option("--images", min=1, help="How many images to attack.")] = 20,
    queries: Annotated[int, typer.Option("--queries", min=1, help="Labels that may be asked for each image.")] = 5000,
    norm: NormOption = Norm.L2,
    semantics: Semantics = "paper",
    targeted: Annotated[
        bool, typer.Option("--targeted", help="Aim at a random other class, from an image that has it.")
    ] = False,
    seed: Seed = 0,
    out: Out = None,
    resume: Resume = None,
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """HopSkipJump (Chen, Jordan, Wainwright, 2020), on all images at once.

    With --out, writes summary.json and adversarials.npz, and saves its state so that --resume can go on.
    """
    from variegate.cli.desk import open_desk
    from variegate.cli.experiment import load_images, scale_to
    from variegate.errors import ConfigurationError

    if (model is None) == (copy is None):
        raise ConfigurationError("expected exactly one of --model and --copy, to say what is attacked")
    meaning = parse_semantics(semantics)
    folder = output_folder(out, resume)
    with open_desk(home, read_only=True) as desk:
        pool = load_images(data, split, limit=None if targeted else images)
        target: Target = desk.original(model) if model is not None else desk.load_copy(str(copy))
        pool = scale_to(pool, target.bounds)
        from variegate.attacks.hopskipjump import HopSkipJump
        from variegate.cli.single_attack import SingleAttack

        run = SingleAttack(
            command=typed_command(context),
            target_name=str(copy or model),
            attack=HopSkipJump(norm=norm, semantics=meaning),
            images=images,
            queries=queries,
            targeted=targeted,
            seed=seed,
        )
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        try:
            with show_progress() as progress:
                summary = run.run(target, pool, out=folder, progress=progress)
        except KeyboardInterrupt:
            if folder is not None:
                talk(f"the state is saved; go on with the same options and --resume {folder} in place of --out")
            raise
    if as_json:
        print_json(summary)
    else:
        print_pairs(summary)
