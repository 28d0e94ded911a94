"""`variegate doctor`, `quickstart` and `init`: the first commands that a seller runs."""

import os
from pathlib import Path
from typing import Annotated

import typer

from variegate.cli.desk import terminal_access
from variegate.cli.options import HOME, AsJson, HomeFolder, examples
from variegate.cli.output import print_json, print_record, print_result, print_table, talk
from variegate.cli.running import show_progress


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("doctor", epilog=examples("variegate doctor", "variegate doctor --home /srv/seller --json"))(doctor)
    app.command("quickstart", epilog=examples("variegate quickstart", "variegate quickstart --out /tmp/first-look"))(
        quickstart
    )
    app.command(
        "init",
        epilog=examples(
            "variegate init",
            "variegate init --home /srv/seller",
            "VARIEGATE_PASSPHRASE_FILE=/run/secrets/passphrase variegate init",
            "VARIEGATE_SELLER_SECRET_FILE=/run/secrets/seller variegate init --secret-from-env",
            "VARIEGATE_DATABASE_URL=postgresql+psycopg://seller@db/registry variegate init",
        ),
    )(init)


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


def quickstart(
    *,
    out: Annotated[Path, typer.Option("--out", help="The folder for the record and the report.")] = Path("quickstart"),
    as_json: AsJson = False,
) -> None:
    """See the whole idea on a small classifier of digits.

    Trains it, makes copies, attacks them and shows what replicates. Needs no network and no data, and takes under two
    minutes on two cores.
    """
    from variegate.cli.output import talk
    from variegate.quickstart import run_quickstart

    with show_progress() as progress:
        record = run_quickstart(out, progress)
    print_record(record, as_json=as_json)
    talk(f"wrote {out / 'report.html'}: open it in a browser")


def init(
    *,
    home: HomeFolder = HOME,
    secret_from_env: Annotated[
        bool,
        typer.Option(
            "--secret-from-env",
            help="Use the secret in VARIEGATE_SELLER_SECRET or in the file that VARIEGATE_SELLER_SECRET_FILE names, "
            "and keep no sealed secret in the home.",
        ),
    ] = False,
    provider: Annotated[
        str | None, typer.Option("--provider", help="Who keeps the secret: sealed_file (the default), pkcs11, ...")
    ] = None,
    sealed: Annotated[
        Path | None, typer.Option("--sealed", help="Take the secret from this file of variegate key create or export.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a home: registry, secret, models and specs.

    A new secret is sealed under a passphrase, which comes from VARIEGATE_PASSPHRASE, from the file that
    VARIEGATE_PASSPHRASE_FILE names, or from a prompt (one line of standard input where that is no terminal).
    The registry is a file of the home, or the database that VARIEGATE_DATABASE_URL names.
    """
    from variegate.authority.authority import Authority
    from variegate.authority.home import DATABASE_URL, require_free
    from variegate.authority.keyring import ENVIRONMENT, SEALED_FILE
    from variegate.errors import ConfigurationError
    from variegate.keystore.catalog import find_provider
    from variegate.keystore.providers import open_sealed
    from variegate.keystore.secret_sources import SELLER_SECRET

    require_free(home)
    access = terminal_access()
    if secret_from_env and provider is not None:
        raise ConfigurationError("--secret-from-env keeps no secret in the home; leave --provider out, or it")
    if sealed is not None and secret_from_env:
        raise ConfigurationError("expected one secret: --sealed or --secret-from-env; got both")
    keeper = ENVIRONMENT if secret_from_env else provider or SEALED_FILE
    if sealed is not None:
        secret = open_sealed(sealed, access)
    elif not secret_from_env and (SELLER_SECRET in os.environ or f"{SELLER_SECRET}_FILE" in os.environ):
        raise ConfigurationError(
            f"{SELLER_SECRET} is set, and every command would use it: give --secret-from-env to make the home for it, "
            "or unset it to make a new secret"
        )
    else:
        secret = find_provider(keeper).create(access)
    database_url = os.environ.get(DATABASE_URL)
    Authority.create(home, secret, provider=keeper, access=access, database_url=database_url).close()
    kept = keeper != ENVIRONMENT
    print_result(
        {
            "home": str(home),
            "secret_identifier": secret.identifier,
            "provider": keeper,
            "sealed": kept,
            "registry": "database" if database_url else "file",
        },
        f"made the home {home} for the secret with identifier {secret.identifier}",
        as_json=as_json,
    )
    if kept:
        talk(f"Keep a backup of {home / 'secrets'} and of what opens it: without them no copy can be made again.")
    else:
        talk("The secret is not in the home: every command that makes copies needs it in the environment.")
