"""`variegate db`, `backup` and `restore`: the registry's database as a whole."""

import os
from pathlib import Path
from typing import Annotated

import typer

from variegate.cli.options import HOME, AsJson, HomeFolder, examples
from variegate.cli.output import print_json, print_text, talk
from variegate.cli.progress import show_progress


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(no_args_is_help=True, help="The registry's database: its format, and upgrades.")
    group.command("status", epilog=examples("variegate db status", "variegate db status --json"))(status)
    group.command("upgrade", epilog=examples("variegate db upgrade", "variegate db upgrade --json"))(upgrade)
    app.add_typer(group, name="db")
    app.command(
        "backup", epilog=examples("variegate backup registry-2026-11-23.vgb", "variegate backup /mnt/safe/registry.vgb")
    )(backup)
    app.command(
        "restore",
        epilog=examples(
            "variegate restore registry-2026-11-23.vgb --home new-home",
            "VARIEGATE_DATABASE_URL=postgresql+psycopg://seller@db/registry variegate restore r.vgb --home new-home",
        ),
    )(restore)


def status(*, home: HomeFolder = HOME, as_json: AsJson = False) -> None:
    """Say which format the registry has and which this version reads."""
    from variegate.authority.home import DATABASE_URL, registry_format
    from variegate.registry.schema import FORMAT

    found = registry_format(home, database_url=os.environ.get(DATABASE_URL))
    if as_json:
        print_json({"format": found, "reads": FORMAT})
    else:
        print_text(f"the registry has format {found}; this version reads {FORMAT}")
        if found < FORMAT:
            talk("Make a copy of the home, then: variegate db upgrade")


def upgrade(*, home: HomeFolder = HOME, as_json: AsJson = False) -> None:
    """Bring the registry to the format of this version, in one atomic step."""
    from variegate.authority.home import DATABASE_URL, registry_format, upgrade_registry

    url = os.environ.get(DATABASE_URL)
    before = upgrade_registry(home, database_url=url)
    after = registry_format(home, database_url=url)
    if as_json:
        print_json({"before": before, "after": after})
    else:
        print_text(f"the registry has format {after}" + (" already" if before == after else f"; it had {before}"))


def backup(
    file: Annotated[Path, typer.Argument(help="The file to write; it must not exist.")],
    *,
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """Write the whole registry to one file that any database can be restored from.

    Holds who received what, the log, and the salts of forgettable copies (keep it private); no seller's secret, no
    originals, no specs' files: copy the home's other folders as files.
    """
    from variegate.cli.desk import open_desk

    with open_desk(home, read_only=True) as desk, show_progress() as progress:
        written = desk.backup(file, progress=lambda done, total: progress("writing", done, total))
    end, copies = written.head, written.copies
    if as_json:
        print_json({"file": str(file), "copies": copies, "log": {"seq": end.seq, "hash": end.hash}})
    else:
        print_text(f"wrote {file}: {copies:,} copies; the log ends at {end.seq}:{end.hash}")


def restore(
    file: Annotated[Path, typer.Argument(help="A file that variegate backup wrote.")],
    *,
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """Make a new home's registry from a backup, atomically.

    The home must not have a registry yet. Put the other folders of the old home (models, specs, secrets) next to it.
    """
    from variegate.authority.authority import Authority
    from variegate.authority.home import DATABASE_URL

    with show_progress() as progress:
        end = Authority.restore(
            home,
            file,
            database_url=os.environ.get(DATABASE_URL),
            progress=lambda done, total: progress("restoring", done, total),
        )
    if as_json:
        print_json({"home": str(home), "log": {"seq": end.seq, "hash": end.hash}})
    else:
        print_text(f"restored {home}; its log was checked and ends at {end.seq}:{end.hash}")
        talk("Copy the folders models, specs and secrets of the old home next to it, if they are not there.")
