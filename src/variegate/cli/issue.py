"""`variegate issue`: copies for buyers."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from variegate.cli.options import HOME, MOST, AsJson, HomeFolder, ModelName, examples
from variegate.cli.output import print_json, print_table, talk
from variegate.registry.protocol import MOST_EPOCH

__all__ = ["add_to"]

_SHOWN = 20
_MOST_MANIFESTS = 100_000
_BUYERS_LIMIT_BYTES = 256 * 2**20


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        "issue",
        epilog=examples(
            "variegate issue --model net --spec net-qim --buyer acme --buyer bolt",
            "variegate issue --model net --spec net-qim --count 1000",
            "variegate issue --model net --spec net-qim --buyers buyers.txt --json",
        ),
    )(issue)


def issue(
    *,
    model: ModelName,
    spec: Annotated[str, typer.Option("--spec", help="A calibrated spec, by its name in the home.")],
    buyer: Annotated[list[str] | None, typer.Option("--buyer", help="Who receives a copy; repeat.")] = None,
    count: Annotated[
        int | None,
        typer.Option("--count", min=1, max=MOST, help="Issue to buyer-0001, buyer-0002, ... up to this number."),
    ] = None,
    buyers: Annotated[
        Path | None, typer.Option("--buyers", help="A text file with one buyer a line; lines with # are passed over.")
    ] = None,
    epoch: Annotated[
        int, typer.Option("--epoch", min=1, max=MOST_EPOCH, help="1 for a buyer's first copy of a model.")
    ] = 1,
    home: HomeFolder = HOME,
    as_json: AsJson = False,
) -> None:
    """Issue one copy to each buyer, to all of them or to none.

    A copy costs one row in the registry and is made again from the seller's secret whenever it is needed. Issuing again
    to the same buyer gives the same copy.
    """
    from variegate.cli.desk import open_desk
    from variegate.errors import ConfigurationError

    if sum(option is not None for option in (buyer, count, buyers)) != 1:
        raise ConfigurationError("expected exactly one of --buyer, --count and --buyers, to say who receives a copy")
    names = buyer if buyer is not None else [] if count is not None else _read_buyers(buyers)
    total = count if count is not None else len(names)
    if as_json and total > _MOST_MANIFESTS:
        raise ConfigurationError(
            f"--json prints at most {_MOST_MANIFESTS:,} manifests; got {total:,} buyers: leave it out and see "
            "the copies with: variegate copies ls --json"
        )
    everyone = names if count is None else (f"buyer-{i:04d}" for i in range(1, count + 1))
    with open_desk(home) as desk:
        started = time.monotonic()
        if as_json:
            print_json([manifest.to_dict() for manifest in desk.issue(model, spec, list(everyone), epoch=epoch)])
        elif total <= _SHOWN:
            manifests = desk.issue(model, spec, list(everyone), epoch=epoch)
            print_table(("BUYER", "COPY", "EPOCH"), [(m.buyer, m.copy_id, m.epoch) for m in manifests])
        else:
            new = desk.issue_many(model, spec, everyone, epoch=epoch)
            typer.echo(f"{total:,} copies of {model}, {new:,} of them new; see them with: variegate copies ls")
        talk(f"issued in {time.monotonic() - started:.2f} s")


def _read_buyers(path: Path | None) -> list[str]:
    from variegate.errors import FormatError, InputError
    from variegate.files import read_bounded

    if path is None:
        return []
    try:
        text = read_bounded(path, _BUYERS_LIMIT_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} must be text in UTF-8 with one buyer a line; it holds other bytes") from error
    names = list(_names(text.splitlines()))
    if not names:
        raise InputError(f"{path} names no buyer; expected one a line")
    return names


def _names(lines: Iterable[str]) -> Iterable[str]:
    return (name for line in lines if (name := line.strip()) and not name.startswith("#"))
