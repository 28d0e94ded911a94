"""`variegate spec`: rewriter specs that were calibrated, or written by hand."""

from pathlib import Path
from typing import Annotated

import typer

from variegate.cli.options import HOME, AsJson, HomeFolder, examples
from variegate.cli.output import print_json, print_pairs, print_table, print_text, talk

_LIMIT_BYTES = 2**20


def add_to(app: typer.Typer) -> None:
    """Add the command group to the application."""
    group = typer.Typer(no_args_is_help=True, help="See rewriter specs, and save those written by hand.")
    group.command(
        "save",
        epilog=examples(
            "variegate spec save composed.json --name net-composed --model net",
            "variegate spec save qim.json --name strong --replace",
        ),
    )(save)
    group.command("ls", epilog=examples("variegate spec ls", "variegate spec ls --json"))(list_)
    group.command("show", epilog=examples("variegate spec show net-qim", "variegate spec show net-qim --json"))(show)
    app.add_typer(group, name="spec")


def save(
    file: Annotated[Path, typer.Argument(help="A JSON file with the rewriter's name and parameters.")],
    *,
    name: Annotated[str, typer.Option("--name", help="What to call the spec.")],
    model: Annotated[
        str | None, typer.Option("--model", help="The original that it is for; any one if left out.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Give the name to the new spec even if another one has it.")
    ] = False,
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """Save a spec written by hand, to issue copies with.

    The file holds an object such as {"rewriter": "permutation", "alpha": 0.3}, or, to compose rewriters,
    {"rewriter": "composed", "parts": [..., ...]}. Nothing is calibrated: an audit says what such copies prevent.
    """
    from variegate.cli.desk import open_desk
    from variegate.files import read_bounded
    from variegate.manifest import load_json

    values = load_json(read_bounded(file, _LIMIT_BYTES), f"the spec {file}")
    with open_desk(home) as desk:
        from variegate.rewriters.catalog import spec_from_dict

        saved = desk.save_spec(name, spec_from_dict(values), model=model, replace=replace)
    if as_json:
        print_json(saved.to_dict())
    else:
        print_text(f"saved the spec {name} ({saved.spec_digest[:19]}…)")


def list_(*, home: HomeFolder = HOME, as_json: AsJson = False) -> None:
    """List the specs that copies can be issued with."""
    from variegate.cli.desk import open_desk

    with open_desk(home, read_only=True) as desk:
        specs = desk.list_specs()
    if as_json:
        print_json([each.to_dict() for each in specs])
        return
    if not specs:
        talk("There is no spec yet; make one with: variegate calibrate")
        return
    print_table(
        ("NAME", "REWRITER", "MODEL", "CALIBRATED", "DIGEST"),
        [
            (s.name, s.spec["rewriter"], s.model or "any", "yes" if s.record else "no", f"{s.spec_digest[:19]}…")
            for s in specs
        ],
    )


def show(
    name: Annotated[str, typer.Argument(help="A spec, by its name.")],
    *,
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """Show one spec; the record of its calibration is shown by `variegate report` and with --json."""
    from variegate.cli.desk import open_desk

    with open_desk(home, read_only=True) as desk:
        described = desk.saved_spec(name).to_dict()
    if as_json:
        print_json(described)
    else:
        print_pairs({key: value for key, value in described.items() if key != "record"})
