"""`variegate log`, `db`, `backup` and `restore`: the chain of all that happened, and the database as a whole."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from variegate.cli.desk import open_desk
from variegate.cli.options import HOME, MAX_COUNT, AsJson, HomeFolder, examples
from variegate.cli.output import print_json, print_result, print_table, print_text, talk
from variegate.cli.running import show_progress
from variegate.errors import ConfigurationError, VerificationError
from variegate.registry.rows import MAX_ROWS, EventRow, LogHead, utc

if TYPE_CHECKING:
    from variegate.registry.verify import LogReport

_HEAD = re.compile(r"([0-9]{1,18}):(sha256:[0-9a-f]{64})")


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(no_args_is_help=True, help="See and check the log of all that happened.")
    group.command(
        "verify",
        epilog=examples("variegate log verify", "variegate log verify --expect 120:sha256:0123... --json"),
    )(verify)
    group.command("head", epilog=examples("variegate log head"))(head)
    group.command("ls", epilog=examples("variegate log ls --after 100 --limit 20", "variegate log ls --json"))(list_)
    app.add_typer(group, name="log")
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


def verify(
    *,
    expect: Annotated[
        str | None,
        typer.Option("--expect", help="An earlier NUMBER:HASH of variegate log head, kept elsewhere, to be contained."),
    ] = None,
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """Check the whole log: every hash, every number, and that the copies recorded are those that it speaks of.

    Finds any edit, removal or reordering and names the first bad entry. Anyone who can write to the database can also
    make a whole new chain: against this, keep the end of the log elsewhere (variegate log head; it is in every
    artifact's manifest, too) and give it with --expect.
    """
    expected = None if expect is None else _parse_head(expect)
    with open_desk(home, read_only=True) as desk, show_progress() as progress:
        report = desk.verify_log(
            expect=expected, progress=lambda done, total: progress("checking the log", done, total)
        )
    if as_json:
        print_json(_described(report))
    if not report.ok:
        raise VerificationError(f"the log does not hold: {report.problem}")
    if not as_json:
        end = f"{report.head.seq}:{report.head.hash}"
        print_text(f"the log holds: {report.entries:,} entries, {report.copies:,} copies, end {end}")


def head(*, home: HomeFolder = HOME, as_json: AsJson = False) -> None:
    """Print the end of the log as NUMBER:HASH, to be kept elsewhere."""
    with open_desk(home, read_only=True) as desk:
        end = desk.log_head()
    print_result({"seq": end.seq, "hash": end.hash}, f"{end.seq}:{end.hash}", as_json=as_json)


def list_(
    *,
    after: Annotated[int, typer.Option("--after", min=0, max=MAX_ROWS, help="Only entries behind this number.")] = 0,
    limit: Annotated[int, typer.Option("--limit", min=1, max=MAX_COUNT, help="The most entries to list.")] = 100,
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """List entries of the log, oldest first."""
    with open_desk(home, read_only=True) as desk:
        entries = desk.log(after=after, limit=limit)
        end = desk.log_head().seq
    if as_json:
        print_json(
            [{"seq": e.seq, "at": utc(e.at), "kind": e.kind, "body": dict(e.body), "hash": e.hash} for e in entries]
        )
        return
    if entries:
        print_table(("NUMBER", "TIME", "WHAT", "DETAILS"), [(e.seq, utc(e.at), e.kind, _details(e)) for e in entries])
    rest = end - (entries[-1].seq if entries else after)
    more = f"; more with --after {entries[-1].seq}" if rest > 0 and entries else ""
    talk(f"{len(entries):,} of {end:,} {'entry' if end == 1 else 'entries'}{more}")


def _described(report: "LogReport") -> dict[str, object]:
    return {
        "ok": report.ok,
        "entries": report.entries,
        "copies": report.copies,
        "head": {"seq": report.head.seq, "hash": report.head.hash},
        "bad_entry": report.bad_entry,
        "problem": report.problem,
    }


def _details(event: EventRow) -> str:
    """The body in one short line."""
    parts = (f"{name} {_short(value)}" for name, value in event.body.items())
    text = ", ".join(parts)
    return text if len(text) <= 100 else text[:99] + "…"


def _short(value: object) -> str:
    if isinstance(value, list):
        return str(value[0]) if len(value) == 1 else f"{len(value)}"
    text = str(value)
    return f"{text[:15]}…" if text.startswith("sha256:") else text


def _parse_head(text: str) -> LogHead:
    found = _HEAD.fullmatch(text)
    if found is None:
        raise ConfigurationError(f"--expect must be what variegate log head prints, NUMBER:HASH; got {text!r:.90}")
    return LogHead(seq=int(found[1]), hash=found[2])


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
    print_result(
        {"before": before, "after": after},
        f"the registry has format {after}" + (" already" if before == after else f"; it had {before}"),
        as_json=as_json,
    )


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
    with open_desk(home, read_only=True) as desk, show_progress() as progress:
        written = desk.backup(file, progress=lambda done, total: progress("writing", done, total))
    end, copies = written.head, written.copies
    print_result(
        {"file": str(file), "copies": copies, "log": {"seq": end.seq, "hash": end.hash}},
        f"wrote {file}: {copies:,} copies; the log ends at {end.seq}:{end.hash}",
        as_json=as_json,
    )


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
