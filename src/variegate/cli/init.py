"""`variegate init`: a new home, with a new secret or with the environment's."""

import os
import sys
from typing import Annotated

import typer

from variegate.cli.options import HOME, AsJson, HomeFolder, examples
from variegate.cli.output import print_json, talk

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        "init",
        epilog=examples(
            "variegate init",
            "variegate init --home /srv/seller",
            "VARIEGATE_PASSPHRASE_FILE=/run/secrets/passphrase variegate init",
            "VARIEGATE_SELLER_SECRET_FILE=/run/secrets/seller variegate init --secret-from-env",
        ),
    )(init)


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
    as_json: AsJson = False,
) -> None:
    """Make a home: registry, secret, models and specs.

    A new secret is sealed under a passphrase, which comes from VARIEGATE_PASSPHRASE, from the file that
    VARIEGATE_PASSPHRASE_FILE names, or from a prompt (one line of standard input where that is no terminal).
    """
    from variegate.authority.authority import Authority
    from variegate.authority.home import require_free
    from variegate.errors import ConfigurationError
    from variegate.keys import SellerSecret
    from variegate.secret_sources import SELLER_SECRET, prompt_terminal, read_passphrase, read_secret

    require_free(home)
    if secret_from_env:
        secret, passphrase = read_secret(os.environ), None
    elif SELLER_SECRET in os.environ or f"{SELLER_SECRET}_FILE" in os.environ:
        raise ConfigurationError(
            f"{SELLER_SECRET} is set, and every command would use it: give --secret-from-env to make the home for it, "
            "or unset it to make a new secret"
        )
    else:
        secret = SellerSecret.generate()
        passphrase = read_passphrase(os.environ, prompt=prompt_terminal, confirm=sys.stdin.isatty())
    Authority.create(home, secret, passphrase=passphrase).close()
    if as_json:
        print_json({"home": str(home), "secret_identifier": secret.identifier, "sealed": passphrase is not None})
    else:
        typer.echo(f"made the home {home} for the secret with identifier {secret.identifier}")
    if passphrase is None:
        talk("The secret is not in the home: every command that makes copies needs it in the environment.")
    else:
        talk(
            f"Keep a backup of {home / 'secret.sealed'} and of the passphrase: without them no copy can be made again."
        )
