"""`variegate revoke`, `rotate`, `supersede` and `forget`: what becomes of a copy after its issue."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from variegate.cli.desk import open_desk
from variegate.cli.options import HOME, AsJson, HomeFolder, examples
from variegate.cli.output import print_json, print_result, print_text, talk
from variegate.cli.running import show_progress
from variegate.errors import ConfigurationError, ConflictError
from variegate.registry.rows import MAX_EPOCH
from variegate.types import CopyStatus

if TYPE_CHECKING:
    from variegate.authority import Authority

Reason: TypeAlias = Annotated[str, typer.Option("--reason", help="Why, for the log: a few words, no secrets.")]
Copies: TypeAlias = Annotated[list[str] | None, typer.Argument(help="Copies, by their names vg1-...")]
Buyer: TypeAlias = Annotated[
    list[str] | None, typer.Option("--buyer", help="All copies of this buyer (of --model, if given); repeat.")
]
OfModel: TypeAlias = Annotated[str | None, typer.Option("--model", help="Only copies of this original.")]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(
        "revoke",
        epilog=examples(
            "variegate revoke vg1-0123456789abcdef0123 --reason leaked",
            "variegate revoke --buyer acme --model net --reason 'contract ended'",
        ),
    )(revoke)
    app.command(
        "supersede",
        epilog=examples("variegate supersede vg1-0123456789abcdef0123 --reason 'replaced by hand'"),
    )(supersede)
    app.command(
        "rotate",
        epilog=examples(
            "variegate rotate --model net --policy prod --buyer acme",
            "variegate rotate --model net --policy prod --all --epoch 2",
            "variegate rotate --model net --spec net-qim --buyers buyers.csv --epoch 2",
        ),
    )(rotate)
    app.command(
        "forget",
        epilog=examples(
            "variegate forget vg1-0123456789abcdef0123", "variegate forget vg1-0123456789abcdef0123 --json"
        ),
    )(forget)


def revoke(
    copies: Copies = None,
    *,
    buyer: Buyer = None,
    model: OfModel = None,
    reason: Reason = "",
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """Revoke copies, all of them or none: they are no longer valid, and no longer served.

    A revoked copy stays revoked; the buyer may get another one with a later epoch. What is in a buyer's hands cannot
    be taken back: give their devices the list of revoked copies (variegate revocations).
    """
    _change(copies, buyer, model, CopyStatus.REVOKED, reason, home, as_json=as_json)


def supersede(
    copies: Copies = None,
    *,
    buyer: Buyer = None,
    model: OfModel = None,
    reason: Reason = "",
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """Mark copies as replaced by others, all of them or none. `variegate rotate` does it together with the new copy."""
    _change(copies, buyer, model, CopyStatus.SUPERSEDED, reason, home, as_json=as_json)


def rotate(
    *,
    model: Annotated[str, typer.Option("--model", help="An original, by its name in the home.")],
    spec: Annotated[str | None, typer.Option("--spec", help="The spec of the new copies.")] = None,
    policy: Annotated[str | None, typer.Option("--policy", help="The policy of the new copies.")] = None,
    buyer: Annotated[list[str] | None, typer.Option("--buyer", help="Who gets a new copy; repeat.")] = None,
    buyers: Annotated[Path | None, typer.Option("--buyers", help="A file of buyers, as for variegate issue.")] = None,
    everyone: Annotated[
        bool, typer.Option("--all", help="Every buyer with an active copy of the original; needs --epoch.")
    ] = False,
    epoch: Annotated[
        int | None,
        typer.Option(
            "--epoch",
            min=2,
            max=MAX_EPOCH,
            help="The new copies' epoch; buyers who have reached it are skipped, so that an interrupted rotation "
            "can be repeated, except those whose copy comes from an earlier secret: they get their next one. Each "
            "buyer's last epoch and 1 if left out.",
        ),
    ] = None,
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """Give buyers a new copy with a later epoch, and supersede their active ones in the same step.

    A buyer by name gets one even if all their copies are revoked; of a file, only buyers with an active copy do, and
    the others are counted.
    """
    from variegate.authority.buyers_file import BuyersFile
    from variegate.authority.skipped import SkipReason, sentences

    if sum((buyer is not None, buyers is not None, everyone)) != 1:
        raise ConfigurationError("expected exactly one of --buyer, --buyers and --all, to say whose copies to rotate")
    if epoch is None and buyer is None:
        raise ConfigurationError(
            "many buyers are rotated to a stated epoch, so that an interrupted rotation can be given again: add --epoch"
        )
    skipped = Counter[SkipReason]()
    names = buyer if buyer is not None else None if buyers is None else BuyersFile(buyers)
    with open_desk(home) as desk, show_progress() as progress:
        total = 0 if names is None else len(names)
        count = desk.rotate(
            model,
            spec,
            names,
            policy=policy,
            epoch=epoch,
            progress=lambda through: progress("rotating", through, total),
            bulk=buyer is None,
            skipped=skipped,
        )
    print_result(
        {"rotated": count, "passed_over": {reason.value: skipped[reason] for reason in sorted(skipped)}},
        f"{count:,} {'copy' if count == 1 else 'copies'} of {model} issued anew; the earlier are superseded",
        as_json=as_json,
    )
    for line in sentences(skipped):
        talk(line)


def _change(
    copies: list[str] | None,
    buyer: list[str] | None,
    model: str | None,
    status: CopyStatus,
    reason: str,
    home: Path,
    *,
    as_json: bool,
) -> None:
    if bool(copies) == bool(buyer):
        raise ConfigurationError("expected copies by their names, or --buyer; got " + ("both" if copies else "neither"))
    if copies and model is not None:
        raise ConfigurationError("--model chooses among the copies of a buyer; a copy's name says it already")
    with open_desk(home) as desk:
        revoking = status is CopyStatus.REVOKED
        # The revoked copies of a buyer belong to a revocation that is repeated.
        named = list(copies) if copies else desk.copies_of(buyer or [], model=model, revoked=revoking)
        changed = (desk.revoke if revoking else desk.supersede)(named, reason=reason)
    if as_json:
        print_json({"copies": named, "changed": changed, "status": status.value})
        return
    print_text(f"{changed:,} of {len(named):,} {'copy is' if len(named) == 1 else 'copies are'} newly {status}")
    if status is CopyStatus.REVOKED and changed:
        talk("Give the devices in the field the new list: variegate revocations --out revocations.json")


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
    with open_desk(home) as desk:
        row, before = desk.copy(copy), not desk.is_forgotten(copy)
        discard_key(desk, copy)
    print_result(
        {"copy_id": row.copy_id, "buyer": row.buyer, "changed": before},
        f"the key of copy {copy} {'is' if before else 'was'} discarded{'' if before else ' already'}",
        as_json=as_json,
    )
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
