"""`variegate forget`: discarding the key of a copy for good."""

from typing import TYPE_CHECKING, Annotated

import typer

from variegate.cli.options import HOME, AsJson, HomeFolder, examples
from variegate.cli.output import print_json, print_text, talk
from variegate.errors import ConflictError

if TYPE_CHECKING:
    from variegate.authority import Authority


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        "forget",
        epilog=examples(
            "variegate forget vg1-0123456789abcdef0123", "variegate forget vg1-0123456789abcdef0123 --json"
        ),
    )(forget)


def forget(
    copy: Annotated[str, typer.Argument(help="A copy, by its name vg1-..., in whatever state.")],
    *,
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """Discard a copy's key for good: it can no longer be made, exported, served or traced.

    Only copies of a policy with --forgettable have a key that can be discarded. Repeating the command is harmless:
    after an error or a kill it finishes what was left.
    """
    from variegate.cli.desk import open_desk

    with open_desk(home) as desk:
        row, before = desk.copy(copy), not desk.is_forgotten(copy)
        discard_key(desk, copy)
    if as_json:
        print_json({"copy_id": row.copy_id, "buyer": row.buyer, "changed": before})
    else:
        print_text(f"the key of copy {copy} {'is' if before else 'was'} discarded{'' if before else ' already'}")
    talk("Backups, replicas and a database server's own files may still hold its salt: forgotten is when they do not.")


def discard_key(desk: "Authority", copy: str) -> None:
    """Discard a copy's key.

    Raises:
        ConflictError: if it has no key that can be discarded, or it is discarded, but bytes of it are left in the
            registry's write-ahead log.
        NotFoundError: if there is no such copy.
    """
    if not desk.forget(copy):
        raise ConflictError(
            f"the key of copy {copy} is discarded, but its salt is still in the registry's write-ahead log, because "
            f"another process reads the registry; when that has ended, run: variegate forget {copy}"
        )
