"""`variegate quickstart`: the whole idea on one small classifier, without network or data."""

from pathlib import Path
from typing import Annotated

import typer

from variegate.cli.options import AsJson, examples
from variegate.cli.progress import show_progress


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("quickstart", epilog=examples("variegate quickstart", "variegate quickstart --out /tmp/first-look"))(
        quickstart
    )


def quickstart(
    *,
    out: Annotated[Path, typer.Option("--out", help="The folder for the record and the report.")] = Path("quickstart"),
    as_json: AsJson = False,
) -> None:
    """See the whole idea on a small classifier of digits.

    Trains it, makes copies, attacks them and shows what replicates. Needs no network and no data, and takes under two
    minutes on two cores.
    """
    from variegate.cli.output import print_json, talk
    from variegate.quickstart import run_quickstart

    with show_progress() as progress:
        record = run_quickstart(out, progress)
    if as_json:
        print_json(record)
    else:
        from variegate.report.text import render_text

        typer.echo(render_text(record), nl=False)
    talk(f"wrote {out / 'report.html'}: open it in a browser")
