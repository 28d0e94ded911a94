"""`variegate issue` and `variegate copies`: copies for buyers, and what was issued to whom."""

import dataclasses
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from variegate.cli.desk import open_desk
from variegate.cli.options import HOME, MAX_COUNT, AsJson, CopyName, HomeFolder, ModelName, examples
from variegate.cli.output import print_described, print_json, print_result, print_table, print_text, talk
from variegate.cli.running import show_progress
from variegate.registry.rows import MAX_EPOCH, MAX_ROWS, utc
from variegate.types import CopyStatus

if TYPE_CHECKING:
    from variegate.registry.rows import CopyRow

_SHOWN = 20
_MAX_MANIFESTS = 100_000


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(
        "issue",
        epilog=examples(
            "variegate issue --model net --spec net-qim --buyer acme --buyer bolt",
            "variegate issue --model net --policy prod --buyers buyers.csv",
            "variegate issue --model net --spec net-qim --count 1000 --dry-run",
        ),
    )(issue)
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


def issue(
    *,
    model: ModelName,
    spec: Annotated[str | None, typer.Option("--spec", help="A calibrated spec, by its name in the home.")] = None,
    policy: Annotated[str | None, typer.Option("--policy", help="A policy, which names the spec.")] = None,
    buyer: Annotated[list[str] | None, typer.Option("--buyer", help="Who receives a copy; repeat.")] = None,
    count: Annotated[
        int | None,
        typer.Option("--count", min=1, max=MAX_COUNT, help="Issue to buyer-0001, buyer-0002, ... up to this number."),
    ] = None,
    buyers: Annotated[
        Path | None,
        typer.Option(
            "--buyers", help='A .csv file with a column "buyer", or text with one buyer a line; # starts a comment.'
        ),
    ] = None,
    epoch: Annotated[
        int,
        typer.Option(
            "--epoch",
            min=1,
            max=MAX_EPOCH,
            help="1 for a buyer's first copy of a model; a later one supersedes their active copies of lower epochs.",
        ),
    ] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check model, spec, policy, secret and names; issue nothing.")
    ] = False,
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """Issue one copy to each buyer.

    A copy costs one row in the registry and is made again from the seller's secret whenever it is needed. Issuing again
    to the same buyer gives the same copy. Few copies are issued all or none; many in batches of 20,000, each all or
    none: rerun the same command to resume after an interruption. Buyers of a file or a count whose copy is revoked,
    superseded or expired are skipped and counted; a buyer by name is refused then.
    """
    from variegate.authority.buyers_file import BuyersFile
    from variegate.authority.skipped import SkipReason, sentences
    from variegate.errors import ConfigurationError

    if sum(option is not None for option in (buyer, count, buyers)) != 1:
        raise ConfigurationError("expected exactly one of --buyer, --count and --buyers, to say who receives a copy")
    listed = None if buyers is None else BuyersFile(buyers)
    if listed is not None and listed.other_columns:
        talk(f"columns of {buyers} that are not used: {', '.join(listed.other_columns)}")
    everyone: Iterable[str] = buyer or listed or (f"buyer-{i:04d}" for i in range(1, (count or 0) + 1))
    total = count or (len(listed) if listed is not None else len(buyer or ()))
    if as_json and total > _MAX_MANIFESTS:
        raise ConfigurationError(
            f"--json prints at most {_MAX_MANIFESTS:,} manifests; got {total:,} buyers: leave it out and see "
            "the copies with: variegate copies ls --json"
        )
    bulk, skipped = buyer is None, Counter[SkipReason]()
    with open_desk(home, read_only=dry_run) as desk:
        started = time.monotonic()
        if dry_run:
            desk.check_issue(model, spec, policy=policy)
            print_result(
                {"model": model, "buyers": total, "issued": False},
                f"would issue {model} to {total:,} {'buyer' if total == 1 else 'buyers'}; nothing was issued",
                as_json=as_json,
            )
            return
        if as_json or total <= _SHOWN:
            manifests = desk.issue(
                model, spec, list(dict.fromkeys(everyone)), policy=policy, epoch=epoch, bulk=bulk, skipped=skipped
            )
            if as_json:
                print_json([manifest.to_dict() for manifest in manifests])
            else:
                print_table(("BUYER", "COPY", "EPOCH"), [(m.buyer, m.copy_id, m.epoch) for m in manifests])
        else:
            with show_progress() as progress:
                new = desk.issue_many(
                    model,
                    spec,
                    everyone,
                    policy=policy,
                    epoch=epoch,
                    progress=lambda through: progress("issuing", through, total),
                    bulk=bulk,
                    skipped=skipped,
                )
            passed = sum(count for reason, count in skipped.items() if reason is not SkipReason.EARLIER_SECRET)
            print_text(f"{total - passed:,} copies of {model}, {new:,} of them new; see them with: variegate copies ls")
        for line in sentences(skipped):
            talk(line)
        talk(f"issued in {time.monotonic() - started:.2f} s")


def list_(
    *,
    model: Annotated[str | None, typer.Option("--model", help="Only copies of this original.")] = None,
    buyer: Annotated[str | None, typer.Option("--buyer", help="Only copies of this buyer.")] = None,
    status: Annotated[CopyStatus | None, typer.Option("--status", help="Only copies of this status.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=MAX_COUNT, help="The most copies to list.")] = 100,
    offset: Annotated[int, typer.Option("--offset", min=0, max=MAX_ROWS, help="How many copies to skip first.")] = 0,
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """List issued copies, in the order in which they were issued.

    A copy that has expired keeps its status; the last column says so.
    """
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
    copy: CopyName,
    *,
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """Show all that is recorded of one copy; nothing in it is secret.

    `secret` is the public identifier of the seller's secret that the key comes from, `key_identifier` that of the key.
    `draw` counts how often the key was drawn again to keep a distance; `forgotten` says that the key was discarded.
    """
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
    print_described(described, as_json=as_json)


def _expiry(row: "CopyRow", now: float) -> dict[str, Any]:
    expires_at = None if row.expires_at is None else utc(row.expires_at)
    return {"expires_at": expires_at, "expired": row.is_expired(now)}


def _shown_expiry(row: "CopyRow", now: float) -> str:
    expiry = _expiry(row, now)
    return "never" if expiry["expires_at"] is None else expiry["expires_at"] + (" expired" if expiry["expired"] else "")
