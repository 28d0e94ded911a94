"""The application: every command under its name."""

from typing import Annotated

import typer

import variegate
from variegate.cli import (
    attack,
    audit,
    calibrate,
    export,
    issue,
    key,
    lifecycle,
    model,
    registry,
    report,
    reproduce,
    start,
    terms,
    train,
    verify,
)
from variegate.cli.entrypoint import GuardedGroup
from variegate.cli.options import examples

app = typer.Typer(
    name="variegate",
    cls=GuardedGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog=examples(
        "variegate quickstart",
        "variegate init && variegate model import net.safetensors --name net --arch resnet20 "
        "--arg num_classes=10 --input-shape 3,32,32 --labels 10",
        "variegate calibrate --model net --data cifar10/ --rewriter qim --name net-qim",
        "variegate issue --model net --spec net-qim --buyer acme",
        "variegate audit replicate --model net --data cifar10/ --rewriters net-qim --out audit/",
    ),
)


def _version(wanted: bool) -> None:  # noqa: FBT001 (typer calls it)
    if wanted:
        typer.echo(f"variegate {variegate.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Hand every buyer of a classifier a different copy, and measure how far that prevents replication attacks."""


for _module in (
    start,
    model,
    calibrate,
    terms,
    issue,
    lifecycle,
    export,
    verify,
    key,
    registry,
    attack,
    audit,
    train,
    reproduce,
    report,
):
    _module.add_to(app)


def run() -> None:
    """Run the command line; the entry point `variegate`."""
    app()
