"""`variegate key`: the seller's secrets, which all copies of a home come from."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from variegate.cli.desk import open_desk
from variegate.cli.options import HOME, AsJson, HomeFolder, examples
from variegate.cli.output import print_json, print_result, print_table, talk
from variegate.errors import ConfigurationError, ConflictError
from variegate.registry.rows import utc

SecretName = Annotated[
    str | None, typer.Option("--secret-id", help="A secret, by its identifier; the current one if left out.")
]


def add_to(app: typer.Typer) -> None:
    """Add the command group to the application."""
    group = typer.Typer(no_args_is_help=True, help="See the seller's secrets, make new ones, take backups of them.")
    group.command("ls", epilog=examples("variegate key ls", "variegate key ls --json"))(list_)
    group.command(
        "create",
        epilog=examples(
            "variegate key create --out seller.sealed",
            "VARIEGATE_PASSPHRASE_FILE=/run/secrets/passphrase variegate key create --out seller.sealed",
        ),
    )(create)
    group.command(
        "rotate",
        epilog=examples(
            "variegate key rotate",
            "VARIEGATE_SELLER_SECRET_FILE=/run/secrets/seller-2027 variegate key rotate --provider environment",
            "variegate key rotate --provider pkcs11",
        ),
    )(rotate)
    group.command(
        "adopt",
        epilog=examples("variegate key adopt d6377c371b0c3ac2", "variegate key adopt d6377c371b0c3ac2 --json"),
    )(adopt)
    group.command(
        "export",
        epilog=examples(
            "variegate key export --sealed backup.sealed",
            "variegate key export --sealed old.sealed --secret-id d6377c371b0c3ac2",
            "variegate key export --public seller.pem",
        ),
    )(export)
    app.add_typer(group, name="key")


def list_(*, home: HomeFolder = HOME, as_json: AsJson = False) -> None:
    """List the home's secrets: what they are called, who keeps them, since when, and which one is current."""
    with open_desk(home, read_only=True) as desk:
        rows = desk.secrets()
        stray = desk.stray_secrets()
    described = [
        {
            "identifier": row.identifier,
            "provider": row.provider,
            "added_at": utc(row.added_at),
            "current": row is rows[-1],
        }
        for row in rows
    ]
    if as_json:
        print_json(described)
    else:
        print_table(
            ("IDENTIFIER", "PROVIDER", "ADDED", "CURRENT"),
            [
                (one["identifier"], one["provider"], one["added_at"], "yes" if one["current"] else "no")
                for one in described
            ],
        )
    for path, identifier in stray:
        if identifier is None:
            talk(f"{path} is not the file of a secret.")
        else:
            talk(
                f"{path} holds a secret that the registry does not know. If the registry was restored from a backup, "
                "copies may have been issued under it: keep the file, and before you issue anything record it with: "
                f"variegate key adopt {identifier}"
            )


def create(
    *,
    out: Annotated[Path, typer.Option("--out", help="The new file.")],
    as_json: AsJson = False,
) -> None:
    """Make a new secret, sealed under a passphrase, outside any home.

    The passphrase comes from VARIEGATE_PASSPHRASE, from the file that VARIEGATE_PASSPHRASE_FILE names, or from a prompt
    (one line of standard input where that is no terminal).
    """
    from variegate.keys import SellerSecret
    from variegate.keystore.sealing import seal
    from variegate.keystore.secret_sources import prompt_terminal, read_passphrase

    _require_new(out)
    secret = SellerSecret.generate()
    passphrase = read_passphrase(os.environ, prompt=prompt_terminal, confirm=sys.stdin.isatty())
    _write_new(out, seal(secret, passphrase), private=True)
    _say_written(out, secret.identifier, "the new secret", as_json=as_json)
    talk("Keep the file and the passphrase in two places: anyone who has both can make every copy of yours.")


def rotate(
    *,
    provider: Annotated[
        str,
        typer.Option("--provider", help="Who keeps the new secret: sealed_file, environment, pkcs11 or a plugin."),
    ] = "sealed_file",
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """Make a new secret, from which copies are issued from now on.

    The secrets before it stay: copies issued under them are derived from them. To replace these copies too,
    rotate or revoke them.

    sealed_file asks for a passphrase; environment takes the secret that VARIEGATE_SELLER_SECRET_FILE names; pkcs11
    encrypts under a key of the token that VARIEGATE_PKCS11_MODULE and VARIEGATE_PKCS11_TOKEN name.
    """
    from variegate.keystore.catalog import find_provider

    find_provider(provider)
    with open_desk(home) as desk:
        row = desk.rotate_secret(provider)
    print_result(
        {"identifier": row.identifier, "provider": row.provider},
        f"copies are issued under the secret {row.identifier} ({row.provider}) from now on",
        as_json=as_json,
    )
    talk("Keep the secrets before it, and backups of all: copies issued under them are derived from them.")


def adopt(
    identifier: Annotated[str, typer.Argument(help="The secret, as variegate key ls names it.")],
    *,
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """Record a secret whose file is in the home but that the registry does not know.

    A registry that was restored from a backup lacks the secrets of later rotations. Record them, in the order in which
    they were made, before anything is issued: the same buyers would get other copies under the same names. The secret
    that was recorded last is the current one. Its file is opened first.
    """
    with open_desk(home) as desk:
        row = desk.adopt_secret(identifier)
    print_result(
        {"identifier": row.identifier, "provider": row.provider},
        f"copies are issued under the secret {row.identifier} ({row.provider}) from now on",
        as_json=as_json,
    )


def export(
    *,
    sealed: Annotated[
        Path | None, typer.Option("--sealed", help="The new file for the secret, sealed under a new passphrase.")
    ] = None,
    public: Annotated[
        Path | None, typer.Option("--public", help="The new file for the public key (PEM) that verifies artifacts.")
    ] = None,
    secret: SecretName = None,
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """Write a secret's backup, or its public key, to a file.

    The backup's passphrase comes from VARIEGATE_NEW_PASSPHRASE, from the file that VARIEGATE_NEW_PASSPHRASE_FILE
    names, or from a prompt. A backup opens wherever a sealed file is expected. The public key is for everybody.
    """
    if sealed is not None and public is None:
        _export_sealed(sealed, secret, home, as_json=as_json)
    elif public is not None and sealed is None:
        _export_public(public, secret, home, as_json=as_json)
    else:
        got = "neither" if sealed is None else "both"
        raise ConfigurationError(f"expected --sealed FILE or --public FILE; got {got}")


def _export_sealed(out: Path, identifier: str | None, home: Path, *, as_json: bool) -> None:
    from variegate.keystore.sealing import seal
    from variegate.keystore.secret_sources import NEW_PASSPHRASE, prompt_terminal, read_passphrase

    _require_new(out)
    with open_desk(home, read_only=True) as desk:
        secret = desk.secret(identifier)
        name = secret.identifier
        passphrase = read_passphrase(
            os.environ,
            prompt=prompt_terminal,
            confirm=sys.stdin.isatty(),
            variable=NEW_PASSPHRASE,
            question="New passphrase for the backup: ",
        )
        blob = seal(secret, passphrase)
    _write_new(out, blob, private=True)
    _say_written(out, name, "the sealed secret", as_json=as_json)


def _export_public(out: Path, identifier: str | None, home: Path, *, as_json: bool) -> None:
    _require_new(out)
    with open_desk(home, read_only=True) as desk:
        name = identifier or desk.secrets()[-1].identifier
        pem = desk.public_key(name)
    _write_new(out, pem.encode(), private=False)
    _say_written(out, name, "the public key of the secret", as_json=as_json)


def _require_new(path: Path) -> None:
    if os.path.lexists(path):
        raise ConflictError(f"{path} exists already; choose another name, secrets are never written over")


def _write_new(path: Path, data: bytes, *, private: bool) -> None:
    from variegate.files import file_that_appears_whole, write_atomic

    _require_new(path)
    if private:
        with file_that_appears_whole(path) as file:  # refuses a file that somebody else made meanwhile
            file.write(data)
    else:
        write_atomic(path, data)


def _say_written(path: Path, identifier: str, what: str, *, as_json: bool) -> None:
    print_result({"file": str(path), "identifier": identifier}, f"wrote {what} {identifier} to {path}", as_json=as_json)
