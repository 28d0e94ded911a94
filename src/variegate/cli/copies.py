"""`variegate copies`: what was issued to whom."""

import dataclasses
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from variegate.cli.options import HOME, MOST, AsJson, HomeFolder, examples
from variegate.cli.output import print_json, print_pairs, print_table, talk
from variegate.registry.rows import MAX_ROWS, utc
from variegate.types import CopyStatus

if TYPE_CHECKING:
    from variegate.registry.rows import CopyRow


def add_to(app: typer.Typer) -> None:
    """Add the command group to the application."""
    group = typer.Typer(no_args_is_help=True, help="See what was issued to whom.")
    group.command(
        "ls",
        epilog=examples(
            "variegate copies ls",
            "variegate copies ls --model net --status active --limit 20 --offset 40",
            "variegate copies ls --buyer acme --json",
        ),
    )(list_)
    group.command(
        "show",
        epilog=examples(
            "variegate copies show vg1-0123456789abcdef0123", "variegate copies show vg1-0123456789abcdef0123 --json"
        ),
    )(show)
    app.add_typer(group, name="copies")


def list_(
    *,
    model: Annotated[str | None, typer.Option("--model", help="Only copies of this original.")] = None,
    buyer: Annotated[str | None, typer.Option("--buyer", help="Only copies of this buyer.")] = None,
    status: Annotated[CopyStatus | None, typer.Option("--status", help="Only copies of this status.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=MOST, help="The most copies to list.")] = 100,
    offset: Annotated[int, typer.Option("--offset", min=0, max=MAX_ROWS, help="How many copies to skip first.")] = 0,
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """List issued copies, in the order in which they were issued.

    A copy that has expired keeps its status; the last column says so.
    """
    from variegate.cli.desk import open_desk

    with open_desk(home, read_only=True) as desk:
        rows = desk.copies(model=model, buyer=buyer, status=status, limit=limit, offset=offset)
        total = desk.count_copies(model=model, buyer=buyer, status=status)
    now = time.time()
    if as_json:
        listed = [{**dataclasses.asdict(row), "issued_at": utc(row.issued_at), **_expiry(row, now)} for row in rows]
        print_json({"total": total, "offset": offset, "copies": listed})
        return
    if rows:
        print_table(
            ("COPY", "MODEL", "BUYER", "EPOCH", "STATUS", "ISSUED", "EXPIRES"),
            [(r.copy_id, r.model, r.buyer, r.epoch, r.status, utc(r.issued_at), _shown_expiry(r, now)) for r in rows],
        )
    more = f"; more with --offset {offset + len(rows)}" if offset + len(rows) < total else ""
    talk(f"{len(rows):,} of {total:,} {'copy' if total == 1 else 'copies'}{more}")


def show(
    copy: Annotated[str, typer.Argument(help="A copy, by its name vg1-...")],
    *,
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """Show all that is recorded of one copy; nothing in it is secret.

    `secret` is the public identifier of the seller's secret that the key comes from, `key_identifier` that of the key.
    `draw` counts how often the key was drawn again to keep a distance; `forgotten` says that the key was discarded.
    """
    from variegate.cli.desk import open_desk

    with open_desk(home, read_only=True) as desk:
        row = desk.copy(copy)
        described = {
            **desk.copy_manifest(copy).to_dict(),
            "status": row.status.value,
            **_expiry(row, time.time()),
            "policy": row.policy,
            "secret": row.secret,
            "key_identifier": row.key_identifier,
            "draw": row.draw,
            "salted": row.salted,
            "forgotten": desk.is_forgotten(copy),
        }
    if as_json:
        print_json(described)
    else:
        print_pairs(described)


def _expiry(row: "CopyRow", now: float) -> dict[str, Any]:
    expires_at = None if row.expires_at is None else utc(row.expires_at)
    return {"expires_at": expires_at, "expired": row.is_expired(now)}


def _shown_expiry(row: "CopyRow", now: float) -> str:
    expiry = _expiry(row, now)
    return "never" if expiry["expires_at"] is None else expiry["expires_at"] + (" expired" if expiry["expired"] else "")
