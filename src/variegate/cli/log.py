"""`variegate log`: the chain of all that happened."""

import re
from typing import TYPE_CHECKING, Annotated

import typer

from variegate.cli.options import HOME, MOST, AsJson, HomeFolder, examples
from variegate.cli.output import print_json, print_table, print_text, talk
from variegate.cli.progress import show_progress
from variegate.errors import ConfigurationError, VerificationError
from variegate.registry.rows import MAX_ROWS, EventRow, LogHead, utc

if TYPE_CHECKING:
    from variegate.registry.verify import LogReport

_HEAD = re.compile(r"([0-9]{1,18}):(sha256:[0-9a-f]{64})")


def add_to(app: typer.Typer) -> None:
    """Add the command group to the application."""
    group = typer.Typer(no_args_is_help=True, help="See and check the log of all that happened.")
    group.command(
        "verify",
        epilog=examples("variegate log verify", "variegate log verify --expect 120:sha256:0123... --json"),
    )(verify)
    group.command("head", epilog=examples("variegate log head"))(head)
    group.command("ls", epilog=examples("variegate log ls --after 100 --limit 20", "variegate log ls --json"))(list_)
    app.add_typer(group, name="log")


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
    from variegate.cli.desk import open_desk

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
    from variegate.cli.desk import open_desk

    with open_desk(home, read_only=True) as desk:
        end = desk.log_head()
    if as_json:
        print_json({"seq": end.seq, "hash": end.hash})
    else:
        print_text(f"{end.seq}:{end.hash}")


def list_(
    *,
    after: Annotated[int, typer.Option("--after", min=0, max=MAX_ROWS, help="Only entries behind this number.")] = 0,
    limit: Annotated[int, typer.Option("--limit", min=1, max=MOST, help="The most entries to list.")] = 100,
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """List entries of the log, oldest first."""
    from variegate.cli.desk import open_desk

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
