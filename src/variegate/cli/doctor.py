"""`variegate doctor`: what of this machine would trip a user up later."""

import typer

from variegate.cli.options import HOME, AsJson, HomeFolder, examples
from variegate.cli.output import print_json, print_table, talk


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("doctor", epilog=examples("variegate doctor", "variegate doctor --home /srv/seller --json"))(doctor)


def doctor(*, home: HomeFolder = HOME, as_json: AsJson = False) -> None:
    """Check this machine, the home and the secret.

    Exits with 1 if something is broken. A warning names something that works but may surprise. The secret is looked
    at only where no question is needed.
    """
    from variegate.authority.doctor import run_checks

    checks = run_checks(home)
    if as_json:
        print_json([check.to_dict() for check in checks])
    else:
        print_table(("CHECK", "STATE", "FOUND"), [(check.name, check.state, check.found) for check in checks])
        for check in checks:
            if check.advice:
                talk(f"{check.name}: {check.advice}")
    if any(check.state == "broken" for check in checks):
        raise typer.Exit(1)
