"""The application: every command under its name."""

from typing import Annotated

import typer

import variegate
from variegate.cli import (
    attack,
    audit,
    calibrate,
    copies,
    db,
    doctor,
    export,
    forget,
    init,
    issue,
    key,
    lifecycle,
    log,
    model,
    policy,
    quickstart,
    report,
    reproduce,
    spec,
    train,
    verify,
)
from variegate.cli.guard import GuardedGroup
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


doctor.add_to(app)
quickstart.add_to(app)
init.add_to(app)
model.add_to(app)
calibrate.add_to(app)
spec.add_to(app)
policy.add_to(app)
issue.add_to(app)
copies.add_to(app)
lifecycle.add_to(app)
export.add_to(app)
verify.add_to(app)
forget.add_to(app)
key.add_to(app)
log.add_to(app)
db.add_to(app)
attack.add_to(app)
audit.add_to(app)
train.add_to(app)
reproduce.add_to(app)
report.add_to(app)


def run() -> None:
    """Run the command line; the entry point `variegate`."""
    app()
